"""Laws of `scops_tf.load`: runs and exports as Keras models that are trained further and saved."""
from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import scops_tf
from scops_tf import config as config_lib
from scops_tf.labels import part_names, parts_file
from scops_tf.serving import keras_model, saved_model, trained_model


def _photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 50, 130, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def run(trained_run, tmp_path_factory) -> pathlib.Path:
    """A run with an export, whose parts 2 and 3 are merged; not to be changed."""
    folder = shutil.copytree(trained_run, tmp_path_factory.mktemp('runs') / 'run')
    config = config_lib.load_run(str(folder))
    names = part_names.PartNames.unnamed(3).changed(merges=[(2, 3)])
    parts_file.save(names, str(folder))
    trained = trained_model.load_part_model(config, str(folder), parts=names)
    saved_model.export(trained.part_model, str(folder / 'export'), metadata={}, config=config)
    return folder


@pytest.fixture(scope='module')
def served(run) -> np.ndarray:
    """Responses of the export to the photos."""
    loaded = tf.saved_model.load(str(run / 'export' / '1'))
    found = loaded.signatures['serving_default'](images=tf.constant(_photos()))
    assert not found['part_responses'].numpy()[..., 3].any()
    return found['part_responses'].numpy()


@pytest.fixture(scope='module', params=['', 'export', 'export/1'])
def model(run, request) -> tf.keras.Model:
    return scops_tf.load(run / request.param)


def test_responses_are_those_that_are_served(model, served):
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, *served.shape[1:]) == (None, 64, 96, 4)
    found = model(_photos() / np.float32(255))
    np.testing.assert_allclose(found, served, atol=1e-5)


def test_within_another_network_it_is_trained_further_and_saved(run, tmp_path):
    photos = tf.keras.Input((None, None, 3))
    for folder, trains_all in ((run, True), (run / 'export', False)):
        parts = scops_tf.load(folder)
        # The head's kernels and biases are one variable each.
        assert (len(parts.trainable_weights) > 2) == trains_all
        assert len(parts.weights) > 2
        areas = tf.keras.layers.GlobalAveragePooling2D()(parts(photos))
        network = tf.keras.Model(photos, tf.keras.layers.Dense(1)(areas))
        network.compile(tf.keras.optimizers.SGD(1.0), 'mse', run_eagerly=True)
        before = [weight.numpy() for weight in parts.trainable_weights]
        network.fit(_photos() / np.float32(255), np.ones((2, 1)), batch_size=2, verbose=0)
        assert all((weight.numpy() != old).any()
                   for weight, old in zip(parts.trainable_weights, before))
        expected = network(_photos() / np.float32(255))
        network.save(str(tmp_path / 'tuned'), save_format='tf')
        again = tf.keras.models.load_model(str(tmp_path / 'tuned'))
        np.testing.assert_allclose(again(_photos() / np.float32(255)), expected, rtol=1e-4)
        assert len(again.trainable_weights) == len(network.trainable_weights)
        parts.trainable = False
        assert not parts.trainable_weights
        # The folder of the run has its own weights still.
        fresh = scops_tf.load(folder).trainable_weights
        np.testing.assert_array_equal(fresh[0], before[0])


def test_what_holds_no_model_is_told_in_one_sentence(run, tmp_path):
    with pytest.raises(keras_model.LoadError, match='`folder` must be that of a run, .* neither'):
        scops_tf.load(tmp_path)
    damaged = shutil.copytree(run / 'export' / '1', tmp_path / 'damaged')
    (damaged / 'saved_model.pb').write_bytes(b'no model')
    with pytest.raises(keras_model.LoadError, match='must be whole, .* export again'):
        scops_tf.load(damaged)
    old = tmp_path / 'old'
    module = tf.Module()
    module.serve = tf.function(lambda: {'a': tf.constant(1)}, input_signature=[])
    tf.saved_model.save(module, str(old))
    (old / saved_model.METADATA_FILE).write_text('{}', encoding='utf-8')
    with pytest.raises(keras_model.LoadError, match='of this version of scops_tf'):
        scops_tf.load(old)
    (tmp_path / 'run').mkdir()
    shutil.copy(run / config_lib.RUN_FILE, tmp_path / 'run')
    with pytest.raises(ValueError, match='must be the folder of a run that has saved a checkpoint'):
        scops_tf.load(tmp_path / 'run')


def test_the_package_alone_imports_no_tensorflow():
    code = 'import sys, scops_tf; scops_tf.load; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
