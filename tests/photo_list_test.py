"""Laws of the list of training photos: what it finds the same, and what it names."""
from __future__ import annotations

import os

import pytest

from scops_tf.datasets import photo_list
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import Record


@pytest.fixture
def records(tmp_path):
    """Three photos with maps, one of a name that is not UTF-8."""
    found = []
    for index, name in enumerate(('a.png', 'b, "c".png', os.fsdecode(b'caf\xe9.png'))):
        for folder in ('photos', 'maps'):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(b'x' * (index + 5))
        found.append(Record(name, str(tmp_path / 'photos' / name),
                            saliency_path=str(tmp_path / 'maps' / name)))
    return found


def test_the_same_photos_in_any_place_and_order_are_the_same(records, tmp_path):
    photo_list.write(str(tmp_path), records, None)
    photo_list.require_same(str(tmp_path), records[::-1], None)
    os.rename(tmp_path / 'photos', tmp_path / 'moved')
    moved = [Record(each.name, str(tmp_path / 'moved' / each.name)) for each in records]
    photo_list.require_same(str(tmp_path), moved, None)


def test_a_run_without_a_list_may_have_any_photos(records, tmp_path):
    photo_list.require_same(str(tmp_path), records, None)


@pytest.mark.parametrize('change, said', [
    (lambda records: records[1:], r"but 1 is gone \('a.png'\): bring them back"),
    (lambda records: records[:1], r"but 2 are gone \('b, "),
    (lambda records: [*records, Record('new.png', records[0].path)], r"but 1 is new \('new.png'\)"),
    (lambda records: [Record('a.png', records[1].path), *records[2:]],
     r"1 is gone \('b, .* and 1 is changed \('a.png'\)")])
def test_photos_that_differ_are_counted_and_the_first_is_named(records, tmp_path, change, said):
    photo_list.write(str(tmp_path), records, None)
    with pytest.raises(DatasetError, match=said) as caught:
        photo_list.require_same(str(tmp_path), change(records), None)
    assert f'remove {tmp_path / photo_list.FILE}' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_map_of_the_user_counts_where_it_is_read(records, tmp_path):
    photo_list.write(str(tmp_path), records, 'folder')
    with open(records[0].saliency_path, 'ab') as file:
        file.write(b'more')
    with pytest.raises(DatasetError, match="1 is changed .'a.png'"):
        photo_list.require_same(str(tmp_path), records, 'folder')
    (tmp_path / photo_list.FILE).unlink()
    photo_list.write(str(tmp_path), records, 'rbd')
    os.remove(records[0].saliency_path)
    photo_list.require_same(str(tmp_path), records, 'rbd')
