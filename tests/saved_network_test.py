"""Laws of reference features from a SavedModel: the contract, its card, and runs on it."""
from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any, Callable

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib, network_card
from scops_tf.networks import (
    checkpoints,
    fixed_filters,
    reference_features as features_lib,
)
from scops_tf.serving import predictor as predictor_lib, saved_model, trained_model
from scops_tf.training import loop

# Of steps that run operation by operation. The batches are made as ever.
pytestmark = pytest.mark.filterwarnings('ignore:Even though .* does not apply to tf.data')

SIZE = (64, 96)


class Network(tf.Module):
    """A function of photos with the signature of the contract, and with what it computes with."""

    def __init__(self, features: Callable[[tf.Tensor], Any], *parts: Any, shape: Any = (None,) * 3
                 ) -> None:
        super().__init__()
        self.parts = parts
        self.serve = tf.function(
            lambda images: {'features': features(images)}, autograph=False,
            input_signature=[tf.TensorSpec([*shape, 3], tf.float32, name='images')])


def write(folder: pathlib.Path, network: Network, layers: Any, stride: int, **card: Any
          ) -> pathlib.Path:
    tf.saved_model.save(network, str(folder), signatures={'serving_default': network.serve})
    network_card.write(network_card.NetworkCard(
        name='small', layers=layers, stride=stride, licence='Apache-2.0', **card), str(folder))
    return folder


