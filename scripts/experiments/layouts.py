"""Whole data to damage: drawn creatures in the layouts of the data sets, and arrays to score."""
from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import scipy.io

from scops_tf import files, images
from scops_tf.datasets import aflw, celeba, creature, pascal_annotation

SIZE = (48, 72)
NUM_PHOTOS = 12


def drawings() -> List[creature.Picture]:
    """The creatures, the same each time."""
    return [creature.draw(np.random.default_rng([7, index]), SIZE) for index in range(NUM_PHOTOS)]


def box_of(mask: np.ndarray) -> Tuple[int, int, int, int]:
    """(x, y, width, height) of what is not 0 in a mask."""
    rows, columns = np.nonzero(mask)
    return (int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def write_cub(root: str) -> None:
    """Birds of three categories in the layout of CUB-200-2011, with segmentations."""
    names = [f'00{1 + index % 3}.Creature/{index:02}.png' for index in range(NUM_PHOTOS)]
    numbers = range(1, NUM_PHOTOS + 1)
    found = drawings()
    for name, picture in zip(names, found):
        images.write_png(os.path.join(root, 'images', name), picture.image)
        images.write_png(os.path.join(root, 'segmentations', name),
                         np.where(picture.part_mask > 0, 255, 0).astype(np.uint8))
    _write_lines(root, {
        'images.txt': [f'{i} {name}' for i, name in zip(numbers, names)],
        'image_class_labels.txt': [f'{i} {int(name[:3])}' for i, name in zip(numbers, names)],
        'train_test_split.txt': [f'{i} {int(i > NUM_PHOTOS // 2)}' for i in numbers],
        'bounding_boxes.txt': [f'{i} ' + ' '.join(f'{side:.1f}' for side in box_of(
            picture.part_mask)) for i, picture in zip(numbers, found)],
        'parts/parts.txt': [f'{k} {name}' for k, name in enumerate(creature.LANDMARK_NAMES, 1)],
        'parts/part_locs.txt': [
            f'{i} {k} {x:.1f} {y:.1f} {int(seen)}' for i, picture in zip(numbers, found)
            for k, ((x, y), seen) in enumerate(zip(picture.landmarks, picture.visible), 1)]})


def write_celeba(root: str) -> None:
    """Photos in the layout of CelebA with the lists of MAFL; five landmarks stand for a face's."""
    names = [f'{index:06}.png' for index in range(NUM_PHOTOS)]
    found = drawings()
    for name, picture in zip(names, found):
        images.write_png(os.path.join(root, 'img_celeba', name), picture.image)
    landmarks = [np.rint(picture.landmarks[:5]).astype(int).ravel() for picture in found]
    third = NUM_PHOTOS // 3
    _write_lines(root, {
        'list_bbox_celeba.txt': [str(NUM_PHOTOS), 'image_id x_1 y_1 width height', *(
            f'{name} ' + ' '.join(map(str, box_of(picture.part_mask)))
            for name, picture in zip(names, found))],
        'list_landmarks_celeba.txt': [
            str(NUM_PHOTOS),
            ' '.join(f'{name}_{axis}' for name in celeba.LANDMARK_NAMES for axis in 'xy'),
            *(f'{name} ' + ' '.join(map(str, points)) for name, points in zip(names, landmarks))],
        'list_imsize_celeba.txt': ['image_id height width', *(
            f'{name} {SIZE[0]} {SIZE[1]}' for name in names)],
        'MAFL/celebA_training.txt': names[:third], 'MAFL/training.txt': names[third:2 * third],
        'MAFL/testing.txt': names[2 * third:]})


def write_aflw(root: str) -> None:
    """Photos and a database in the layout of AFLW; a creature's landmarks stand for the first."""
    with contextlib.closing(sqlite3.connect(_made(os.path.join(root, 'aflw.sqlite')))
                            ) as database, database:
        database.executescript('''
            CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
            CREATE TABLE FaceImages (image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT,
                                     filepath TEXT, bw BOOLEAN, width INTEGER, height INTEGER);
            CREATE TABLE FaceRect (face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER,
                                   annot_type_id INTEGER);
            CREATE TABLE FeatureCoordTypes (feature_id INTEGER PRIMARY KEY, descr TEXT);
            CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INTEGER, x REAL, y REAL);''')
        database.executemany('INSERT INTO FeatureCoordTypes VALUES (?, ?)',
                             list(enumerate(aflw.LANDMARK_NAMES, 1)))
        for face, picture in enumerate(drawings(), 100):
            name = f'0/image{face}.png'
            images.write_png(os.path.join(root, 'flickr', name), picture.image)
            database.execute('INSERT INTO FaceImages VALUES (NULL, "aflw", ?, ?, 0, ?, ?)',
                             (name[2:], name, SIZE[1], SIZE[0]))
            database.execute('INSERT INTO Faces VALUES (?, ?, "aflw")', (face, name[2:]))
            database.execute('INSERT INTO FaceRect VALUES (?, ?, ?, ?, ?, 5)',
                             (face, *box_of(picture.part_mask)))
            points = np.resize(picture.landmarks, (len(aflw.LANDMARK_NAMES), 2))
            database.executemany(
                'INSERT INTO FeatureCoords VALUES (?, ?, ?, ?)',
                [(face, k, *map(float, point)) for k, point in enumerate(points, 1)])


def write_pascal(root: str) -> None:
    """Photos, .mat files and a list in the layout of PASCAL VOC with PASCAL-Part: horses."""
    names = [f'2010_{index:06}' for index in range(NUM_PHOTOS // 2)]
    parts = ('head', 'torso', 'lfuleg', 'tail', 'neck', 'leye', 'muzzle')
    for name, picture in zip(names, drawings()):
        # A PNG under the name that VOC has; readers go by the content.
        files.write(os.path.join(root, 'JPEGImages', f'{name}.jpg'), _png(picture.image, root))
        masks = [(part, (picture.part_mask == 1 + k % 4).astype(np.uint8))
                 for k, part in enumerate(parts)]
        objects = _structs(('class', 'class_ind', 'mask', 'parts'), [
            ('horse', 13, (picture.part_mask > 0).astype(np.uint8),
             _structs(('part_name', 'mask'), masks))])
        scipy.io.savemat(_made(os.path.join(root, 'Annotations_Part', f'{name}.mat')),
                         {'anno': _structs(('imname', 'objects'), [(name, objects)])},
                         do_compression=True)
    _write_lines(root, {'ImageSets/Main/some.txt': names, 'ImageSets/Main/more.txt': names})


def category() -> str:
    """The category of `write_pascal`."""
    return pascal_annotation.CATEGORIES[4]


def _structs(fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """A struct array as MATLAB saves it."""
    array = np.empty((1, len(rows)), [(field, object) for field in fields])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row)
    return array


def _png(image: np.ndarray, root: str) -> bytes:
    path = os.path.join(root, 'one.png')
    images.write_png(path, image)
    content = files.read(path)
    os.remove(path)
    return content


def _made(path: str) -> str:
    """The path, whose folder is made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def _write_lines(root: str, lists: Dict[str, List[str]]) -> None:
    for name, lines in lists.items():
        files.write(os.path.join(root, *name.split('/')), ('\n'.join(lines) + '\n').encode())


def arrays_to_score(seed: int = 0, num_train: int = 40, num_test: int = 25
                    ) -> Tuple[Dict[str, np.ndarray], Dict[str, np.ndarray]]:
    """Predictions and truth for `evaluate_arrays`; the truth is a noisy affine map of them."""
    generator = np.random.default_rng(seed)
    weights, pred, truth = generator.normal(size=(6, 8)) * 0.3, {}, {}
    for which, number in (('train', num_train), ('test', num_test)):
        centers = generator.uniform(0, 1, (number, 3, 2)) * [128, 80]
        landmarks = centers.reshape(number, 6) @ weights + generator.normal(size=(number, 8))
        pred[which], truth[which] = centers, landmarks.reshape(number, 4, 2)
        names = np.array([f'{which}/{index:03}.jpg' for index in range(number)])
        pred[f'names_{which}'] = truth[f'names_{which}'] = names
        truth[f'visible_{which}'] = generator.random((number, 4)) < 0.9
        truth[f'box_{which}'] = np.concatenate([generator.uniform(0, 30, (number, 2)),
                                                generator.uniform(40, 90, (number, 2))], 1)
        truth[f'class_{which}'] = np.arange(number) % 3 + 1
        truth[f'size_{which}'] = np.tile([128, 80], (number, 1)) + np.arange(number)[:, None]
    return pred, truth
