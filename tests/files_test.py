"""Laws of written files: whole or not there."""
from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from scops_tf import files


def test_a_file_holds_what_was_written_last_and_folders_are_made(tmp_path):
    path = tmp_path / 'new' / 'deep' / 'file'
    files.write(str(path), b'first, which is longer')
    files.write(str(path), b'second')
    assert path.read_bytes() == b'second'
    assert os.listdir(path.parent) == ['file']


def test_a_name_without_a_folder_is_one_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write('file', b'content')
    assert (tmp_path / 'file').read_bytes() == b'content'


@pytest.mark.parametrize('failing', ['open', 'os.replace'])
def test_a_write_that_fails_leaves_the_old_file_alone_and_names_it(tmp_path, monkeypatch, failing):
    path = tmp_path / 'file'
    files.write(str(path), b'old')

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == 'open':
        class Full:
            def __init__(self, temporary, *_):
                os.mknod(temporary)

            def __enter__(self):
                full()

            def __exit__(self, *_):
                pass
        monkeypatch.setattr(files, 'open', Full, raising=False)
    else:
        monkeypatch.setattr(files.os, 'replace', full)
    with pytest.raises(OSError, match='No space left') as caught:
        files.write(str(path), b'new')
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value) and 'free disk space' in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_the_longest_name_of_the_file_system_is_written_and_a_longer_one_is_named(tmp_path):
    longest = os.pathconf(tmp_path, 'PC_NAME_MAX')
    files.write(str(tmp_path / ('a' * longest)), b'content')
    assert (tmp_path / ('a' * longest)).read_bytes() == b'content'
    with pytest.raises(OSError, match='File name too long.*: shorten the name'):
        files.write(str(tmp_path / ('a' * (longest + 1))), b'')
    assert len(os.listdir(tmp_path)) == 1


def test_names_that_are_no_utf_8_keep_their_bytes(tmp_path):
    name = os.fsdecode(b'caf\xe9')
    files.write_csv(str(tmp_path / 'table.csv'), ['photo'], [[name], ['caf\u00e9'], ['a\rb']])
    assert (tmp_path / 'table.csv').read_bytes() == (
        b'photo\ncaf\xe9\ncaf\xc3\xa9\n"a\rb"\n')


def test_a_folder_is_made_and_tried_before_anything_is_computed(tmp_path):
    files.require_writable(str(tmp_path / 'new' / 'deep'))
    files.require_writable(str(tmp_path / 'new' / 'deep'))
    assert not list((tmp_path / 'new' / 'deep').iterdir())
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match=f"'{tmp_path}/file/folder' must be writable"):
        files.require_writable(str(tmp_path / 'file' / 'folder'))


def test_a_file_in_the_place_of_the_folder_is_an_error_of_its_class(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises((FileExistsError, NotADirectoryError), match='must be writable'):
        files.write(str(tmp_path / 'file' / 'below'), b'')


def test_a_table_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / 'new' / 'table.csv'
    rows = [['a, "quoted" name', 'x', '1.5'], ['zweite\nZeile', 'ü', '2']]
    files.write_csv(str(path), ['photo', 'score', 'value'], rows)
    with open(path, encoding='utf-8', newline='') as file:
        assert list(csv.reader(file)) == [['photo', 'score', 'value'], *rows]
    assert b'\r' not in path.read_bytes() and os.listdir(path.parent) == ['table.csv']


# What is read.


def test_a_regular_file_is_read_up_to_the_limit_also_through_a_link(tmp_path):
    path, link = str(tmp_path / 'file'), str(tmp_path / 'link')
    files.write(path, b'0123')
    os.symlink(path, link)
    assert files.read(link) == files.read(path, most=4) == b'0123'
    files.require_regular(link)
    with pytest.raises(OSError, match='more than 3 bytes'):
        files.read(path, most=3)


def _pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize('make', [
    _pipe, lambda path: path.symlink_to('/dev/zero'), lambda path: path.mkdir()],
    ids=['pipe', 'device', 'folder'])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / 'photo.jpg')
    for read in (files.read, files.require_regular):
        with pytest.raises(OSError, match='it is no regular file') as caught:
            read(str(tmp_path / 'photo.jpg'))
        assert caught.value.filename == str(tmp_path / 'photo.jpg')


