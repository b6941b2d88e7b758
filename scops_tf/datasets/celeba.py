"""CelebA "in the wild" (Liu et al., 2015) with the lists of MAFL: unaligned faces, 5 landmarks.

    img_celeba/*.jpg              the original photos, not the aligned ones
    list_bbox_celeba.txt          the faces' boxes
    list_landmarks_celeba.txt     five landmarks of each face
    MAFL/celebA_training.txt      photos to train SCOPS on
    list_eval_partition.txt       used if the list above is missing: CelebA's training photos (0)
    MAFL/{training,testing}.txt   photos to fit and to test a regression on
    list_imsize_celeba.txt        optional: name, height, width; saves opening every photo

The files may lie in the archive's folders Img/, Anno/ and Eval/. Coordinates are used unchanged;
CelebA does not document where the first pixel lies.
"""
from __future__ import annotations

import dataclasses
import os
from typing import Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from scops_tf.datasets import photos
from scops_tf.datasets.lists import RESTORE, DatasetError, Line, read_lines
from scops_tf.datasets.records import PartDataset, Record

LANDMARK_NAMES = ('lefteye', 'righteye', 'nose', 'leftmouth', 'rightmouth')
# The landmarks whose distance is the inter-ocular distance.
EYES = (LANDMARK_NAMES.index('lefteye'), LANDMARK_NAMES.index('righteye'))
MIN_FACE_AREA = 0.3
# Number of photos of the whole set, and the paper's numbers for the three splits (§4.1).
FULL_SET = 202_599
FULL_COUNTS = (45_609, 5_379, 283)

_SIZE_LIST = 'list_imsize_celeba.txt'
_BOX_COLUMNS = ('x_1', 'y_1', 'width', 'height')
_LANDMARK_COLUMNS = tuple(f'{name}_{axis}' for name in LANDMARK_NAMES for axis in 'xy')


def read(root: str, *, min_object_area: float = MIN_FACE_AREA) -> PartDataset:
    """Reads the annotations, and the size of every photo that is listed.

    Args:
      root: Folder that holds the files named above.
      min_object_area: Least share of the photo that the face's box covers, in [0, 1].

    Returns:
      `train`, `fit` and `test` in the order of the lists, without the photos whose face is smaller.
      `train` and `test` share no photo. Names are the photos' file names. `notes` say how the set
      and its counts differ from the paper's.

    Raises:
      DatasetError: If a file is missing or malformed, or no photo of a list is left.
    """
    if not 0 <= min_object_area <= 1:
        raise DatasetError(f'`min_object_area` must lie in [0, 1], got {min_object_area}.')
    root = os.path.abspath(os.path.expanduser(root))
    advice = f'download CelebA (in the wild) and unpack it to {root}'
    if not os.path.isdir(root):
        raise DatasetError(f'no folder {root}; {advice}')
    box_path = _find(root, 'list_bbox_celeba.txt', 'Anno')
    boxes = _table(box_path, ('image_id',) + _BOX_COLUMNS, advice)
    landmark_path = _find(root, 'list_landmarks_celeba.txt', 'Anno')
    landmarks = _table(landmark_path, _LANDMARK_COLUMNS, advice)

    lists = _lists(root, boxes)
    names = list(dict.fromkeys(name for listed in lists.values() for name in listed))
    without = [name for name in names if name not in landmarks]
    if without:
        raise DatasetError(f'{landmark_path} must cover every photo that is listed, it lacks '
                           f'{len(without)}, the first is {without[0]}; {RESTORE}')
    folder = _find(root, 'img_celeba', 'Img')
    paths = {name: os.path.join(folder, *name.split('/')) for name in names}
    photos.check_present(list(paths.values()), 'photos listed', advice)
    large = _with_large_faces(paths, boxes, min_object_area, _find(root, _SIZE_LIST, 'Anno'))

    splits: Dict[str, Tuple[Record, ...]] = {}
    for split, listed in lists.items():
        splits[split] = tuple(
            Record(name=name, path=paths[name], box=boxes[name],
                   landmarks=landmarks[name].reshape(-1, 2),
                   visible=np.ones(len(LANDMARK_NAMES), bool))
            for name in listed if name in large)
        if not splits[split]:
            raise DatasetError(f'`min_object_area` must leave photos to `{split}`, none of its '
                               f'{len(listed)} has a face of {min_object_area}; lower it')
    counts = tuple(map(len, splits.values()))
    notes = tuple(_notes(counts, min_object_area, len(boxes) == FULL_SET))
    expected = dict(zip(splits, FULL_COUNTS)) if min_object_area == MIN_FACE_AREA else {}
    return PartDataset(name='celeba', landmark_names=LANDMARK_NAMES, annotation_kind='faces',
                       eyes=EYES, notes=notes, expected_counts=expected, **splits)


