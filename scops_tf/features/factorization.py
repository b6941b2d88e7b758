"""Non-negative matrix factorization V = A W of feature vectors: factors W and activations A."""
from __future__ import annotations

from typing import NamedTuple, Tuple
import warnings

from absl import logging
import numpy as np
import tensorflow as tf


class Factorization(NamedTuple):
    """Factors and their activations, in the order of the share of V that they explain.

    Attributes:
      factors: f32[K,C], at least 0. W; the factor that explains most is the first.
      activations: f32[n,K], at least 0. A.
    """

    factors: np.ndarray
    activations: np.ndarray


def factorize(rows: np.ndarray, num_factors: int, *, quantile: float = 0.99, seed: int = 0,
              max_iterations: int = 400) -> Factorization:
    """Factors W that minimize ||V - A W||² with A, W >= 0, by scikit-learn's coordinate descent.

    Args:
      rows: f32[n,C], at least 0. Feature vectors V.
      num_factors: K, at most n and C.
      quantile: Quantile of each factor's activations that is scaled to 1. If it is 0, the largest
        activation is scaled to 1.
      seed: Seed of the start (NNDSVD, zeros replaced by the mean).
      max_iterations: Largest number of iterations. Stopping there without convergence is logged.

    Raises:
      ValueError: If a value is negative, or there are fewer channels or vectors than factors.
    """
    from sklearn import decomposition, exceptions  # Its import takes seconds.

    if not 1 <= num_factors <= min(rows.shape):
        raise ValueError(f'`num_factors` must lie in [1, {min(rows.shape)}], the least of the '
                         f'numbers of feature vectors, {len(rows)}, and channels, {rows.shape[1]}; '
                         f'got {num_factors}: give more photos, or take fewer parts.')
    if rows.min() < 0:
        raise ValueError(f'`rows` must be at least 0; the least is {rows.min():.3g}.')
    model = decomposition.NMF(num_factors, init='nndsvda', max_iter=max_iterations,
                              random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
        activations = model.fit_transform(rows)
    if model.n_iter_ >= max_iterations:
        logging.info('The factorization stopped after %d iterations, before it had converged.',
                     max_iterations)
    explained = activations.sum(axis=0) * model.components_.sum(axis=1)
    scale = np.quantile(activations, quantile, axis=0)
    # The quantile is 0 if too few vectors have the factor.
    scale = np.where(scale > 0, scale, activations.max(axis=0))
    order = np.argsort(-explained, kind='stable')
    factors = model.components_ * scale[:, np.newaxis]
    # A factor of zeros is never active.
    activations = np.divide(activations, scale, out=np.zeros_like(activations), where=scale > 0)
    return Factorization(factors[order].astype(np.float32),
                         activations[:, order].astype(np.float32))


def project(features: tf.Tensor, factors: tf.Tensor, *, num_sweeps: int = 100) -> tf.Tensor:
    """Activations of fixed factors: argmin over A >= 0 of ||V - A W||².

    This is a coordinate descent that starts from the rectified least-squares solution. Each sweep
    sets one activation after another to its best value given the others. The fixed points are the
    solutions. Convergence is faster if the factors are less alike. With factors of VGG19's features
    on birds, whose cosines are at most 0.41, it is within 1e-6 of scikit-learn's `NMF.transform`
    after 10 sweeps; with random factors of cosines up to 0.9 it is within 1e-3 after 100 sweeps.

    Args:
      features: f32[...,C]. Feature vectors V.
      factors: f32[K,C], at least 0. W; the activation of a factor of zeros is 0.
      num_sweeps: Number of sweeps, at least 1.

    Returns:
      f32[...,K], at least 0. Activations A.
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
