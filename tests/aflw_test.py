from __future__ import annotations

import contextlib
import hashlib
import pathlib
import sqlite3
from typing import Dict, List

import numpy as np
from PIL import Image, ImageDraw
import pytest

from scops_tf import images
from scops_tf.datasets import aflw
from scops_tf.datasets.lists import DatasetError

SIZE = (40, 50)
# The tables of the release that hold more than one column of ours, and one that is not read.
SCHEMA = '''
CREATE TABLE Faces (face_id INTEGER PRIMARY KEY AUTOINCREMENT, file_id TEXT, db_id TEXT);
CREATE TABLE FaceImages (image_id INTEGER PRIMARY KEY AUTOINCREMENT, db_id TEXT, file_id TEXT,
                         filepath TEXT, bw BOOLEAN, width INTEGER, height INTEGER);
CREATE TABLE FaceRect (face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER,
                       annot_type_id INTEGER);
CREATE TABLE FeatureCoordTypes (feature_id INTEGER PRIMARY KEY, descr TEXT, code TEXT, x REAL,
                                y REAL, z REAL);
CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INTEGER, x REAL, y REAL,
                            annot_type_id INTEGER);
CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER);
'''
NUM_PHOTOS = 12
FIRST_FACE = 39341


def photo_name(i: int) -> str:
    return f'{(0, 2, 3)[i % 3]}/image{i:05d}.jpg'


def landmark(i: int, k: int) -> List[float]:
    return [2.5 + i + 0.5 * k, 30.25 - k]


