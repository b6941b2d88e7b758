from __future__ import annotations

import pathlib
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import pytest
import scipy.io

from scops_tf import images
from scops_tf.datasets import pascal_annotation
from scops_tf.datasets.lists import DatasetError

SIZE = (30, 40)
Box = Tuple[int, int, int, int]


def mask(box: Box, size: Tuple[int, int] = SIZE) -> np.ndarray:
    """u8[H,W]. 1 inside (x, y, width, height)."""
    x, y, width, height = box
    values = np.zeros(size, np.uint8)
    values[y:y + height, x:x + width] = 1
    return values


def structs(fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """A struct array as MATLAB saves it: 1 x n, or 0 x 0 where there is none."""
    array = np.empty((1, len(rows)) if rows else (0, 0), [(field, object) for field in fields])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row)
    return array


def objects_of(*objects: Tuple[str, Any, Dict[str, Any]]) -> np.ndarray:
    """Each is its category, its mask and its parts' masks by name; a mask may be given by a box."""
    def as_mask(value: Any) -> np.ndarray:
        return mask(value) if isinstance(value, tuple) else value

    return structs(('class', 'class_ind', 'mask', 'parts'), [
        (category, 13, as_mask(outline), structs(('part_name', 'mask'), [
            (name, as_mask(part)) for name, part in parts.items()]))
        for category, outline, parts in objects])


def write(path: pathlib.Path, objects: np.ndarray, *, name: str = '') -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    anno = structs(('imname', 'objects'), [(name or path.stem, objects)])
    scipy.io.savemat(path, {'anno': anno}, do_compression=True)
    return path


HORSE = ('horse', (4, 6, 20, 18), {'torso': (4, 6, 20, 10), 'head': (18, 6, 6, 6),
                                   'leye': (20, 8, 1, 1), 'tail': (0, 0, 0, 0)})
AEROPLANE = ('aeroplane', (30, 2, 8, 5), {'wheel_1': (30, 5, 2, 2), 'wheel_12': (35, 5, 2, 2)})


def error_of(path: pathlib.Path) -> str:
    with pytest.raises(DatasetError) as caught:
        pascal_annotation.read_annotation(str(path))
    message = str(caught.value)
    assert '\n' not in message and message.startswith(str(path))
    return message


def test_objects_parts_and_boxes_are_those_of_the_file(tmp_path):
    path = write(tmp_path / '2008_000001.mat', objects_of(
        HORSE, ('person', (0, 0, 3, 30), {}), AEROPLANE))
    annotation = pascal_annotation.read_annotation(str(path))
    assert annotation.size == SIZE
    assert [found.category for found in annotation.objects] == ['horse', 'person', 'aeroplane']
    assert [found.box for found in annotation.objects] == [
        HORSE[1], (0, 0, 3, 30), AEROPLANE[1]]
    assert np.array_equal(annotation.objects[0].mask, mask(HORSE[1]) == 1)
    # Parts without a pixel are none, and numbers are not part of a name.
    assert [part.name for part in annotation.objects[0].parts] == ['torso', 'head', 'leye']
    assert annotation.objects[1].parts == ()
    assert [part.name for part in annotation.objects[2].parts] == ['wheel', 'wheel']


def test_of_parts_that_overlap_the_smallest_is_seen(tmp_path):
    annotation = pascal_annotation.read_annotation(
        str(write(tmp_path / 'a.mat', objects_of(HORSE, AEROPLANE))))
    names = pascal_annotation.PART_NAMES['horse']
    labels = annotation.part_mask('horse')
    assert labels.dtype == np.uint8 and labels.shape == SIZE
    for (x, y), name in (((5, 7), 'torso'), ((19, 7), 'head'), ((20, 8), 'leye')):
        assert labels[y, x] == 1 + names.index(name)
    # A pixel of no part is 0, of the object (below the torso) or not; so are other categories'.
    assert labels[20, 10] == 0 and labels[0, 0] == 0 and labels[5, 30] == 0
    assert (annotation.part_mask('aeroplane')[5:7, [30, 31, 35, 36]] == 7).all()


