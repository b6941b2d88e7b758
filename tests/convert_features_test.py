"""Laws of the script that writes networks of other libraries as SavedModels."""
from __future__ import annotations

import os
import pathlib

import convert_features
import numpy as np
import pytest
import tensorflow as tf

from scops_tf import command, network_card
from scops_tf.networks import reference_features as features_lib


def photos(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(2, height, width, 3)).astype(np.float32)


def raw(folder: pathlib.Path, pixels: np.ndarray) -> np.ndarray:
    features = features_lib.ReferenceFeatures('saved_model', path=str(folder))
    return features.raw(pixels).numpy()


def test_an_application_of_keras_becomes_reference_features(tmp_path):
    layers, out = ('conv_pw_3_relu', 'conv_pw_1_relu'), tmp_path / 'network'
    source = convert_features.applications('MobileNet', None, None)
    card = convert_features.convert(
        source, layers, str(out), name='MobileNet', licence='Apache-2.0', origin='random')
    assert card == network_card.read(str(out))
    assert (card.layers, card.stride) == ({layers[0]: 128, layers[1]: 64}, 2)
    assert os.listdir(tmp_path) == ['network']
    pixels = photos(64, 96)
    found = raw(out, pixels)
    inputs = tf.keras.applications.mobilenet.preprocess_input(255 * pixels)
    coarse, fine = tf.keras.Model(
        source.model.input, [source.model.get_layer(name).output for name in layers])(inputs)
    np.testing.assert_allclose(found[..., 128:], fine, rtol=1e-3, atol=1e-4)
    # Coarser layers are brought to the finest one with the corners aligned.
    assert coarse.shape[1:3] == (16, 24) and found.shape == (2, 32, 48, 192)
    np.testing.assert_allclose(found[:, ::31, ::47, :128], coarse[:, ::15, ::23], atol=1e-4)
    with pytest.raises(command.CommandError, match='`--out` must be a new folder'):
        convert_features.convert(source, layers, str(out), name='a', licence='b')


@pytest.fixture(scope='module')
def transformer() -> convert_features.Source:
    """Tokens of patches of 14 pixels, after one token that stands for none."""
    photo = tf.keras.Input((56, 84, 3))
    patches = tf.keras.layers.Conv2D(5, 14, strides=14, name='patches')(photo)
    tokens = tf.keras.layers.Reshape((24, 5))(patches)
    tokens = tf.keras.layers.ZeroPadding1D((1, 0), name='tokens')(tokens)
    return convert_features.Source(
        tf.keras.Model(photo, tokens),
        convert_features._scaled(*convert_features._SCALES['torch']))


def test_tokens_become_a_map_without_those_that_are_no_patch(transformer, tmp_path):
    card = convert_features.convert(transformer, ['tokens'], str(tmp_path / 'tokens'),
                                    name='vit', licence='MIT', size=(56, 84))
    assert (card.stride, card.image_size) == (14, (56, 84))
    pixels = photos(56, 84)
    patches = transformer.model.get_layer('patches')(
        (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
    np.testing.assert_allclose(
        raw(tmp_path / 'tokens', pixels), np.maximum(patches, 0), rtol=1e-3, atol=1e-4)
    # Photos of another size are resized in the graph.
    assert raw(tmp_path / 'tokens', photos(64, 96)).shape == (2, 4, 6, 5)


@pytest.mark.parametrize('num_tokens, size, grid', [
    (37 * 37 + 1, (518, 518), (37, 37)), (14 * 14, (224, 224), (14, 14)),
    (5 * 7 + 5, (70, 98), (5, 7))])
def test_the_patches_of_tokens_are_found_by_their_number(num_tokens, size, grid):
    assert convert_features.patch_grid(num_tokens, size) == grid


def test_what_cannot_be_converted_is_told(transformer, tmp_path):
    for layers, size, law in ((['block9'], (56, 84), 'no block9 among .*, patches, .*tokens'),
                              (['tokens'], None, 'or tokens .* with an `--image_size`')):
        with pytest.raises(command.CommandError, match=law):
            convert_features.convert(transformer, layers, str(tmp_path / 'a'), name='a',
                                     licence='b', size=size)
    with pytest.raises(command.CommandError, match='at most 16 before them; got 40 tokens'):
        convert_features.patch_grid(40, (2, 3))
    with pytest.raises(command.CommandError, match="applications, such as ResNet50; got 'None50'"):
        convert_features.applications('None50', None, None)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('words', [['a', 'b'], ['224'], ['0', '224'], ['-1', '3'], ['1', '2', '3']])
def test_a_size_that_is_none_is_refused(words):
    assert convert_features.size_of([]) is None
    assert convert_features.size_of(['224', ' 196']) == (224, 196)
    with pytest.raises(command.CommandError, match=f'`--image_size` .* got .{",".join(words)}'):
        convert_features.size_of(words)
