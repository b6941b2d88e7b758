"""Laws of the predictor: what the export gives, as arrays, and what it refuses."""
from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames, PartNamesError
from scops_tf.serving import (
    decoding,
    part_model as part_model_lib,
    predictor as predictor_lib,
    saved_model,
)


class _Constant(tf.Module):
    """Two parts, each in a half of the photo, left and right."""

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(images)
        left = tf.cast(tf.range(shape[2]) < shape[2] // 2, tf.float32)
        row = tf.stack([0.2 * tf.ones_like(left), 0.8 * left, 0.8 * (1 - left)], axis=-1)
        return tf.tile(row[None, None], [shape[0], shape[1], 1, 1])


@pytest.fixture(scope='module')
def export_dir(tmp_path_factory) -> str:
    network = _Constant()
    network.unused = tf.Variable(1.0)
    model = part_model_lib.PartModel(network, num_parts=2, input_size=(32, 48))
    return saved_model.export(
        model, str(tmp_path_factory.mktemp('export')), metadata={'step': 7})


def test_photos_in_labels_responses_centres_and_presence_out(export_dir):
    loaded = predictor_lib.Predictor(export_dir)
    assert loaded.num_parts == 2 and loaded.metadata['step'] == 7
    found = loaded.predict(np.zeros((3, 20, 60, 3), np.uint8))
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels[:, :, :29], 1)
    np.testing.assert_array_equal(found.labels[:, :, 31:], 2)
    assert found.part_responses.shape == (3, 32, 48, 3)
    np.testing.assert_allclose(found.part_responses.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        found.part_centers, np.broadcast_to([[14.5, 9.5], [44.5, 9.5]], (3, 2, 2)), atol=1e-3)
    np.testing.assert_allclose(found.presence, np.full((3, 2), 0.8), rtol=1e-6)


def test_responses_are_decoded_as_in_the_graph_and_by_another_background(export_dir):
    loaded = predictor_lib.Predictor(export_dir)
    loaded.parts = loaded.parts.changed(merges=[[1, 2]])
    photos = np.zeros((2, 20, 60, 3), np.uint8)
    responses = loaded.unmerged(photos).part_responses
    assert responses[..., 2].max() > 0.5
    for own, graphs in zip(loaded.decoded(responses, photos), loaded.predict(photos)):
        np.testing.assert_allclose(own, graphs, rtol=1e-5)
    responses[:, :, :24, 1] /= 2
    responses[:, :16, :24, 1] /= 2
    labels = loaded.decoded(responses, photos, background=0.7).labels
    assert (labels[:, :9, :29] == 0).all() and (labels[:, 11:] == 1).all()


def test_labels_that_follow_borders_are_those_of_the_graph_too(tmp_path):
    class Ramp(tf.Module):
        """A part whose response falls from left to right."""

        def part_responses(self, images):
            part = tf.broadcast_to(tf.linspace(1.0, 0.0, 48), tf.shape(images)[:3])
            return tf.stack([1 - part, part], axis=-1)

    model = part_model_lib.PartModel(Ramp(), num_parts=1, input_size=(32, 48), background=0.5,
                                     guided_radius=0.2, guided_epsilon=1e-3)
    loaded = predictor_lib.Predictor(saved_model.export(
        model, str(tmp_path / 'export'), metadata={}))
    photos = np.zeros((2, 40, 60, 3), np.uint8)
    photos[0, :, 24:], photos[1, 10:] = 250, (0, 200, 90)
    found = loaded.predict(photos)
    own = loaded.decoded(loaded.unmerged(photos).part_responses, photos)
    np.testing.assert_array_equal(own.labels, found.labels)
    # The photos' borders count, and so does the strength of the filter.
    assert (loaded.decoded(found.part_responses, photos[::-1]).labels != found.labels).any()
    loaded.metadata['guided_epsilon'] = 10.0
    assert (loaded.decoded(found.part_responses, photos).labels != found.labels).any()


@pytest.mark.parametrize('change, labels, presence', [
    ({'merges': [[1, 2]]}, (1, 1), (0.8, 0)), ({'drops': [1]}, (0, 2), (0, 0.8))])
def test_merges_and_drops_are_the_same_in_the_graph_and_beside_it(change, labels, presence):
    photos = np.zeros((1, 20, 60, 3), np.uint8)
    lookup = PartNames.unnamed(2).changed(**change).lookup

    def outputs(lookup):
        model = part_model_lib.PartModel(
            _Constant(), num_parts=2, input_size=(32, 48), center_power=2.0, lookup=lookup)
        return {name: value.numpy() for name, value in model.predict(photos).items()}

    inside = outputs(lookup)
    beside = decoding.merged_outputs(outputs(None), lookup, power=2.0)
    again = decoding.merged_outputs(inside, lookup, power=2.0)
    for name, value in inside.items():
        np.testing.assert_allclose(value, beside[name], rtol=1e-6)
        np.testing.assert_array_equal(value, again[name])
    np.testing.assert_array_equal(inside['labels'][:, :, :29], labels[0])
    np.testing.assert_array_equal(inside['labels'][:, :, 31:], labels[1])
    np.testing.assert_allclose(inside['presence'], [presence], rtol=1e-6)
    np.testing.assert_allclose(inside['part_responses'].sum(axis=-1), 1, rtol=1e-6)
    if 'merges' in change:
        np.testing.assert_allclose(inside['part_centers'][0, 0], [29.5, 9.5], atol=1e-3)


