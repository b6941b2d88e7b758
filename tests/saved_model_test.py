"""Laws of the exports of a run: versions are whole, are never changed, and the newest is read."""
from __future__ import annotations

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import images as images_lib
from scops_tf.serving import part_model as part_model_lib, predictor, saved_model, warmup


class _Colors(tf.Module):
    """Its parts are what is red, green and blue in the photo."""

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        return tf.concat([1.0 - tf.reduce_max(images, axis=-1, keepdims=True), images], axis=-1)


@pytest.fixture(scope='module')
def model() -> part_model_lib.PartModel:
    return part_model_lib.PartModel(_Colors(), num_parts=3, input_size=(64, 96))


@pytest.fixture(scope='module')
def version(model, tmp_path_factory) -> pathlib.Path:
    """The first version below a folder that was not there; not to be changed."""
    folder = tmp_path_factory.mktemp('exports') / 'new' / 'export'
    return pathlib.Path(saved_model.export(model, str(folder), metadata={'step': 1}))


def _step(folder: str) -> int:
    return predictor.Predictor(folder).metadata['step']


@pytest.fixture
def quick(monkeypatch) -> None:
    """TensorFlow's part of an export takes a second, and its place is taken by an empty file."""
    monkeypatch.setattr(saved_model.tf.saved_model, 'save', lambda model, folder, signatures: (
        pathlib.Path(folder, 'saved_model.pb').touch()))


def test_the_metadata_says_what_was_exported(version):
    assert json.loads((version / saved_model.METADATA_FILE).read_text(encoding='utf-8')) == {
        'step': 1, 'num_parts': 3, 'input_size': [64, 96], 'background': 0.1,
        'center_window': None, 'center_power': 1.0, 'guided_radius': None, 'guided_epsilon': 1e-4,
        'formats': {'savedmodel': {'file': 'saved_model.pb'}}}


def test_the_first_version_is_1_and_nothing_else_is_left(version):
    assert version.name == '1' and os.listdir(version.parent) == ['1']


