"""A folded network gives the network's maps, and holds nothing but folded weights."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.serving import folded_network


def _maps(height: int, width: int, count: int = 2) -> tf.Tensor:
    return tf.random.stateless_normal((count, height, width, 3), [0, 1])


@pytest.fixture(scope='module')
def network() -> tf.keras.Model:
    """Of every kind of layer, one convolution wide enough for Winograd's algorithm, two outputs."""
    layers = tf.keras.layers
    photos = tf.keras.Input((None, None, 3))
    maps = layers.ZeroPadding2D(3)(photos)
    maps = layers.Conv2D(128, 7, strides=2, name='first_conv')(maps)
    maps = layers.BatchNormalization(name='first_norm')(maps)
    maps = early = layers.Activation('relu')(maps)
    maps = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(maps))
    inner = layers.Conv2D(128, 3, padding='same', dilation_rate=2, activation='relu',
                          name='second_conv')(maps)
    projection = layers.Conv2D(128, 1, name='third_conv')(maps)
    maps = layers.Add()([inner, layers.BatchNormalization(name='third_norm')(projection)])
    network = tf.keras.Model(photos, [maps, early], name='small')
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([
                generator.uniform(0.5, 1.5, 128), generator.normal(size=128),
                generator.normal(size=128), generator.uniform(0.5, 1.5, 128)])
        elif isinstance(layer, layers.Conv2D):
            layer.bias.assign(generator.normal(size=128))
    return network


@pytest.fixture(scope='module')
def folded(network) -> folded_network.FoldedNetwork:
    return folded_network.FoldedNetwork(network)


@pytest.mark.parametrize('size', [(64, 96), (49, 33)])
def test_all_outputs_are_those_of_the_network_in_its_order(network, folded, size):
    for found, expected in zip(folded(_maps(*size)), network(_maps(*size))):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_a_network_of_one_output_gives_no_list(network):
    single = tf.keras.Model(network.input, network.outputs[1])
    found = folded_network.FoldedNetwork(single)(_maps(20, 28))
    np.testing.assert_allclose(found, single(_maps(20, 28)), atol=1e-4)


def test_the_variables_are_a_kernel_and_a_bias_for_each_convolution(network, folded):
    assert len(folded.variables) == 2 * 3 and not folded.trainable_variables
    shapes = {convolution.name: tuple(convolution.kernel.shape)
              for convolution in folded.convolutions}
    assert shapes == {'first_conv': (7, 7, 3, 128), 'second_conv': (36, 128, 128),
                      'third_conv': (1, 1, 128, 128)}


def test_a_later_change_of_the_network_does_not_show(network):
    again = tf.keras.models.clone_model(network)
    again.set_weights(network.get_weights())
    folded = folded_network.FoldedNetwork(again)
    before = folded(_maps(20, 28))[0].numpy()
    again.get_layer('second_conv').kernel.assign_add(tf.ones([3, 3, 128, 128]))
    again.get_layer('third_norm').gamma.assign_add(tf.ones(128))
    np.testing.assert_array_equal(folded(_maps(20, 28))[0], before)


def test_in_bfloat16_only_what_is_named_is_rounded_and_all_is_plain(network):
    rounded = folded_network.FoldedNetwork(
        network, precision='bfloat16', rounded=('second', 'third'))
    found = {convolution.name: (convolution.kernel.dtype, convolution.kernel.shape.rank)
             for convolution in rounded.convolutions}
    assert found == {'first_conv': (tf.float32, 4), 'second_conv': (tf.bfloat16, 4),
                     'third_conv': (tf.bfloat16, 4)}
    (late, early), (expected, same) = rounded(_maps(64, 96)), network(_maps(64, 96))
    assert late.dtype == early.dtype == tf.float32
    np.testing.assert_allclose(early, same, atol=1e-5 * np.abs(same).max())
    error = np.sqrt(np.mean(np.square(late - expected)))
    assert 0 < error < 0.02 * np.std(expected)


def test_a_layer_of_another_kind_is_refused():
    photos = tf.keras.Input((None, None, 3))
    network = tf.keras.Model(photos, tf.keras.layers.GroupNormalization(3)(photos))
    with pytest.raises(ValueError, match='`network` must be of .*; got a GroupNormalization'):
        folded_network.FoldedNetwork(network)


def test_an_unknown_precision_is_refused(network):
    with pytest.raises(ValueError, match='`precision` must be one of'):
        folded_network.FoldedNetwork(network, precision='float64')
    with pytest.raises(ValueError, match="`target` must be one of cpu, gpu; got 'tpu'"):
        folded_network.FoldedNetwork(network, target='tpu')


def test_for_a_gpu_all_convolutions_are_plain_and_the_maps_are_the_same(network):
    plain = folded_network.FoldedNetwork(network, target='gpu')
    assert {convolution.kernel.shape.rank for convolution in plain.convolutions} == {4}
    for found, expected in zip(plain(_maps(20, 28)), network(_maps(20, 28))):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_maps_in_float16_are_near_those_in_float32_and_overflow_late(network):
    rounded = folded_network.FoldedNetwork(
        network, precision='float16', target='gpu', rounded=('',))
    assert {variable.dtype for variable in rounded.variables} == {tf.float16}
    assert {convolution.kernel.shape.rank for convolution in rounded.convolutions} == {4}
    # The second photo comes to more than float16 can hold.
    maps = _maps(20, 28) * [[[[1.0]]], [[[1e5]]]]
    for found, expected in zip(rounded(maps), network(maps)):
        assert found.dtype == tf.float32
        for one, wanted in zip(found.numpy(), expected.numpy()):
            assert 0 < np.sqrt(np.mean((one - wanted) ** 2)) < 2e-3 * np.std(wanted)
    assert np.max(network(maps)[0]) > tf.float16.max


def test_an_activation_that_does_not_scale_is_refused_in_float16():
    photos = tf.keras.Input((None, None, 3))
    network = tf.keras.Model(photos, tf.keras.layers.Conv2D(3, 1, activation='sigmoid')(photos))
    with pytest.raises(ValueError, match='no activation but ReLU in float16; got sigmoid'):
        folded_network.FoldedNetwork(network, precision='float16')
    folded_network.FoldedNetwork(network, precision='bfloat16')
