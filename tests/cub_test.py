from __future__ import annotations

import os
import pathlib
from typing import Dict, List

import numpy as np
from PIL import Image
import pytest

from scops_tf.datasets import cub
from scops_tf.datasets.lists import DatasetError

NAMES = ['001.Crow/a b.jpg', '001.Crow/c.jpg', '002.Jay/d.jpg', '002.Jay/e.jpg', '007.Owl/f.jpg']
LANDMARKS = ['beak', 'left eye', 'tail']
# The lines of every list; photo i is in class, on side and has box and landmarks that i tells.
LISTS: Dict[str, List[str]] = {
    'images.txt': [f'{i} {name}' for i, name in enumerate(NAMES, 1)],
    'image_class_labels.txt': [f'{i} {int(name[:3])}' for i, name in enumerate(NAMES, 1)],
    'train_test_split.txt': [f'{i} {i % 2}' for i in range(1, 6)],
    'bounding_boxes.txt': [f'{i} {i}.0 2.0 30.0 {i}.5' for i in range(1, 6)],
    'parts/parts.txt': [f'{k} {name}' for k, name in enumerate(LANDMARKS, 1)],
    'parts/part_locs.txt': [f'{i} {k} {10.0 * i} {k}.5 {int(k != 2)}'
                            for i in range(1, 6) for k in range(1, 4)],
}


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    folder = tmp_path / 'CUB_200_2011'
    for name, lines in LISTS.items():
        write(folder, name, lines)
    for name in NAMES:
        path = folder / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (60, 40)).save(path)
    return folder


def write(folder: pathlib.Path, name: str, lines: List[str], *, newline: str = '\n',
          start: str = '', end: str = '\n') -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((start + newline.join(lines) + end).encode('utf-8'))


def read_names(root: pathlib.Path, **options) -> List[str]:
    dataset = cub.read(str(root), **options)
    return [record.name for record in dataset.train + dataset.test]


def test_records_hold_what_the_lists_say(root):
    dataset = cub.read(str(root), classes=None)
    assert [record.name for record in dataset.train] == [NAMES[0], NAMES[2], NAMES[4]]
    assert [record.name for record in dataset.test] == [NAMES[1], NAMES[3]]
    assert dataset.fit == dataset.train
    assert dataset.landmark_names == tuple(LANDMARKS)
    record = dataset.test[1]
    assert os.path.samefile(record.path, root / 'images' / NAMES[3])
    assert record.class_id == 2
    np.testing.assert_array_equal(record.box, np.float32([4, 2, 30, 4.5]))
    np.testing.assert_array_equal(record.landmarks, np.float32([[40, 1.5], [0, 0], [40, 3.5]]))
    np.testing.assert_array_equal(record.visible, [True, False, True])
    assert record.landmarks.dtype == np.float32 and record.visible.dtype == bool


def test_the_folder_may_be_the_archive_or_what_contains_it(root):
    assert read_names(root, classes=(1,)) == read_names(root.parent, classes=(1,)) == NAMES[:2]


def test_classes_choose_photos(root):
    assert read_names(root, classes=(7, 2)) == [NAMES[2], NAMES[4], NAMES[3]]
    assert sorted(read_names(root, classes=None)) == sorted(NAMES)


@pytest.mark.parametrize('classes', [(1, 2, 3), (200,), ()])
def test_a_class_without_photos_is_an_error_that_lists_those_with(root, classes):
    with pytest.raises(DatasetError, match=r'`classes` .*\(1-2, 7\).*got \('):
        cub.read(str(root), classes=classes)


@pytest.mark.parametrize('style', [
    {'newline': '\r\n', 'end': '\r\n'}, {'start': '\ufeff'}, {'end': ''}, {'end': '\n\n \n'}])
def test_line_ends_a_byte_order_mark_and_blank_lines_do_not_matter(root, style):
    expected = cub.read(str(root), classes=None)
    for name, lines in LISTS.items():
        write(root, name, lines, **style)
    found = cub.read(str(root), classes=None)
    assert found.landmark_names == expected.landmark_names
    for one, other in zip(found.train + found.test, expected.train + expected.test):
        assert (one.name, one.path, one.class_id) == (other.name, other.path, other.class_id)
        np.testing.assert_array_equal(one.box, other.box)
        np.testing.assert_array_equal(one.landmarks, other.landmarks)


@pytest.mark.parametrize('name', sorted(LISTS))
def test_a_missing_list_is_named_with_where_to_get_it(root, name):
    (root / name).unlink()
    file = name.split('/')[-1]
    with pytest.raises(DatasetError, match=f'^no {file} in .*download CUB-200-2011'):
        cub.read(str(root), classes=(1,))


def test_a_missing_folder_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(DatasetError, match='^no folder .*nowhere; download CUB-200-2011'):
        cub.read(str(tmp_path / 'nowhere'))


@pytest.mark.parametrize('name', sorted(LISTS))
def test_an_empty_list_is_an_error_that_names_it(root, name):
    write(root, name, [])
    with pytest.raises(DatasetError, match=f'{name} is empty'):
        cub.read(str(root), classes=None)


