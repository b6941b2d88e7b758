"""Laws of the wiring of the readers: which options reach which, and what is told of a dataset."""
from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image
import pytest

from scops_tf import config, datasets
from scops_tf.datasets import celeba
from scops_tf.datasets.lists import DatasetError

ROOTED = [name for name in datasets.names() if name != 'synthetic']


def touch(root: pathlib.Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def write_celeba(root: pathlib.Path) -> None:
    """Faces of 10, 20, ... 60 % of a photo of 20 x 50 pixels; two each to train, fit and test."""
    names = [f'{number:06d}.jpg' for number in range(1, 7)]
    (root / 'img_celeba').mkdir(parents=True)
    (root / 'MAFL').mkdir()
    for name in names:
        Image.new('RGB', (50, 20), 'tan').save(root / 'img_celeba' / name)
    (root / 'list_bbox_celeba.txt').write_text('\n'.join(
        ['6', 'image_id x_1 y_1 width height',
         *(f'{name} 5 5 10 {10 * number}' for number, name in enumerate(names, start=1))]))
    columns = [f'{name}_{axis}' for name in celeba.LANDMARK_NAMES for axis in 'xy']
    (root / 'list_landmarks_celeba.txt').write_text('\n'.join(
        ['6', ' '.join(columns),
         *(f'{name} 1 2 3 4 5 6 7 8 9 10' for name in names)]))
    for first, name in enumerate(('celebA_training', 'training', 'testing')):
        (root / 'MAFL' / f'{name}.txt').write_text('\n'.join(names[first::3]))


def test_an_unknown_dataset_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(DatasetError, match="`dataset` .*cub, folder, .*; got 'CUB'"):
        datasets.load('CUB', root=str(tmp_path))


@pytest.mark.parametrize('name', ROOTED)
def test_a_dataset_of_files_needs_its_root(name):
    with pytest.raises(DatasetError, match='`root` must be given as `Data.root`'):
        datasets.load(name)


@pytest.mark.parametrize('name', ROOTED)
@pytest.mark.parametrize('option, value', [
    ('classes', (1, 2)), ('category', 'horse'), ('min_object_area', 0.0), ('min_part_share', 0.0),
    ('image_sets', ('a', 'b'))])
def test_an_option_that_a_dataset_does_not_have_is_an_error_that_names_the_binding(
        tmp_path, name, option, value):
    with pytest.raises(DatasetError) as caught:
        datasets.load(name, root=str(tmp_path / 'nowhere'), **{option: value})
    foreign = f'`{option}` must be None' in str(caught.value)
    assert foreign == (option not in {
        'aflw': ('min_object_area',), 'celeba': ('min_object_area',), 'cub': ('classes',),
        'folder': (), 'pascal': ('category', 'min_object_area', 'min_part_share', 'image_sets'),
    }[name])
    if foreign:
        assert f'remove `Data.{option}`' in str(caught.value)


def test_pascal_needs_a_category(tmp_path):
    with pytest.raises(DatasetError, match='`Data.category`; it is one of aeroplane, .*sheep'):
        datasets.load('pascal', root=str(tmp_path))


@pytest.mark.parametrize('binding', ['min_object_area=20', 'min_part_share=-0.1',
                                     "image_sets=('Main/train',)", 'category=3'])
def test_an_option_out_of_range_is_an_error_that_names_the_binding(binding):
    with pytest.raises(config.ConfigError, match=f'`Data.{binding.split("=")[0]}` must'):
        config.load([], [f'Data.{binding}'])


def test_a_configuration_reaches_the_reader_and_its_notes_the_log(tmp_path, caplog):
    write_celeba(tmp_path / 'faces')
    loaded = config.load([], ["Data.dataset='celeba'", f"Data.root='{tmp_path / 'faces'}'",
                              'Data.min_object_area=0.15'])
    dataset = datasets.load_for(loaded, None)
    assert [len(split) for split in (dataset.train, dataset.fit, dataset.test)] == [1, 2, 2]
    assert len(dataset.notes) == 2 and 'at least 15 %' in dataset.notes[0]
    assert [record.getMessage() for record in caplog.records] == list(dataset.notes)


def test_none_leaves_the_paper_s_filter(tmp_path):
    write_celeba(tmp_path / 'faces')
    dataset = datasets.load('celeba', root=str(tmp_path / 'faces'))
    assert [record.name for record in (*dataset.train, *dataset.fit, *dataset.test)] == [
        '000004.jpg', '000005.jpg', '000003.jpg', '000006.jpg']


def test_load_adds_maps_to_every_dataset(tmp_path):
    touch(tmp_path / 'photos', 'a.png')
    touch(tmp_path / 'maps', 'a.png')
    dataset = datasets.load('folder', root=str(tmp_path / 'photos'),
                            saliency_folder=str(tmp_path / 'maps'))
    assert dataset.train[0].saliency_path == str(tmp_path / 'maps' / 'a.png')
    touch(tmp_path / 'others', *(f'{split}/{i:05d}.png' for split in ('train', 'test')
                                 for i in range(2)))
    drawn = datasets.load('synthetic', workdir=str(tmp_path / 'run'), num_train=2, num_test=2,
                          size=(40, 56), mask_folder=str(tmp_path / 'others'))
    assert drawn.test[1].mask_path == str(tmp_path / 'others' / 'test' / '00001.png')
    assert Image.open(drawn.test[1].path).size == (56, 40)


def test_masks_of_pascal_are_extracted_beside_the_run(tmp_path, shared):
    examples = shared / 'data' / 'pascal_part_examples'
    dataset = datasets.load('pascal', root=str(examples), category='horse', min_object_area=0.0,
                            min_part_share=0.0, workdir=str(tmp_path / 'runs' / 'horse'))
    assert dataset.annotation_kind == 'nested_part_masks'
    assert dataset.train == dataset.test
    cache = tmp_path / 'runs' / 'pascal_cache'
    for record in dataset.test:
        assert pathlib.Path(record.mask_path).is_relative_to(cache)
        with Image.open(record.mask_path) as mask, Image.open(record.path) as photo:
            assert mask.size == photo.size and np.asarray(mask).any()
