"""Laws of the cache of features."""
from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from scops_tf.features import cache as feature_cache

SHAPE = (11, 3, 5, 2)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def rows(indices: np.ndarray) -> np.ndarray:
    return np.stack([np.random.default_rng(int(i)).normal(size=SHAPE[1:]) for i in indices])


class Compute:
    """`rows`, remembering what it was asked for; fails from a row on."""

    def __init__(self, fails_at=SHAPE[0]):
        self.asked, self._fails_at = [], fails_at

    def __call__(self, indices):
        if indices[-1] >= self._fails_at:
            raise RuntimeError('stopped')
        self.asked.extend(indices.tolist())
        return rows(indices)


def test_memory_and_file_hold_the_same_rows_as_float16(tmp_path):
    memory = feature_cache.filled(SHAPE, rows, key='k')
    file = feature_cache.filled(SHAPE, rows, key='k', folder=str(tmp_path / 'new'), batch_size=4)
    for found in (memory, file):
        assert found.dtype == np.float16 and found.shape == SHAPE
        np.testing.assert_array_equal(found, rows(np.arange(11)).astype(np.float16))
        np.testing.assert_array_equal(found[[7, 2]], found[:][[7, 2]])
        with pytest.raises(ValueError, match='read-only'):
            found[0] = 0
    assert isinstance(file, np.memmap) and file.nbytes == feature_cache.bytes_needed(SHAPE)
    assert os.listdir(tmp_path / 'new') == ['k.npy']


def test_a_complete_cache_is_not_computed_again_unless_its_key_differs(tmp_path):
    first, second, third = Compute(), Compute(), Compute()
    feature_cache.filled(SHAPE, first, key='k', folder=str(tmp_path))
    feature_cache.filled(SHAPE, second, key='k', folder=str(tmp_path))
    feature_cache.filled(SHAPE, third, key='other', folder=str(tmp_path))
    assert (first.asked, second.asked, third.asked) == (list(range(11)), [], list(range(11)))


@pytest.mark.parametrize('lost', [0, 1, 61])
def test_a_stopped_filling_goes_on_at_the_batch_it_was_stopped_in(tmp_path, lost):
    with pytest.raises(RuntimeError):
        feature_cache.filled(SHAPE, Compute(9), key='k', folder=str(tmp_path), batch_size=3)
    partial = tmp_path / 'k.npy.partial'
    assert os.listdir(tmp_path) == [partial.name]
    os.truncate(partial, partial.stat().st_size - lost)
    again = Compute()
    found = feature_cache.filled(SHAPE, again, key='k', folder=str(tmp_path), batch_size=3)
    assert again.asked == list(range(9 if lost == 0 else 6, 11))
    np.testing.assert_array_equal(found, feature_cache.filled(SHAPE, rows, key='k'))


def run(program: str, *arguments: str) -> subprocess.CompletedProcess:
    imports = textwrap.dedent('''
        import os, resource, signal, sys
        import numpy as np
        from scops_tf.features import cache as feature_cache
        ''')
    return subprocess.run([sys.executable, '-c', imports + textwrap.dedent(program), *arguments],
                          cwd=ROOT, check=False, capture_output=True, text=True)


def test_a_killed_filling_goes_on_with_the_same_result(tmp_path):
    killed = run('''
        def compute(indices):
            if indices[0] >= 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return np.full((len(indices), 3, 5, 2), indices[0])
        feature_cache.filled((11, 3, 5, 2), compute, key='k', folder=sys.argv[1], batch_size=2)
        ''', str(tmp_path))
    assert killed.returncode == -signal.SIGKILL
    again = Compute()
    found = feature_cache.filled(SHAPE, again, key='k', folder=str(tmp_path), batch_size=2)
    assert again.asked == list(range(6, 11))
    np.testing.assert_array_equal(found[:6, 0, 0, 0], [0, 0, 2, 2, 4, 4])


def test_what_was_begun_with_another_shape_is_begun_anew(tmp_path):
    with pytest.raises(RuntimeError):
        feature_cache.filled((12, 3, 5, 2), Compute(8), key='k', folder=str(tmp_path), batch_size=4)
    again = Compute()
    feature_cache.filled(SHAPE, again, key='k', folder=str(tmp_path))
    assert again.asked == list(range(11))