def photos(*size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def load(path: pathlib.Path, **options: Any) -> features_lib.ReferenceFeatures:
    return features_lib.ReferenceFeatures('saved_model', path=str(path), **options)


@pytest.fixture(scope='module')
def wrapped(tmp_path_factory) -> pathlib.Path:
    """The SavedModel of the fixed filters, a network of two layers; not to be changed."""
    return write(
        tmp_path_factory.mktemp('networks') / 'filters',
        Network(lambda images: tf.concat(fixed_filters.taps(images), axis=-1)),
        dict(zip(fixed_filters.TAPS, fixed_filters.NUM_CHANNELS)), fixed_filters.STRIDE)


def signed(images: tf.Tensor) -> tf.Tensor:
    """Colours of every fourth pixel, with the sign of their distance from grey."""
    return images[:, ::4, ::4] - 0.5


@pytest.fixture(scope='module')
def colors(tmp_path_factory) -> pathlib.Path:
    """A SavedModel of `signed`; not to be changed."""
    return write(tmp_path_factory.mktemp('networks') / 'colors', Network(signed), {'rgb': 3}, 4)


def test_features_of_a_wrapped_network_are_those_of_the_network(wrapped):
    network, loaded = features_lib.ReferenceFeatures('filters'), load(wrapped)
    pixels = photos(*SIZE) / np.float32(255)
    assert loaded.network is None and loaded.num_channels == network.num_channels == 32
    assert loaded.shape(SIZE) == network.shape(SIZE) == (16, 24, 32)
    for each in (network, loaded):
        each.measure_scales([each.raw(pixels)])
    np.testing.assert_allclose(loaded.raw(pixels), network.raw(pixels), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loaded.tap_scales, network.tap_scales, rtol=1e-5)
    np.testing.assert_allclose(loaded(pixels), network(pixels), rtol=1e-4, atol=1e-5)


def test_negative_values_are_set_to_0_or_become_channels_of_their_own(colors):
    pixels = photos(20, 28) / np.float32(255)
    expected = signed(pixels)
    assert expected.min() < -0.3
    loaded, both = load(colors), load(colors, rectifier='crelu')
    np.testing.assert_array_equal(loaded.raw(pixels), np.maximum(expected, 0))
    assert both.num_channels == 6 and both.shape((20, 28)) == (5, 7, 6)
    found = both.raw(pixels).numpy()
    assert found.min() == 0
    np.testing.assert_allclose(found[..., :3] - found[..., 3:], expected)


def test_equal_weights_hold_for_any_number_of_layers_and_others_for_their_own(colors, wrapped):
    assert load(colors).usual_length == pytest.approx(3 ** 0.5)
    assert load(wrapped, layer_weights=(2.0,)).usual_length == pytest.approx((4 * 32) ** 0.5)
    with pytest.raises(ValueError, match='`layer_weights` must hold one positive weight per tap'):
        load(colors, layer_weights=(1.0, 0.5))


@pytest.mark.parametrize('network, layers, problem', [
    (Network(lambda images: images[:, ::4, ::4, :2]), {'rgb': 3}, 'has 2 channels, and 3 in its'),
    (Network(lambda images: images[:, ::4, 0]), {'rgb': 3}, 'features of .None, None, 3.'),
    (Network(lambda images: tf.cast(signed(images), tf.float16)), {'rgb': 3}, 'features float16'),
    (Network(signed, shape=(1, None, None)), {'rgb': 3}, 'where B must be any number'),
    (Network(signed, shape=(None, 32, 32)), {'rgb': 3}, 'takes photos of 32x32 alone, .* 64x96'),
    (Network(lambda images: tf.sqrt(signed(images))), {'rgb': 3}, 'values that are not finite'),
    (Network(lambda images: 1e6 * signed(images)), {'rgb': 3}, 'which float16 does not hold'),
    (Network(lambda images: images[:, ::8, ::8]), {'rgb': 3}, '8x12 cells .* not the stride 4'),
    (Network(lambda images: tf.ensure_shape(signed(images), (None, 3, 3, 3))), {'rgb': 3},
     'fails on a photo of 64x96')])
def test_a_network_that_breaks_the_contract_is_refused_in_one_sentence_with_it(
        network, layers, problem, tmp_path):
    write(tmp_path / 'network', network, layers, 4)
    with pytest.raises(network_card.NetworkError, match=problem) as refused:
        loaded = load(tmp_path / 'network')
        loaded.shape(SIZE)
    sentence = str(refused.value)
    assert sentence.startswith('`Features.path` must be a SavedModel whose signature')
    assert 'images` float32[B,H,W,3], RGB in [0, 1]' in sentence and '\n' not in sentence


def test_other_names_of_the_signature_are_told(tmp_path):
    network = Network(signed)
    tf.saved_model.save(network, str(tmp_path), signatures={'predict': network.serve})
    network_card.write(network_card.NetworkCard('a', {'rgb': 3}, 4, 'MIT'), str(tmp_path))
    with pytest.raises(network_card.NetworkError, match='has the signatures predict'):
        load(tmp_path)


def test_a_size_that_the_network_makes_of_all_photos_goes_with_its_stride(tmp_path):
    network = Network(lambda images: signed(tf.image.resize(images, (40, 40))))
    write(tmp_path, network, {'rgb': 3}, 4, image_size=(40, 40))
    loaded = load(tmp_path)
    assert loaded.shape(SIZE) == loaded.shape((200, 40)) == (10, 10, 3)


# The card.


@pytest.mark.parametrize('text, problem', [
    (None, 'has no features.json'), ('{', 'has a damaged features.json'),
    ('[]', 'has a damaged features.json'),
    ({'stride': 0}, "no valid 'stride', but 0"), ({'layers': {}}, "no valid 'layers'"),
    ({'licence': ''}, "no valid 'licence'"), ({'image_size': [3]}, "no valid 'image_size'"),
    ({'size': 3}, "the unknown 'size'"), ({'sha256': 'ab'}, 'but its features.json is of ab')])
def test_a_card_that_cannot_be_used_is_told(colors, tmp_path, text, problem):
    folder = shutil.copytree(colors, tmp_path / 'network')
    card = folder / network_card.FILE
    if isinstance(text, dict):
        text = json.dumps({**json.loads(card.read_text(encoding='utf-8')), **text})
    card.unlink() if text is None else card.write_text(text, encoding='utf-8')
    with pytest.raises(network_card.NetworkError, match=problem):
        network_card.read(str(folder))


def test_the_hash_is_of_what_is_computed_and_not_of_its_place(colors, tmp_path):
    folder = shutil.copytree(colors, tmp_path / 'network')
    assert network_card.read(str(folder)) == network_card.read(str(colors))
    (folder / 'README').write_text('not computed', encoding='utf-8')
    network_card.read(str(folder))
    with open(folder / 'variables' / 'variables.index', 'ab') as file:
        file.write(b' ')
    with pytest.raises(network_card.NetworkError, match='has files of the SHA-256 .* restore it'):
        network_card.read(str(folder))
    with pytest.raises(network_card.NetworkError, match='is no folder'):
        network_card.read(str(tmp_path / 'nowhere'))
    with pytest.raises(network_card.NetworkError, match='is a folder without saved_model.pb'):
        network_card.read(str(tmp_path))


# Runs.


@pytest.fixture(scope='module')
def settings(small, linear) -> Callable[..., config_lib.Config]:
    short = ['Run.steps=2', 'Run.warmup_steps=1', 'Segmenter.num_views=1',
             'Run.saliency_agreement=0', 'Segmenter.dropout=0.0', 'Logging.pictures_every=100']
    return lambda *bindings: config_lib.load([], [*small, *linear, *short, *bindings])


def _of_path(path: Any) -> list:
    return ["Features.network='saved_model'", f'Features.path={str(path)!r}']


def _variables(workdir: pathlib.Path) -> dict:
    reader = tf.train.load_checkpoint(checkpoints.find(str(workdir)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name.startswith('model/') and '/_saved/' not in name}


def _responses(config: config_lib.Config, workdir: pathlib.Path) -> np.ndarray:
    served = trained_model.load_part_model(config, str(workdir)).part_model
    return served.predict(tf.constant(photos(50, 110)))['part_responses'].numpy()


def test_a_run_on_a_wrapped_network_is_that_on_the_network(settings, wrapped, eager, tmp_path):
    found = {}
    for name, bindings in (('plain', []), ('saved', _of_path(wrapped))):
        config = settings(*bindings)
        assert loop.train(config, str(tmp_path / name))
        kept = config_lib.load_run(str(tmp_path / name))
        found[name] = _variables(tmp_path / name), _responses(kept, tmp_path / name)
    assert found['plain'][0].keys() == found['saved'][0].keys() and len(found['plain'][0]) == 4
    for name, value in found['plain'][0].items():
        np.testing.assert_allclose(found['saved'][0][name], value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found['saved'][1], found['plain'][1], atol=1e-4)


def _vit(width: int = 16, patch: int = 14) -> Network:
    """A vision transformer of one block with random weights, for photos of any size."""
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(0)
    photo = layers.Input((None, None, 3))
    tokens = layers.Conv2D(width, patch, strides=patch)(photo)
    flat = layers.Reshape((-1, width))(tokens)
    normed = layers.LayerNormalization()(flat)
    flat = layers.Add()([flat, layers.MultiHeadAttention(2, width // 2)(normed, normed)])
    flat = layers.LayerNormalization()(layers.Dense(width, activation='gelu')(flat))
    model = tf.keras.Model(photo, [tokens, flat])

    def features(images: tf.Tensor) -> tf.Tensor:
        grid = tf.shape(images)[1:3] // patch
        resized = tf.image.resize(images, grid * patch, antialias=True)
        tokens, flat = model((resized - 0.45) / 0.225)
        found = tf.reshape(flat, [-1, *tf.unstack(tf.shape(tokens)[1:3]), width])
        return tf.ensure_shape(found, [None, None, None, width])

    return Network(features, model)


@pytest.fixture(scope='module')
def vit(settings, eagerly, tmp_path_factory) -> pathlib.Path:
    """A folder with the SavedModel `vit` and a run on it, `run`; not to be changed."""
    folder = tmp_path_factory.mktemp('vit')
    write(folder / 'vit', _vit(), {'block1': 16}, 14)
    config = settings(*_of_path(folder / 'vit'), "Features.rectifier='crelu'")
    with eagerly():
        assert loop.train(config, str(folder / 'run'))
    return folder


def test_a_transformer_of_stride_14_trains_and_its_export_needs_nothing_else(vit, tmp_path):
    config = config_lib.load_run(str(vit / 'run'))
    card = network_card.read(str(vit / 'vit'))
    assert config.features.sha256 == card.sha256
    variables = _variables(vit / 'run')
    assert variables['model/part_basis/raw/.ATTRIBUTES/VARIABLE_VALUE'].shape == (3, 32)
    trained = trained_model.load_part_model(config, str(vit / 'run'))
    assert trained.model.reference_features.shape(SIZE) == (4, 6, 32)
    expected = trained.part_model.predict(tf.constant(photos(50, 110)))
    saved_model.export(trained.part_model, str(tmp_path / 'export'), config=config, metadata={
        'reference_network': trained.reference_network})
    (vit / 'vit').rename(vit / 'elsewhere')
    try:
        exported = predictor_lib.Predictor(str(tmp_path / 'export'))
        found = exported.predict(photos(50, 110))
    finally:
        (vit / 'elsewhere').rename(vit / 'vit')
    np.testing.assert_allclose(found.part_responses, expected['part_responses'], atol=1e-5)
    model_card = (tmp_path / 'export' / '1' / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert f'layers block1 (SHA-256 {card.sha256}). Their licence: Apache-2.0.' in model_card


def test_a_run_goes_on_with_the_same_network_wherever_it_lies_and_with_no_other(
        vit, settings, colors, eager, tmp_path):
    workdir = shutil.copytree(vit / 'run', tmp_path / 'run')
    for path in (workdir / 'checkpoints').glob('ckpt-2.*'):
        path.unlink()
    moved = shutil.copytree(vit / 'vit', tmp_path / 'moved')
    bindings = ["Features.rectifier='crelu'", 'Run.steps=2']
    other = settings(*_of_path(colors), *bindings)
    with pytest.raises(config_lib.ConfigError, match='`Features.sha256` was .* and is .* now'):
        loop.train(other, str(workdir))
    assert loop.train(settings(*_of_path(moved), *bindings), str(workdir))
    for name, value in _variables(vit / 'run').items():
        np.testing.assert_array_equal(_variables(workdir)[name], value, err_msg=name)
    kept = config_lib.load_run(str(workdir), [f'Features.path={str(colors)!r}'])
    with pytest.raises(network_card.NetworkError, match='is another network .*="Features.path='):
        trained_model.load_part_model(kept, str(workdir))
    fresh = settings(*_of_path(colors), *bindings, f'Run.init_from={str(workdir)!r}')
    with pytest.raises(config_lib.ConfigError, match='`Run.init_from` must be a run with the same'):
        loop.train(fresh, str(tmp_path / 'fresh'))


@pytest.mark.parametrize('bindings, law', [
    (["Features.network='saved_model'"], '`Features.path` must be the folder of a SavedModel'),
    (["Features.path='a'"], '`Features.path` must be .* and None elsewhere'),
    (["Features.rectifier='crelu'"], "`Features.rectifier` must be 'relu' unless"),
    ([f'Features.sha256={"0" * 64!r}'], '`Features.sha256` must be None unless'),
    ([*_of_path('a'), "Features.sha256='0'"], '`Features.sha256` must have 64 hexadecimal digits')])
def test_settings_that_do_not_go_together_are_told(settings, bindings, law):
    with pytest.raises(config_lib.ConfigError, match=law):
        settings(*bindings)
