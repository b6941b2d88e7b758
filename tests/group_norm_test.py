"""Group normalization is that of Keras, without a mask."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import group_norm


def _results(layer: tf.keras.layers.Layer, maps: np.ndarray) -> list:
    """Normalized maps, and the gradients of a weighted sum of them."""
    maps = tf.constant(maps)
    layer.build(maps.shape)
    rng = np.random.default_rng(1)
    layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
    layer.beta.assign(rng.normal(size=layer.beta.shape))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        found = layer(maps)
        total = tf.reduce_sum(tf.cast(found, tf.float32) * rng.normal(size=found.shape))
    return [found, *tape.gradient(total, [maps, layer.gamma, layer.beta])]


def test_values_and_gradients_are_those_of_keras():
    maps = np.random.default_rng(0).normal(1, 2, (3, 5, 7, 16)).astype(np.float32)
    found, expected = (_results(layer, maps) for layer in (
        group_norm.GroupNorm(4), tf.keras.layers.GroupNormalization(4)))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


def test_half_precision_is_kept():
    maps = np.ones((1, 4, 4, 8), np.float16)
    layer = group_norm.GroupNorm(2, dtype='mixed_float16')
    assert layer(maps).dtype == tf.float16 and layer.gamma.dtype == tf.float32


def test_a_mask_is_refused():
    maps = tf.ones((1, 4, 4, 8))
    with pytest.raises(ValueError, match='`mask` must be None'):
        group_norm.GroupNorm(2)(maps, mask=tf.ones((1, 4, 4, 1)))
