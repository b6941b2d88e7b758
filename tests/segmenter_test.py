"""Laws of the part segmenter."""
from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import images
from scops_tf.networks import preprocessing, segmenter

RNG = np.random.default_rng(0)


def photos(batch_size: int, height: int, width: int) -> np.ndarray:
    return RNG.uniform(size=(batch_size, height, width, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def resnet():
    return segmenter.Segmenter(3, backbone='resnet50', weights=None, seed=1)


@pytest.fixture(scope='module')
def plain():
    """Keras' own network, its weights to be set."""
    return tf.keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(None, None, 3))


@pytest.fixture(scope='module')
def tiny():
    return segmenter.Segmenter(3, backbone='tiny', seed=1)


@pytest.fixture
def bfloat16():
    tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')
    yield
    tf.keras.mixed_precision.set_global_policy('float32')


def test_features_are_at_stride_8_rounded_up_for_photos_of_any_size(resnet):
    for size, expected in (((33, 49), (5, 7)), ((32, 40), (4, 5)), ((30, 23), (4, 3))):
        assert resnet.backbone(photos(1, *size)).shape == (1, *expected, 2048)
        assert resnet(photos(1, *size)).shape == (1, *expected, 4)
        assert resnet.feature_shape(size) == (*expected, 2048)


def test_features_of_the_tiny_network_are_at_stride_4_rounded_up(tiny):
    for size, expected in (((33, 49), (9, 13)), ((32, 40), (8, 10))):
        assert tiny(photos(2, *size)).shape == (2, *expected, 4)
        assert tiny.feature_shape(size) == (*expected, 64)


@pytest.mark.parametrize('size', [(49, 33), (40, 72)])
def test_every_fourth_feature_is_that_of_the_network_without_holes(resnet, plain, size):
    plain.set_weights(resnet.backbone.get_weights())
    pixels = photos(2, *size)
    expected = plain(preprocessing.preprocess(pixels, 'resnet50')).numpy()
    found = resnet.backbone(pixels)[:, ::4, ::4]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_imagenet_features_are_those_of_keras(shared, plain, monkeypatch):
    monkeypatch.setenv('SCOPS_WEIGHTS_DIR', str(shared / 'weights'))
    plain.load_weights(shared / 'weights' / 'resnet50_imagenet_notop.h5')
    atrous = segmenter.Segmenter(3).backbone
    photo = next((shared / 'data' / 'cub').rglob('*.jpg'))
    pixels = images.resize(images.read(str(photo)), (72, 104))[np.newaxis] / np.float32(255)
    inputs = tf.keras.applications.resnet50.preprocess_input(255 * pixels)
    for layer, stride in (('conv1_relu', 1), ('conv3_block4_out', 1), ('conv4_block6_out', 2),
                          ('conv5_block3_out', 4)):
        expected = tf.keras.Model(plain.input, plain.get_layer(layer).output)(inputs).numpy()
        network = atrous.get_layer('resnet50')
        found = tf.keras.Model(network.input, network.get_layer(layer).output)(
            atrous.get_layer('preprocessing')(pixels))
        assert expected.max() > 1
        np.testing.assert_allclose(
            found[:, ::stride, ::stride], expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.parametrize('size', [(9, 13), (30, 52)])
def test_the_head_is_the_sum_of_dilated_convolutions(size):
    features = tf.constant(RNG.normal(size=(2, *size, 6)), tf.float32)
    weights = tf.constant(RNG.normal(size=(2, *size, 4)), tf.float32)
    head = segmenter.PartHead(4, seed=1)
    head.build(features.shape)
    head.bias.assign(RNG.normal(size=4))

    # Convolutions with dilation are not in every TensorFlow on a CPU, so the kernel has the zeros.
    def dilated(kernel, dilation):
        apart = tf.pad(kernel[:, None, :, None], [(0, 0), (0, dilation - 1)] * 2 + [(0, 0)] * 2)
        apart = tf.reshape(apart, [3 * dilation, 3 * dilation, *kernel.shape[2:]])
        return apart[:2 * dilation + 1, :2 * dilation + 1]

    def plain(inputs):
        return head.bias + tf.add_n([
            tf.nn.conv2d(inputs, dilated(head.kernel[i], dilation), strides=1, padding='SAME')
            for i, dilation in enumerate((6, 12, 18, 24))])

    any_size = tf.function(head, input_signature=[tf.TensorSpec([None, None, None, 6])])
    values, gradients = [], []
    for function in (head, plain, any_size):
        with tf.GradientTape() as tape:
            tape.watch(features)
            values.append(function(features))
            total = tf.reduce_sum(weights * values[-1])
        gradients.append(tape.gradient(total, [features, head.kernel, head.bias]))
    assert np.abs(values[1]).max() > 0.1
    for value, gradient in zip(values[::2], gradients[::2]):
        np.testing.assert_allclose(value, values[1], atol=1e-5)
        for found, expected in zip(gradient, gradients[1]):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_head_starts_from_small_normal_kernels_and_no_bias(resnet):
    kernel, bias = resnet.head_variables
    assert kernel.shape == (4, 3, 3, 2048, 4) and bias.shape == (4,)
    assert abs(np.std(kernel) - 0.01) < 1e-4 and abs(np.mean(kernel)) < 1e-4
    assert not np.any(bias)


def test_frozen_stages_are_not_trained_and_the_rest_is_as_ever(resnet):
    network = segmenter.Segmenter(3, weights=None, frozen_stages=segmenter.STAGES[:3])
    names = [variable.name for variable in network.backbone_variables]
    assert len(names) == (19 + 10) * 2
    assert {name.split('_')[0] for name in names} == {'conv4', 'conv5'}
    assert len(network.variables) == len(resnet.variables)
    # One network knows what the other trains, in its order.
    for one, other, frozen in ((resnet, network, segmenter.STAGES[:3]), (network, resnet, ())):
        assert [variable.name for variable in one.variables_beyond(frozen)] == [
            variable.name for variable in other.backbone_variables]


def test_batch_norm_is_frozen_and_all_the_rest_is_trained(resnet):
    assert not [v.name for v in resnet.trainable_variables if '_bn/' in v.name]
    norms = [v for v in resnet.variables if '_bn/' in v.name]
    before = [v.numpy() for v in norms]
    pixels = photos(2, 33, 49)
    with tf.GradientTape() as tape:
        logits = resnet(pixels, training=True)
        total = tf.reduce_sum(logits**2)
    trained = resnet.backbone_variables + resnet.head_variables
    assert len(norms) == 53 * 4 and len(trained) == 53 * 2 + 2
    assert [id(v) for v in trained] == [id(v) for v in resnet.trainable_variables]
    gradients = tape.gradient(total, trained)
    assert all(np.any(gradient) for gradient in gradients)
    np.testing.assert_array_equal(resnet(pixels, training=False), logits)
    for old, variable in zip(before, norms):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize('backbone', ['resnet', 'tiny'])
def test_photos_of_a_batch_do_not_mix(backbone, request):
    network = request.getfixturevalue(backbone)
    pixels = photos(3, 33, 49)
    alone = tf.concat([network(pixels[i:i + 1], training=True) for i in range(3)], 0)
    np.testing.assert_allclose(network(pixels, training=True), alone, rtol=1e-3, atol=1e-3)


def test_all_variables_are_a_function_of_the_seed(tiny):
    same, other = (segmenter.Segmenter(3, backbone='tiny', seed=seed) for seed in (1, 2))
    for first, second in zip(tiny.get_weights(), same.get_weights()):
        np.testing.assert_array_equal(first, second)
    differing = [v.name for v, w in zip(tiny.variables, other.variables) if np.any(v != w)]
    assert len(differing) == 5 + 1  # The convolutions' kernels and the head's.


def test_in_bfloat16_variables_and_logits_stay_float32(tiny, bfloat16):
    half = segmenter.Segmenter(3, backbone='tiny', seed=1)
    pixels = photos(2, 33, 49)
    assert half.backbone(pixels).dtype == tf.bfloat16
    logits, expected = half(pixels), tiny(pixels)
    assert logits.dtype == tf.float32 and {v.dtype for v in half.variables} == {tf.float32}
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())


def test_a_resnet101_is_atrous_and_of_the_precision_that_is_set(bfloat16):
    network = segmenter.Segmenter(2, backbone='resnet101', weights=None)
    features = network.backbone(photos(1, 33, 49))
    assert features.shape == (1, 5, 7, 2048) and features.dtype == tf.bfloat16
    logits = network(photos(1, 33, 49))
    assert logits.dtype == tf.float32 and np.all(np.isfinite(logits))
    layers = network.backbone.get_layer('resnet101')
    assert layers.get_layer('conv4_block23_2_conv').dilation_rate == (2, 2)
    assert layers.get_layer('conv5_block1_2_conv').dilation_rate == (4, 4)


# Activations that are computed again.


@pytest.fixture(scope='module')
def recomputing():
    return segmenter.Segmenter(3, backbone='resnet50', weights=None, seed=1, recompute=True)


def _step(network, pixels):
    """Logits and gradients as a graph, and how many convolutions it has."""

    @tf.function
    def step(pixels):
        with tf.GradientTape() as tape:
            logits = network(pixels)
            loss = tf.reduce_mean(logits**2)
        return logits, tape.gradient(loss, network.trainable_variables)

    operations = step.get_concrete_function(pixels).graph.get_operations()
    return (*step(pixels), sum(operation.type == 'Conv2D' for operation in operations))


def test_logits_and_gradients_are_those_of_a_network_that_keeps_its_activations(
        resnet, recomputing):
    pixels = tf.constant(photos(1, 33, 49))
    expected, expected_gradients, convolutions = _step(resnet, pixels)
    found, gradients, recomputed = _step(recomputing, pixels)
    # Every one once more, in the backward pass. The gradients of the maps before the eight widest
    # 1x1 kernels are convolutions too.
    assert (convolutions - 8, recomputed - 8) == (53, 2 * 53)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert len(gradients) == 53 * 2 + 2
    for gradient, plain in zip(gradients, expected_gradients):
        assert np.any(plain)
        np.testing.assert_allclose(gradient, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())
    np.testing.assert_allclose(recomputing(pixels), expected, rtol=1e-5,
                               atol=1e-5 * np.abs(expected).max())


def test_variables_and_their_places_in_a_checkpoint_stay_the_same(resnet, recomputing, tmp_path):
    paths = [tf.train.Checkpoint(segmenter=network).write(str(tmp_path / str(number)))
             for number, network in enumerate((resnet, recomputing))]
    names, others = (tf.train.load_checkpoint(path).get_variable_to_shape_map() for path in paths)
    assert names == others
    assert [v.name for v in resnet.variables] == [v.name for v in recomputing.variables]
    for one, other in ((resnet, paths[1]), (recomputing, paths[0])):
        tf.train.Checkpoint(segmenter=one).read(
            other).assert_consumed().assert_existing_objects_matched()
    assert recomputing.feature_shape((33, 49)) == resnet.feature_shape((33, 49))


@pytest.mark.parametrize('precision', ['float32', 'mixed_bfloat16', 'mixed_float16'])
def test_the_tiny_network_computes_again_in_any_precision(precision):
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        plain, again = (segmenter.Segmenter(3, backbone='tiny', seed=1, recompute=recompute)
                        for recompute in (False, True))
    finally:
        tf.keras.mixed_precision.set_global_policy('float32')
    pixels = tf.constant(photos(2, 33, 49))
    expected, expected_gradients, convolutions = _step(plain, pixels)
    found, gradients, recomputed = _step(again, pixels)
    assert again.backbone.compute_dtype == precision.replace('mixed_', '')
    assert (convolutions, recomputed) == (5, 10)
    tolerance = 1e-5 if precision == 'float32' else 0.02
    for value, other in zip((found, *gradients), (expected, *expected_gradients)):
        np.testing.assert_allclose(value, other, atol=tolerance * np.abs(other).max())


def test_a_checkpoint_restores_every_variable(tiny, tmp_path):
    path = tf.train.Checkpoint(segmenter=tiny).write(str(tmp_path / 'checkpoint'))
    other = segmenter.Segmenter(3, backbone='tiny', seed=2)
    status = tf.train.Checkpoint(segmenter=other).read(path)
    status.assert_consumed().assert_existing_objects_matched()
    for first, second in zip(tiny.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(first, second)


def test_an_export_needs_none_of_our_code(tiny, tmp_path):
    module = tf.Module()
    module.segmenter = tiny
    module.part_logits = tf.function(
        tiny, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / 'export'))
    pixels = photos(2, 33, 49)
    np.save(tmp_path / 'photos.npy', pixels)
    subprocess.run([sys.executable, '-c', textwrap.dedent('''
        import sys
        sys.modules['scops_tf'] = None
        import numpy as np, tensorflow as tf
        loaded = tf.saved_model.load('export')
        np.save('logits.npy', loaded.part_logits(np.load('photos.npy')))
        ''')], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / 'logits.npy'), tiny(pixels), atol=1e-4)


def test_arguments_beyond_their_law_are_named():
    with pytest.raises(ValueError, match='`num_parts` must be at least 1; got 0'):
        segmenter.Segmenter(0, backbone='tiny')
    with pytest.raises(ValueError, match="`backbone` must be .*; got 'vgg19'"):
        segmenter.Segmenter(2, backbone='vgg19')