def test_the_names_beside_an_export_hold_for_its_predictions(export_dir, tmp_path):
    folder = str(tmp_path / 'export')
    shutil.copytree(export_dir, os.path.join(folder, '1'))
    names = PartNames.unnamed(2).changed(names={2: 'wing'}, drops=[1])
    parts_file.save(names, folder)
    loaded = predictor_lib.Predictor(folder)
    found = loaded.predict(np.zeros((1, 20, 60, 3), np.uint8))
    assert loaded.parts == names and found.labels[0, 0].tolist()[::59] == [0, 2]
    assert not predictor_lib.Predictor(folder, named=False).parts.is_named
    # A version has the names that it was exported with; those given since go before them.
    parts_file.save(PartNames.unnamed(2).changed(names={1: 'head'}), loaded.folder)
    assert predictor_lib.Predictor(loaded.folder).parts.names == {1: 'head', 2: 'part 2'}
    assert predictor_lib.Predictor(folder).parts == names
    parts_file.save(PartNames.unnamed(3), folder)
    with pytest.raises(PartNamesError, match='the 2 parts of the model, but it is of one with 3'):
        predictor_lib.Predictor(folder)


@pytest.mark.parametrize('images', [
    np.zeros((20, 60, 3), np.uint8), np.zeros((1, 20, 60, 3), np.float32),
    np.zeros((1, 20, 60, 4), np.uint8), np.zeros((0, 20, 60, 3), np.uint8)])
def test_what_is_no_batch_of_photos_is_named(export_dir, images):
    loaded = predictor_lib.Predictor(export_dir)
    with pytest.raises(predictor_lib.PredictorError, match='`images` must be uint8') as caught:
        loaded.predict(images)
    assert f'got {images.dtype}{list(images.shape)}' in str(caught.value)


def test_a_folder_without_an_export_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / 'nowhere'):
        with pytest.raises(predictor_lib.PredictorError, match='`--export_dir` must be') as caught:
            predictor_lib.Predictor(str(folder))
        assert str(folder) in str(caught.value)


def _set(folder, **values):
    path = folder / saved_model.METADATA_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize('damage', [
    lambda folder: (folder / 'saved_model.pb').unlink(),
    lambda folder: (folder / 'saved_model.pb').write_bytes(b'broken'),
    lambda folder: (folder / saved_model.METADATA_FILE).write_text('{'),
    lambda folder: (folder / saved_model.METADATA_FILE).write_text('[1, 2]'),
    lambda folder: (folder / saved_model.METADATA_FILE).write_bytes(bytes(range(256))),
    lambda folder: _set(folder, num_parts='2'), lambda folder: _set(folder, num_parts=3),
    lambda folder: _set(folder, input_size=[32]), lambda folder: _set(folder, background=None),
    lambda folder: _set(folder, center_power='much'), lambda folder: _set(folder, config=[1]),
    lambda folder: (folder / 'variables' / 'variables.index').write_bytes(b''),
    lambda folder: os.truncate(folder / 'variables' / 'variables.data-00000-of-00001', 2),
    lambda folder: os.truncate(folder / 'saved_model.pb', 900)])
def test_a_damaged_export_is_one_sentence(export_dir, tmp_path, damage):
    folder = shutil.copytree(export_dir, tmp_path / 'export')
    damage(folder)
    with pytest.raises(predictor_lib.PredictorError, match='it is damaged') as caught:
        predictor_lib.Predictor(str(folder))
    assert '\n' not in str(caught.value) and 'export again' in str(caught.value)
    assert os.path.isdir(folder)


@pytest.mark.parametrize('message, reason', [
    ("Graph execution error:\n\nDetected at node 'a' defined at (most recent call last):\n"
     "  File \"x.py\", line 1\nNode: 'a'\nNo room left.\n\t [[{{node a}}]] [Op:__inference_1]",
     'No room left'),
    ("Graph execution error:\n\nNode: 'a'\n2 root error(s) found.\n  (0) UNKNOWN:  No room left\n",
     'UNKNOWN:  No room left'),
    ('No room left.\nAnd more.', 'No room left')])
def test_errors_of_the_graph_are_told_by_their_reason(export_dir, monkeypatch, message, reason):
    loaded = predictor_lib.Predictor(export_dir)

    def fail(**_):
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(loaded, '_predict', fail)
    with pytest.raises(predictor_lib.PredictorError, match=re.escape(f'({reason}); give smaller')):
        loaded.predict(np.zeros((1, 20, 60, 3), np.uint8))


@pytest.mark.parametrize('change, sentence', [
    ({'merges': [[1, 2]]}, 'Parts 1 and 2 must be one part here'),
    ({'drops': [2]}, 'Part 2 must be dropped here')])
def test_what_the_graph_has_merged_or_dropped_cannot_be_shown_apart(
        export_dir, tmp_path, change, sentence):
    folder = str(tmp_path / 'export')
    shutil.copytree(export_dir, os.path.join(folder, '1'))
    graph = PartNames.unnamed(2).changed(names={1: 'all'}, **change)
    parts_file.save(graph, os.path.join(folder, '1'))
    assert predictor_lib.Predictor(folder, named=False).parts == graph.without_names()
    parts_file.save(graph.changed(names={1: 'body'}), folder)
    assert predictor_lib.Predictor(folder).parts.names == {1: 'body'}
    parts_file.save(PartNames.unnamed(2), folder)
    with pytest.raises(PartNamesError, match=f'{sentence}.*export again'):
        predictor_lib.Predictor(folder)