def test_the_object_mask_is_that_of_all_objects_of_a_category(tmp_path):
    annotation = pascal_annotation.read_annotation(str(write(tmp_path / 'a.mat', objects_of(
        HORSE, AEROPLANE, ('horse', (30, 20, 5, 5), {})))))
    expected = (mask(HORSE[1]) + mask((30, 20, 5, 5))) > 0
    assert np.array_equal(annotation.object_mask('horse'), expected)
    assert not annotation.object_mask('cow').any() and annotation.object_mask('cow').shape == SIZE


def test_objects_without_a_pixel_are_none(tmp_path):
    annotation = pascal_annotation.read_annotation(
        str(write(tmp_path / 'a.mat', objects_of(('horse', (0, 0, 0, 0), {}), HORSE))))
    assert len(annotation.objects) == 1
    empty = pascal_annotation.read_annotation(str(write(tmp_path / 'b.mat', objects_of())))
    assert empty.objects == ()


@pytest.mark.parametrize('objects, words', [
    ([('horse', (1, 1, 5, 5), {'wing': (1, 1, 2, 2)})], "'wing' of a horse"),
    ([('horse', (1, 1, 5, 5), {'head': mask((1, 1, 2, 2), (40, 30))})], 'masks of one size'),
    ([HORSE, ('cow', mask((1, 1, 2, 2), (40, 30)), {})], 'masks of one size'),
    ([('horse', np.zeros((0, 0)), {})], 'for a mask there is something else'),
    ([('horse', np.zeros((2, 3, 4)), {})], 'for a mask there is something else'),
    ([('horse', 'mask', {})], 'for a mask there is something else'),
    ([(7, (1, 1, 5, 5), {})], 'for text there is something else'),
])
def test_an_annotation_that_breaks_a_law_is_named(tmp_path, objects, words):
    assert words in error_of(write(tmp_path / 'a.mat', objects_of(*objects)))


def test_an_annotation_is_that_of_the_photo_it_is_named_after(tmp_path):
    path = write(tmp_path / 'a.mat', objects_of(HORSE), name='../../b')
    assert "that of '../../b'" in error_of(path)


def test_what_is_no_annotation_is_named(tmp_path):
    path = tmp_path / 'a.mat'
    scipy.io.savemat(path, {'other': np.eye(2)}, do_compression=True)
    assert 'must hold anno' in error_of(path)
    for anno in (np.eye(2), 'text', structs(('imname',), [('a',)]),
                 structs(('imname', 'objects'), [('a', structs(('class',), [('horse',)]))])):
        scipy.io.savemat(path, {'anno': anno}, do_compression=True)
        assert 'must hold anno' in error_of(path)
    # Without compression there is no checksum.
    scipy.io.savemat(path, {'anno': structs(('imname', 'objects'), [('a', objects_of(HORSE))])})
    assert 'must be a compressed MATLAB file' in error_of(path)


def test_a_damaged_file_is_named_wherever_it_is_damaged(tmp_path):
    path = write(tmp_path / 'a.mat', objects_of(HORSE))
    content = path.read_bytes()
    damaged: List[bytes] = [b'', b'no MATLAB', b'\0' * len(content), content + b'\0']
    damaged += [content[:end] for end in range(0, len(content), 7)]
    # The text of the first 124 bytes means nothing.
    for i in range(124, len(content)):
        damaged.append(content[:i] + bytes([content[i] ^ 0xff]) + content[i + 1:])
    for data in damaged:
        path.write_bytes(data)
        assert 'must be a compressed MATLAB file' in error_of(path)


def test_the_real_annotations_fit_their_photos(shared):
    folder = shared / 'data' / 'pascal_part_examples'
    paths = sorted((folder / 'Annotations_Part').glob('*.mat'))
    assert len(paths) == 18
    for path in paths:
        annotation = pascal_annotation.read_annotation(str(path))
        photo = images.read(str(folder / 'JPEGImages' / f'{path.stem}.jpg'))
        assert annotation.size == photo.shape[:2] and annotation.objects
        for found in annotation.objects:
            x, y, width, height = found.box
            assert found.mask.sum() == found.mask[y:y + height, x:x + width].sum()
            for part in found.parts:
                assert not (part.mask & ~found.mask).any()
