"""Laws of the files that `predict` writes for every photo, and of going on after a stop."""
from __future__ import annotations

import csv
import os

import numpy as np
from PIL import Image

from scops_tf.labels import parts_file, pieces, prediction_files
from scops_tf.labels.part_names import PartNames
from scops_tf.pictures import drawing

_PARTS = PartNames.unnamed(3)


def _labels() -> np.ndarray:
    labels = np.zeros((30, 43), np.uint8)
    labels[4:20, 5:20], labels[6:12, 22:40], labels[25:, 8:12] = 1, 2, 3
    return labels


def _photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 43, 3), dtype=np.uint8)


def _rows(folder):
    with open(folder / 'centers.csv', encoding='utf-8', errors='surrogateescape',
              newline='') as file:
        return list(csv.DictReader(file))


def test_a_photo_has_an_overlay_its_responses_and_a_row_for_each_part(label_result, tmp_path):
    result = label_result(_labels(), _PARTS, name='deep/a')
    writer = prediction_files.Writer(str(tmp_path), _PARTS)
    writer.add(result, _photo(), 'key')
    writer.close([result.name])
    writer.finish()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.*')) == [
        'centers.csv', 'overlays/deep/a.png', 'parts.json', 'responses/deep/a.npz']
    expected = drawing.draw_centers(
        drawing.overlay(_photo(), _labels()), result.part_centers, result.presence)
    np.testing.assert_array_equal(Image.open(tmp_path / 'overlays/deep/a.png'), expected)
    found = np.load(tmp_path / 'responses/deep/a.npz')
    np.testing.assert_array_equal(found['part_responses'], result.part_responses)
    rows = _rows(tmp_path)
    assert list(rows[0]) == ['photo', 'part', 'x', 'y', 'presence', 'area']
    assert [int(row['area']) for row in rows] == [240, 108, 20]
    assert parts_file.load(str(tmp_path)) == _PARTS


def test_parts_that_are_merged_away_or_dropped_have_no_row(label_result, tmp_path):
    names = _PARTS.changed(names={1: 'head'}, drops=[3])
    result = label_result(names.lookup[_labels()], names)
    writer = prediction_files.Writer(str(tmp_path), names)
    writer.add(result, _photo(), 'key')
    writer.close([result.name])
    assert [(row['part'], row['name']) for row in _rows(tmp_path)] == [
        ('1', 'head'), ('2', 'part 2')]


def test_objects_have_rows_and_a_picture_of_their_own(label_result, tmp_path):
    objects = np.zeros((30, 43), np.int32)
    objects[:, :21], objects[:, 21:] = 1, 2
    result = label_result(_labels(), _PARTS, objects=objects, object_centers=np.ones((2, 3, 2)),
                          object_presence=np.ones((2, 3)))
    writer = prediction_files.Writer(str(tmp_path), _PARTS, with_objects=True)
    writer.add(result, _photo(), 'key')
    writer.close([result.name])
    assert [(row['object'], row['part'], row['area']) for row in _rows(tmp_path)] == [
        ('1', '1', '240'), ('1', '2', '0'), ('1', '3', '20'),
        ('2', '1', '0'), ('2', '2', '108'), ('2', '3', '0')]
    np.testing.assert_array_equal(Image.open(tmp_path / 'objects' / 'a.png'), objects)


def test_after_a_stop_only_photos_of_the_same_key_are_done(label_result, tmp_path):
    odd = os.fsdecode(b'caf\xe9')
    stopped = prediction_files.Writer(str(tmp_path), _PARTS)
    for name in ('same', 'other', odd, 'gone'):
        stopped.add(label_result(_labels(), _PARTS, name=name), _photo(), f'key of {name}')
    again = prediction_files.Writer(str(tmp_path), _PARTS)
    assert again.is_done('same', 'key of same') and again.is_done(odd, f'key of {odd}')
    assert not again.is_done('other', 'another key') and not again.is_done('new', 'key of new')
    for damage in (b'', b'{"key": "key', b'[]', b'\xff'):
        open(pieces.Pieces(str(tmp_path))._path('gone'), 'wb').write(damage)
        assert not again.is_done('gone', 'key of gone')
    again.close(['same', odd])
    assert [row['photo'] for row in _rows(tmp_path)] == 3 * ['same'] + 3 * [odd]
    again.finish()
    assert not prediction_files.Writer(str(tmp_path), _PARTS).is_done('same', 'key of same')
