"""Laws of finding and loading ImageNet weights."""
from __future__ import annotations

import h5py
import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import pretrained


@pytest.fixture(scope='module')
def vgg():
    return pretrained.build('vgg19', weights=None, seed=3)


@pytest.fixture(autouse=True)
def no_weights_dir(monkeypatch):
    monkeypatch.delenv(pretrained.WEIGHTS_DIR_VARIABLE, raising=False)


def test_the_weights_dir_comes_before_the_download(tmp_path, monkeypatch):
    assert pretrained.find_weights('vgg19', 'imagenet') == 'imagenet'
    monkeypatch.setenv(pretrained.WEIGHTS_DIR_VARIABLE, str(tmp_path))
    assert pretrained.find_weights('vgg19', 'imagenet') == 'imagenet'
    path = tmp_path / 'vgg19_imagenet_notop.h5'
    path.touch()
    assert pretrained.find_weights('vgg19', 'imagenet') == str(path)
    assert pretrained.find_weights('resnet50', 'imagenet') == 'imagenet'


def test_a_path_is_taken_as_it_is_and_none_is_none(tmp_path):
    (tmp_path / 'mine.h5').touch()
    assert pretrained.find_weights('vgg19', tmp_path / 'mine.h5') == str(tmp_path / 'mine.h5')
    assert pretrained.find_weights('vgg19', None) is None
    with pytest.raises(pretrained.WeightsError, match='`weights` must be .* there is no file'):
        pretrained.find_weights('vgg19', tmp_path / 'yours.h5')


def test_a_failed_download_names_both_ways_out(monkeypatch):
    def unreachable(**kwargs):
        raise Exception('URL fetch failure on https://example.org: None -- unreachable')
    monkeypatch.setitem(pretrained._APPLICATIONS, 'vgg19', unreachable)
    with pytest.raises(pretrained.WeightsError, match=(
            r'`weights` of vgg19 could not be downloaded \(URL fetch.*connect to the network'
            r'.*SCOPS_WEIGHTS_DIR.*vgg19_imagenet_notop.h5')):
        pretrained.build('vgg19', weights='imagenet', seed=0)


def test_random_weights_are_a_function_of_the_seed(vgg):
    kernel = vgg.get_layer('block3_conv2').kernel.numpy()
    same, other = (pretrained.build('vgg19', weights=None, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(same.get_layer('block3_conv2').kernel, kernel)
    assert np.abs(other.get_layer('block3_conv2').kernel - kernel).max() > 0.01
    assert np.abs(vgg.get_layer('block3_conv3').kernel - kernel).max() > 0.01


@pytest.mark.parametrize('name', ['weights.h5', 'vgg19.weights.h5', 'vgg19'])
def test_weights_of_a_file_are_loaded_also_from_half_precision_whatever_its_name(
        vgg, tmp_path, name):
    vgg.save_weights(tmp_path / 'weights.h5')
    path = (tmp_path / 'weights.h5').rename(tmp_path / name)
    with h5py.File(path, 'r+') as file:
        for layer in ('block1_conv1', 'block5_conv4'):
            kernel = file[f'{layer}/{layer}/kernel:0'][()]
            del file[f'{layer}/{layer}/kernel:0']
            file[f'{layer}/{layer}/kernel:0'] = kernel.astype(np.float16)
    loaded = pretrained.build('vgg19', weights=path, seed=5)
    for layer in ('block1_conv1', 'block3_conv2', 'block5_conv4'):
        kernel = loaded.get_layer(layer).kernel
        assert kernel.dtype == 'float32'
        np.testing.assert_allclose(kernel, vgg.get_layer(layer).kernel, atol=1e-3)


def test_a_rewritten_layer_keeps_its_weights(vgg, tmp_path):
    def dilate(config):
        if config['name'] == 'block1_conv2':
            config['dilation_rate'] = (3, 3)
    vgg.save_weights(tmp_path / 'weights.h5')
    dilated = pretrained.build('vgg19', weights=tmp_path / 'weights.h5', seed=5, rewrite=dilate)
    assert dilated.get_layer('block1_conv2').dilation_rate == (3, 3)
    assert vgg.get_layer('block1_conv2').dilation_rate == (1, 1)
    np.testing.assert_array_equal(
        dilated.get_layer('block1_conv2').kernel, vgg.get_layer('block1_conv2').kernel)


def test_a_network_computes_in_the_precision_that_is_set(vgg):
    pixels = np.ones((1, 32, 48, 3), np.float32)
    assert vgg(pixels).dtype == 'float32'
    tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')
    try:
        half = pretrained.build('vgg19', weights=None, seed=3)
    finally:
        tf.keras.mixed_precision.set_global_policy('float32')
    assert half(pixels).dtype == 'bfloat16'
    np.testing.assert_array_equal(
        half.get_layer('block3_conv2').kernel, vgg.get_layer('block3_conv2').kernel)


@pytest.mark.parametrize('write', [
    lambda path: path.write_text('<html>'),
    lambda path: h5py.File(path, 'w').close()])
def test_a_file_of_something_else_is_named(tmp_path, write):
    write(tmp_path / 'broken.h5')
    with pytest.raises(pretrained.WeightsError, match='must be those of vgg19 .*broken.h5'):
        pretrained.build('vgg19', weights=tmp_path / 'broken.h5', seed=0)


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="`network` must be one of .*; got 'alexnet'"):
        pretrained.build('alexnet', weights=None, seed=0)
