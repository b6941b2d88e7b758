"""Trivial baselines: landmark errors of centres that need no part discovery, for comparison."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scops_tf.evaluation.contingency import MetricError
from scops_tf.evaluation.landmark_regression import RegressionScores, regress
from scops_tf.evaluation.landmark_split import Split, checked


def midpoint_centers(sizes: np.ndarray) -> np.ndarray:
    """Mid-points f64[N,1,2] of images of sizes f[N,2], in pixels from the first pixel's centre."""
    return (np.asarray(sizes, np.float64)[:, None] - 1) / 2


def random_centers(num_images: int, like: np.ndarray, *,
                   seed: int | Sequence[int]) -> np.ndarray:
    """Random centres f64[N,K,2], uniform in the bounding rectangle of `like` f[M,K,2]."""
    low, high = np.nanmin(like, (0, 1)), np.nanmax(like, (0, 1))
    return np.random.default_rng(seed).uniform(low, high, (num_images, like.shape[1], 2))


def keypoint_centers(split: Split, number: int) -> np.ndarray:
    """One true key point as the only centre, f64[N,1,2]; NaN if it is invisible."""
    split = checked(split, 'given')
    return np.where(split.visible[:, [number], None], split.landmarks[:, [number]], np.nan)


def centroid_centers(split: Split) -> np.ndarray:
    """Mean of the visible true key points as the only centre, f64[N,1,2]; NaN without any."""
    split = checked(split, 'given')
    totals = np.where(split.visible[..., None], split.landmarks, 0.0).sum(1, keepdims=True)
    counts = split.visible.sum(1)[:, None, None]
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def baselines(fit: Split, test: Split, *, protocol: str = 'scops', eyes: tuple[int, int] = (0, 1),
              sizes: tuple[np.ndarray, np.ndarray] | None = None, keypoint: int | None = None,
              seed: int = 0) -> dict[str, RegressionScores]:
    """Scores of centres that need no part discovery, by the same protocol.

    Args:
      fit: See `regress`. Its centres give the number and the range of the random centres.
      test: See `regress`.
      protocol: See `regress`.
      eyes: See `regress`.
      sizes: Sizes f[N,2] of the fit images and f[M,2] of the test images, in the frame and order of
        the coordinates. None leaves out the baseline of the image mid-point.
      keypoint: Number of the true key point used alone; None for the one that most fit images show.
      seed: Seed of the random centres.

    Returns:
      Scores by the name of the baseline.

    Raises:
      MetricError: See `regress`; also if there is no landmark `keypoint`.
    """
    regress(fit, test, protocol=protocol, eyes=eyes)  # Raises its errors early.
    fit, test = checked(fit, 'fit'), checked(test, 'test')
    keypoint = int(fit.visible.sum(0).argmax()) if keypoint is None else keypoint
    if not 0 <= keypoint < fit.landmarks.shape[1]:
        raise MetricError(f'`keypoint` must be the number of a landmark, 0 to '
                          f'{fit.landmarks.shape[1] - 1}; got {keypoint}.')

    def constant(split: Split) -> np.ndarray:
        # One point in the frame of the regression; for 'huang' in the frame of the landmarks.
        return (split.boxes[:, None, :2] + split.boxes[:, None, 2:] / 2 if protocol == 'cub'
                else np.ones((len(split.centers), 1, 2)))

    rows = {'constant mean landmark': (constant(fit), constant(test))}
    if sizes is not None:
        rows['image mid-point'] = midpoint_centers(sizes[0]), midpoint_centers(sizes[1])
    rows['random centres'] = tuple(
        random_centers(len(split.centers), fit.centers, seed=[seed, stream])
        for stream, split in enumerate((fit, test)))
    rows[f'true key point {keypoint} alone'] = (keypoint_centers(fit, keypoint),
                                                keypoint_centers(test, keypoint))
    rows['centroid of the true key points'] = centroid_centers(fit), centroid_centers(test)
    return {name: regress(fit._replace(centers=of_fit), test._replace(centers=of_test),
                          protocol=protocol, eyes=eyes)
            for name, (of_fit, of_test) in rows.items()}
