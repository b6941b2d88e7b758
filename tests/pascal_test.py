from __future__ import annotations

import importlib.util
import json
import os
import pathlib
from typing import Any, Dict, List

import numpy as np
from pascal_annotation_test import SIZE, mask, objects_of, write
from PIL import Image
import pytest

from scops_tf import images
from scops_tf.datasets import pascal
from scops_tf.datasets.lists import DatasetError

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / 'scripts' / 'draw_pascal_parts.py'
SEVEN = ('head', 'torso', 'neck', 'lfuleg', 'rfuleg', 'lbuleg', 'tail')


def horse(x: int, y: int, width: int, height: int, parts=SEVEN):
    """A horse in a box, with a column of pixels for every part."""
    return ('horse', (x, y, width, height),
            {name: (x + i, y, 1, height) for i, name in enumerate(parts)})


# Of a photo of 1200 pixels; 7 of the 21 parts of a horse are a third.
OBJECTS: Dict[str, Any] = {
    '2008_000001': [horse(4, 6, 20, 18), horse(30, 20, 9, 9), ('person', (0, 0, 40, 30), {})],
    '2008_000002': [horse(4, 6, 20, 18, SEVEN[:6])],
    '2008_000003': [horse(4, 6, 20, 11)],
    '2008_000004': [horse(0, 0, 9, 9), horse(4, 6, 20, 18, SEVEN[:2])],
    '2008_000005': [horse(4, 6, 20, 12)],
    '2008_000006': [('car', (4, 6, 30, 18), {'wheel_1': (4, 6, 4, 4), 'wheel_2': (9, 6, 4, 4)})],
}


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    folder = tmp_path / 'VOC2010'
    for name, objects in OBJECTS.items():
        write(folder / 'Annotations_Part' / f'{name}.mat', objects_of(*objects))
        add_photo(folder, name)
    return folder


def add_photo(root: pathlib.Path, name: str) -> None:
    path = root / 'JPEGImages' / f'{name}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', SIZE[::-1], 'olive').save(path)


def read(root: pathlib.Path, category: str = 'horse', **options) -> pascal.PartDataset:
    return pascal.read(str(root), category=category,
                       cache_folder=str(root.parent / 'cache'), **options)


def names_of(root: pathlib.Path, **options) -> List[str]:
    return [record.name for record in read(root, **options).test]


