"""Laws of the script that joins SavedModels of reference features."""
from __future__ import annotations

import dataclasses
import os
import pathlib

import convert_features
import join_features
import numpy as np
import pytest
import saved_features
import tensorflow as tf

from scops_tf import command, network_card
from scops_tf.networks import reference_features as features_lib

_SCRIPT = pathlib.Path(__file__).resolve().parent.parent / 'scripts' / 'join_features.py'


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Two small networks of strides 2 and 4, as SavedModels."""
    folder = tmp_path_factory.mktemp('networks')
    for name, stride, layers in (('fine', 2, ('a', 'b')), ('coarse', 4, ('a',))):
        photo = tf.keras.Input((None, None, 3))
        maps = [tf.keras.layers.Conv2D(3 + number, 3, strides=stride, padding='same', name=layer,
                                       activation='relu')(photo)
                for number, layer in enumerate(layers)]
        convert_features.convert(
            convert_features.Source(tf.keras.Model(photo, maps), lambda images: images - 0.5),
            layers, str(folder / name), name=name, licence=f'{name} licence', origin='random')
    return folder


def _raw(folder: pathlib.Path, pixels: np.ndarray) -> np.ndarray:
    features = features_lib.ReferenceFeatures('saved_model', path=str(folder))
    return features.raw(pixels).numpy()


def test_a_joined_network_has_the_layers_of_all_at_the_finest_size(networks, tmp_path):
    folders, out = [str(networks / name) for name in ('coarse', 'fine')], tmp_path / 'both'
    card = saved_features.write(
        join_features.joined(folders), str(out),
        join_features.joined_card([network_card.read(folder) for folder in folders]))
    assert card == network_card.read(str(out)) and card.stride == 2
    assert card.layers == {'coarse/a': 3, 'fine/a': 3, 'fine/b': 4}
    assert card.licence == 'coarse: coarse licence; fine: fine licence'
    pixels = np.random.default_rng(0).uniform(size=(2, 32, 48, 3)).astype(np.float32)
    found = _raw(out, pixels)
    np.testing.assert_allclose(found[..., 3:], _raw(networks / 'fine', pixels), atol=1e-6)
    coarse = _raw(networks / 'coarse', pixels)
    np.testing.assert_allclose(found[:, ::15, ::23, :3], coarse[:, ::7, ::11], atol=1e-6)


def test_what_cannot_be_joined_is_told(networks):
    coarse, fine = (network_card.read(str(networks / name)) for name in ('coarse', 'fine'))
    for cards in ([], [coarse], [coarse, fine, coarse]):
        with pytest.raises(command.CommandError, match='two or more SavedModels .*different names'):
            join_features.joined_card(cards)
    resized = dataclasses.replace(fine, image_size=(224, 196))
    with pytest.raises(command.CommandError, match=r'coarse: None, fine: \(224, 196\): convert'):
        join_features.joined_card([coarse, resized])


def test_the_command_names_what_it_was_not_given(networks, run_command, tmp_path):
    def failed(folders, out):
        done = run_command(str(_SCRIPT), f'--networks={folders}', f'--out={out}')
        assert done.returncode == 1
        return done.stderr

    none = networks / 'none'
    error = failed(none, tmp_path / 'out')
    assert '`--networks` must be a SavedModel' in error and f'{str(none)!r} is no folder' in error
    # What is wrong in the flag is told before the networks are read.
    assert f'`--out` must be a new folder; {str(tmp_path)!r}' in failed(none, tmp_path)
    assert not os.listdir(tmp_path)
