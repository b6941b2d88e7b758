from __future__ import annotations

import pathlib
from typing import Dict, List

import numpy as np
from PIL import Image, ImageDraw
import pytest

from scops_tf import images
from scops_tf.datasets import celeba
from scops_tf.datasets.lists import DatasetError

SIZE = (40, 50)
# Of a photo of 2000 pixels: 30 %, a little less, none, 60 %, ...
BOXES = {'000001.jpg': (5, 5, 20, 30), '000002.jpg': (5, 5, 20, 29), '000003.jpg': (0, 0, 0, 0),
         '000004.jpg': (5, 2, 40, 30), '000005.jpg': (3, 3, 30, 30), '000006.jpg': (9, 1, 25, 36),
         '000007.jpg': (9, 1, 25, 23)}
NAMES = list(BOXES)
LANDMARKS = {name: [12 + i, 10, 22, 10 + i, 17, 17, -3, 24, 21, 24 + i]
             for i, name in enumerate(NAMES)}
LISTS: Dict[str, List[str]] = {
    'list_bbox_celeba.txt': [
        str(len(NAMES)), 'image_id x_1 y_1 width height',
        *(f'{name} ' + ' '.join(f'{value:4d}' for value in BOXES[name]) for name in NAMES)],
    'list_landmarks_celeba.txt': [
        str(len(NAMES)), 'lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x '
        'leftmouth_y rightmouth_x rightmouth_y',
        *(f'{name} ' + ' '.join(f'{value:4d}' for value in LANDMARKS[name]) for name in NAMES)],
    'MAFL/celebA_training.txt': NAMES[:5],
    'MAFL/training.txt': ['000005.jpg', '000002.jpg'],
    'MAFL/testing.txt': ['000006.jpg', '000007.jpg', '000004.jpg'],
}


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    folder = tmp_path / 'celeba'
    for name, lines in LISTS.items():
        write(folder, name, lines)
    (folder / 'img_celeba').mkdir()
    for name, (x, y, width, height) in BOXES.items():
        photo = Image.new('RGB', SIZE[::-1], 'navy')
        ImageDraw.Draw(photo).ellipse((x, y, x + width, y + height), fill='tan')
        photo.save(folder / 'img_celeba' / name)
    return folder


def write(folder: pathlib.Path, name: str, lines: List[str], *, newline: str = '\n',
          start: str = '', end: str = '\n') -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((start + newline.join(lines) + end).encode('utf-8'))


def names_of(root: pathlib.Path, **options) -> Dict[str, List[str]]:
    dataset = celeba.read(str(root), **options)
    return {split: [record.name for record in getattr(dataset, split)]
            for split in ('train', 'fit', 'test')}


EXPECTED = {'train': ['000001.jpg', '000005.jpg'], 'fit': ['000005.jpg'],
            'test': ['000006.jpg', '000004.jpg']}


