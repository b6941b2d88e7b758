from __future__ import annotations

import pathlib

from PIL import Image
import pytest

from scops_tf.datasets import folder
from scops_tf.datasets.lists import DatasetError


def touch(root: pathlib.Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def names(records) -> list:
    return [record.name for record in records]


def test_photos_are_found_below_by_suffix_in_either_case_and_sorted(tmp_path):
    touch(tmp_path, 'b.JPG', 'a.png', 'deep/er/c.webp', 'deep/d.BMP', 'e.jpeg', 'notes.txt', 'png')
    dataset = folder.read(str(tmp_path))
    assert names(dataset.train) == ['a.png', 'b.JPG', 'deep/d.BMP', 'deep/er/c.webp', 'e.jpeg']
    assert dataset.fit == dataset.train == dataset.test and dataset.notes
    assert all(pathlib.Path(record.path) == tmp_path / record.name for record in dataset.train)


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, 'a.png', '._a.png', '.hidden/b.png')
    assert names(folder.read(str(tmp_path)).train) == ['a.png']


def test_folders_train_and_test_are_splits(tmp_path):
    touch(tmp_path, 'train/a.png', 'test/a.png', 'stray.png')
    dataset = folder.read(str(tmp_path))
    assert (names(dataset.train), names(dataset.test)) == (['train/a.png'], ['test/a.png'])
    assert names(folder.read(str(tmp_path / 'train')).train) == ['a.png']


def test_a_folder_train_alone_is_a_folder_like_any(tmp_path):
    touch(tmp_path, 'train/a.png', 'b.png')
    assert names(folder.read(str(tmp_path)).train) == ['b.png', 'train/a.png']


@pytest.mark.parametrize('kind', ['saliency', 'mask'])
def test_maps_are_found_by_relative_stem_with_any_suffix(tmp_path, kind):
    touch(tmp_path / 'photos', 'a.jpg', 'deep/a.JPEG')
    touch(tmp_path / 'maps', 'a.png', 'deep/a.BMP', 'unused.png')
    dataset = folder.read(str(tmp_path / 'photos'), **{f'{kind}_folder': str(tmp_path / 'maps')})
    paths = [getattr(record, f'{kind}_path') for record in dataset.train]
    assert paths == [str(tmp_path / 'maps' / 'a.png'), str(tmp_path / 'maps' / 'deep' / 'a.BMP')]
    other = 'mask' if kind == 'saliency' else 'saliency'
    assert getattr(dataset.train[0], f'{other}_path') is None
    assert dataset.fit == dataset.train == dataset.test


def test_maps_of_splits_lie_in_their_folders(tmp_path):
    touch(tmp_path / 'photos', 'train/a.jpg', 'test/a.jpg')
    touch(tmp_path / 'maps', 'train/a.png', 'test/a.png')
    dataset = folder.read(str(tmp_path / 'photos'), mask_folder=str(tmp_path / 'maps'))
    assert dataset.test[0].mask_path == str(tmp_path / 'maps' / 'test' / 'a.png')
    assert dataset.fit[0].mask_path == str(tmp_path / 'maps' / 'train' / 'a.png')


def test_maps_kept_among_the_photos_are_no_photos(tmp_path):
    touch(tmp_path, 'a.jpg', 'maps/a.png')
    dataset = folder.read(str(tmp_path), saliency_folder=str(tmp_path / 'maps'))
    assert names(dataset.train) == ['a.jpg']


def test_missing_maps_are_an_error_with_the_first_and_the_count(tmp_path):
    touch(tmp_path / 'photos', 'a.jpg', 'b.jpg', 'c.jpg')
    touch(tmp_path / 'maps', 'b.png')
    with pytest.raises(DatasetError, match=r'`mask_folder` .* for a\.jpg \(2 of 3 are missing\)'):
        folder.read(str(tmp_path / 'photos'), mask_folder=str(tmp_path / 'maps'))


def test_two_maps_for_a_photo_are_an_error(tmp_path):
    touch(tmp_path / 'photos', 'a.jpg')
    touch(tmp_path / 'maps', 'a.png', 'a.jpg')
    with pytest.raises(DatasetError, match='one map per photo, got a.jpg and a.png'):
        folder.read(str(tmp_path / 'photos'), saliency_folder=str(tmp_path / 'maps'))


@pytest.mark.parametrize('option', ['saliency_folder', 'mask_folder'])
def test_a_missing_folder_of_maps_is_an_error(tmp_path, option):
    touch(tmp_path, 'a.jpg')
    with pytest.raises(DatasetError, match=f'`{option}` must be a folder'):
        folder.read(str(tmp_path), **{option: str(tmp_path / 'nowhere')})


def test_a_folder_without_photos_is_one_clear_sentence(tmp_path):
    touch(tmp_path, 'notes.txt', '.a.png')
    with pytest.raises(DatasetError, match=r'^no photos below .*\.jpg.*\)\.$'):
        folder.read(str(tmp_path))
    with pytest.raises(DatasetError, match='^no folder .*nowhere'):
        folder.read(str(tmp_path / 'nowhere'))
    with pytest.raises(DatasetError, match='^no folder'):
        folder.read(str(tmp_path / 'notes.txt'))


def test_an_empty_split_is_an_error(tmp_path):
    touch(tmp_path, 'train/a.png', 'test/notes.txt')
    with pytest.raises(DatasetError, match='no photos below .*test;'):
        folder.read(str(tmp_path))


def test_real_photos_and_their_masks_are_paired(shared):
    root = shared / 'data' / 'pascal10' / 'cow'
    dataset = folder.read(str(root / 'images'), mask_folder=str(root / 'masks'))
    assert len(dataset.train) == len(list((root / 'images').iterdir()))
    for record in dataset.train:
        with Image.open(record.path) as photo, Image.open(record.mask_path) as mask:
            assert photo.size == mask.size
