"""CUB-200-2011 (Wah et al., 2011) in the layout of its archive: birds, boxes and 15 landmarks.

Coordinates are used unchanged. The README of the archive calls them pixels and does not name the
origin. The smallest x and y of the boxes are 0, which would be 1 if pixels were counted from 1, and
most boxes that touch the right or lower border end at the side length minus 1. So the first pixel
is 0.
"""
from __future__ import annotations

import os
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, TypeVar

import numpy as np

from scops_tf.datasets.lists import RESTORE, DatasetError, Line, read_lines
from scops_tf.datasets.photos import check_present, pixels
from scops_tf.datasets.records import PartDataset, Record

FOLDER = 'CUB_200_2011'
# Photos to train and to test of the paper's categories in the official split. The paper names the
# categories (§4.2) and no counts.
FULL_COUNTS = {1: (30, 30), 2: (30, 30), 3: (30, 28)}

_T = TypeVar('_T')


def read(root: str, *, classes: Optional[Sequence[int]] = (1, 2, 3)) -> PartDataset:
    """Reads the annotations; checks that the photos exist, but opens none.

    Args:
      root: The folder CUB_200_2011 or the folder that contains it.
      classes: Category numbers to use; None for all categories.

    Returns:
      The official split; `train` and `fit` are its training photos. Records are in the order of
      images.txt, and their names are their paths below images/. They have masks if the
      segmentations, a separate archive, were unpacked beside images/ or beside CUB_200_2011. A
      pixel is object if at least one annotator marked it.

    Raises:
      DatasetError: If a file is missing or malformed, or `classes` has a category without photos.
    """
    root = os.path.abspath(os.path.expanduser(root))
    if os.path.isdir(os.path.join(root, FOLDER)):
        root = os.path.join(root, FOLDER)
    advice = f'download CUB-200-2011 and unpack it to {root}'
    if not os.path.isdir(root):
        raise DatasetError(f'no folder {root}; {advice}.')

    def lines(name: str, num_columns: int) -> Iterator[Line]:
        return read_lines(os.path.join(root, *name.split('/')),
                          num_columns=num_columns, advice=advice)

    paths = _by_image(lines('images.txt', 2), lambda line: line.relative_path(1))
    class_ids = _by_image(
        lines('image_class_labels.txt', 2), lambda line: line.integer(1, 1), known=paths)
    is_train = _by_image(
        lines('train_test_split.txt', 2), lambda line: line.integer(1, 0, 1), known=paths)
    boxes = _by_image(lines('bounding_boxes.txt', 5), _box, known=paths)
    landmark_names = _landmark_names(lines('parts/parts.txt', 2))
    landmarks = _landmarks(lines('parts/part_locs.txt', 5), paths, len(landmark_names))
    for name, table in (('image_class_labels.txt', class_ids), ('train_test_split.txt', is_train),
                        ('bounding_boxes.txt', boxes), ('parts/part_locs.txt', landmarks)):
        lacking = [image_id for image_id in paths if image_id not in table]
        if lacking:
            raise DatasetError(
                f'{os.path.join(root, name)} must cover every image of images.txt, it lacks '
                f'{len(lacking)} of {len(paths)}, the first is number {lacking[0]}; {RESTORE}.')

    chosen = _chosen_images(class_ids, classes, root)
    photos = {i: os.path.join(root, 'images', *paths[i].split('/')) for i in chosen}
    check_present(list(photos.values()), 'photos listed in images.txt', advice)
    masks = _masks(root, {i: paths[i] for i in chosen})

    records: Tuple[List[Record], List[Record]] = ([], [])
    for i in chosen:
        points, visible = landmarks[i]
        records[is_train[i]].append(Record(
            name=paths[i], path=photos[i], class_id=class_ids[i], box=boxes[i],
            landmarks=points, visible=visible, mask_path=masks.get(i)))
    test, train = map(tuple, records)
    return PartDataset(name='cub', train=train, fit=train, test=test,
                       landmark_names=landmark_names, annotation_kind='boxed_landmarks',
                       expected_counts=_expected_counts(classes))


