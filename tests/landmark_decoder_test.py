"""Laws of the decoder of ULD."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import landmark_decoder

SIZE = (18, 28)


def _decoder(seed: int = 0) -> landmark_decoder.LandmarkDecoder:
    return landmark_decoder.LandmarkDecoder(3, 5, SIZE, num_descriptors=4, seed=seed)


def _inputs(batch: int = 2):
    drawn = np.random.default_rng(0)
    return (tf.constant(drawn.random((batch, *SIZE, 3)), tf.float32),
            tf.constant(drawn.normal(size=(batch, 4, 5)), tf.float32))


@pytest.fixture(scope='module')
def decoder() -> landmark_decoder.LandmarkDecoder:
    return _decoder()


def test_a_photo_has_the_size_asked_for_and_colours_in_range(decoder):
    photo = decoder(_inputs()).numpy()
    assert photo.shape == (2, *SIZE, 3) and photo.dtype == np.float32
    assert 0 <= photo.min() < photo.max() <= 1


def test_a_photo_depends_on_no_other_photo(decoder):
    maps, features = _inputs()
    np.testing.assert_allclose(
        decoder((maps, features))[1:], decoder((maps[1:], features[1:])), atol=1e-5)


def test_a_seed_decides_on_all_variables(decoder):
    again, other = _decoder(), _decoder(1)
    for one, same, different in zip(
            decoder.trainable_variables, again.trainable_variables, other.trainable_variables):
        np.testing.assert_array_equal(one, same)
        # Those of the normalization and the bias start at one value.
        assert one.shape.rank == 1 or np.any(one != different)


def test_every_variable_and_every_input_has_a_gradient(decoder):
    maps, features = _inputs()
    with tf.GradientTape() as tape:
        tape.watch([maps, features])
        loss = tf.reduce_mean(tf.square(decoder((maps, features)) - 0.1))
    assert len(decoder.trainable_variables) == 1 + 3 * 7 + 2
    for gradient in tape.gradient(loss, [maps, features, *decoder.trainable_variables]):
        assert np.abs(gradient).max() > 0