def _notes(counts: Tuple[int, ...], min_object_area: float, is_full: bool) -> Iterator[str]:
    if min_object_area != MIN_FACE_AREA:
        yield (f'Faces cover at least {100 * min_object_area:g} % of their photo; the paper takes '
               f'{100 * MIN_FACE_AREA:g} %.')
    elif is_full and counts != FULL_COUNTS:
        yield (f'The lists give {" / ".join(map(str, counts))} photos to train, fit and test; the '
               f'paper counts {" / ".join(map(str, FULL_COUNTS))}.')
    if not is_full:
        yield f'This is not the whole of CelebA, which has {FULL_SET} photos.'


def _find(root: str, name: str, folder: str) -> str:
    """Path of a file or folder, which may lie in the archive's folder of the name `folder`."""
    inside = os.path.join(root, folder, name)
    return inside if os.path.exists(inside) else os.path.join(root, name)


def _entries(path: str, advice: str) -> Iterator[Line]:
    """Lines of a file, split at white space into any number of fields."""
    for line in read_lines(path, num_columns=1, advice=advice):
        yield dataclasses.replace(line, fields=line.fields[0].split())


def _table(path: str, header: Sequence[str], advice: str) -> Dict[str, np.ndarray]:
    """Values f32 by the photo's name. The file has a count of entries, a header, the entries."""
    columns = [name for name in header if name != 'image_id']
    table: Dict[str, np.ndarray] = {}
    lines = _entries(path, advice)
    count_line = next(lines)
    if len(count_line.fields) != 1:
        raise count_line.error('must be the number of photos alone')
    count = count_line.integer(0, 0)
    names_line = next(lines, count_line)
    if names_line.fields != list(header):
        raise names_line.error(f'must name the columns, {" ".join(header)}')
    for line in lines:
        if len(line.fields) != 1 + len(columns):
            raise line.error(f'needs {1 + len(columns)} columns')
        name = line.relative_path(0)
        if name in table:
            raise line.error('must not repeat a photo')
        table[name] = photos.pixels(line, range(1, 1 + len(columns)))
    if len(table) != count:
        raise count_line.error(f'must be the number of photos that follow, which is {len(table)}')
    return table


def _listed(path: str, known: Mapping[str, np.ndarray], advice: str) -> List[str]:
    names: Dict[str, None] = {}
    for line in _entries(path, advice):
        if len(line.fields) != 1:
            raise line.error('must be the name of a photo alone')
        _add(names, line, known)
    return list(names)


def _add(names: Dict[str, None], line: Line, known: Mapping[str, np.ndarray]) -> None:
    name = line.relative_path(0)
    if name not in known:
        raise line.error('must name a photo of list_bbox_celeba.txt')
    if name in names:
        raise line.error('must not repeat a photo')
    names[name] = None


def _lists(root: str, known: Mapping[str, np.ndarray]) -> Dict[str, List[str]]:
    """Names of the photos of each split."""
    folder = os.path.join(root, 'MAFL')
    advice = f'download the lists of MAFL and unpack them to {folder}'
    fit, test = (_listed(os.path.join(folder, name), known, advice)
                 for name in ('training.txt', 'testing.txt'))
    tested = set(test)
    shared = tested.intersection(fit)
    if shared:
        raise DatasetError(f'training.txt and testing.txt in {folder} must not share photos, they '
                           f'share {len(shared)}, one is {min(shared)}; {RESTORE}')
    train = [name for name in _training_list(root, known) if name not in tested]
    return {'train': train, 'fit': fit, 'test': test}


def _training_list(root: str, known: Mapping[str, np.ndarray]) -> List[str]:
    path = os.path.join(root, 'MAFL', 'celebA_training.txt')
    partition = _find(root, 'list_eval_partition.txt', 'Eval')
    if os.path.isfile(path) or not os.path.isfile(partition):
        return _listed(path, known, 'write the names of the photos to train on, one per line, or '
                       'add list_eval_partition.txt of CelebA, whose training photos are taken')
    names: Dict[str, None] = {}
    for line in read_lines(partition, num_columns=2, advice=RESTORE):
        if line.integer(1, 0, 2) == 0:
            _add(names, line, known)
    return list(names)


def _with_large_faces(paths: Mapping[str, str], boxes: Mapping[str, np.ndarray], min_area: float,
                      size_path: str) -> Dict[str, str]:
    """Paths of the photos whose face's box covers a share of at least `min_area`, by name.

    A damaged photo has no size and stays; the code that reads photos deals with it.
    """
    if os.path.isfile(size_path):
        areas = {line.fields[0]: line.integer(1, 1) * line.integer(2, 1)
                 for line in read_lines(size_path, num_columns=3, advice=RESTORE)
                 if line.fields[0] != 'image_id'}
        without = [name for name in paths if name not in areas]
        if without:
            raise DatasetError(f'{size_path} must cover every photo that is listed, it lacks '
                               f'{len(without)}, the first is {without[0]}; add them or remove it')
    else:
        areas = {name: 0 if size is None else size[0] * size[1]
                 for name, size in zip(paths, photos.sizes(list(paths.values())))}
    large = {}
    for name, path in paths.items():
        width, height = boxes[name][2:].tolist()
        # An empty box holds no face, even if `min_area` is 0.
        if min(width, height) > 0 and width * height >= min_area * areas[name]:
            large[name] = path
    return large
