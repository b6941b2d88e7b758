"""The starting part basis W: factors or clusters of the features of objects."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np

from scops_tf.features import clustering, factorization, sampling

METHODS = ('nmf', 'kmeans', 'random')

# Largest number of pixels that are fitted; more pixels take longer and change little.
_MAX_ROWS = 40_000

# Least saliency of the pixels that are fitted, by method. For 'nmf', which weights pixels by their
# saliency, the others hardly count; for 'kmeans' they are more likely background.
_LEAST_SALIENCY = {'nmf': 0.05, 'kmeans': 0.5}

# Share of all pixels in which the activation of a factor may be above 1.
_SATURATED = 0.01

# Least value of the basis, as a share of its mean. A rectified variable at 0 has no gradient and
# would stay at 0.
_FLOOR = 1e-3


def initial_basis(features: Any, saliency: Optional[np.ndarray], num_parts: int, *,
                  method: str = 'nmf', seed: int = 0) -> np.ndarray:
    """A part basis that explains the features of objects.

    * 'nmf': Rows are non-negative factors of the features times saliency (Collins et al., ECCV
      2018). They are scaled so that 1 % of all pixels have an activation above 1; then soft-max
      responses can reconstruct the features.
    * 'kmeans': Rows are k-means centroids of the features of salient pixels.
    * 'random': Rows are drawn from |N(0, 1)|, as in the authors' code.

    A random sample of at most 40 000 pixels is used.

    Args:
      features: float[N,h,w,C]. V, at least 0, scaled as in training; see `sampling.sample`.
      saliency: f32[N,h,w] in [0, 1], or None for ones.
      num_parts: K.
      method: One of `METHODS`.
      seed: Seed of the sample and of the method.

    Returns:
      f32[K,C], positive. Parts are ordered by the share of V that they explain (NMF) or by the
      number of pixels (k-means), largest first.

    Raises:
      ValueError: If `method` is unknown, shapes differ, or there are fewer than K channels, salient
        pixels or different patterns.
    """
    if method not in METHODS:
        raise ValueError(f'`method` must be one of {", ".join(METHODS)}; got {method!r}.')
    channels = features.shape[-1]
    generator = np.random.default_rng([seed, num_parts])
    if method == 'random':
        return np.abs(generator.standard_normal((num_parts, channels))).astype(np.float32)
    weights = (np.ones(features.shape[:3], np.float32) if saliency is None
               else np.asarray(saliency, np.float32))
    if weights.shape != tuple(features.shape[:3]):
        raise ValueError(f'`saliency` must be of the shape {tuple(features.shape[:3])} of the '
                         f'features; got {weights.shape}.')
    eligible = weights > _LEAST_SALIENCY[method]
    salient = np.count_nonzero(eligible)
    if not num_parts <= min(salient, channels):
        raise ValueError(
            f'`num_parts` must be at most the number of channels, {channels}, and of salient '
            f'pixels, {salient}; got {num_parts}: look at the saliency maps, or take fewer.')
    rows = sampling.sample(features, generator, max_rows=_MAX_ROWS, eligible=eligible)
    if method == 'kmeans':
        basis = clustering.cluster(
            rows.features, num_parts, num_starts=4, seed=seed).centers
        basis = np.maximum(basis, 0)
    else:
        saliency_of_rows = sampling.values_at(rows, weights)
        masked = rows.features * saliency_of_rows[:, np.newaxis]
        # Pixels outside the saliency map have activation 0 and count as pixels in the quantile. A
        # start need not be the optimum, so the number of iterations is limited.
        basis = factorization.factorize(
            masked, num_parts, quantile=max(1.0 - _SATURATED / (salient / weights.size), 0.5),
            seed=seed, max_iterations=200).factors
    if not np.all(basis.any(axis=1)):
        raise ValueError(f'`features` must hold {num_parts} different patterns, one per part; they '
                         'hold fewer: take fewer parts or more photos.')
    return np.maximum(basis, _FLOOR * basis.mean()).astype(np.float32)