@pytest.mark.parametrize('name', ['a [1]', 'b*', 'c?', 'd\\e', 'f]/run'])
def test_a_folder_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match='`--workdir` must hold none of the characters') as caught:
        files.require_no_pattern(str(tmp_path / name), '--workdir')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['a {1}', "b'c", 'd"e', '\u00fc\u6f22', 'f&g;h$i'])
def test_a_folder_of_any_other_name_is_used(tmp_path, name):
    files.require_no_pattern(str(tmp_path / name), '--workdir')


# Folders with one owner.


HOLD = """
import sys, time
from scops_tf import files
with files.owned(sys.argv[1]):
    print('held', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder `tmp_path`."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], text=True,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()


def test_a_folder_that_another_process_holds_is_refused_and_its_owner_is_named(tmp_path, holder):
    with pytest.raises(files.FolderInUseError, match='one process at a time') as caught:
        with files.owned(str(tmp_path)):
            pass
    assert f'process {holder.pid} on {socket.gethostname()} is at work' in str(caught.value)


def test_the_lock_of_a_killed_process_is_gone(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / '.lock').exists()
    with files.owned(str(tmp_path)):
        with pytest.raises(files.FolderInUseError):
            with files.owned(str(tmp_path)):
                pass
    assert not os.listdir(tmp_path)


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), files.owned(str(tmp_path)):
        raise KeyError
    with files.owned(str(tmp_path)):
        pass


def test_a_folder_that_is_gone_is_noticed_and_the_lock_of_another_stays(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    with files.owned(str(folder)) as require_kept:
        require_kept()
        shutil.rmtree(folder)
        for remake in (False, True):
            if remake:
                folder.mkdir()
                (folder / '.lock').write_text('of another process')
            with pytest.raises(files.FolderLostError, match="'.*run' must stay where it is"):
                require_kept()
    assert (folder / '.lock').read_text() == 'of another process'


def test_what_dead_processes_left_beside_a_folder_is_removed_and_nothing_else(tmp_path):
    host = socket.gethostname()
    done = subprocess.Popen([sys.executable, '-c', ''])
    done.wait()
    dead = f'drawn.{host}-{done.pid}.tmp'
    others = [f'drawn.{host}-{os.getppid()}.tmp', f'drawn.elsewhere-{done.pid}.tmp',
              f'other.{host}-{done.pid}.tmp', f'drawn.{host}-x.tmp', 'drawn']
    for name in (dead, *others):
        (tmp_path / name / 'inside').mkdir(parents=True)
    path = files.temporary_folder(str(tmp_path / 'drawn'))
    assert path == str(tmp_path / f'drawn.{host}-{os.getpid()}.tmp')
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    assert files.temporary_folder(str(tmp_path / 'absent' / 'drawn')).startswith(str(tmp_path))


def test_what_a_killed_write_left_is_removed_by_the_next_process_that_writes_there(
        tmp_path, monkeypatch):
    host = socket.gethostname()
    done = subprocess.Popen([sys.executable, '-c', ''])
    done.wait()
    others = [f'.{host}-{os.getppid()}-0.tmp', f'.elsewhere-{done.pid}-0.tmp', f'{done.pid}-0.tmp',
              'scores.json']
    for name in (f'.{host}-{done.pid}-3.tmp', *others):
        (tmp_path / name).touch()
    monkeypatch.setattr(files, '_TIDIED', set())
    files.write(str(tmp_path / 'scores.json'), b'{}')
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_numbers_that_json_lacks_are_null(tmp_path):
    path = tmp_path / 'new' / 'scores.json'
    content = {'b': [1.5, float('nan'), np.float64('inf')],
               'a': (True, None, {'c': -np.inf}, 'NaN')}
    files.write_json(str(path), content)
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        'b': [1.5, None, None], 'a': [True, None, {'c': None}, 'NaN']}
    assert list(json.loads(path.read_text())) == ['b', 'a']
    files.write_json(str(path), content, sort_keys=True)
    assert list(json.loads(path.read_text())) == ['a', 'b']
