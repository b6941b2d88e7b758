"""Where the part basis W starts from: factors or clusters of the features of objects."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np

from scops_tf.features import clustering, factorization, sampling

METHODS = ('nmf', 'kmeans', 'random')

# Pixels that factors or clusters are fitted to; more take longer and change little.
_MAX_ROWS = 40_000

# Least saliency of the pixels looked at: the others are surely no part of an object, or of none.
_LEAST_SALIENCY = {'nmf': 0.05, 'kmeans': 0.5}

# Share of all pixels whose activation of a factor may be above 1.
_SATURATED = 0.01

# Of the mean of the basis. A rectified variable at 0 has no gradient and would stay there for good.
_FLOOR = 1e-3


def initial_basis(features: Any, saliency: Optional[np.ndarray], num_parts: int, *,
                  method: str = 'nmf', seed: int = 0) -> np.ndarray:
    """A basis that explains the features of objects.

    * 'nmf': non-negative factors of the features times saliency (Collins et al., ECCV 2018), so
      scaled that 1 % of all pixels have an activation above 1: soft-max responses can then
      reconstruct the features.
    * 'kmeans': centroids of the features of salient pixels.
    * 'random': |N(0, 1)|, as the paper's authors have it.

    At most 40 000 pixels, drawn at random, are looked at.

    Args:
      features: float[N,h,w,C]. At least 0; scaled as in training, as of `sampling.sample`.
      saliency: f32[N,h,w] in [0, 1], or None for ones.
      num_parts: K.
      method: One of `METHODS`.
      seed: Of the draw and of the method.

    Returns:
      f32[K,C], positive. In the order of what parts explain (NMF) or cover (k-means), most first.

    Raises:
      ValueError: If `method` is unknown, shapes differ, or features or saliency hold too little for
        K parts.
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
        saliency_of_rows = weights.reshape(len(weights), -1)[rows.photo, rows.cell]
        masked = rows.features * saliency_of_rows[:, np.newaxis]
        # Pixels outside the saliency map have activation 0 and count among all. A place to start
        # from need not be the optimum.
        basis = factorization.factorize(
            masked, num_parts, quantile=max(1.0 - _SATURATED / (salient / weights.size), 0.5),
            seed=seed, max_iterations=200)
    if not np.all(basis.any(axis=1)):
        raise ValueError(f'`features` must hold {num_parts} different patterns, one per part; they '
                         'hold fewer: take fewer parts or more photos.')
    return np.maximum(basis, _FLOOR * basis.mean()).astype(np.float32)
