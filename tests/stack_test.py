"""The Keras that TensorFlow takes, on both stacks of libraries."""
from __future__ import annotations

from importlib import metadata
import os
import types

import pytest
import tensorflow as tf

from scops_tf import stack


def _install(monkeypatch, version):
    def found(name):
        assert name == 'keras'
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, 'version', found)
    # Set first, since a variable that was absent would not be taken away again.
    monkeypatch.setenv('TF_USE_LEGACY_KERAS', '')
    monkeypatch.delenv('TF_USE_LEGACY_KERAS')


def test_the_networks_are_of_keras_2_whatever_is_installed():
    package = tf.keras.Model.__module__.partition('.')[0]
    assert package == ('tf_keras' if stack.is_current() else 'keras')
    stack.check_keras(tf.keras)
    assert stack.is_current() == (tuple(map(int, tf.__version__.split('.')[:2])) > (2, 15))


@pytest.mark.parametrize('version, asked', [
    ('3.15.1', '1'), ('10.0', '1'), ('2.15.0', None), (None, None)])
def test_keras_2_is_asked_for_where_tensorflow_would_take_keras_3(monkeypatch, version, asked):
    _install(monkeypatch, version)
    stack.choose_keras()
    assert os.environ.get('TF_USE_LEGACY_KERAS') == asked
    assert stack.is_current() == bool(asked)


@pytest.mark.parametrize('machine, before, after', [
    ('x86_64', None, '1'), ('AMD64', None, '1'), ('x86_64', '0', '0'), ('aarch64', None, None)])
def test_onednn_is_asked_for_on_x86_unless_the_user_has_chosen(monkeypatch, machine, before, after):
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', before or '')
    if before is None:
        monkeypatch.delenv('TF_ENABLE_ONEDNN_OPTS')
    monkeypatch.setattr('platform.machine', lambda: machine)
    stack.choose_onednn()
    assert os.environ.get('TF_ENABLE_ONEDNN_OPTS') == after


def test_keras_3_in_use_and_no_keras_2_are_one_sentence():
    class Absent:
        def __getattr__(self, name):
            raise ImportError('Keras cannot be imported.')

    model = type('Model', (), {'__module__': 'keras.src.models.model'})
    with pytest.raises(ImportError, match='is Keras 3, since it was used before scops_tf'):
        stack.check_keras(types.SimpleNamespace(Model=model))
    with pytest.raises(ImportError, match='not installed; install the package tf-keras'):
        stack.check_keras(Absent())
