"""Laws of the photos that are predicted, and of their shards."""
from __future__ import annotations

import os

import pytest

from scops_tf import command
from scops_tf.prediction import photos


def _files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def test_photos_are_named_by_what_tells_them_apart(tmp_path):
    a, b = _files(tmp_path, 'x/a.png', 'x/deep/b.JPG')
    _files(tmp_path, 'x/.hidden.png', 'x/out/labels/a.png')
    found = photos.find([str(tmp_path / 'x'), str(a)], but=str(tmp_path / 'x' / 'out'))
    assert found == [('a', str(a), 'a.png'),
                     (os.path.join('deep', 'b'), str(b), os.path.join('deep', 'b.JPG'))]
    other, = _files(tmp_path, 'y/a.png')
    assert [photo.name for photo in photos.find([str(a), str(other)], but='')] == [
        os.path.join('x', 'a'), os.path.join('y', 'a')]
    # Only photos that would have one name keep their suffix.
    _files(tmp_path, 'x/a.jpg', 'x/a.png.gif', 'x/a.tiff', 'x/c.png.gif')
    assert [photo.name for photo in photos.find([str(tmp_path / 'x')], but=str(
        tmp_path / 'x' / 'out'))] == [
            'a.jpg', 'a.png', 'a.png.gif', 'a.tiff', 'c.png', os.path.join('deep', 'b')]


def test_formats_that_cannot_name_a_suffix_are_told(caplog):
    pair = photos.named(['/x/a.jpg', '/x/a.png', '/x/b.jpg'])
    photos.tell_kept_suffixes(pair[1:], ['png', 'coco'])
    photos.tell_kept_suffixes(photos.named(['/x/a.jpg', '/x/b']), ['yolo'])
    assert not caplog.records
    photos.tell_kept_suffixes(pair, ['png', 'yolo', 'labelme'])
    assert '2 photos, such as a.jpg' in caplog.text and 'tools for labelme, yolo do' in caplog.text


def test_results_and_photos_may_not_share_a_folder(tmp_path):
    _files(tmp_path, 'x/a.png')
    (tmp_path / 'link').symlink_to(tmp_path / 'x')
    for out in ('x', 'x/', 'link'):
        with pytest.raises(command.CommandError, match='another folder than that of the photos'):
            photos.find([str(tmp_path / 'x')], but=os.path.join(str(tmp_path), out))


def test_a_photo_that_is_not_there_is_named():
    with pytest.raises(command.CommandError, match="there is no '/nowhere/a.jpg'"):
        photos.find(['/nowhere/a.jpg'], but='')


def test_shards_are_disjoint_and_together_all_photos():
    every = photos.named([f'/photos/{number:05}.jpg' for number in range(2000)])
    shards = [photos.of_shard(every, index, 7) for index in range(7)]
    assert sorted(sum(shards, [])) == sorted(every)
    assert all(200 < len(shard) < 400 for shard in shards)
    assert shards[2] == sorted(shards[2])
    assert photos.of_shard(every, 0, 1) == every


def test_the_shard_of_a_photo_does_not_depend_on_the_others_or_on_the_machine():
    every = photos.named([f'/photos/{number}.jpg' for number in range(50)])
    moved = photos.named([f'/elsewhere/{number}.jpg' for number in range(0, 50, 2)])
    names = {photo.file_name for photo in photos.of_shard(every, 1, 3)}
    assert {photo.file_name for photo in photos.of_shard(moved, 1, 3)} == names & {
        photo.file_name for photo in moved}
    # A known value, so that machines of different versions share their work.
    assert [photo.name for photo in photos.of_shard(every, 0, 16)] == ['2', '5', '13', '31']
