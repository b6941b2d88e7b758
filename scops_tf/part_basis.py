"""The part basis W (§3.4): non-negative rows, one per part, and where it starts from."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np
import tensorflow as tf

from scops_tf import clustering, factorization, feature_rows

METHODS = ('nmf', 'kmeans', 'random')

# Pixels that factors or clusters are fitted to; more take longer and change little.
_MAX_ROWS = 40_000
# Least saliency of the pixels looked at: the others are surely no part of an object, or of none.
_LEAST_SALIENCY = {'nmf': 0.05, 'kmeans': 0.5}
# Share of all pixels whose activation of a factor may be above 1.
_SATURATED = 0.01
# Of the mean of the basis. A rectified variable at 0 has no gradient and would stay there for good.
_FLOOR = 1e-3


class PartBasis(tf.Module):
    """W = relu(raw): parts cannot cancel each other.

    Args:
      num_parts: K.
      num_channels: C of the reference features.
      seed: Of |N(0, 1)|, which `raw` starts from.
      with_positions: Whether `start_positions` is kept.

    Attributes:
      raw: f32[K,C]. The trained variable.
      start_positions: f32[K,2] or None. Of the clusters that `raw` started from, as of
        `object_positions` and their weight; zeros until they are known. Not trained.
    """

    def __init__(self, num_parts: int, num_channels: int, *, seed: int = 0,
                 with_positions: bool = False) -> None:
        super().__init__(name='part_basis')
        if num_parts < 1 or num_channels < 1:
            raise ValueError('`num_parts` and `num_channels` must be at least 1; got '
                             f'{num_parts} and {num_channels}.')
        start = tf.abs(tf.random.stateless_normal([num_parts, num_channels], [seed, 0]))
        self.raw = tf.Variable(start, name='part_basis')
        self.start_positions = (tf.Variable(
            tf.zeros([num_parts, 2]), trainable=False, name='start_positions')
            if with_positions else None)

    def __call__(self) -> tf.Tensor:
        """W: f32[K,C], at least 0."""
        return tf.nn.relu(self.raw)


def object_positions(saliency: np.ndarray) -> np.ndarray:
    """Where cells lie on the object: from the saliency's centre, in units of its spread.

    Args:
      saliency: f32[N,h,w] in [0, 1].

    Returns:
      f32[N,h,w,2]. (x, y); the spread is the root of the mean variance of both axes. Zeros for a
      photo without saliency.
    """
    grid = np.stack(np.meshgrid(*map(np.arange, saliency.shape[:0:-1])), axis=-1).astype(np.float32)
    mass = np.maximum(saliency.sum(axis=(1, 2)), np.finfo(np.float32).tiny)[:, None, None, None]
    weights = saliency[..., np.newaxis] / mass
    offsets = grid - (weights * grid).sum(axis=(1, 2), keepdims=True)
    variance = (weights * offsets ** 2).sum(axis=(1, 2, 3), keepdims=True) / 2
    return np.divide(offsets, np.sqrt(variance), out=np.zeros_like(offsets), where=variance > 0)


def initial_basis(features: Any, saliency: Optional[np.ndarray], num_parts: int, *,
                  method: str = 'nmf', positions: Optional[np.ndarray] = None, seed: int = 0
                  ) -> np.ndarray:
    """A basis that explains the features of objects.

    * 'nmf': non-negative factors of the features times saliency (Collins et al., ECCV 2018), so
      scaled that 1 % of all pixels have an activation above 1: soft-max responses can then
      reconstruct the features.
    * 'kmeans': centroids of the features of salient pixels.
    * 'random': |N(0, 1)|, as the paper's authors have it.

    At most 40 000 pixels, drawn at random, are looked at.

    Args:
      features: float[N,h,w,C]. At least 0; scaled as in training, as of `feature_rows.sample`.
      saliency: f32[N,h,w] in [0, 1], or None for ones.
      num_parts: K.
      method: One of `METHODS`.
      positions: f32[N,h,w,P]. More channels for 'kmeans' to cluster by, of any sign.
      seed: Of the draw and of the method.

    Returns:
      f32[K,C], positive; with `positions` f32[K,C+P], those of the centroids behind. In the order
      of what parts explain (NMF) or cover (k-means), most first.

    Raises:
      ValueError: If `method` is unknown, shapes differ, or features or saliency hold too little for
        K parts.
    """
    if method not in METHODS:
        raise ValueError(f'`method` must be one of {", ".join(METHODS)}; got {method!r}.')
    if positions is not None and method != 'kmeans':
        raise ValueError(f"`positions` must be None unless `method` is 'kmeans'; got {method!r}.")
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
    rows = feature_rows.sample(features, generator, max_rows=_MAX_ROWS, eligible=eligible)
    if method == 'kmeans':
        vectors = rows.features
        if positions is not None:
            of_rows = positions.reshape(len(weights), -1, positions.shape[-1])[
                rows.photo, rows.cell]
            vectors = np.concatenate([vectors, of_rows], axis=-1)
        centers = clustering.cluster(vectors, num_parts, num_starts=4, seed=seed).centers
        basis, of_centers = np.maximum(centers[:, :channels], 0), centers[:, channels:]
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
    basis = np.maximum(basis, _FLOOR * basis.mean())
    if positions is not None:
        basis = np.concatenate([basis, of_centers], axis=-1)
    return basis.astype(np.float32)
