"""Laws of the reference features."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import images
from scops_tf.networks import fixed_filters, preprocessing, reference_features as features_lib

RNG = np.random.default_rng(0)


def photos(batch_size: int, height: int, width: int) -> np.ndarray:
    return RNG.uniform(size=(batch_size, height, width, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def vgg():
    return features_lib.ReferenceFeatures(weights=None, layer_weights=(1.0, 0.5))


@pytest.fixture
def drawn():
    return features_lib.ReferenceFeatures('filters', layer_weights=(2.0, 1.0))


def test_vgg_gives_both_taps_side_by_side(vgg):
    found = vgg.raw(photos(2, 33, 49))
    assert found.shape == (2, 2, 3, 1024) and vgg.num_channels == 1024
    assert vgg.shape((33, 49)) == (2, 3, 1024)
    assert found.dtype == tf.float32 and np.min(found) >= 0 < np.max(found)


def test_the_taps_are_those_of_keras_fed_as_keras_feeds_them(shared, monkeypatch):
    monkeypatch.setenv('SCOPS_WEIGHTS_DIR', str(shared / 'weights'))
    network = tf.keras.applications.VGG19(include_top=False, weights=None)
    network.load_weights(shared / 'weights' / 'vgg19_imagenet_notop.h5')
    photo = next((shared / 'data' / 'cub').rglob('*.jpg'))
    pixels = images.resize(images.read(str(photo)), (64, 96))[np.newaxis]
    inputs = tf.keras.applications.vgg19.preprocess_input(pixels.astype(np.float32))
    features = features_lib.ReferenceFeatures()
    found = features.raw(pixels / np.float32(255))
    for i, layer in enumerate(('block5_conv2', 'block5_conv4')):
        expected = tf.keras.Model(network.input, network.get_layer(layer).output)(inputs).numpy()
        assert expected.max() > 10
        np.testing.assert_allclose(
            found[..., 512 * i:512 * (i + 1)], expected, rtol=1e-3, atol=1e-3 * expected.max())


def test_vgg_is_built_up_to_the_deepest_tap_only():
    shallow = features_lib.ReferenceFeatures(
        weights=None, layers=('block2_conv2', 'block1_conv1'), layer_weights=(1, 1))
    assert len(shallow._model.weights) == 8
    assert not shallow._model.trainable_variables


def test_coarser_taps_are_brought_to_the_finest_with_corners_aligned():
    mixed = features_lib.ReferenceFeatures(
        weights=None, layers=('block2_conv2', 'block1_conv1'), layer_weights=(1, 1))
    pixels = photos(1, 20, 28)
    coarse, fine = mixed._model(preprocessing.preprocess(pixels, 'vgg19'))
    found = mixed.raw(pixels).numpy()
    assert coarse.shape[1:3] == (10, 14) and found.shape == (1, 20, 28, 128 + 64)
    np.testing.assert_allclose(found[..., 128:], fine, rtol=1e-5)
    np.testing.assert_allclose(found[:, ::19, ::27, :128], coarse[:, ::9, ::13], rtol=1e-5)


def test_after_measuring_each_tap_has_its_weight_for_rms(vgg):
    batches = [vgg.raw(photos(count, 48, 64)) for count in (3, 1)]
    vgg.measure_scales(iter(batches))
    scaled = np.concatenate([vgg.scale(batch) for batch in batches])
    for tap, weight in ((scaled[..., :512], 1.0), (scaled[..., 512:], 0.5)):
        rms = np.sqrt(np.mean(np.square(tap, dtype=np.float64)))
        np.testing.assert_allclose(rms, weight, rtol=1e-4)
    vgg.tap_scales.assign([1.0, 1.0])


def test_a_call_is_the_scaled_raw_features(drawn):
    pixels = photos(2, 33, 49)
    drawn.measure_scales([drawn.raw(pixels).numpy().astype(np.float16)])
    found = drawn(pixels)
    np.testing.assert_allclose(found, drawn.scale(drawn.raw(pixels)), rtol=1e-6)
    assert found.shape == (2, 9, 13, drawn.num_channels) and np.min(found) >= 0
    colors, textures = fixed_filters.taps(pixels)
    for tap, raw, weight in ((found[..., :11], colors, 2.0), (found[..., 11:], textures, 1.0)):
        rms = np.sqrt(np.mean(np.square(raw)))
        np.testing.assert_allclose(tap, weight * raw / rms, rtol=2e-3, atol=1e-5)


def _normalized(exponent: float) -> features_lib.ReferenceFeatures:
    network = features_lib.ReferenceFeatures(
        'filters', layer_weights=(2.0, 1.0), normalization=exponent)
    network.tap_scales.assign([0.3, 5.0])
    return network


def test_exponents_of_the_norm_lead_from_the_vectors_as_they_are_to_their_directions():
    raw = RNG.uniform(0.1, 4,
                      (2, 3, 5, fixed_filters.NUM_CHANNELS[0] + fixed_filters.NUM_CHANNELS[1]))
    vectors = _normalized(0).scale(raw).numpy()
    factors = np.repeat([2 / 0.3, 1 / 5], fixed_filters.NUM_CHANNELS)
    np.testing.assert_allclose(vectors, raw * factors, rtol=1e-5)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # That of a vector whose taps have the RMS that is set.
    usual = np.sqrt(4 * fixed_filters.NUM_CHANNELS[0] + fixed_filters.NUM_CHANNELS[1])
    for exponent in (0.25, 0.75, 1):
        found = _normalized(exponent).scale(raw).numpy()
        np.testing.assert_allclose(found / np.linalg.norm(found, axis=-1, keepdims=True),
                                   vectors / lengths, rtol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1, keepdims=True),
                                   lengths ** (1 - exponent) * usual ** exponent, rtol=1e-4)


@pytest.mark.parametrize('exponent', [0.0, 0.75, 1.0])
def test_normalized_zeros_stay_zeros_and_a_vector_of_the_usual_length_stays_as_it_is(exponent):
    raw = np.repeat([0.3, 5.0], fixed_filters.NUM_CHANNELS) * np.array([[0.0], [1.0]])
    found = _normalized(exponent).scale(raw).numpy()
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1], np.repeat([2.0, 1.0], fixed_filters.NUM_CHANNELS),
                               rtol=1e-5)


def test_no_gradient_reaches_photos_or_scales(drawn):
    pixels = tf.constant(photos(1, 33, 49))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([pixels, drawn.tap_scales])
        total = tf.reduce_sum(drawn(pixels))
    assert tape.gradient(total, [pixels, drawn.tap_scales]) == [None, None]


def test_sizes_are_known_within_a_graph_after_photos_of_other_sizes(drawn):
    for size in ((33, 49), (40, 24), (28, 36), (24, 24)):
        drawn.raw(photos(1, *size))
    graph = tf.function(drawn).get_concrete_function(tf.TensorSpec([2, 33, 49, 3]))
    assert graph.outputs[0].shape == (2, 9, 13, drawn.num_channels)


def test_scales_travel_by_checkpoint(drawn, tmp_path):
    drawn.measure_scales([drawn.raw(photos(1, 33, 49))])
    path = tf.train.Checkpoint(tap_scales=drawn.tap_scales).write(str(tmp_path / 'checkpoint'))
    other = features_lib.ReferenceFeatures('filters')
    tf.train.Checkpoint(tap_scales=other.tap_scales).read(path).assert_consumed()
    np.testing.assert_array_equal(other.tap_scales, drawn.tap_scales)


def test_features_can_be_exported(drawn, tmp_path):
    module = tf.Module()
    module.features = drawn
    module.serve = tf.function(drawn, input_signature=[tf.TensorSpec([None, None, None, 3])])
    tf.saved_model.save(module, str(tmp_path))
    pixels = photos(2, 33, 49)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(pixels), drawn(pixels), rtol=1e-5)


@pytest.mark.parametrize('batches', [
    [], [np.zeros((1, 2, 3, 32))], [np.full((1, 2, 3, 32), np.inf)]])
def test_scales_of_nothing_are_an_error(drawn, batches):
    with pytest.raises(ValueError, match='The photos must show something in all layers'):
        drawn.measure_scales(batches)
    np.testing.assert_array_equal(drawn.tap_scales, [1, 1])


@pytest.mark.parametrize('arguments, law', [
    ({'network': 'alexnet'}, '`network` must be one of vgg19, filters'),
    ({'layers': ('block5_conv2',)}, '`layer_weights` must hold one positive weight per tap'),
    ({'layer_weights': (1.0, 0.0)}, '`layer_weights` must hold one positive weight per tap'),
    ({'layers': ('block5_conv2', 'conv9')}, '`layers` must name different layers of VGG19'),
    ({'layers': ('block5_conv2',) * 2}, '`layers` must name different layers of VGG19')])
def test_arguments_beyond_their_law_are_named(arguments, law):
    with pytest.raises(ValueError, match=law):
        features_lib.ReferenceFeatures(**{'weights': None, **arguments})
