"""The part basis W (§3.4): non-negative rows, one per part, and where it starts from."""
from __future__ import annotations

from typing import Any, Optional
import warnings

import numpy as np
import tensorflow as tf

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

    Attributes:
      raw: f32[K,C]. The trained variable.
    """

    def __init__(self, num_parts: int, num_channels: int, *, seed: int = 0) -> None:
        super().__init__(name='part_basis')
        if num_parts < 1 or num_channels < 1:
            raise ValueError('`num_parts` and `num_channels` must be at least 1; got '
                             f'{num_parts} and {num_channels}.')
        start = tf.abs(tf.random.stateless_normal([num_parts, num_channels], [seed, 0]))
        self.raw = tf.Variable(start, name='part_basis')

    def __call__(self) -> tf.Tensor:
        """W: f32[K,C], at least 0."""
        return tf.nn.relu(self.raw)


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
      features: float[N,h,w,C]. At least 0; scaled as in training. An array or a memory map, of
        which only the pixels drawn are read.
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
    weights = np.ones(features.shape[:3], np.float32) if saliency is None else np.asarray(saliency)
    if weights.shape != tuple(features.shape[:3]):
        raise ValueError(f'`saliency` must be of the shape {tuple(features.shape[:3])} of the '
                         f'features; got {weights.shape}.')
    weights = weights.reshape(-1).astype(np.float32)
    salient = np.flatnonzero(weights > _LEAST_SALIENCY[method])
    if not num_parts <= min(len(salient), channels):
        raise ValueError(
            f'`num_parts` must be at most the number of channels, {channels}, and of salient '
            f'pixels, {len(salient)}; got {num_parts}: look at the saliency maps, or take fewer.')
    chosen = salient
    if len(salient) > _MAX_ROWS:
        chosen = np.sort(generator.choice(salient, _MAX_ROWS, replace=False))
    rows = np.asarray(features.reshape(-1, channels)[chosen], np.float32)
    if not np.all(np.isfinite(rows)) or rows.min() < 0:
        raise ValueError('`features` must be finite and at least 0; got values from '
                         f'{rows.min()} to {rows.max()}.')
    if method == 'kmeans':
        basis = _centroids(rows, num_parts, seed)
    else:
        # Pixels outside the saliency map have activation 0 and count among all.
        share = len(salient) / len(weights)
        basis = _factors(rows * weights[chosen, np.newaxis], num_parts, seed,
                         quantile=max(1.0 - _SATURATED / share, 0.5))
    if not np.all(basis.any(axis=1)):
        raise ValueError(f'`features` must hold {num_parts} different patterns, one per part; they '
                         'hold fewer: take fewer parts or more photos.')
    return np.maximum(basis, _FLOOR * basis.mean()).astype(np.float32)


def _factors(rows: np.ndarray, num_parts: int, seed: int, *, quantile: float) -> np.ndarray:
    from sklearn import decomposition, exceptions  # Here, since it takes seconds.

    model = decomposition.NMF(num_parts, init='nndsvda', random_state=seed, max_iter=200)
    with warnings.catch_warnings():
        # A place to start from need not be the optimum.
        warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
        activations = model.fit_transform(rows)
    explained = activations.sum(axis=0) * model.components_.sum(axis=1)
    scale = np.quantile(activations, quantile, axis=0)
    # A factor of fewer pixels than that.
    scale = np.where(scale > 0, scale, activations.max(axis=0))
    return (model.components_ * scale[:, np.newaxis])[np.argsort(-explained, kind='stable')]


def _centroids(rows: np.ndarray, num_parts: int, seed: int) -> np.ndarray:
    from sklearn import cluster  # As above.
    import threadpoolctl

    # Threads add up in no fixed order; with one the centroids are the same to the last bit.
    with threadpoolctl.threadpool_limits(1, user_api='openmp'):
        model = cluster.KMeans(num_parts, n_init=4, random_state=seed).fit(rows)
    sizes = np.bincount(model.labels_, minlength=num_parts)
    return np.maximum(model.cluster_centers_, 0)[np.argsort(-sizes, kind='stable')]


def project(features: Any, basis: np.ndarray) -> np.ndarray:
    """Activations A >= 0 of least ||V - A W||², with W fixed.

    Args:
      features: float[N,h,w,C]. At least 0. One photo at a time is read.
      basis: f32[K,C]. W, at least 0.

    Returns:
      f32[N,h,w,K]. At least 0; of a part whose row of W is 0, 0.
    """
    from sklearn import decomposition, exceptions  # As above.

    basis = np.asarray(basis, np.float32)
    num_parts, channels = basis.shape
    found = np.empty((*features.shape[:3], num_parts), np.float32)
    for index in range(len(found)):
        rows = np.asarray(features[index], np.float32).reshape(-1, channels)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
            activations, _, _ = decomposition.non_negative_factorization(
                rows, H=basis, n_components=num_parts, init='custom', update_H=False, tol=1e-6)
        found[index] = activations.reshape(found.shape[1:])
    return found
