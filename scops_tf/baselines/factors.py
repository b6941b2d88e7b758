"""Deep feature factorization (Collins, Achanta & Süsstrunk, ECCV 2018).

The rows of V are the non-negative feature vectors of all photos. They are factored as V = A W with
A, W >= 0. The rows of W are K part-like directions, and A holds the activation of each direction in
each cell. For a new photo W is fixed and A is found. No factor is reserved for the background.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np
import tensorflow as tf

from scops_tf.features import factorization, sampling


def fit(features: Any, num_parts: int, *, max_rows: int = sampling.MAX_ROWS, seed: int = 0
        ) -> np.ndarray:
    """Factors of the reference features of a collection.

    If the collection has more than `max_rows` vectors (390 photos of 16x16 cells), a random sample
    of so many is factored, which bounds the memory.

    Args:
      features: f[N,h,w,C], at least 0. Reference features; see `sampling.sample`.
      num_parts: K, at most C.
      max_rows: Largest number of vectors that are read into memory.
      seed: Seed of the sample and of the factorization's start.

    Returns:
      f32[K,C], at least 0. Each factor is scaled so that the 99th percentile of its activation is
      1. Factors are ordered by the share of V that they explain, largest first.

    Raises:
      ValueError: If a feature is negative, or there are fewer channels or vectors than parts.
    """
    rows = sampling.sample(features, np.random.default_rng([seed, 0]), max_rows=max_rows)
    return factorization.factorize(rows.features, num_parts, seed=seed)


class DeepFeatureFactorization(tf.Module):
    """Part responses by projection on the factors.

    The activations of a photo are divided by one number, so that they sum to at most 1 in every
    cell; the rest up to 1 is background. This number changes neither labels nor part centres, since
    both depend on a part's response only relative to its values elsewhere in the photo.

    Args:
      reference_features: Function from photos f32[B,H,W,3] in [0, 1] to features f32[B,h,w,C], at
        least 0.
      factors: f32[K,C]. Result of `fit`.
      num_sweeps: Number of sweeps; see `factorization.project`.
    """

    def __init__(self, reference_features: Callable[[tf.Tensor], tf.Tensor], factors: np.ndarray, *,
                 num_sweeps: int = 100) -> None:
        super().__init__()
        self.reference_features = reference_features
        self.factors = tf.Variable(factors, trainable=False, dtype=tf.float32, name='factors')
        self._num_sweeps = num_sweeps

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """Part responses f32[B,h,w,K+1] to photos f32[B,H,W,3], RGB in [0, 1]."""
        features = tf.cast(self.reference_features(images), tf.float32)
        activations = factorization.project(
            features, self.factors, num_sweeps=self._num_sweeps)
        sums = tf.reduce_sum(activations, axis=-1, keepdims=True)
        largest = tf.reduce_max(sums, axis=(1, 2), keepdims=True)
        divisor = tf.maximum(largest, 1.0)
        return tf.concat([1.0 - sums / divisor, activations / divisor], axis=-1)