def test_of_two_that_want_the_same_one_computes_and_the_other_waits(tmp_path):
    started, both, asked = threading.Event(), threading.Event(), []

    def slow(indices):
        started.set()
        asked.extend(indices.tolist())
        both.wait(5)
        waiting.join(0.3)
        return rows(indices)

    computes = {'first': slow, 'second': Compute()}
    found = {}

    def fill(name):
        found[name] = feature_cache.filled(
            SHAPE, computes[name], key='k', folder=str(tmp_path), batch_size=11)

    working = threading.Thread(target=fill, args=('first',))
    waiting = threading.Thread(target=fill, args=('second',))
    working.start()
    started.wait(5)
    waiting.start()
    both.set()
    working.join()
    waiting.join()
    assert asked == list(range(11)) and computes['second'].asked == []
    np.testing.assert_array_equal(found['first'], found['second'])


def test_a_disk_without_room_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    usage = feature_cache.shutil.disk_usage(tmp_path)
    needed = feature_cache.bytes_needed(SHAPE)
    monkeypatch.setattr(feature_cache.shutil, 'disk_usage',
                        lambda path: usage._replace(free=needed - 1))
    compute = Compute()
    with pytest.raises(feature_cache.CacheError, match=(
            f'{tmp_path}.* must have room for {needed} more bytes .*, {needed - 1} are free')):
        feature_cache.filled(SHAPE, compute, key='k', folder=str(tmp_path))
    assert not compute.asked


def test_a_disk_that_fills_up_meanwhile_is_named_and_the_filling_goes_on_later(tmp_path):
    """A limit on the size of files stands for a full disk: writing fails in the same place."""
    stopped = run('''
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 + 5 * 60,) * 2)
        compute = lambda indices: np.zeros((len(indices), 3, 5, 2))
        try:
            feature_cache.filled((11, 3, 5, 2), compute, key='k', folder=sys.argv[1], batch_size=2)
        except feature_cache.CacheError as error:
            print(error)
        ''', str(tmp_path))
    assert re.search(f'{tmp_path}.* fails .*bytes are free', stopped.stdout), stopped.stderr
    again = Compute()
    feature_cache.filled(SHAPE, again, key='k', folder=str(tmp_path), batch_size=2)
    assert again.asked == list(range(4, 11))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(feature_cache.CacheError, match='written to .*file.*Not a directory'):
        feature_cache.filled(SHAPE, rows, key='k', folder=str(tmp_path / 'file' / 'cache'))


def _flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _put_nan(path) -> None:
    rows = np.load(path, mmap_mode='r+')
    rows[1] = np.nan
    rows.flush()


@pytest.mark.parametrize('damage', [
    lambda path: os.truncate(path, 200), lambda path: os.truncate(path, 0), _flip, _put_nan,
    lambda path: np.save(path, np.zeros(SHAPE)), lambda path: np.save(path, np.zeros((2, 3)))],
    ids=['short', 'empty', 'a bit', 'nan', 'without checksum', 'another shape'])
def test_a_cache_that_is_not_whole_is_computed_again(tmp_path, damage, caplog):
    expected = np.array(feature_cache.filled(SHAPE, rows, key='k', folder=str(tmp_path)))
    damage(tmp_path / 'k.npy')
    assert feature_cache.found(SHAPE, key='k', folder=str(tmp_path)) is None
    again = feature_cache.filled(SHAPE, rows, key='k', folder=str(tmp_path))
    np.testing.assert_array_equal(again, expected)
    found = feature_cache.found(SHAPE, key='k', folder=str(tmp_path))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('value', [70000.0, np.nan, -np.inf])
def test_values_that_float16_does_not_hold_are_an_error(value):
    def compute(indices):
        return np.where(indices[:, None, None, None] == 9, value, np.zeros(SHAPE[1:]))
    with pytest.raises(ValueError, match='float16 holds.*rows 8 to 9 are not'):
        feature_cache.filled(SHAPE, compute, key='k', batch_size=2)


def test_rows_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r'rows of the shape \(3, 5, 2\); got \(8, 3, 5, 1\)'):
        feature_cache.filled(SHAPE, lambda indices: rows(indices)[..., :1], key='k')


def test_errors_of_the_computation_are_left_as_they_are(tmp_path):
    def compute(indices):
        raise FileNotFoundError('photo')
    with pytest.raises(FileNotFoundError, match='photo'):
        feature_cache.filled(SHAPE, compute, key='k', folder=str(tmp_path))


def test_a_cache_is_found_by_photos_weights_and_settings():
    photos = list(rows(np.arange(3)))
    weights = [np.ones((2, 3), np.float32), np.zeros((), np.float32)]
    first = feature_cache.fingerprint(photos, weights, layers=('a',))
    assert feature_cache.fingerprint(iter(photos), iter(weights), layers=('a',)) == first
    assert feature_cache.fingerprint(photos, weights, layers=('b',)) != first
    assert feature_cache.fingerprint(photos[:2], weights, layers=('a',)) != first
    assert feature_cache.fingerprint(photos, [2 * weights[0], weights[1]], layers=('a',)) != first
