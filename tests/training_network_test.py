"""A training network gives the values and gradients of the network itself."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import layer_graph, pretrained, training_network


def _network(precision: str = 'float32') -> tf.keras.Model:
    """Two blocks with frozen batch norm, a stride, a dilation, a normed sum, wide convolutions."""
    layers = tf.keras.layers

    def convolution(maps, name, filters, size, **settings):
        maps = layers.Conv2D(filters, size, padding='same', name=f'{name}_conv', **settings)(maps)
        return layers.BatchNormalization(trainable=False, name=f'{name}_bn')(maps)

    with pretrained.precision(precision):
        photos = tf.keras.Input((None, None, 3))
        maps = convolution(photos, 'first', 8, 1, strides=2)
        maps = layers.ReLU(name='block1_out')(maps)
        inner = layers.ReLU()(convolution(maps, 'inner', 4, 1))
        inner = convolution(inner, 'dilated', 8, 3, dilation_rate=2)
        inner = convolution(inner, 'wide', 512, 1)
        inner = convolution(inner, 'wider', 520, 1)
        inner = convolution(inner, 'wide_dilated', 8, 3, dilation_rate=2)
        maps = layers.Add()([maps, inner])
        # It reads no convolution alone, so that it is not folded.
        maps = layers.BatchNormalization(trainable=False, name='sum_bn')(maps)
        network = tf.keras.Model(photos, layers.ReLU(name='block2_out')(maps), name='small')
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([
                generator.uniform(0.5, 1.5, shape), generator.normal(size=shape),
                generator.normal(size=shape), generator.uniform(0.5, 1.5, shape)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([generator.normal(size=weight.shape) / np.sqrt(weight[..., 0].size)
                               for weight in layer.get_weights()])
    return network


def _photos() -> tf.Tensor:
    return tf.random.stateless_normal((2, 15, 29, 3), [0, 1])


def _step(network: tf.keras.Model):
    """Outputs, and gradients of all trained variables and of the photos."""
    photos = _photos()
    with tf.GradientTape() as tape:
        tape.watch(photos)
        outputs = tf.cast(network(photos), tf.float32)
        loss = tf.reduce_mean(outputs**2)
    return outputs, *tape.gradient(loss, [*network.trainable_variables, photos])


@pytest.mark.parametrize('recompute', [False, True])
def test_values_and_gradients_are_those_of_the_network(recompute):
    expected = _step(_network())
    found = _step(training_network.TrainingNetwork(_network(), recompute=recompute))
    assert len(found) == 2 + 2 * 6
    for value, other in zip(found, expected):
        assert np.any(other)
        np.testing.assert_allclose(value, other, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize('recompute', [False, True])
def test_half_precision_rounds_about_as_much_as_in_the_network_itself(recompute):
    exact, plain = _step(_network()), _step(_network('bfloat16'))
    found = _step(training_network.TrainingNetwork(_network('bfloat16'), recompute=recompute))

    def error(values):
        return sum(np.linalg.norm(value - other) / np.linalg.norm(other)
                   for value, other in zip(values, exact))

    assert 0 < error(found) < 1.5 * error(plain)


def test_a_kernel_may_be_trained_while_others_are_frozen():
    network = _network()
    network.get_layer('inner_conv').trainable = False
    lean = training_network.TrainingNetwork(network)
    assert [v.name for v in lean.trainable_variables] == [
        v.name for v in network.trainable_variables]
    for value, other in zip(_step(lean), _step(network)):
        np.testing.assert_allclose(value, other, atol=1e-5 * np.abs(other).max())


def test_no_batch_norm_is_left_where_it_follows_a_convolution():
    lean = training_network.TrainingNetwork(_network())
    graph = tf.function(lean).get_concrete_function(_photos()).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert sum(kind.startswith('FusedBatchNorm') for kind in kinds) == 1
    steps = layer_graph.steps(_network())
    assert [step.name for step in steps if step.is_folded] == [
        f'{name}_bn' for name in ('first', 'inner', 'dilated', 'wide', 'wider', 'wide_dilated')]


def _convolutions(network: tf.keras.Model, size) -> int:
    """Number of the plain convolutions in the graph of a network for photos of a size."""
    graph = tf.function(network).get_concrete_function(tf.TensorSpec((2, *size, 3))).graph
    return sum(operation.type == 'Conv2D' for operation in graph.get_operations())


def test_wide_convolutions_are_by_another_algorithm_where_the_size_suits():
    lean = training_network.TrainingNetwork(_network())
    assert _convolutions(lean, (31, 48)) == 6 - (not tf.config.list_physical_devices('GPU'))
    assert _convolutions(lean, (17, 48)) == 6  # Nine rows are far from a multiple of eight.
    assert _convolutions(lean, (None, 48)) == 6
    half = training_network.TrainingNetwork(_network('bfloat16'))
    assert _convolutions(half, (31, 48)) == 6


def test_a_network_may_have_several_outputs():
    network = _network()
    network = tf.keras.Model(network.input, [network.get_layer(name).output for name in (
        'inner_conv', 'block1_out', 'block2_out')])
    found = training_network.TrainingNetwork(network)(_photos())
    assert len(found) == 3
    for value, other in zip(found, network(_photos())):
        np.testing.assert_allclose(value, other, atol=1e-5 * np.abs(other).max())


def test_a_norm_is_not_folded_where_the_convolution_is_read_twice():
    layers = tf.keras.layers
    photos = tf.keras.Input((None, None, 3))
    maps = layers.Conv2D(3, 1)(photos)
    network = tf.keras.Model(photos, layers.Add()([maps, layers.BatchNormalization()(maps)]))
    assert not any(step.is_folded or step.norm for step in layer_graph.steps(network))


def test_dilation_has_a_way_where_the_operation_has_no_gradient(monkeypatch):
    expected = _step(_network())
    monkeypatch.setattr(training_network, '_dilates', lambda dtype: False)
    found = _step(training_network.TrainingNetwork(_network()))
    for value, other in zip(found, expected):
        np.testing.assert_allclose(value, other, atol=1e-5 * np.abs(other).max())
