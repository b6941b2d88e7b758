"""The folded segmenter gives the segmenter's logits, and holds nothing but folded weights."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import folded_segmenter, segmenter, serving


@pytest.fixture(scope='module')
def resnet() -> segmenter.Segmenter:
    """With batch norm that does something, as after ImageNet."""
    network = segmenter.Segmenter(3, backbone='resnet50', weights=None, seed=1)
    generator = np.random.default_rng(0)
    for layer in network.backbone.get_layer('resnet50').layers:
        if layer.name.endswith('_bn'):
            size = layer.gamma.shape[0]
            layer.set_weights([
                generator.uniform(0.5, 1.0, size), generator.normal(0, 0.1, size),
                generator.normal(0, 0.1, size), generator.uniform(0.5, 1.5, size)])
    return network


@pytest.fixture(scope='module')
def folded(resnet) -> folded_segmenter.FoldedSegmenter:
    return folded_segmenter.FoldedSegmenter(resnet)


def _photos(*size: int, count: int = 2) -> tf.Tensor:
    return tf.random.stateless_uniform((count, *size, 3), [0, 1])


@pytest.mark.parametrize('size', [(64, 96), (49, 33)])
def test_logits_are_those_of_the_segmenter(resnet, folded, size):
    expected = resnet(_photos(*size)).numpy()
    found = folded(_photos(*size)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_nothing_is_held_but_a_kernel_and_a_bias_for_each_convolution(resnet, folded):
    convolutions = [layer for layer in resnet.backbone.get_layer('resnet50').layers
                    if isinstance(layer, tf.keras.layers.Conv2D)]
    assert len(folded.variables) == 2 * len(convolutions) + 2
    assert not folded.trainable_variables
    assert {variable.dtype for variable in folded.variables} == {tf.float32}


def test_bfloat16_is_kept_to_the_last_stage_and_near_the_logits(resnet):
    rounded = folded_segmenter.FoldedSegmenter(resnet, precision='bfloat16')
    halves = [variable for variable in rounded.variables if variable.dtype == tf.bfloat16]
    assert len(halves) == 2 * (3 * 3 + 1)
    expected, found = resnet(_photos(64, 96)).numpy(), rounded(_photos(64, 96))
    assert found.dtype == tf.float32
    error = np.sqrt(np.mean((found.numpy() - expected) ** 2))
    assert 0 < error < 0.02 * np.std(expected)


@pytest.mark.parametrize('precision', folded_segmenter.PRECISIONS)
def test_photos_of_a_batch_do_not_mix_and_may_be_of_any_number(resnet, precision):
    network = folded_segmenter.FoldedSegmenter(resnet, precision=precision)
    model = serving.PartModel(
        serving.SegmenterResponses(network), num_parts=3, input_size=(64, 96))
    photos = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    together, alone = model.predict(photos), model.predict(photos[2:])
    np.testing.assert_allclose(together['part_responses'][2:], alone['part_responses'], atol=1e-2)
    assert (together['labels'][2:].numpy() == alone['labels'].numpy()).mean() > 0.99


def test_an_export_has_no_layers_and_the_logits_of_the_segmenter(resnet, folded, tmp_path):
    model = serving.PartModel(
        serving.SegmenterResponses(folded), num_parts=3, input_size=(64, 96))
    serving.export(model, str(tmp_path / 'export'), metadata={})
    loaded = tf.saved_model.load(str(tmp_path / 'export'))
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    found = loaded.signatures['serving_default'](images=tf.constant(photos))
    expected = serving.part_responses_from_logits(
        resnet(tf.constant(photos / np.float32(255))), (64, 96))
    np.testing.assert_allclose(found['part_responses'], expected, atol=1e-4)
    graph = loaded.signatures['serving_default'].graph.as_graph_def()
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert 'Conv2D' in operations and not [name for name in operations if 'BatchNorm' in name]


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(ValueError, match="must be on a ResNet.*'tiny'"):
        folded_segmenter.FoldedSegmenter(segmenter.Segmenter(3, backbone='tiny'))


def test_an_unknown_precision_is_refused(resnet):
    with pytest.raises(ValueError, match='`precision` must be one of'):
        folded_segmenter.FoldedSegmenter(resnet, precision='float16')
