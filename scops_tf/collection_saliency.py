"""Saliency maps that agree over a collection: what its photos' maps have in common (§3.5)."""
from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import tqdm

# Ridge penalty as a share of the mean eigenvalue of the features' covariance.
_RIDGE = 1e-2
# Of the logistic function that makes a map of the predicted saliency.
_TEMPERATURE = 0.1


def agree(features: Any, saliency_maps: np.ndarray, *, num_rounds: int = 3) -> np.ndarray:
    """Saliency maps as far as they are a linear function of the features, the same for all photos.

    A map of one photo takes a pier for the bird on it, or the bird for the sky. Over a collection
    such errors are of ever other things, the object is always the same. So saliency is regressed
    on the features of all cells (ridge regression), and the prediction, through a logistic function
    about the threshold that keeps the foreground's mean share, is the next round's target.

    Args:
      features: f[N,h,w,C], in memory or anything that gives f[h,w,C] for the index of a photo; read
        twice per round, one photo at a time.
      saliency_maps: f32[N,h,w] in [0, 1].
      num_rounds: Regressions, at least 1.

    Returns:
      f32[N,h,w] in (0, 1).

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
                         f'{targets.flat[0]}: look at the maps, or set `Data.saliency_agreement` '
                         'to 0.')
    share = targets.mean()
    for _ in range(num_rounds):
        weights, offset = _ridge(features, targets)
        predicted = np.stack([np.asarray(features[index], np.float32) @ weights + offset
                              for index in range(len(targets))])
        threshold = np.quantile(predicted, 1 - share)
        targets = 1 / (1 + np.exp((threshold - predicted) / _TEMPERATURE))
    return targets.astype(np.float32)


def _ridge(features: Any, targets: np.ndarray) -> Tuple[np.ndarray, float]:
    """Weights f32[C] and offset of the ridge regression of targets f32[N,h,w] on the features."""
    num_channels = features.shape[-1]
    gram = np.zeros((num_channels, num_channels))
    moments, products, count = np.zeros(num_channels), np.zeros(num_channels), targets.size
    for index in tqdm.tqdm(range(len(targets)), desc='Agreeing on saliency', unit='photo'):
        rows = np.asarray(features[index], np.float32).reshape(-1, num_channels)
        gram += rows.T @ rows
        moments += rows.sum(axis=0, dtype=np.float64)
        products += rows.T @ targets[index].reshape(-1)
    if not np.all(np.isfinite(gram)):
        raise ValueError('`features` must be finite; got infinite or undefined values.')
    mean, mean_target = moments / count, targets.mean(dtype=np.float64)
    covariance = gram - count * np.outer(mean, mean)
    penalty = _RIDGE * np.trace(covariance) / num_channels
    weights = np.linalg.solve(covariance + penalty * np.eye(num_channels),
                              products - count * mean * mean_target)
    return weights.astype(np.float32), float(mean_target - mean @ weights)