@pytest.mark.parametrize('name, line', [
    ('images.txt', '2'),  # A column is missing.
    ('images.txt', 'two 001.Crow/c.jpg'),
    ('images.txt', '1 001.Crow/c.jpg'),  # A number comes twice.
    ('images.txt', '0 001.Crow/c.jpg'),
    ('images.txt', '2 ../../../etc/passwd'),
    ('images.txt', '2 /etc/passwd'),
    ('images.txt', '2 001.Crow/../c.jpg'),
    ('images.txt', r'2 001.Crow\c.jpg'),
    ('images.txt', '2 C:c.jpg'),
    ('images.txt', '2 001.Crow/c\0.jpg'),
    ('bounding_boxes.txt', '2 1e300 1 2 3'),
    ('bounding_boxes.txt', '2 1 1 1e300 3'),
    ('bounding_boxes.txt', '2 1 1 1e-300 3'),  # It is 0 in single precision.
    ('parts/part_locs.txt', '2 1 1e300 1 1'),
    ('image_class_labels.txt', '2'),
    ('image_class_labels.txt', '2 1.5'),
    ('image_class_labels.txt', '2 -1'),
    ('image_class_labels.txt', '2 ٣'),
    ('image_class_labels.txt', '99999999999 1'),
    ('image_class_labels.txt', '9' * 5000 + ' 1'),
    ('train_test_split.txt', '2 2'),
    ('train_test_split.txt', '1 0'),
    ('bounding_boxes.txt', '2 60.0 27.0 325.0'),
    ('bounding_boxes.txt', '2 60.0 27.0 325.0 304.0 1.0'),
    ('bounding_boxes.txt', '2 60.0 27.0 0.0 304.0'),
    ('bounding_boxes.txt', '2 60.0 27.0 nan 304.0'),
    ('bounding_boxes.txt', '2 60.0 27.0 wide 304.0'),
    ('bounding_boxes.txt', '2 inf 27.0 325.0 304.0'),
    ('parts/parts.txt', '3 tail'),
    ('parts/part_locs.txt', '1 2 0.0 0.0'),
    ('parts/part_locs.txt', '1 4 0.0 0.0 0'),
    ('parts/part_locs.txt', '1 1 0.0 0.0 0'),
    ('parts/part_locs.txt', '1 2 0.0 0.0 2'),
    ('parts/part_locs.txt', '99999999999999999999 2 0.0 0.0 0'),
    ('parts/part_locs.txt', '9 2 0.0 0.0 0'),
])
def test_a_malformed_line_is_named_by_file_and_number(root, name, line):
    lines = list(LISTS[name])
    lines[1] = line
    write(root, name, lines)
    with pytest.raises(DatasetError, match=f'^line 2 of .*{name} (needs|must)') as caught:
        cub.read(str(root), classes=None)
    assert len(str(caught.value)) < 500 and '\n' not in str(caught.value)


@pytest.mark.parametrize('name', [
    'image_class_labels.txt', 'train_test_split.txt', 'bounding_boxes.txt', 'parts/part_locs.txt'])
def test_a_truncated_list_is_named_with_the_first_photo_it_lacks(root, name):
    write(root, name, LISTS[name][:-1])
    with pytest.raises(DatasetError, match=f'{name} must cover .* lacks 1 of 5, .* number 5;'):
        cub.read(str(root), classes=None)


def test_a_list_that_is_no_text_is_named(root):
    (root / 'images.txt').write_bytes(b'1 caf\xe9.jpg\n')
    with pytest.raises(DatasetError, match='images.txt must be text in UTF-8'):
        cub.read(str(root))


def test_a_listed_photo_that_is_absent_is_an_error_with_the_count(root):
    (root / 'images' / NAMES[1]).unlink()
    (root / 'images' / NAMES[2]).unlink()
    with pytest.raises(DatasetError, match=r'^2 of the 5 photos .*first is .*c\.jpg'):
        cub.read(str(root), classes=None)
    assert read_names(root, classes=(7,)) == [NAMES[4]]


@pytest.mark.parametrize('beside', ['images', 'archive'])
def test_segmentations_become_masks(root, beside):
    assert cub.read(str(root), classes=(7,)).train[0].mask_path is None
    folder = (root if beside == 'images' else root.parent) / 'segmentations'
    (folder / '007.Owl').mkdir(parents=True)
    Image.new('L', (60, 40)).save(folder / '007.Owl' / 'f.png')
    assert os.path.samefile(cub.read(str(root), classes=(7,)).train[0].mask_path,
                            folder / '007.Owl' / 'f.png')
    with pytest.raises(DatasetError, match='2 of the 2 masks .* are missing'):
        cub.read(str(root), classes=(1,))


def test_the_true_archive_is_read(shared):
    dataset = cub.read(str(shared / 'data' / 'cub'))
    assert (len(dataset.train), len(dataset.test)) == (90, 88)
    assert len(dataset.landmark_names) == 15 and 'left eye' in dataset.landmark_names
    for record in dataset.train + dataset.test:
        assert record.class_id in (1, 2, 3) and record.visible.any()
        with Image.open(record.path) as photo:
            size = np.array(photo.size)
        # The origin is 0: boxes begin there, and end within one pixel of the border.
        assert (record.box[:2] >= 0).all() and (record.box[:2] + record.box[2:] <= size + 1).all()
        points = record.landmarks[record.visible]
        assert (points >= 0).all() and (points <= size - 1).all()