def write_database(path: pathlib.Path) -> None:
    """Photo i has a large face, but photo 5; photo 3 has a small one too, which comes first."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA)
        types = [*aflw.LANDMARK_NAMES, 'LeftTemple', 'HeadCenter']
        database.executemany('INSERT INTO FeatureCoordTypes VALUES (?, ?, ?, 0, 0, 0)',
                             [(k, name, name[:4]) for k, name in enumerate(types, 1)])
        face = FIRST_FACE
        for i in range(NUM_PHOTOS):
            file_id = f'image{i:05d}.jpg'
            database.execute('INSERT INTO FaceImages VALUES (NULL, "aflw", ?, ?, 0, ?, ?)',
                             (file_id, photo_name(i), SIZE[1], SIZE[0]))
            boxes = [(-4, 5, 20, 30 if i != 5 else 29)]
            if i == 3:
                boxes.insert(0, (30, 1, 5, 5))
            for box in boxes:
                database.execute('INSERT INTO Faces VALUES (?, ?, "aflw")', (face, file_id))
                database.execute('INSERT INTO FaceRect VALUES (?, ?, ?, ?, ?, 5)', (face, *box))
                # Hidden landmarks have no row; type 22 is no landmark of ours.
                rows = [(face, k + 1, *landmark(i, k)) for k in range(21) if (i + k) % 4]
                database.executemany('INSERT INTO FeatureCoords VALUES (?, ?, ?, ?, 1)',
                                     [*rows, (face, 22, 1.0, 1.0)])
                face += 1
        # A face without a box, and a box without a face.
        database.execute('INSERT INTO Faces VALUES (99, "image00000.jpg", "aflw")')
        database.execute('INSERT INTO FaceRect VALUES (98, 0, 0, 50, 40, 5)')


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    folder = tmp_path / 'a #1?' / 'aflw' / 'data'
    for i in range(NUM_PHOTOS):
        path = folder / 'flickr' / photo_name(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = Image.new('RGB', SIZE[::-1], 'navy')
        ImageDraw.Draw(photo).ellipse((1, 5, 16, 35), fill='tan')
        photo.save(path)
    write_database(folder / 'aflw.sqlite')
    return folder


def change(root: pathlib.Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(root / 'aflw.sqlite')) as database, database:
        for statement in statements:
            database.execute(statement)


def records_of(root: pathlib.Path, **options) -> Dict[str, aflw.Record]:
    dataset = aflw.read(str(root), **options)
    return {record.name: record for record in dataset.train + dataset.test}


def error_of(root: pathlib.Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        aflw.read(str(root), **options)
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_records_hold_what_the_tables_say(root):
    record = records_of(root)[photo_name(4)]
    assert images.read(record.path).shape == SIZE + (3,)
    assert record.box.tolist() == [-4, 5, 20, 30] and record.box.dtype == np.float32
    for k in range(21):
        hidden = (4 + k) % 4 == 0
        assert record.visible[k] == (not hidden)
        assert record.landmarks[k].tolist() == ([0, 0] if hidden else landmark(4, k))
    dataset = aflw.read(str(root))
    assert dataset.fit == dataset.train
    assert (dataset.name, dataset.annotation_kind) == ('aflw', 'faces')
    assert dataset.eyes == aflw.EYES


def test_the_eyes_are_the_two_eye_centres():
    assert [aflw.LANDMARK_NAMES[eye] for eye in aflw.EYES] == ['LeftEyeCenter', 'RightEyeCenter']
    assert aflw.EYES == (7, 10) and len(set(aflw.LANDMARK_NAMES)) == 21


def test_faces_of_exactly_the_least_area_stay_and_smaller_ones_go(root):
    names = {photo_name(i) for i in range(NUM_PHOTOS)}
    assert set(records_of(root)) == names - {photo_name(5)}
    assert set(records_of(root, min_object_area=0.29)) == names


def test_of_several_faces_in_a_photo_the_largest_is_the_record(root):
    record = records_of(root, min_object_area=0)[photo_name(3)]
    assert record.box.tolist() == [-4, 5, 20, 30]


def test_the_split_of_a_photo_depends_on_its_name_alone(root):
    whole, part = aflw.read(str(root), min_object_area=0), aflw.read(str(root))
    test_names = {record.name for record in whole.test}
    assert {record.name for record in part.test} == test_names - {photo_name(5)}
    for record in whole.train + whole.test:
        digest = hashlib.sha256(record.name.encode()).hexdigest()
        assert (int(digest, 16) % 5 == 0) == (record.name in test_names)
    assert not test_names & {record.name for record in whole.train}
    many = [aflw._is_test(f'0/image{i:05d}.jpg') for i in range(5000)]
    assert 0.18 < np.mean(many) < 0.22


def test_landmarks_are_found_by_their_names_whatever_their_numbers(root):
    before = records_of(root)[photo_name(4)]
    change(root, 'UPDATE FeatureCoordTypes SET feature_id = 1000 - feature_id',
           'UPDATE FeatureCoords SET feature_id = 1000 - feature_id')
    after = records_of(root)[photo_name(4)]
    assert np.array_equal(before.landmarks, after.landmarks)
    assert np.array_equal(before.visible, after.visible)


def test_the_folder_above_the_data_will_do_too(root):
    assert set(records_of(root.parent.parent)) == set(records_of(root))
    assert set(records_of(root.parent)) == set(records_of(root))


def test_the_database_is_opened_for_reading_alone(root):
    # In this mode SQLite would make files beside the database even to read it.
    change(root, 'PRAGMA journal_mode = WAL')
    before = {path: path.stat().st_mtime_ns for path in root.iterdir()}
    content = (root / 'aflw.sqlite').read_bytes()
    aflw.read(str(root))
    database = sqlite3.connect(root / 'aflw.sqlite')
    database.execute('SELECT * FROM Faces').fetchall()
    assert set(root.iterdir()) > set(before)
    database.close()
    with contextlib.closing(aflw._open(str(root / 'aflw.sqlite'))) as database:
        database.execute('SELECT * FROM Faces').fetchall()
        assert {path: path.stat().st_mtime_ns for path in root.iterdir()} == before
    assert (root / 'aflw.sqlite').read_bytes() == content


def test_counts_of_the_whole_set_are_compared_with_the_papers(root, monkeypatch):
    note, = aflw.read(str(root)).notes
    assert f'{NUM_PHOTOS + 1} faces' in note and 'not the whole' in note
    monkeypatch.setattr(aflw, 'FULL_SET', NUM_PHOTOS)
    note, = aflw.read(str(root)).notes
    assert '11 faces' in note and '4198' in note
    monkeypatch.setattr(aflw, 'FULL_COUNT', 11)
    assert aflw.read(str(root)).notes == ()


FACE = FIRST_FACE + 5  # That of photo 4.


@pytest.mark.parametrize('statement, words', [
    ('DROP TABLE FaceRect', 'the table FaceRect (face_id, x, y, w, h), but no such table'),
    ('ALTER TABLE FaceRect RENAME COLUMN w TO breadth', 'no such column: w'),
    (f'UPDATE FaceRect SET w = NULL WHERE face_id = {FACE}', 'needs a number in column 4'),
    (f'UPDATE FaceRect SET w = "wide" WHERE face_id = {FACE}', 'needs a number in column 4'),
    (f'UPDATE FaceRect SET w = 9e999 WHERE face_id = {FACE}', 'needs a number in column 4'),
    (f'UPDATE FaceRect SET x = 9e300 WHERE face_id = {FACE}', 'needs pixels'),
    (f'UPDATE FaceRect SET h = 0 WHERE face_id = {FACE}', 'needs a box that is not empty'),
    (f'INSERT INTO FaceRect VALUES ({FACE}, 1, 2, 3, 4, 5)', 'must not repeat its first column'),
    ('UPDATE FaceImages SET width = 0 WHERE image_id = 2', 'needs a photo that is not empty'),
    ('UPDATE FaceImages SET filepath = "../../x.jpg" WHERE image_id = 2', 'needs a path below'),
    ('UPDATE FaceImages SET filepath = "/etc/passwd" WHERE image_id = 2', 'needs a path below'),
    ('UPDATE FaceImages SET filepath = x\'00ff\' WHERE image_id = 2', 'needs a path below'),
    ('UPDATE FaceImages SET file_id = "image00000.jpg" WHERE image_id = 2', 'must not repeat'),
    (f'UPDATE FeatureCoords SET x = "left" WHERE face_id = {FACE}', 'needs a number in column 3'),
    (f'UPDATE FeatureCoords SET feature_id = 9223372036854775807 WHERE face_id = {FACE}',
     'must have a feature_id of FeatureCoordTypes'),
    (f'UPDATE FeatureCoords SET feature_id = -1 WHERE face_id = {FACE}', 'must have a feature_id'),
    (f'UPDATE FeatureCoords SET feature_id = 3 WHERE face_id = {FACE}', 'must not repeat a land'),
    ('DELETE FROM FeatureCoordTypes WHERE feature_id = 8', 'it lacks LeftEyeCenter'),
])
def test_a_database_that_breaks_a_law_is_named_with_the_table(root, statement, words):
    change(root, statement)
    message = error_of(root)
    assert words in message and str(root / 'aflw.sqlite') in message


def test_a_malformed_row_is_named(root):
    change(root, f'UPDATE FaceRect SET w = NULL WHERE face_id = {FACE}')
    assert f'row 6 of FaceRect (face_id, x, y, w, h) in {root / "aflw.sqlite"} needs' in (
        error_of(root))
    assert f'got ({FACE}, -4, 5, NULL, 30)' in error_of(root)


def test_what_is_no_database_is_told_from_a_missing_one(root):
    path = root / 'aflw.sqlite'
    content = path.read_bytes()
    path.write_bytes(b'face_id,x,y\n' * 500)
    assert 'must be an SQLite database' in error_of(root)
    path.write_bytes(content[:len(content) // 2])
    assert 'must be an SQLite database' in error_of(root)
    path.write_bytes(b'')
    assert 'no such table' in error_of(root)
    path.unlink()
    assert error_of(root).startswith(f'no aflw.sqlite in {root}; ask for AFLW and unpack it')


def test_missing_photos_are_counted(root):
    (root / 'flickr' / photo_name(0)).unlink()
    message = error_of(root)
    assert '1 of the 11 photos' in message and 'unpack the archives of the photos' in message


def test_options_are_checked_and_no_split_may_end_up_empty(root):
    assert 'got 30' in error_of(root, min_object_area=30)
    assert '`min_object_area` must leave photos' in error_of(root, min_object_area=0.9)