def error_of(root: pathlib.Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        read(root, **options)
    message = str(caught.value)
    assert '\n' not in message
    return message


EXPECTED = ['2008_000001.jpg', '2008_000005.jpg']


def test_records_hold_what_the_annotations_say(root):
    dataset = read(root)
    record = dataset.test[0]
    assert images.read(record.path).shape == SIZE + (3,)
    assert record.box.tolist() == [4, 6, 20, 18] and record.box.dtype == np.float32
    expected = mask((4, 6, 20, 18)) | mask((30, 20, 9, 9))
    assert np.array_equal(images.read_labels(record.mask_path), 255 * expected)
    labels = images.read_labels(record.part_mask_path)
    for box in ((4, 6, 20, 18), (30, 20, 9, 9)):
        for i, name in enumerate(SEVEN):
            assert dataset.part_names[labels[box[1] + 1, box[0] + i] - 1] == name
    assert (labels > 0).sum() == 7 * 18 + 7 * 9
    assert dataset.train == dataset.fit == dataset.test
    assert (dataset.name, len(dataset.part_names)) == ('pascal', 21)
    assert dataset.annotation_kind == 'nested_part_masks'


def test_photos_with_a_small_object_or_few_parts_are_left_out(root):
    assert names_of(root) == EXPECTED
    assert names_of(root, min_object_area=0.18) == [EXPECTED[0], '2008_000003.jpg', EXPECTED[1]]
    assert names_of(root, min_object_area=0.21) == EXPECTED[:1]
    assert names_of(root, min_part_share=6 / 21) == [
        '2008_000001.jpg', '2008_000002.jpg', '2008_000005.jpg']
    assert names_of(root, min_object_area=0, min_part_share=0) == [
        f'{name}.jpg' for name in list(OBJECTS)[:5]]


def test_numbered_parts_count_once(root):
    assert names_of(root, category='car', min_part_share=1 / 13) == ['2008_000006.jpg']
    assert 'must leave photos' in error_of(root, category='car', min_part_share=2 / 13)


def test_the_notes_state_the_filter_and_the_counts(root):
    note, = read(root).notes
    for words in ('2 of 5 photos', 'category horse', '20 %', '33.3 %', '21 part names'):
        assert words in note


def test_the_photos_are_the_paper_s_where_the_archive_is_whole_and_its_filter_is_on(
        root, monkeypatch):
    assert not read(root).is_whole
    monkeypatch.setattr(pascal, 'NUM_ANNOTATIONS', len(OBJECTS))
    assert read(root).is_whole
    assert not read(root, min_object_area=0.1).is_whole
    assert not read(root, min_part_share=0.1).is_whole


def test_lists_of_photos_make_the_splits(root):
    folder = root / 'ImageSets' / 'Main'
    folder.mkdir(parents=True)
    # Lists of VOC name photos of all categories.
    (folder / 'train.txt').write_bytes(b'\xef\xbb\xbf2008_000005\r\n2007_000009\r\n2008_000006')
    (folder / 'val.txt').write_text('2008_000001\n2008_000002\n')
    dataset = read(root, image_sets=('Main/train', 'Main/val'))
    assert [record.name for record in dataset.train] == ['2008_000005.jpg']
    assert dataset.fit == dataset.train
    assert [record.name for record in dataset.test] == ['2008_000001.jpg']
    (folder / 'val.txt').write_text('2008_000001\n../../2008_000002\n')
    sets = ('Main/train', 'Main/val')
    assert f'line 2 of {folder / "val.txt"} needs a path below' in error_of(root, image_sets=sets)
    (folder / 'val.txt').write_text('2008_000002\n')
    assert 'none is left in Main/val' in error_of(root, image_sets=sets)
    # Lists of a category: shown, hard to see, not shown.
    (folder / 'val.txt').write_text('2008_000001  1\n2008_000005 -1\n2008_000002  0\n')
    assert [record.name for record in read(root, image_sets=sets).test] == ['2008_000001.jpg']
    (folder / 'val.txt').write_text('2008_000001  2\n')
    assert (f'line 1 of {folder / "val.txt"} must name a photo, and after it nothing or 1, 0 or -1'
            in error_of(root, image_sets=sets))
    (folder / 'val.txt').unlink()
    assert f'no val.txt in {folder}' in error_of(root, image_sets=sets)
    assert '`image_sets` must name' in error_of(root, image_sets=('Main/train', '../Main/train'))


def test_what_was_extracted_is_not_read_again(root, monkeypatch):
    first = read(root)
    changed = {path: path.stat().st_mtime_ns for path in (root.parent / 'cache').rglob('*')}
    monkeypatch.setattr(pascal, 'read_annotation', lambda path: pytest.fail(f'{path} was read'))
    second = read(root)
    assert [record.mask_path for record in second.test] == [
        record.mask_path for record in first.test]
    assert {path: path.stat().st_mtime_ns for path in (root.parent / 'cache').rglob('*')} == changed


def test_the_cache_is_shared_by_categories(root, monkeypatch):
    read(root)
    reads: List[str] = []
    original = pascal.read_annotation
    monkeypatch.setattr(pascal, 'read_annotation',
                        lambda path: reads.append(os.path.basename(path)) or original(path))
    read(root, category='car', min_part_share=0)
    assert reads == ['2008_000006.mat']


def test_an_annotation_that_changes_is_read_again(root):
    read(root)
    write(root / 'Annotations_Part' / '2008_000001.mat', objects_of(horse(2, 2, 30, 20)))
    record = read(root).test[0]
    assert record.box.tolist() == [2, 2, 30, 20]
    assert np.array_equal(images.read_labels(record.mask_path), 255 * mask((2, 2, 30, 20)))


def test_an_annotation_of_the_same_length_is_read_again_too(root, monkeypatch):
    read(root)
    path = root / 'Annotations_Part' / '2008_000001.mat'
    os.utime(path, (0, 0))
    monkeypatch.setattr(pascal, 'read_annotation', lambda path: pytest.fail(path))
    with pytest.raises(pytest.fail.Exception, match='2008_000001.mat'):
        read(root)


def test_masks_that_were_removed_are_written_again(root):
    for path in [read(root).test[0].mask_path, read(root).test[1].part_mask_path]:
        os.remove(path)
    for record in read(root).test:
        assert os.path.isfile(record.mask_path) and os.path.isfile(record.part_mask_path)


@pytest.mark.parametrize('content', [
    '', '{"a', '[]', '{}', '7', '\x00', '{"size": [30, 40]}', '{"size": 3, "objects": []}',
    '{"size": [30, 40], "objects": {}}', '{"size": [3, 4], "objects": [["horse", [1, 2, 3], []]]}',
    '{"size": [0, 40], "objects": [["horse", [1, 2, 3, 4], []]]}'])
def test_an_index_that_cannot_be_understood_is_made_anew(root, content):
    read(root)
    index = root.parent / 'cache' / 'annotations.json'
    known = json.loads(index.read_text())
    index.write_text(f'{{"{min(known)}": {content}}}')  # An entry that is damaged.
    assert names_of(root) == EXPECTED and json.loads(index.read_text()) == known
    index.write_text(content)
    assert names_of(root) == EXPECTED
    assert json.loads(index.read_text()) == known


def test_what_was_read_stays_read_when_the_rest_fails(root):
    path = root / 'Annotations_Part' / '2008_000004.mat'
    path.write_bytes(path.read_bytes()[:-30])
    assert f'{path} must be a compressed MATLAB file' in error_of(root)
    index = json.loads((root.parent / 'cache' / 'annotations.json').read_text())
    assert len(index) == 3
    assert not list((root.parent / 'cache').glob('*.tmp'))


def test_missing_files_are_named_with_what_to_do(root):
    (root / 'JPEGImages' / '2008_000005.jpg').unlink()
    message = error_of(root)
    assert '1 of the 2 photos' in message and 'download PASCAL VOC' in message
    for path in (root / 'Annotations_Part').iterdir():
        path.unlink()
    assert 'no annotations (*.mat)' in error_of(root) and 'PASCAL-Part' in error_of(root)
    (root / 'Annotations_Part').rmdir()
    assert f'no Annotations_Part in {root}; download PASCAL-Part' in error_of(root)


def test_a_photo_is_as_large_as_its_masks(root):
    path = root / 'JPEGImages' / '2008_000005.jpg'
    Image.new('RGB', SIZE).save(path)
    assert f'{path} must be as large as the masks' in error_of(root)
    path.write_bytes(b'no image')  # Left to whoever reads photos.
    assert names_of(root) == EXPECTED


def test_options_are_checked(root):
    assert '`category` must be one of aeroplane' in error_of(root, category='zebra')
    assert 'has no cow' in error_of(root, category='cow')
    assert '`min_object_area` must lie in [0, 1], got 20' in error_of(root, min_object_area=20)
    assert '`min_part_share` must lie in [0, 1], got -1' in error_of(root, min_part_share=-1)


def load_script():
    spec = importlib.util.spec_from_file_location('draw_pascal_parts', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_annotations_are_drawn_on_their_photos(root, monkeypatch):
    script, out = load_script(), root.parent / 'pictures'
    arguments = ['draw_pascal_parts.py', '--root', str(root), '--out', str(out)]
    monkeypatch.setattr('sys.argv', arguments)
    script.main()
    assert sorted(path.stem for path in out.iterdir()) == sorted(OBJECTS)
    picture = images.read(str(out / '2008_000005.png'))
    # Two cells, the photo's olive in both, and the red of the box in the left one alone.
    middle = picture.shape[1] // 2
    red = (picture == (255, 0, 0)).all(axis=2)
    assert red[:, :middle].any() and not red[:, middle:].any()
    monkeypatch.setattr('sys.argv', [*arguments[:2], str(out), *arguments[3:]])
    with pytest.raises(SystemExit, match='must hold Annotations_Part'):
        script.main()


def test_the_real_annotations_are_read(shared, tmp_path):
    root = shared / 'data' / 'pascal_part_examples'
    found = {}
    for category in ('aeroplane', 'bus', 'car', 'horse'):
        dataset = pascal.read(str(root), category=category, cache_folder=str(tmp_path),
                              min_object_area=0, min_part_share=0)
        found[category] = [record.name for record in dataset.test]
        for record in dataset.test:
            labels = images.read_labels(record.part_mask_path)
            outline = images.read_labels(record.mask_path)
            assert outline.shape == images.read(record.path).shape[:2]
            assert not labels[outline == 0].any() and labels.max() <= len(dataset.part_names)
    assert found == {'aeroplane': ['2010_002065.jpg'], 'bus': ['2010_003057.jpg'],
                     'car': ['2008_000939.jpg', '2010_003057.jpg'], 'horse': ['2010_005243.jpg']}