def _expected_counts(classes: Optional[Sequence[int]]) -> Dict[str, int]:
    """The counts of the paper's categories; none of other ones."""
    if set(classes or ()) != set(FULL_COUNTS):
        return {}
    train, test = (sum(counts) for counts in zip(*FULL_COUNTS.values()))
    expected = {'train': train, 'fit': train, 'test': test}
    for number, (of_train, of_test) in FULL_COUNTS.items():
        expected[f'train, category {number}'] = of_train
        expected[f'test, category {number}'] = of_test
    return expected


def _by_image(lines: Iterator[Line], value_of: Callable[[Line], _T], *,
              known: Optional[Dict[int, str]] = None) -> Dict[int, _T]:
    """Values by image number (first column), which must be unique and one of the `known` ones."""
    table: Dict[int, _T] = {}
    for line in lines:
        image_id = line.integer(0, 1)
        if image_id in table:
            raise line.error('must not repeat an image number')
        if known is not None and image_id not in known:
            raise line.error('must name an image of images.txt')
        table[image_id] = value_of(line)
    return table


def _box(line: Line) -> np.ndarray:
    """The object's box f32[4]: (x, y, width, height)."""
    box = pixels(line, range(1, 5))
    if min(box[2:]) <= 0:
        raise line.error('needs a box that is not empty')
    return box


def _landmark_names(lines: Iterator[Line]) -> Tuple[str, ...]:
    names: List[str] = []
    for line in lines:
        line.integer(0, len(names) + 1, len(names) + 1)
        names.append(line.fields[1])
    return tuple(names)


def _landmarks(lines: Iterator[Line], paths: Dict[int, str], num_landmarks: int
               ) -> Dict[int, Tuple[np.ndarray, np.ndarray]]:
    """Points f32[L,2] and visibility bool[L] of every image that has a line for each landmark."""
    rows: Dict[int, Dict[int, Tuple[float, float, int]]] = {}
    for line in lines:
        image_id, landmark = line.integer(0, 1), line.integer(1, 1, num_landmarks)
        if image_id not in paths:
            raise line.error('must name an image of images.txt')
        row = rows.setdefault(image_id, {})
        if landmark in row:
            raise line.error('must not repeat a landmark of an image')
        row[landmark] = (*pixels(line, range(2, 4)), line.integer(4, 0, 1))
    landmarks = {}
    for image_id, row in rows.items():
        if len(row) == num_landmarks:
            values = np.array([row[landmark] for landmark in sorted(row)], np.float32)
            visible = values[:, 2] == 1
            landmarks[image_id] = (np.where(visible[:, None], values[:, :2], 0), visible)
    return landmarks


def _chosen_images(class_ids: Dict[int, int], classes: Optional[Sequence[int]], root: str
                   ) -> List[int]:
    if classes is None:
        return list(class_ids)
    present = set(class_ids.values())
    if not classes or not set(classes) <= present:
        raise DatasetError(
            f'`classes` must name categories that have photos in {root} ({_ranges(present)}), '
            f'got {tuple(classes)}; give other numbers, or None for all.')
    return [image_id for image_id, class_id in class_ids.items() if class_id in set(classes)]


def _ranges(numbers: Set[int]) -> str:
    """Numbers as ranges: '1-3, 7' for {1, 2, 3, 7}."""
    spans: List[List[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ', '.join('-'.join(map(str, span)) for span in spans)


def _masks(root: str, paths: Dict[int, str]) -> Dict[int, str]:
    for parent in (root, os.path.dirname(root)):
        folder = os.path.join(parent, 'segmentations')
        if os.path.isdir(folder):
            masks = {i: os.path.join(folder, *path.split('/')) for i, path in paths.items()}
            masks = {i: os.path.splitext(path)[0] + '.png' for i, path in masks.items()}
            check_present(list(masks.values()), 'masks of the photos',
                          f'unpack the segmentations again or remove {folder}')
            return masks
    return {}
