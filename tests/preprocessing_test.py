"""Laws of what the networks are fed."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import preprocessing

RNG = np.random.default_rng(0)


@pytest.mark.parametrize('network, module', [
    ('vgg19', tf.keras.applications.vgg19), ('resnet50', tf.keras.applications.resnet50),
    ('resnet101', tf.keras.applications.resnet)])
def test_preprocessing_is_that_of_keras(network, module):
    pixels = RNG.uniform(size=(2, 3, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(preprocessing.preprocess(pixels, network),
                               module.preprocess_input(255 * pixels.copy()), atol=1e-4)


def test_red_is_the_last_channel_of_what_the_networks_are_fed():
    pixels = np.broadcast_to(np.float32([1, 0, 0]), (1, 3, 5, 3))
    np.testing.assert_allclose(preprocessing.preprocess(pixels, 'vgg19')[0, 0, 0],
                               [-103.939, -116.779, 255 - 123.68], rtol=1e-5)
    np.testing.assert_allclose(preprocessing.preprocess(pixels, 'tiny')[0, 0, 0], [1, -1, -1])
    with pytest.raises(ValueError, match='`network` must be'):
        preprocessing.preprocess(pixels, 'alexnet')
