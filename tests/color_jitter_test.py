"""Laws of the colour jitter."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib, stack
from scops_tf.training import color_jitter

RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def photos():
    return RNG.uniform(0.1, 0.9, (3, 7, 9, 3)).astype(np.float32)


def jitter(**ranges) -> color_jitter.ColorJitter:
    return color_jitter.ColorJitter(config_lib.ColorJitter(**{
        'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0, 'hue': 0.0, **ranges}))


def jittered_by(color_jitter: color_jitter.ColorJitter, pictures, seed) -> tf.Tensor:
    return color_jitter(pictures, color_jitter.draw(seed, len(pictures)))


FULL = {'brightness': 0.3, 'contrast': 0.3, 'saturation': 0.2, 'hue': 0.2}


def test_jitter_is_a_function_of_the_seed(photos):
    color_jitter = jitter(**FULL)
    first = jittered_by(color_jitter, photos, [1, 2]).numpy()
    tf.random.set_seed(5)
    tf.random.uniform([7])
    np.testing.assert_array_equal(jittered_by(jitter(**FULL), photos, [1, 2]), first)
    assert np.abs(jittered_by(color_jitter, photos, [1, 3]) - first).max() > 0.01


def test_jitter_is_the_same_within_a_graph(photos):
    color_jitter = jitter(**FULL)
    graph = tf.function(lambda seed: jittered_by(color_jitter, photos, seed))
    in_graph = [graph(tf.constant([1, step])).numpy() for step in range(3)]
    for step in range(3):
        found = jittered_by(color_jitter, photos, [1, step])
        np.testing.assert_allclose(found, in_graph[step], atol=1e-6)
    assert graph.experimental_get_tracing_count() == 1


def test_jitter_needs_no_global_generator_which_deterministic_ops_forbid(photos, monkeypatch):
    def forbidden():
        raise RuntimeError('forbidden')
    monkeypatch.setattr(tf.random, 'get_global_generator', forbidden)
    assert np.all(np.isfinite(jittered_by(jitter(**FULL), photos, [1, 2])))


def test_jitter_stays_within_the_range_and_treats_each_photo_on_its_own(photos):
    same = np.repeat(photos[:1], 16, axis=0)
    full = jitter(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5)
    jittered = jittered_by(full, same, [3, 4]).numpy()
    assert jittered.min() >= 0 and jittered.max() <= 1 and np.isfinite(jittered).all()
    assert len(np.unique(jittered[:, 0, 0], axis=0)) == 16


def test_jitter_of_no_range_leaves_photos_alone(photos):
    np.testing.assert_allclose(jittered_by(jitter(), photos, [1, 2]), photos, atol=1e-5)


@pytest.mark.skipif(stack.is_current(), reason='keras-cv does not run on this TensorFlow.')
def test_changes_in_plain_tensorflow_are_those_of_keras_cv(photos):
    draws = tf.constant([-0.5, 0.1, 0.5])
    grey = np.repeat(photos[..., :1], 3, axis=-1)
    for pictures in (photos, grey, np.round(photos)):
        for plain, expected in zip(color_jitter.plain_changes(), color_jitter.keras_cv_changes()):
            found = [_change_and_gradient(change, pictures, draws) for change in (plain, expected)]
            for one, other in zip(*found):
                np.testing.assert_allclose(one, other, atol=1e-5)


def _change_and_gradient(change, pictures, draws):
    pictures = tf.constant(pictures)
    with tf.GradientTape() as tape:
        tape.watch([pictures, draws])
        changed = change(pictures, draws)
    # None flows through HSV on any TensorFlow.
    return [changed, *tape.gradient(changed, [pictures, draws], unconnected_gradients='zero')]


def test_brightness_multiplies_within_its_range(photos):
    many = np.repeat(photos[:1] / 2, 64, axis=0)
    factors = (jittered_by(jitter(brightness=0.3), many, [1, 2]) / many).numpy()
    np.testing.assert_allclose(factors, factors[:, :1, :1, :1] * np.ones_like(factors), rtol=1e-3)
    assert 0.7 <= factors.min() < 0.76 and 1.24 < factors.max() <= 1.3001


def test_contrast_keeps_the_mean_and_scales_the_spread(photos):
    many = np.repeat(0.5 + (photos[:1] - 0.5) / 2, 64, axis=0)
    jittered = jittered_by(jitter(contrast=0.3), many, [1, 2]).numpy()
    np.testing.assert_allclose(jittered.mean((1, 2)), many.mean((1, 2)), atol=1e-5)
    factors = jittered.std((1, 2)) / many.std((1, 2))
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones((1, 3)), rtol=1e-3)
    assert 0.7 <= factors.min() < 0.76 and 1.24 < factors.max() <= 1.3001


def test_saturation_scales_s_and_hue_turns_h_as_the_ops_of_tensorflow_do():
    pixels = tf.constant([[[[0.5, 0.3, 0.4], [0.2, 0.6, 0.5]]]] * 64, tf.float32)
    before = tf.image.rgb_to_hsv(pixels).numpy()
    after = tf.image.rgb_to_hsv(jittered_by(jitter(saturation=0.2), pixels, [1, 2])).numpy()
    factors = after[..., 1] / before[..., 1]
    np.testing.assert_allclose(factors, factors[..., :1] * [1, 1], rtol=1e-3)
    np.testing.assert_allclose(after[..., ::2], before[..., ::2], atol=1e-4)
    assert 0.8 <= factors.min() < 0.84 and 1.16 < factors.max() <= 1.2001

    after = tf.image.rgb_to_hsv(jittered_by(jitter(hue=0.2), pixels, [1, 2])).numpy()
    turns = (after[..., 0] - before[..., 0] + 0.5) % 1 - 0.5
    np.testing.assert_allclose(turns, turns[..., :1] * [1, 1], atol=1e-4)
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-4)
    assert -0.2001 <= turns.min() < -0.16 and 0.16 < turns.max() <= 0.2001


def test_jitter_does_not_depend_on_the_precision_of_networks(photos):
    expected = jittered_by(jitter(**FULL), photos, [1, 2])
    tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')
    try:
        found = jittered_by(jitter(**FULL), photos, [1, 2])
    finally:
        tf.keras.mixed_precision.set_global_policy('float32')
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected)


def test_ranges_of_jitter_beyond_their_law_are_named():
    with pytest.raises(config_lib.ConfigError,
                       match=r'`ColorJitter.hue` must lie in \[0, 0.5\]; got 0.6'):
        jitter(hue=0.6)
