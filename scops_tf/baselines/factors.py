"""Deep feature factorization (Collins, Achanta & Süsstrunk, ECCV 2018).

The rows of V are the non-negative feature vectors of all photos. They are factored as V = A W with
A, W >= 0. The rows of W are part-like directions, and A holds the activation of each direction in
each cell. For a new photo W is fixed and A is found.

A factorization does not tell which factors show the object. Here this is found without labels:
there are K + M factors, and the M factors whose activations lie in the least salient cells are
background. So K parts remain. M = 0 sets no factor aside; then nearly every cell belongs to a part.
"""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from scops_tf.features import factorization, sampling


class LabelledFactors(NamedTuple):
    """Factors of parts and of the background, each in the order of the share of V they explain.

    Attributes:
      parts: f32[K,C], at least 0.
      background: f32[M,C], at least 0.
    """

    parts: np.ndarray
    background: np.ndarray


def fit(features: Any, saliency_maps: Optional[np.ndarray], num_parts: int, *,
        num_background: int = 2, max_rows: int = sampling.MAX_ROWS, seed: int = 0
        ) -> LabelledFactors:
    """Factors of the reference features of a collection.

    If the collection has more than `max_rows` vectors (390 photos of 16x16 cells), a random sample
    of so many is factored, which bounds the memory. Each factor is scaled so that the 99th
    percentile of its activation is 1.

    The salience of a factor is the mean of the saliency D over the cells, weighted by its
    activation: Σ a D / Σ a. The `num_background` factors of least salience are background; of equal
    ones those that explain more. Without saliency D is 0 in the cells at the photos' borders and 1
    in all others.

    Args:
      features: f[N,h,w,C], at least 0. Reference features; see `sampling.sample`.
      saliency_maps: f[N,h,w] in [0, 1], or None.
      num_parts: K.
      num_background: M. K + M is at most C.
      max_rows: Largest number of vectors that are read into memory.
      seed: Seed of the sample and of the factorization's start.

    Raises:
      ValueError: If a number of factors or the shape of the maps is wrong, a feature is negative,
        or there are fewer channels or vectors than factors.
    """
    if num_parts < 1 or num_background < 0:
        raise ValueError('`num_parts` must be at least 1 and `num_background` at least 0; got '
                         f'{num_parts} and {num_background}.')
    if saliency_maps is not None and saliency_maps.shape != tuple(features.shape[:3]):
        raise ValueError(f'`saliency_maps` must be of shape {tuple(features.shape[:3])}, as '
                         f'the features are; got {tuple(saliency_maps.shape)}.')
    rows = sampling.sample(features, np.random.default_rng([seed, 0]), max_rows=max_rows)
    found = factorization.factorize(rows.features, num_parts + num_background, seed=seed)
    if saliency_maps is None:
        inside = np.zeros(features.shape[1:3], np.float32)
        inside[1:-1, 1:-1] = 1
        saliency = inside.ravel()[rows.cell]
    else:
        saliency = sampling.values_at(rows, saliency_maps)
    salience = saliency @ found.activations / np.maximum(found.activations.sum(axis=0), 1e-12)
    is_background = np.zeros(len(salience), bool)
    is_background[np.argsort(salience, kind='stable')[:num_background]] = True
    return LabelledFactors(found.factors[~is_background], found.factors[is_background])


class DeepFeatureFactorization(tf.Module):
    """Part responses by projection on the factors.

    A part's response is its activation less the largest activation of a background factor, and at
    least 0. So a cell belongs to no part where a background factor is the strongest, and without
    background factors the responses are the activations. They are divided by one number for each
    photo, so that they sum to at most 1 in every cell; the rest up to 1 is background. This number
    changes neither labels nor part centres, since both depend on a part's response only relative to
    its values elsewhere in the photo.

    Args:
      reference_features: Function from photos f32[B,H,W,3] in [0, 1] to features f32[B,h,w,C], at
        least 0.
      factors: Result of `fit`.
      num_sweeps: Number of sweeps; see `factorization.project`.
    """

    def __init__(self, reference_features: Callable[[tf.Tensor], tf.Tensor],
                 factors: LabelledFactors, *, num_sweeps: int = 100) -> None:
        super().__init__()
        self.reference_features = reference_features
        self.factors = tf.Variable(np.concatenate([factors.parts, factors.background]),
                                   trainable=False, dtype=tf.float32, name='factors')
        self._num_parts = len(factors.parts)
        self._num_sweeps = num_sweeps

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """Part responses f32[B,h,w,K+1] to photos f32[B,H,W,3], RGB in [0, 1]."""
        features = tf.cast(self.reference_features(images), tf.float32)
        activations = factorization.project(
            features, self.factors, num_sweeps=self._num_sweeps)
        parts, background = tf.split(
            activations, [self._num_parts, activations.shape[-1] - self._num_parts], axis=-1)
        # The maximum over no factors is minus infinity.
        strongest = tf.nn.relu(tf.reduce_max(background, axis=-1, keepdims=True))
        parts = tf.nn.relu(parts - strongest)
        sums = tf.reduce_sum(parts, axis=-1, keepdims=True)
        largest = tf.reduce_max(sums, axis=(1, 2), keepdims=True)
        divisor = tf.maximum(largest, 1.0)
        return tf.concat([1.0 - sums / divisor, parts / divisor], axis=-1)
