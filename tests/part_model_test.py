"""Laws of what is served: decoding, places in the photo, and an export equal to the model."""
from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from scops_tf import config as config_lib
from scops_tf.serving import decoding, part_model as part_model_lib, saved_model, trained_model

INPUT_SIZE = (64, 96)


class ColorNetwork(tf.Module):
    """Its parts are what is red, green and blue in the photo."""

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        return tf.concat([1.0 - tf.reduce_max(images, axis=-1, keepdims=True), images], axis=-1)


@pytest.fixture(scope='module')
def by_color() -> part_model_lib.PartModel:
    return part_model_lib.PartModel(ColorNetwork(), num_parts=3, input_size=INPUT_SIZE)


@pytest.fixture(scope='module')
def trained(trained_run, small) -> part_model_lib.PartModel:
    return trained_model.load_part_model(config_lib.load([], small), str(trained_run)).part_model


@pytest.fixture(scope='module')
def exported(trained, tmp_path_factory) -> str:
    return saved_model.export(trained, str(tmp_path_factory.mktemp('export')), metadata={})


def _photos(size=(50, 130), count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def _responses(seed: int = 0, size=(5, 7), num_parts: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(num_parts + 1), (2, *size)).astype(
        np.float32)


def _decode(responses: Any, size=(5, 7), **options) -> np.ndarray:
    return decoding.decode(tf.constant(responses, tf.float32), size, **options).numpy()


# Decoding.


def test_a_label_is_the_largest_normalized_part_above_the_background():
    responses = np.zeros((1, 1, 4, 3), np.float32)
    responses[0, 0, :, 1] = [0.8, 0.4, 0.16, 0.0]
    responses[0, 0, :, 2] = [0.0, 0.25, 0.02, 0.03]
    # Divided by 0.8 and by 0.25: 1 against 0; 0.5 against 1; 0.2 against 0.08; 0 against 0.12.
    np.testing.assert_array_equal(_decode(responses, (1, 4), background=0.1), [[[1, 2, 1, 2]]])
    np.testing.assert_array_equal(_decode(responses, (1, 4), background=0.15), [[[1, 2, 1, 0]]])


def test_the_background_wins_ties_and_then_the_first_part():
    responses = np.zeros((1, 1, 3, 3), np.float32)
    responses[0, 0, :, 1:] = [[1.0, 1.0], [0.5, 0.5], [0.25, 0.125]]
    np.testing.assert_array_equal(_decode(responses, (1, 3), background=0.25), [[[1, 1, 0]]])


def test_labels_do_not_depend_on_the_scale_of_a_part_or_on_channel_0():
    responses = _responses()
    scaled = responses * np.array([9.0, 0.5, 1.0, 0.125], np.float32)
    np.testing.assert_array_equal(_decode(scaled), _decode(responses))


def test_permuting_the_parts_permutes_the_labels():
    responses, order = _responses(), [0, 3, 1, 2]
    permuted = _decode(responses[..., order])
    np.testing.assert_array_equal(np.array(order)[permuted], _decode(responses))


def test_a_part_that_is_nowhere_is_not_in_the_labels():
    responses = _responses()
    responses[..., 2] = 0
    assert set(np.unique(_decode(responses, background=0.0))) <= {0, 1, 3}
    assert not _decode(np.zeros((1, 5, 7, 4))).any()


def test_photos_of_a_batch_are_normalized_one_by_one():
    responses = _responses()
    for index in range(2):
        np.testing.assert_array_equal(
            _decode(responses)[index], _decode(responses[index:index + 1])[0])


def test_normalized_responses_are_those_of_the_labels():
    responses = _responses()
    maps = decoding.normalized_responses(tf.constant(responses), (11, 20)).numpy()
    assert maps.shape == (2, 11, 20, 3) and maps.min() >= 0 and maps.max() <= 1
    labels = np.where(maps.max(axis=-1) > 0.1, maps.argmax(axis=-1) + 1, 0)
    np.testing.assert_array_equal(_decode(responses, (11, 20)), labels)


@pytest.mark.parametrize('size', [(23, 31), (200, 17), (5, 90), (1, 8)])
def test_labels_in_strips_are_those_of_the_whole_photo(monkeypatch, size):
    responses = tf.constant(_responses(size=(9, 14)))
    whole = decoding.decode(responses, size).numpy()
    assert len(np.unique(whole)) > 1
    # Strips of four rows, the last of which is shorter.
    monkeypatch.setattr(decoding, '_MAX_NUMBERS', 4 * 2 * 3 * size[1])
    strips = decoding.decode(responses, size).numpy()
    np.testing.assert_array_equal(strips, whole)
    assert strips.dtype == np.uint8


def test_labels_in_strips_of_a_row_are_those_in_a_graph_too(monkeypatch):
    responses = tf.constant(_responses(size=(9, 14)))
    whole = decoding.decode(responses, (23, 31)).numpy()
    monkeypatch.setattr(decoding, '_MAX_NUMBERS', 1)
    decode = tf.function(decoding.decode, autograph=False)
    strips = decode(responses, (tf.constant(23), tf.constant(31))).numpy()
    np.testing.assert_array_equal(strips, whole)


def test_a_large_photo_is_resized_as_bytes_with_the_same_result(monkeypatch, by_color):
    photos = _photos(size=(90, 130))
    usual = by_color.predict(tf.constant(photos))['part_responses']
    monkeypatch.setattr(part_model_lib, '_LARGE_PHOTO', 1)
    other = part_model_lib.PartModel(ColorNetwork(), num_parts=3, input_size=INPUT_SIZE)
    large = other.predict(tf.constant(photos))['part_responses']
    np.testing.assert_allclose(large, usual, atol=1e-6)


def test_part_responses_sum_to_1_at_any_size():
    logits = tf.random.stateless_normal((2, 4, 6, 3), [0, 1])
    responses = decoding.part_responses_from_logits(logits, (9, 16)).numpy()
    assert responses.shape == (2, 9, 16, 3)
    np.testing.assert_allclose(responses.sum(axis=-1), 1, rtol=1e-6)
    # Corners of the grids lie on each other.
    np.testing.assert_allclose(responses[:, -1, -1], tf.nn.softmax(logits[:, -1, -1]), rtol=1e-5)


# Places.


def test_borders_of_the_squashed_photo_are_those_of_the_photo():
    corners = np.array([[-0.5, -0.5], [95.5, 63.5]])
    np.testing.assert_allclose(decoding.photo_points(corners, INPUT_SIZE, (30, 210)),
                               [[-0.5, -0.5], [209.5, 29.5]])
    np.testing.assert_allclose(decoding.photo_points(tf.constant(corners), INPUT_SIZE, INPUT_SIZE),
                               corners)


@pytest.mark.parametrize('size', [(40, 200), (130, 70), INPUT_SIZE, (300, 301)])
def test_a_blob_comes_out_at_its_place_in_photos_of_any_size(by_color, size):
    height, width = size
    x, y = 0.3 * width, 0.7 * height
    rows, columns = np.mgrid[:height, :width]
    distance = ((columns - x) / (0.12 * width)) ** 2 + ((rows - y) / (0.12 * height)) ** 2
    photo = np.zeros((1, height, width, 3), np.uint8)
    photo[0, ..., 1] = np.rint(255 * np.exp(-distance))
    found = {name: value.numpy() for name, value in by_color.predict(photo).items()}
    # A pixel of the network's input, or of the photo if that is the larger one.
    tolerance = max(1, width / INPUT_SIZE[1], height / INPUT_SIZE[0])
    np.testing.assert_allclose(found['part_centers'][0, 1], [x, y], atol=0.5 * tolerance)
    np.testing.assert_array_equal(found['labels'].shape, (1, height, width))
    assert set(np.unique(found['labels'])) == {0, 2}
    places = np.argwhere(found['labels'][0] == 2).mean(axis=0)[::-1]
    np.testing.assert_allclose(places, [x, y], atol=tolerance)
    assert found['presence'][0, 1] > 0.9
    # Parts that are nowhere: in the middle, and absent.
    np.testing.assert_array_equal(found['presence'][0, [0, 2]], 0)
    np.testing.assert_allclose(found['part_centers'][0, 0], [(width - 1) / 2, (height - 1) / 2],
                               atol=1e-3)


def test_centers_of_the_main_object_leave_out_what_lies_far_from_it():
    photo = np.zeros((1, *INPUT_SIZE, 3), np.uint8)
    photo[0, 10:40, 10:40] = [200, 100, 0]
    photo[0, 30:40, 80:90, 0] = 200  # Of the first part, away from the object.
    centers = {}
    for window in (None, 0.5):
        model = part_model_lib.PartModel(ColorNetwork(), num_parts=3, input_size=INPUT_SIZE,
                                         center_window=window)
        centers[window] = model.predict(photo)['part_centers'].numpy()[0, :2]
    np.testing.assert_allclose(centers[0.5], [[24.5, 24.5]] * 2, atol=0.5)
    assert centers[None][0, 0] > 29
    np.testing.assert_allclose(centers[None][1], [24.5, 24.5], atol=1e-3)


def test_powers_of_responses_leave_out_what_may_be_a_part():
    responses = np.zeros((1, *INPUT_SIZE, 3), np.float32)
    responses[0, 10:20, 10:20, 1] = 0.08
    responses[0, 10:20, 20:60, 1] = 0.02
    centers = [decoding.part_centers(tf.constant(responses), INPUT_SIZE, power=power).numpy()[0]
               for power in (1.0, 4.0)]
    # Eq. 1: as much response lies in the large, weak area as in the small one.
    np.testing.assert_allclose(centers[0][0], [(14.5 + 39.5) / 2, 14.5], atol=1e-3)
    weak = 40 * 0.25 ** 4
    np.testing.assert_allclose(
        centers[1][0], [(10 * 14.5 + weak * 39.5) / (10 + weak), 14.5], atol=1e-3)
    # Parts that are nowhere have a centre still.
    middle = (np.array(INPUT_SIZE[::-1]) - 1) / 2
    np.testing.assert_allclose(centers[1][1], middle, atol=1e-3)


@pytest.mark.parametrize('power', [1.0, 8.0])
def test_a_part_beside_the_window_and_a_weak_one_have_finite_centers(power):
    responses = np.zeros((1, *INPUT_SIZE, 3), np.float32)
    responses[0, 8:24, 8:24, 1] = 1.0
    responses[0, 60:61, 90:91, 2] = 1e-30
    centers = decoding.part_centers(
        tf.constant(responses), INPUT_SIZE, window=0.2, power=power).numpy()[0]
    np.testing.assert_allclose(centers, [[15.5, 15.5]] * 2, atol=0.5)


def test_photos_of_the_network_s_size_reach_it_as_they_are(by_color):
    photos = _photos(INPUT_SIZE)
    responses = by_color.predict(photos)['part_responses'].numpy()
    np.testing.assert_allclose(responses[..., 1:] * 255, photos, atol=1e-3)


def test_a_pure_red_photo_is_red_to_the_network(by_color):
    photo = np.zeros((1, 31, 57, 3), np.uint8)
    photo[..., 0] = 255
    found = by_color.predict(photo)
    assert np.unique(found['labels']).tolist() == [1]
    np.testing.assert_allclose(found['presence'], [[1, 0, 0]], atol=1e-6)


def test_a_network_of_coarser_responses_is_brought_to_the_input_s_size():

    class Coarse(ColorNetwork):
        def part_responses(self, images):
            return super().part_responses(images[:, ::8, ::8])

    model = part_model_lib.PartModel(Coarse(), num_parts=3, input_size=INPUT_SIZE)
    found = model.predict(_photos())
    assert found['part_responses'].shape == (2, *INPUT_SIZE, 4)
    assert found['labels'].shape == (2, 50, 130)


# The export.


def test_the_export_gives_the_predictions_of_the_trained_model(trained, exported):
    photos = _photos()
    expected = trained.predict(photos)
    found = tf.saved_model.load(exported).signatures['serving_default'](
        images=tf.constant(photos))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_the_export_needs_nothing_but_tensorflow(trained, exported, tmp_path):
    photos = _photos()
    np.save(tmp_path / 'photos.npy', photos)
    # As on a machine where nothing else is installed: what is no part of TensorFlow is not found.
    script = textwrap.dedent('''
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split('.')[0] in ('scops_tf', 'keras_cv', 'tensorflow_addons', 'tf_keras',
                                          'gin', 'sklearn', 'skimage', 'PIL', 'scipy'):
                    raise ImportError(f'{name} is not installed')

        sys.meta_path.insert(0, Absent())
        import numpy as np
        import tensorflow as tf

        photos, model = np.load(sys.argv[2]), tf.saved_model.load(sys.argv[1])
        of_images = model.signatures['serving_default'](images=tf.constant(photos))
        encoded = tf.stack([tf.io.encode_png(photo) for photo in photos])
        of_bytes = model.signatures['encoded'](encoded=encoded)
        for name, value in of_images.items():
            np.testing.assert_array_equal(value, of_bytes[name])
        np.savez(sys.argv[3], **of_images)
        ''')
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
    environment.pop('TF_USE_LEGACY_KERAS', None)  # Of our import.
    subprocess.run(
        [sys.executable, '-I', '-c', script, exported, str(tmp_path / 'photos.npy'),
         str(tmp_path / 'found.npz')], cwd=tmp_path, check=True, env=environment)
    found = np.load(tmp_path / 'found.npz')
    for name, value in trained.predict(photos).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def _saved_nodes(folder: str) -> list:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((pathlib.Path(folder) / 'saved_model.pb').read_bytes())
    graph = saved.meta_graphs[0].graph_def
    return [*graph.node, *(node for function in graph.library.function
                           for node in function.node_def)]


def test_no_operation_of_addons_is_exported(exported):
    nodes = _saved_nodes(exported)
    assert len(nodes) > 100
    assert not [node.op for node in nodes if '>' in node.op]


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_a_run_in_half_precision_is_served_in_float32(trained_run, small, precision):
    config = config_lib.load([], [*small, f'Run.precision={precision!r}'])
    model = trained_model.load_part_model(config, str(trained_run)).part_model
    types = {output.dtype for function in (model.predict, model.respond)
             for operation in function.get_concrete_function().graph.get_operations()
             for output in operation.outputs}
    assert tf.float32 in types and not types & {tf.bfloat16, tf.float16}


def test_encoded_photos_of_all_formats_are_decoded(by_color):
    photo = np.zeros((24, 40, 3), np.uint8)
    photo[..., 2] = 255
    grey = tf.io.encode_png(np.full((24, 40, 1), 255, np.uint8))
    encoded = tf.stack([tf.io.encode_png(photo), tf.io.encode_jpeg(photo, quality=100), grey])
    found = by_color.predict_encoded(encoded)
    assert found['labels'].shape == (3, 24, 40)
    assert np.unique(found['labels'][:2]).tolist() == [3]
    np.testing.assert_allclose(found['presence'][2], [1, 1, 1], atol=1e-6)


def test_encoded_photos_of_different_sizes_are_a_clear_error(exported):
    signature = tf.saved_model.load(exported).signatures['encoded']
    encoded = tf.stack([tf.io.encode_png(_photos(size)[0]) for size in ((24, 40), (25, 40))])
    with pytest.raises(tf.errors.InvalidArgumentError, match='must all have one size'):
        signature(encoded=encoded)


@pytest.mark.parametrize('encoded, words', [
    ([], '`encoded` must hold at least one photo'),
    ([b''], r'bytes of JPEG, PNG, BMP or GIF files; .* bytes:\] \[0\]'),
    ([b'no image'], r'bytes of JPEG, PNG, BMP or GIF files; .* bytes:\] \[8\]'),
    ([b'\xff\xd8\xff damaged'], 'Invalid JPEG data')])
def test_what_is_no_photo_is_an_error_with_its_reason(by_color, encoded, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        by_color.predict_encoded(tf.constant(encoded, tf.string))


@pytest.mark.parametrize('shape', [(0, 24, 40, 3), (2, 0, 40, 3)])
def test_photos_without_pixels_are_an_error_with_their_shape(by_color, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match='`images` must hold at') as caught:
        by_color.predict(tf.zeros(shape, tf.uint8))
    assert f'[{" ".join(map(str, shape))}]' in str(caught.value)


def test_labels_can_be_had_alone(by_color):
    photos = _photos()
    found = by_color.predict_labels(photos)
    assert found.keys() == {'labels'}
    np.testing.assert_array_equal(found['labels'], by_color.predict(photos)['labels'])
