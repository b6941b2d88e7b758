"""Laws of the other formats: ONNX and TensorFlow Lite give what the SavedModel gives."""
from __future__ import annotations

import importlib.util
import sys
from typing import Iterator

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import images as images_lib
from scops_tf.serving import decoding, part_model as part_model_lib, portable

_needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ('tf2onnx', 'onnxruntime'))),
    reason='tf2onnx and onnxruntime (the extra `onnx`) are not installed.')


class _Network(tf.Module):
    """A dilated convolution of random weights, a window's mean and the up-sampling of both."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal((3, 3, 3, 4), [0, 1]))

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        maps = tf.nn.conv2d(images[:, ::4, ::4], self.kernel, 1, 'SAME', dilations=2)
        maps -= tf.nn.avg_pool2d(maps, 3, 1, 'SAME')
        return decoding.part_responses_from_logits(9 * maps, (64, 96))


@pytest.fixture(scope='module')
def model() -> Iterator[part_model_lib.PartModel]:
    """A network with all that decoding can do: windows, powers, borders, merged parts."""
    with pytest.MonkeyPatch.context() as patch:
        # A grid that is coarser than the maps, as it is where photos have their usual sizes.
        patch.setattr(decoding, '_GUIDED_SIDE', 32)
        yield part_model_lib.PartModel(
            _Network(), num_parts=3, input_size=(64, 96), center_window=1.0, center_power=2.0,
            guided_radius=0.1, lookup=(0, 1, 2, 2))


@pytest.fixture(scope='module')
def photo(creatures) -> np.ndarray:
    """u8[1,64,96,3]."""
    path = sorted((creatures / 'test' / 'photos').iterdir())[0]
    return images_lib.read(str(path))[np.newaxis]


def _require_same(found, expected) -> None:
    """The law of the formats, of `portable.convert`."""
    assert found.keys() == expected.keys()
    labels = np.asarray(expected['labels'])
    assert len(np.unique(labels)) > 1 and np.mean(found['labels'] == labels) >= 0.999
    assert np.asarray(found['labels']).dtype == np.uint8
    for name in ('part_responses', 'presence'):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
    np.testing.assert_allclose(found['part_centers'], expected['part_centers'], atol=0.01)


def test_tensorflow_lite_gives_what_the_saved_model_gives(model, photo, monkeypatch, capfd):
    data = portable.convert('tflite', model, like=model)
    assert capfd.readouterr().err == ''
    pixels = photo.astype(np.float32) / 255
    _require_same(portable.FORMATS['tflite'].load(data)(pixels), model.predict(photo))

    # The same file beside a model of other responses.
    class Other(tf.Module):
        def part_responses(self, images):
            return model.network.part_responses(images)[..., ::-1]

    other = part_model_lib.PartModel(Other(), num_parts=3, input_size=(64, 96))
    monkeypatch.setitem(portable.FORMATS, 'tflite', portable.FORMATS['tflite']._replace(
        convert=lambda function, model: data))
    with pytest.raises(portable.PortableError, match='tflite must give the responses of the Saved'):
        portable.convert('tflite', model, like=other)


@_needs_onnx
def test_onnx_gives_what_the_saved_model_gives_for_any_number_of_photos(model, photo):
    data = portable.convert('onnx', model, like=model)
    photos = np.concatenate([photo, photo[:, ::-1]])
    found = portable.FORMATS['onnx'].load(data)(photos.astype(np.float32) / 255)
    _require_same(found, model.predict(photos))


def test_a_converter_that_fails_is_a_sentence(model, monkeypatch):
    def fail(*_):
        raise RuntimeError('Op type not registered.\nAt a place')

    monkeypatch.setitem(portable.FORMATS, 'tflite',
                        portable.FORMATS['tflite']._replace(convert=fail))
    with pytest.raises(portable.PortableError, match=r'fails \(Op type not registered\); leave'):
        portable.convert('tflite', model, like=model)


def test_a_missing_package_and_an_unknown_format_are_sentences(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(portable.PortableError, match=r"pip install 'scops_tf\[onnx\]'"):
        portable.require('onnx')
    with pytest.raises(portable.PortableError, match="of savedmodel, onnx, tflite; got 'pb'"):
        portable.require('pb')


def test_photos_that_were_resized_already_have_labels_of_their_size(model, photo):
    found = model.of_resized(tf.constant(photo, tf.float32) / 255)
    _require_same(found, model.predict(photo))
