"""Non-negative factorization V = A W of feature vectors: factors W and activations A."""
from __future__ import annotations

from typing import Tuple
import warnings

from absl import logging
import numpy as np
import tensorflow as tf


def factorize(rows: np.ndarray, num_parts: int, *, quantile: float = 0.99, seed: int = 0,
              max_iterations: int = 400) -> np.ndarray:
    """Factors W of least ||V - A W||² with A, W >= 0, by scikit-learn's coordinate descent.

    Args:
      rows: f32[n,C] >= 0. V.
      num_parts: K, at most n and C.
      quantile: Each factor is so scaled that this quantile of its activations is 1; where that is
        0, the largest one.
      seed: Of the start (NNDSVD, zeros replaced by the mean).
      max_iterations: Of the descent; it is logged if it has not converged by then.

    Returns:
      f32[K,C] >= 0. In the order of what they explain, most first.

    Raises:
      ValueError: If a value is negative, or there are fewer channels or vectors than parts.
    """
    from sklearn import decomposition, exceptions  # Here, since it takes seconds.

    if not 1 <= num_parts <= min(rows.shape):
        raise ValueError(f'`num_parts` must lie in [1, {min(rows.shape)}], the least of the '
                         f'numbers of feature vectors, {len(rows)}, and channels, {rows.shape[1]}; '
                         f'got {num_parts}: give more photos, or take fewer parts.')
    if rows.min() < 0:
        raise ValueError(f'`rows` must be at least 0; the least is {rows.min():.3g}.')
    model = decomposition.NMF(num_parts, init='nndsvda', max_iter=max_iterations,
                              random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
        activations = model.fit_transform(rows)
    if model.n_iter_ >= max_iterations:
        logging.info('The factorization stopped after %d iterations, before it had converged.',
                     max_iterations)
    explained = activations.sum(axis=0) * model.components_.sum(axis=1)
    scale = np.quantile(activations, quantile, axis=0)
    # A factor of fewer vectors than that.
    scale = np.where(scale > 0, scale, activations.max(axis=0))
    factors = model.components_ * scale[:, np.newaxis]
    return factors[np.argsort(-explained, kind='stable')].astype(np.float32)


def project(features: tf.Tensor, factors: tf.Tensor, *, num_sweeps: int = 100) -> tf.Tensor:
    """Activations of fixed factors: argmin over A >= 0 of ||V - A W||².

    Coordinate descent from the rectified least-squares solution: each sweep sets one activation
    after the other to its best value given the rest. Its fixed points are the solutions. It is the
    faster the less the factors are alike: with those of VGG19's features on birds, whose cosines
    are at most 0.41, it is within 1e-6 of scikit-learn's `NMF.transform` after 10 sweeps; with
    random factors of cosines up to 0.9 within 1e-3 after 100.

    Args:
      features: f32[...,C].
      factors: f32[K,C] >= 0; the activation of a factor of zeros is 0.
      num_sweeps: At least 1.

    Returns:
      f32[...,K] >= 0.
    """
    factors = tf.convert_to_tensor(factors)
    num_factors = factors.shape[0]
    gram = tf.matmul(factors, factors, transpose_b=True)
    products = tf.tensordot(features, factors, [[-1], [1]])
    own = tf.linalg.diag_part(gram)
    others = gram - tf.linalg.diag(own)

    def sweep(activations: tf.Tensor) -> Tuple[tf.Tensor]:
        for k in range(num_factors):
            rest = products[..., k] - tf.tensordot(activations, others[:, k], 1)
            best = tf.nn.relu(tf.math.divide_no_nan(rest, own[k]))
            chosen = tf.one_hot(k, num_factors)
            activations = activations * (1.0 - chosen) + best[..., tf.newaxis] * chosen
        return (activations,)

    start = tf.nn.relu(tf.tensordot(products, tf.linalg.pinv(gram), 1))
    return tf.while_loop(lambda _: True, sweep, (start,), maximum_iterations=num_sweeps)[0]
