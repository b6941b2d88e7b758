"""AFLW (Köstinger et al., 2011): photos of faces in all poses, with up to 21 visible landmarks.

    aflw.sqlite              the annotations (release of 2012-11-28)
    flickr/{0,2,3}/*.jpg     the photos

Both lie in one folder, which is aflw/data/ in the archive. These tables of the database are read:

    Faces (face_id, file_id)                      FaceImages (file_id, filepath, width, height)
    FaceRect (face_id, x, y, w, h)                FeatureCoords (face_id, feature_id, x, y)
    FeatureCoordTypes (feature_id, descr)

A hidden landmark has no row. Left and right are the viewer's. Coordinates are used unchanged; the
first pixel is taken to be at (0, 0).
"""
from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import sqlite3
from typing import Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from scops_tf import files
from scops_tf.datasets import photos
from scops_tf.datasets.lists import RESTORE, DatasetError, Line
from scops_tf.datasets.records import PartDataset, Record

DATABASE = 'aflw.sqlite'
LANDMARK_NAMES = (
    'LeftBrowLeftCorner', 'LeftBrowCenter', 'LeftBrowRightCorner', 'RightBrowLeftCorner',
    'RightBrowCenter', 'RightBrowRightCorner', 'LeftEyeLeftCorner', 'LeftEyeCenter',
    'LeftEyeRightCorner', 'RightEyeLeftCorner', 'RightEyeCenter', 'RightEyeRightCorner', 'LeftEar',
    'NoseLeft', 'NoseCenter', 'NoseRight', 'RightEar', 'MouthLeftCorner', 'MouthCenter',
    'MouthRightCorner', 'ChinCenter')
# The landmarks whose distance is the inter-ocular distance.
EYES = (LANDMARK_NAMES.index('LeftEyeCenter'), LANDMARK_NAMES.index('RightEyeCenter'))
MIN_FACE_AREA = 0.3
# The release has 24,384 faces with a box; a database with fewer than FULL_SET is a subset.
FULL_SET = 24_000
FULL_COUNT = 4_198
_TEST_SHARE = 5


class _Photo(NamedTuple):
    name: str
    area: float


class _Face(NamedTuple):
    face_id: str
    photo: _Photo
    box: np.ndarray  # f32[4]


@dataclasses.dataclass(frozen=True)
class _Row(Line):
    """A row of a table, used as a line of a list; its error names the table and the row."""

    def error(self, law: str) -> DatasetError:
        return DatasetError(f'row {self.number} of {self.path} {law}, got '
                            f'({", ".join(self.fields)[:80]}); {RESTORE}')


def read(root: str, *, min_object_area: float = MIN_FACE_AREA) -> PartDataset:
    """Reads the annotations; checks that the photos exist, but opens none.

    Each photo is one record, that of its largest face; its other faces are not annotated. The paper
    says neither how its 4198 faces were chosen nor which of them were tested on. Here, as for
    CelebA, a face's box covers at least `min_object_area` of its photo. A fifth of the photos is
    tested on; a hash of the name chooses them, so that a photo's split depends on its name only.

    Args:
      root: Folder that holds the files named above, or one that contains aflw/data/ or data/.
      min_object_area: Least share of the photo that the face's box covers, in [0, 1]. Parts of the
        box outside the photo count too.

    Returns:
      The splits; `train` and `fit` are the same. Records are in the order of their names, which are
      the photos' paths below flickr/. `notes` say how the number of faces differs from the paper's.

    Raises:
      DatasetError: If a file is missing, the database is not AFLW's, a row is malformed, or a split
        has no photos.
    """
    if not 0 <= min_object_area <= 1:
        raise DatasetError(f'`min_object_area` must lie in [0, 1], got {min_object_area}.')
    root = _data_folder(os.path.abspath(os.path.expanduser(root)))
    advice = f'ask for AFLW and unpack it to {root}'
    path = os.path.join(root, DATABASE)
    if not os.path.isfile(path):
        raise DatasetError(f'no {DATABASE} in {root}; {advice}')
    with contextlib.closing(_open(path)) as database:
        faces, num_faces = _largest_faces(database, path)
        chosen = sorted((face for face in faces if _share(face) >= min_object_area),
                        key=lambda face: face.photo.name)
        points = _landmarks(database, path, {face.face_id for face in chosen})
    paths = {face.photo.name: os.path.join(root, 'flickr', *face.photo.name.split('/'))
             for face in chosen}
    photos.check_present(list(paths.values()), 'photos with large faces',
                         f'unpack the archives of the photos to {os.path.join(root, "flickr")}')

    splits: Tuple[List[Record], List[Record]] = ([], [])
    for face in chosen:
        landmarks = points[face.face_id]
        visible = ~np.isnan(landmarks).any(axis=1)
        splits[_is_test(face.photo.name)].append(Record(
            name=face.photo.name, path=paths[face.photo.name], box=face.box,
            landmarks=np.where(visible[:, None], landmarks, 0), visible=visible))
    train, test = map(tuple, splits)
    if not train or not test:
        raise DatasetError(f'`min_object_area` must leave photos to train and to test on, of '
                           f'{len(faces)} it leaves {len(train)} and {len(test)} at '
                           f'{min_object_area}; lower it')
    return PartDataset(name='aflw', train=train, fit=train, test=test,
                       landmark_names=LANDMARK_NAMES, annotation_kind='faces', eyes=EYES,
                       notes=tuple(_notes(len(chosen), num_faces, min_object_area)),
                       expected_counts=(
                           {'all': FULL_COUNT} if min_object_area == MIN_FACE_AREA else {}))