def test_the_card_has_the_signatures_and_says_what_is_not_known(version):
    card = (version / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert '| `labels` | images uint8[?,?,?,3] | labels uint8[?,?,?] |' in card
    assert ('| `encoded` | encoded string[?] | labels uint8[?,?,?], part_centers float32[?,3,2], '
            'part_responses float32[?,64,96,4], presence float32[?,3] |') in card
    assert '| step of the training | 1 |' in card and '| dataset | not recorded |' in card
    assert 'Not measured: the run was not evaluated' in card


def test_every_signature_answers_its_warm_up_request(version):
    loaded, found = tf.saved_model.load(str(version)), {}
    records = tf.data.TFRecordDataset(str(version / 'assets.extra' / 'tf_serving_warmup_requests'))
    for record in records.as_numpy_iterator():
        request = warmup.message('PredictionLog').FromString(record).predict_log.request
        (name, tensor), = request.inputs.items()
        value = tf.io.parse_tensor(
            tensor.SerializeToString(), tf.uint8 if name == 'images' else tf.string)
        found[request.model_spec.signature_name] = loaded.signatures[
            request.model_spec.signature_name](**{name: value})
    assert found.keys() == loaded.signatures.keys() == {
        'serving_default', 'labels', 'encoded', 'encoded_labels'}
    for whole, alone in (('serving_default', 'labels'), ('encoded', 'encoded_labels')):
        assert found[whole]['part_responses'].shape == (1, 64, 96, 4)
        assert found[alone].keys() == {'labels'}
        np.testing.assert_array_equal(found[alone]['labels'], found[whole]['labels'])


def test_each_export_is_the_next_version_and_those_before_stay(model, tmp_path, quick):
    folder = tmp_path / 'export'
    for step in (1, 2):
        path = saved_model.export(model, str(folder), metadata={'step': step})
        assert path == str(folder / str(step)) and saved_model.newest(str(folder)) == path
    # Versions count on from the largest number, as numbers: 10 is after 9.
    (folder / '2').rename(folder / '9')
    (folder / '9' / 'mine').touch()
    path = saved_model.export(model, str(folder), metadata={'step': 3})
    assert path == str(folder / '10') == saved_model.newest(str(folder))
    assert sorted(os.listdir(folder)) == ['1', '10', '9']
    assert (folder / '9' / 'mine').exists()
    for name, step in (('1', 1), ('9', 2), ('10', 3)):
        text = (folder / name / saved_model.METADATA_FILE).read_text(encoding='utf-8')
        assert json.loads(text)['step'] == step


def test_files_of_other_formats_lie_beside_the_saved_model(model, tmp_path, quick):
    path = pathlib.Path(saved_model.export(model, str(tmp_path), metadata={}, others={
        'onnx': b'of onnx'}))
    assert (path / 'model.onnx').read_bytes() == b'of onnx'
    described = json.loads((path / saved_model.METADATA_FILE).read_text(encoding='utf-8'))
    assert described['formats']['onnx'] == {'file': 'model.onnx', 'images': [None, 64, 96, 3]}
    card = (path / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert '| onnx | `model.onnx` | float32[?,64,96,3] |' in card


def test_an_export_that_another_one_overtakes_takes_the_number_after(
        model, tmp_path, quick, monkeypatch):
    rename = os.rename

    def overtaken(source, target):
        if target == str(tmp_path / '1'):
            (tmp_path / '1' / 'of the other').mkdir(parents=True)
        rename(source, target)

    monkeypatch.setattr(saved_model.os, 'rename', overtaken)
    assert saved_model.export(model, str(tmp_path), metadata={}) == str(tmp_path / '2')
    assert os.listdir(tmp_path / '1') == ['of the other']
    assert sorted(os.listdir(tmp_path)) == ['1', '2']


def test_the_newest_version_is_read_or_the_one_that_is_named(version, tmp_path):
    later = shutil.copytree(version.parent, tmp_path / 'export') / '12'
    shutil.copytree(version, later)
    described = json.loads((later / saved_model.METADATA_FILE).read_text(encoding='utf-8'))
    (later / saved_model.METADATA_FILE).write_text(json.dumps({**described, 'step': 12}))
    # What is no SavedModel is no version, whatever its number.
    (later.parent / '99').mkdir()
    assert _step(str(later.parent)) == 12 and _step(str(later.parent / '1')) == 1
    assert predictor.Predictor(str(later.parent)).folder == str(later)


def test_an_export_without_a_number_is_read_until_there_is_a_version(
        model, version, tmp_path, quick):
    # As earlier versions of this package wrote them: in the folder itself.
    folder = str(tmp_path / 'export')
    shutil.copytree(version, folder)
    loaded = predictor.Predictor(folder)
    assert loaded.folder == folder
    assert loaded.predict(np.zeros((1, 20, 30, 3), np.uint8)).labels.shape == (1, 20, 30)
    path = saved_model.export(model, folder, metadata={'step': 2})
    assert path == os.path.join(folder, '1') == saved_model.newest(folder)
    assert saved_model.is_export(folder)


@pytest.mark.parametrize('failing', ['saving', 'moving'])
def test_an_export_that_fails_leaves_the_older_ones(
        model, tmp_path, quick, monkeypatch, failing):
    folder = str(tmp_path / 'export')
    saved_model.export(model, folder, metadata={'step': 1})

    def full(*_, **__):
        if failing == 'saving':
            raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')
        raise OSError(28, 'No space left on device')

    if failing == 'saving':
        monkeypatch.setattr(saved_model.tf.saved_model, 'save', full)
    else:
        monkeypatch.setattr(saved_model.os, 'rename', full)
    with pytest.raises(OSError, match=f'written to {folder}.*No space left on device'):
        saved_model.export(model, folder, metadata={'step': 2})
    assert os.listdir(folder) == ['1']


def test_a_folder_of_something_else_is_left_as_it_is(model, tmp_path, quick):
    pixels = np.zeros((5, 6, 3), np.uint8)
    images_lib.write_png(str(tmp_path / 'photos' / 'mine.png'), pixels)
    with pytest.raises(saved_model.ExportError, match='photos holds something else'):
        saved_model.export(model, str(tmp_path / 'photos'), metadata={})
    assert os.listdir(tmp_path / 'photos') == ['mine.png']
    (tmp_path / 'empty').mkdir()
    # What an export that was killed leaves.
    (tmp_path / 'empty' / '.1234.tmp').mkdir()
    saved_model.export(model, str(tmp_path / 'empty'), metadata={})
    path = str(tmp_path / 'empty' / '1')
    assert saved_model.newest(str(tmp_path / 'empty')) == path
    with pytest.raises(saved_model.ExportError, match='1 is one of them: give the folder that'):
        saved_model.export(model, path, metadata={})
