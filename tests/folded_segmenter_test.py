"""The folded segmenters give the segmenters' logits, and hold nothing but folded weights."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import linear_segmenter, reference_features as features_lib, segmenter
from scops_tf.serving import (
    decoding,
    folded_segmenter,
    part_model as part_model_lib,
    saved_model,
)


@pytest.fixture(scope='module')
def resnet() -> segmenter.Segmenter:
    """With batch norm that does something, as after ImageNet."""
    network = segmenter.Segmenter(3, backbone='resnet50', weights=None, seed=1)
    generator = np.random.default_rng(0)
    for layer in network.network.layers:
        if layer.name.endswith('_bn'):
            size = layer.gamma.shape[0]
            layer.set_weights([
                generator.uniform(0.5, 1.0, size), generator.normal(0, 0.1, size),
                generator.normal(0, 0.1, size), generator.uniform(0.5, 1.5, size)])
    return network


@pytest.fixture(scope='module')
def vgg() -> linear_segmenter.LinearSegmenter:
    """With scales that bring the features of random weights to a usual size."""
    reference = features_lib.ReferenceFeatures(weights=None, normalization=0.75)
    photos = tf.random.stateless_uniform((2, 64, 96, 3), [0, 1])
    reference.measure_scales([reference.raw(photos)])
    network = linear_segmenter.LinearSegmenter(3, reference, seed=1)
    network.head.bias.assign([0.1, 0.0, -0.1, 0.2])
    return network


@pytest.fixture(scope='module', params=['resnet', 'vgg'])
def plain(request) -> tf.Module:
    """Each kind of segmenter."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope='module')
def folded(plain) -> folded_segmenter.FoldedSegmenter:
    return folded_segmenter.FoldedSegmenter(plain)


def _photos(*size: int, count: int = 2) -> tf.Tensor:
    return tf.random.stateless_uniform((count, *size, 3), [0, 1])


@pytest.mark.parametrize('size', [(64, 96), (49, 33)])
def test_logits_are_those_of_the_segmenter(plain, folded, size):
    expected = plain(_photos(*size)).numpy()
    found = folded(_photos(*size)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_reference_features_through_the_folded_network_are_those_of_the_network(vgg):
    features = vgg.reference_features
    expected = features.raw(_photos(64, 96)).numpy()
    found = features.raw_through(folded_segmenter.fold(vgg.network, 'float32'), _photos(64, 96))
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_nothing_is_held_but_folded_convolutions_and_what_follows_the_network(plain, folded):
    convolutions = [layer for layer in plain.network.layers
                    if isinstance(layer, tf.keras.layers.Conv2D)]
    scales = [plain.reference_features.tap_scales] if plain.network.name == 'vgg19' else []
    others = [*plain.head_variables, *scales]
    assert len(folded.variables) == 2 * len(convolutions) + len(others)
    assert {variable.ref() for variable in others} <= {
        variable.ref() for variable in folded.variables}
    assert {variable.dtype for variable in folded.variables} == {tf.float32}


def test_bfloat16_is_kept_to_the_stages_that_bear_it_and_near_the_logits(plain):
    rounded = folded_segmenter.FoldedSegmenter(plain, precision='bfloat16')
    halves = [variable for variable in rounded.variables if variable.dtype == tf.bfloat16]
    assert len(halves) == 2 * {'resnet50': 3 * 3 + 1, 'vgg19': 16 - 2}[plain.network.name]
    expected, found = plain(_photos(64, 96)).numpy(), rounded(_photos(64, 96))
    assert found.dtype == tf.float32
    error = np.sqrt(np.mean((found.numpy() - expected) ** 2))
    assert 0 < error < 0.02 * np.std(expected)


def test_float16_is_for_all_of_the_network(plain):
    rounded = folded_segmenter.fold(plain.network, 'float16', 'gpu')
    assert {variable.dtype for variable in rounded.variables} == {tf.float16}


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_photos_of_a_batch_do_not_mix_and_may_be_of_any_number(plain, precision):
    network = folded_segmenter.FoldedSegmenter(plain, precision=precision)
    model = part_model_lib.PartModel(
        part_model_lib.SegmenterResponses(network), num_parts=3, input_size=(64, 96))
    photos = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    together, alone = model.predict(photos), model.predict(photos[2:])
    np.testing.assert_allclose(together['part_responses'][2:], alone['part_responses'], atol=1e-2)
    assert (together['labels'][2:].numpy() == alone['labels'].numpy()).mean() > 0.99


def test_an_export_has_no_layers_and_the_logits_of_the_segmenter(plain, folded, tmp_path):
    model = part_model_lib.PartModel(
        part_model_lib.SegmenterResponses(folded), num_parts=3, input_size=(64, 96))
    loaded = tf.saved_model.load(saved_model.export(model, str(tmp_path), metadata={}))
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    found = loaded.signatures['serving_default'](images=tf.constant(photos))
    expected = decoding.part_responses_from_logits(
        plain(tf.constant(photos / np.float32(255))), (64, 96))
    np.testing.assert_allclose(found['part_responses'], expected, atol=1e-4)
    graph = loaded.signatures['serving_default'].graph.as_graph_def()
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert 'Conv2D' in operations and not [name for name in operations if 'BatchNorm' in name]


@pytest.mark.parametrize('backbone', ['tiny', 'filters'])
def test_another_network_is_refused(backbone):
    plain = (segmenter.Segmenter(3, backbone='tiny') if backbone == 'tiny' else
             linear_segmenter.LinearSegmenter(3, features_lib.ReferenceFeatures('filters')))
    with pytest.raises(ValueError, match='`segmenter` must be on one of resnet50, .*vgg19'):
        folded_segmenter.FoldedSegmenter(plain)


def test_an_unknown_precision_is_refused(resnet):
    with pytest.raises(ValueError, match='`precision` must be one of'):
        folded_segmenter.FoldedSegmenter(resnet, precision='float64')