def _notes(count: int, num_faces: int, min_object_area: float) -> Iterator[str]:
    if num_faces < FULL_SET:
        yield f'This is not the whole of AFLW: it has {num_faces} faces with a box.'
    elif count != FULL_COUNT:
        yield (f'{count} faces cover at least {100 * min_object_area:g} % of their photo; the '
               f'paper has {FULL_COUNT} and does not say which.')


def _data_folder(root: str) -> str:
    """The folder of the database, which is `root` or lies below it."""
    for folder in (root, os.path.join(root, 'data'), os.path.join(root, 'aflw', 'data')):
        if os.path.isfile(os.path.join(folder, DATABASE)):
            return folder
    return root


def _is_test(name: str) -> bool:
    return int(hashlib.sha256(files.encoded(name)).hexdigest(), 16) % _TEST_SHARE == 0


def _open(path: str) -> sqlite3.Connection:
    # Immutable: SQLite then makes no lock and no journal, which a read-only folder would refuse.
    files.require_regular(path)
    return sqlite3.connect(f'{pathlib.Path(path).as_uri()}?mode=ro&immutable=1', uri=True)


def _rows(database: sqlite3.Connection, path: str, table: str, columns: Sequence[str]
          ) -> Iterator[_Row]:
    """All rows of a table, with their values as text."""
    name = f'{table} ({", ".join(columns)}) in {path}'
    try:
        for row in database.execute(f'SELECT rowid, {", ".join(columns)} FROM {table}'):
            yield _Row(name, row[0], ['NULL' if value is None else str(value) for value in row[1:]])
    except sqlite3.OperationalError as error:
        raise DatasetError(f'{path} must have the table {table} ({", ".join(columns)}), but '
                           f'{error}; {RESTORE}') from None
    except sqlite3.DatabaseError as error:
        raise DatasetError(f'{path} must be an SQLite database, but {error}; {RESTORE}') from None


def _largest_faces(database: sqlite3.Connection, path: str) -> Tuple[List[_Face], int]:
    """The largest face of each photo, and the number of all faces that have a box."""
    file_ids: Dict[str, str] = {}
    for row in _rows(database, path, 'Faces', ('face_id', 'file_id')):
        _put(file_ids, row, row.fields[1])
    pictures: Dict[str, _Photo] = {}
    for row in _rows(database, path, 'FaceImages', ('file_id', 'filepath', 'width', 'height')):
        size = photos.pixels(row, (2, 3))
        if min(size) < 1:
            raise row.error('needs a photo that is not empty')
        _put(pictures, row, _Photo(row.relative_path(1), float(size[0]) * float(size[1])))
    boxes: Dict[str, np.ndarray] = {}
    for row in _rows(database, path, 'FaceRect', ('face_id', 'x', 'y', 'w', 'h')):
        box = photos.pixels(row, range(1, 5))
        if min(box[2:]) <= 0:
            raise row.error('needs a box that is not empty')
        _put(boxes, row, box)
    largest: Dict[str, _Face] = {}
    num_faces = 0
    # The release has faces without a box, which cannot be used.
    for face_id, file_id in file_ids.items():
        if face_id in boxes and file_id in pictures:
            num_faces += 1
            face = _Face(face_id, pictures[file_id], boxes[face_id])
            other = largest.get(face.photo.name)
            if other is None or _share(face) > _share(other):
                largest[face.photo.name] = face
    return list(largest.values()), num_faces


def _put(table: Dict, row: _Row, value: object) -> None:
    if row.fields[0] in table:
        raise row.error('must not repeat its first column')
    table[row.fields[0]] = value


def _share(face: _Face) -> float:
    """Share of the photo that the face's box covers."""
    return float(face.box[2]) * float(face.box[3]) / face.photo.area


def _landmarks(database: sqlite3.Connection, path: str, face_ids: Set[str]
               ) -> Dict[str, np.ndarray]:
    """Landmarks f32[21,2] of each face by its number; hidden ones are NaN."""
    numbers: Dict[str, int] = {}
    names: Set[str] = set()
    for row in _rows(database, path, 'FeatureCoordTypes', ('feature_id', 'descr')):
        # The table has more types than there are annotated landmarks.
        _put(numbers, row, LANDMARK_NAMES.index(row.fields[1])
             if row.fields[1] in LANDMARK_NAMES else -1)
        names.add(row.fields[1])
    lacking = [name for name in LANDMARK_NAMES if name not in names]
    if lacking:
        raise DatasetError(f'FeatureCoordTypes in {path} must name the {len(LANDMARK_NAMES)} '
                           f'landmarks in the column descr, it lacks {lacking[0]}; {RESTORE}')
    points = {face_id: np.full((len(LANDMARK_NAMES), 2), np.nan, np.float32)
              for face_id in face_ids}
    for row in _rows(database, path, 'FeatureCoords', ('face_id', 'feature_id', 'x', 'y')):
        if row.fields[0] not in points:
            continue
        if row.fields[1] not in numbers:
            raise row.error('must have a feature_id of FeatureCoordTypes')
        number = numbers[row.fields[1]]
        if number >= 0:
            if not np.isnan(points[row.fields[0]][number, 0]):
                raise row.error('must not repeat a landmark of a face')
            points[row.fields[0]][number] = photos.pixels(row, range(2, 4))
    return points
