"""Saliency maps that agree over a collection of photos (§3.5)."""
from __future__ import annotations

from typing import Any, Iterator, Tuple

import numpy as np
import tqdm

# Ridge penalty as a share of the mean eigenvalue of the features' covariance.
_RIDGE = 1e-2
# Temperature of the logistic function that turns predicted saliency into a map.
_TEMPERATURE = 0.1


def agree(features: Any, saliency_maps: np.ndarray, *, num_rounds: int = 3) -> np.ndarray:
    """Saliency maps predicted by one linear function of the features, the same for all photos.

    The map of a single photo may take a pier for the bird on it, or the bird for the sky. Such
    errors differ from photo to photo, but the kind of object is the same. So a ridge regression
    predicts saliency from the features of all cells. A logistic function of the prediction is the
    target of the next round; its threshold keeps the mean share of the foreground.

    Args:
      features: f[N,h,w,C]. An array, or any object that has a shape and gives f[h,w,C] for the
        index of a photo. Photos are read one at a time: once, and twice in each round.
      saliency_maps: f32[N,h,w] in [0, 1]. Maps of single photos.
      num_rounds: Number of regressions, at least 1.

    Returns:
      f32[N,h,w] in (0, 1). The last round's target.

    Raises:
      ValueError: If the shapes differ, a value is not finite, or the maps are the same everywhere.
    """
    shape = tuple(features.shape[:3])
    targets = np.asarray(saliency_maps, np.float32)
    if targets.shape != shape:
        raise ValueError(f'`saliency_maps` must be of shape {shape}, as the features are; got '
                         f'{targets.shape}.')
    if not np.all(np.isfinite(targets)):
        raise ValueError('`saliency_maps` must be finite; got infinite or undefined values.')
    if np.ptp(targets) == 0:
        raise ValueError('`saliency_maps` must tell some places from others, but all values are '
                         f'{targets.flat[0]}: look at the maps, or set `Run.saliency_agreement` '
                         'to 0.')
    share, ridge = targets.mean(), _Ridge(features)
    for _ in range(num_rounds):
        predicted = ridge.predict(*ridge.fit(targets))
        threshold = np.quantile(predicted, 1 - share)
        targets = 1 / (1 + np.exp((threshold - predicted) / _TEMPERATURE))
    return targets.astype(np.float32)


class _Ridge:
    """Ridge regression of maps on features [N,h,w,C]; one photo is in memory at a time."""

    def __init__(self, features: Any) -> None:
        self._features = features
        num_photos, *grid, num_channels = features.shape
        count = num_photos * grid[0] * grid[1]
        gram, self._mean = np.zeros((num_channels, num_channels)), np.zeros(num_channels)
        for _, rows in self._photos('Agreeing on saliency: features'):
            gram += rows.T @ rows
            self._mean += rows.sum(axis=0, dtype=np.float64) / count
        if not np.all(np.isfinite(gram)):
            raise ValueError('`features` must be finite; got infinite or undefined values.')
        covariance = gram - count * np.outer(self._mean, self._mean)
        penalty = _RIDGE * np.trace(covariance) / num_channels
        self._penalized = covariance + penalty * np.eye(num_channels)

    def _photos(self, description: str) -> Iterator[Tuple[int, np.ndarray]]:
        """Index of each photo and its feature vectors f32[h*w,C]."""
        num_photos, *_, num_channels = self._features.shape
        for index in tqdm.tqdm(range(num_photos), desc=description, unit='photo'):
            yield index, np.asarray(self._features[index], np.float32).reshape(-1, num_channels)

    def fit(self, targets: np.ndarray) -> Tuple[np.ndarray, float]:
        """Weights f32[C] and offset for targets f32[N,h,w]."""
        mean = targets.mean(dtype=np.float64)
        products = sum(rows.T @ (targets[index].reshape(-1) - np.float32(mean))
                       for index, rows in self._photos('Agreeing on saliency: fit'))
        weights = np.linalg.solve(self._penalized, products.astype(np.float64))
        return weights.astype(np.float32), float(mean - self._mean @ weights)

    def predict(self, weights: np.ndarray, offset: float) -> np.ndarray:
        """Predicted maps f32[N,h,w]."""
        found = np.empty(self._features.shape[:3], np.float32)
        for index, rows in self._photos('Agreeing on saliency: maps'):
            found[index] = (rows @ weights + np.float32(offset)).reshape(found.shape[1:])
        return found