def error_of(root: pathlib.Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        celeba.read(str(root), **options)
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_records_hold_what_the_lists_say(root):
    dataset = celeba.read(str(root))
    record = dataset.test[1]
    assert record.name == '000004.jpg'
    assert images.read(record.path).shape == SIZE + (3,)
    assert record.box.tolist() == [5, 2, 40, 30] and record.box.dtype == np.float32
    assert record.landmarks.tolist() == [[15, 10], [22, 13], [17, 17], [-3, 24], [21, 27]]
    assert record.visible.tolist() == [True] * 5
    assert dataset.landmark_names[:2] == ('lefteye', 'righteye')
    assert (dataset.name, dataset.annotation_kind) == ('celeba', 'faces')
    assert [dataset.landmark_names[eye] for eye in dataset.eyes] == ['lefteye', 'righteye']


def test_faces_of_exactly_the_least_area_stay_and_smaller_ones_go(root):
    assert names_of(root) == EXPECTED


def test_test_photos_are_not_trained_on(root):
    assert '000004.jpg' in LISTS['MAFL/celebA_training.txt']
    assert '000004.jpg' not in names_of(root)['train']


def test_a_face_without_area_is_none_even_where_no_area_is_asked_for(root):
    found = names_of(root, min_object_area=0)
    assert found['train'] == ['000001.jpg', '000002.jpg', '000005.jpg']
    assert found['fit'] == ['000005.jpg', '000002.jpg']


def test_the_folders_of_the_archive_may_be_kept(root):
    for name, folder in (('list_bbox_celeba.txt', 'Anno'), ('list_landmarks_celeba.txt', 'Anno'),
                         ('img_celeba', 'Img')):
        (root / folder).mkdir(exist_ok=True)
        (root / name).rename(root / folder / name)
    assert names_of(root) == EXPECTED


@pytest.mark.parametrize('style', [
    {'newline': '\r\n', 'end': '\r\n'}, {'start': '\ufeff'}, {'end': ''}, {'end': '\n\n'},
    {'newline': '\r\n', 'start': '\ufeff', 'end': ''}])
def test_line_ends_byte_order_marks_and_a_missing_last_newline_do_not_matter(root, style):
    for name, lines in LISTS.items():
        write(root, name, lines, **style)
    assert names_of(root) == EXPECTED


def test_without_a_training_list_the_training_photos_of_celeba_are_taken(root):
    (root / 'MAFL/celebA_training.txt').unlink()
    assert 'celebA_training.txt' in error_of(root) and 'list_eval_partition' in error_of(root)
    write(root, 'list_eval_partition.txt',
          [f'{name} {kind}' for name, kind in zip(NAMES, (0, 0, 0, 0, 1, 2, 0))])
    assert names_of(root) == {**EXPECTED, 'train': ['000001.jpg']}


def test_a_list_of_sizes_saves_opening_the_photos(root, monkeypatch):
    write(root, 'list_imsize_celeba.txt', [f'{name} {SIZE[0]} {SIZE[1]}' for name in NAMES])
    monkeypatch.setattr(celeba.photos, 'sizes', lambda paths: pytest.fail('photos were opened'))
    assert names_of(root) == EXPECTED


def test_a_list_of_sizes_covers_all_photos(root):
    write(root, 'list_imsize_celeba.txt', [f'{name} {SIZE[0]} {SIZE[1]}' for name in NAMES[:-2]])
    assert 'lacks 2' in error_of(root)


def test_a_photo_that_is_no_image_is_left_to_whoever_reads_photos(root):
    (root / 'img_celeba/000007.jpg').write_bytes(b'no image')
    assert names_of(root)['test'] == ['000006.jpg', '000007.jpg', '000004.jpg']


def test_counts_of_the_whole_set_are_compared_with_the_papers(root, monkeypatch):
    assert celeba.read(str(root)).notes == (
        'This is not the whole of CelebA, which has 202599 photos.',)
    monkeypatch.setattr(celeba, 'FULL_SET', len(NAMES))
    note, = celeba.read(str(root)).notes
    assert '2 / 1 / 2' in note and '45609 / 5379 / 283' in note
    monkeypatch.setattr(celeba, 'FULL_COUNTS', (2, 1, 2))
    assert celeba.read(str(root)).notes == ()
    note, = celeba.read(str(root), min_object_area=0.25).notes
    assert '25 %' in note and '30 %' in note


@pytest.mark.parametrize('name, line, text, law', [
    ('list_bbox_celeba.txt', 4, '000002.jpg 5 5 20', 'needs 5 columns'),
    ('list_bbox_celeba.txt', 4, '000002.jpg 5 5 20 29 1', 'needs 5 columns'),
    ('list_bbox_celeba.txt', 4, '000002.jpg 5 5 20 x', 'needs a number in column 5'),
    ('list_bbox_celeba.txt', 4, '000002.jpg 5 nan 20 29', 'needs a number in column 3'),
    ('list_bbox_celeba.txt', 4, '000002.jpg 5 5 1e300 29', 'needs pixels'),
    ('list_bbox_celeba.txt', 4, '000001.jpg 5 5 20 29', 'must not repeat'),
    ('list_bbox_celeba.txt', 4, '../000002.jpg 5 5 20 29', 'needs a path below'),
    ('list_bbox_celeba.txt', 1, '6', 'must be the number of photos that follow, which is 7'),
    ('list_bbox_celeba.txt', 1, '9' * 30, 'needs a whole number'),
    ('list_bbox_celeba.txt', 1, '-7', 'needs a whole number'),
    ('list_bbox_celeba.txt', 1, '7 photos', 'must be the number of photos alone'),
    ('list_bbox_celeba.txt', 2, 'image_id x_1 y_1 x_2 y_2', 'must name the columns'),
    ('list_landmarks_celeba.txt', 3, '000001.jpg 1 2 3 4 5 6 7 8 9', 'needs 11 columns'),
    ('list_landmarks_celeba.txt', 2, 'image_id lefteye_x', 'must name the columns'),
    ('MAFL/training.txt', 2, '000099.jpg', 'must name a photo of list_bbox_celeba.txt'),
    ('MAFL/training.txt', 2, '99999999999999999999', 'must name a photo of list_bbox_celeba.txt'),
    ('MAFL/training.txt', 2, '../../etc/passwd', 'needs a path below'),
    ('MAFL/training.txt', 2, '/etc/passwd', 'needs a path below'),
    ('MAFL/testing.txt', 2, '000006.jpg', 'must not repeat'),
    ('MAFL/testing.txt', 2, '000007.jpg 1', 'must be the name of a photo alone'),
    ('MAFL/celebA_training.txt', 5, '000005', 'must name a photo of list_bbox_celeba.txt'),
])
def test_a_malformed_line_is_named_by_file_and_number(root, name, line, text, law):
    lines = list(LISTS[name])
    lines[line - 1] = text
    write(root, name, lines)
    message = error_of(root)
    assert f'line {line} of {root / name} {law}' in message


def test_a_list_that_ends_early_does_not_pass(root):
    write(root, 'list_landmarks_celeba.txt', LISTS['list_landmarks_celeba.txt'][:-2])
    assert f'line 1 of {root / "list_landmarks_celeba.txt"}' in error_of(root)
    content = (root / 'list_bbox_celeba.txt').read_bytes()
    (root / 'list_bbox_celeba.txt').write_bytes(content[:-9])
    assert f'line 9 of {root / "list_bbox_celeba.txt"} needs 5 columns' in error_of(root)
    write(root, 'list_bbox_celeba.txt', ['7'])
    assert 'must name the columns' in error_of(root)


def test_listed_photos_have_landmarks(root):
    lines = LISTS['list_landmarks_celeba.txt']
    write(root, 'list_landmarks_celeba.txt', ['6', *lines[1:-1]])
    assert 'lacks 1, the first is 000007.jpg' in error_of(root)


@pytest.mark.parametrize('name', [*(name for name in LISTS if 'celebA_' not in name)])
def test_a_missing_list_is_named_with_what_to_do(root, name):
    (root / name).unlink()
    message = error_of(root)
    path = root / name
    assert message.startswith(f'no {path.name} in {path.parent}; download')


def test_missing_photos_are_counted(root):
    for name in ('000002.jpg', '000007.jpg'):
        (root / 'img_celeba' / name).unlink()
    message = error_of(root)
    assert '2 of the 7 photos' in message and 'download' in message


def test_a_photo_is_not_both_fitted_and_tested(root):
    write(root, 'MAFL/training.txt', ['000005.jpg', '000007.jpg'])
    assert 'must not share photos' in error_of(root)


def test_options_are_checked_and_no_list_may_end_up_empty(root):
    assert 'got 30' in error_of(root, min_object_area=30)
    assert '`min_object_area` must leave photos to `train`' in error_of(root, min_object_area=0.9)
    assert 'no folder' in error_of(root / 'nowhere')


def test_unaligned_web_faces_in_this_layout_are_read(shared):
    dataset = celeba.read(str(shared / 'data' / 'faces'), min_object_area=0.2)
    assert [len(split) for split in (dataset.train, dataset.fit, dataset.test)] == [1400, 600, 400]
    for record in dataset.test[::40]:
        height, width = images.read(record.path).shape[:2]
        assert (record.landmarks > 0).all() and (record.landmarks < (width, height)).all()
        # The left eye is the viewer's.
        assert record.landmarks[0, 0] < record.landmarks[1, 0]
