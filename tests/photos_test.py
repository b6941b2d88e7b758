"""Laws of the photos that are predicted, and of their shards."""
from __future__ import annotations

import os

import pytest

from scops_tf import command
from scops_tf.prediction import photos
from scops_tf.prediction.photos import Shard


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
    twin, = _files(tmp_path, 'x/a.jpg')
    assert [photo.name for photo in photos.find([str(a), str(twin)], but='')] == [
        'a.png', 'a.jpg']


def test_a_photo_that_is_not_there_is_named():
    with pytest.raises(command.CommandError, match="there is no '/nowhere/a.jpg'"):
        photos.find(['/nowhere/a.jpg'], but='')


def test_shards_are_disjoint_and_together_all_photos():
    every = photos.named([f'/photos/{number:05}.jpg' for number in range(2000)])
    shards = [Shard(number, 7).of(every) for number in range(1, 8)]
    assert sorted(sum(shards, [])) == sorted(every)
    assert all(200 < len(shard) < 400 for shard in shards)
    assert shards[2] == sorted(shards[2])
    assert Shard(1, 1).of(every) == every


def test_the_shard_of_a_photo_does_not_depend_on_the_others_or_on_the_machine():
    every = photos.named([f'/photos/{number}.jpg' for number in range(50)])
    moved = photos.named([f'/elsewhere/{number}.jpg' for number in range(0, 50, 2)])
    names = {photo.file_name for photo in Shard(2, 3).of(every)}
    assert {photo.file_name for photo in Shard(2, 3).of(moved)} == names & {
        photo.file_name for photo in moved}
    # A known value, so that machines of different versions share their work.
    assert [photo.name for photo in Shard(1, 16).of(every)] == ['2', '5', '13', '31']


@pytest.mark.parametrize('text', ['3', '0/4', '5/4', '1/0', '-1/4', '1/4/2', 'a/b', '1/', '٣/٤٤'])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(command.CommandError, match='such as 3/16'):
        Shard.parse(text)
