"""Laws of the reading of photos, and of batches of one size."""
from __future__ import annotations

import collections

import numpy as np
from PIL import Image

from scops_tf.prediction import reading
from scops_tf.prediction.photos import Photo


def _reads(sizes, window_length=1000):
    return [reading.Read(Photo(str(number), '', ''), np.zeros((*size, 3), np.uint8),
                         window=number // window_length) for number, size in enumerate(sizes)]


def _names(batches):
    return [[one.photo.name for one in batch] for batch in batches]


def test_a_batch_has_photos_of_one_size_in_their_order():
    found = _names(reading.of_one_size(_reads([(4, 6), (5, 6), (4, 6), (4, 6), (5, 6)]), most=2))
    assert found == [['0', '2'], ['1', '4'], ['3']]


def test_batches_of_a_window_do_not_depend_on_other_windows():
    sizes = [(4, 4 + number % 3) for number in range(20)]
    whole = _names(reading.of_one_size(_reads(sizes, 5), most=2))
    parts = [batch for window in range(4) for batch in _names(reading.of_one_size(
        [one for one in _reads(sizes, 5) if one.window == window], most=2))]
    assert whole == parts
    assert collections.Counter(sum(whole, [])) == collections.Counter(map(str, range(20)))


def test_large_photos_go_alone_and_few_of_them_wait(monkeypatch):
    monkeypatch.setattr(reading, '_MOST_PIXELS', 50)
    monkeypatch.setattr(reading, '_MOST_WAITING', 60)
    assert _names(reading.of_one_size(_reads([(9, 9), (9, 9), (5, 5), (5, 5), (5, 5)]), most=8)
                  ) == [['0'], ['1'], ['2', '3'], ['4']]
    # Together they are more than may wait.
    asked = iter(_reads([(3, 8), (3, 7), (2, 9), (3, 8)]))
    batches = reading.of_one_size(asked, most=8)
    assert [one.photo.name for one in next(batches)] == ['0']
    assert [one.photo.name for one in asked] == ['3']


def test_a_photo_is_read_at_the_size_that_is_asked_for_and_a_damaged_one_says_why(tmp_path):
    path = tmp_path / 'photo.png'
    Image.new('RGB', (60, 40), 'olive').save(path)
    task = reading.Read(Photo('photo', str(path), 'photo.png'), key='its key', window=3)
    found = reading.read(task, max_side=30)
    assert found.image.shape == (20, 30, 3) and (found.key, found.window) == ('its key', 3)
    path.write_bytes(path.read_bytes()[:60])
    damaged = reading.read(task)
    assert damaged.image is None and str(path) in damaged.error
