from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from scops_tf import command


def test_a_file_that_looks_like_a_flag_is_named_with_what_to_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '-dash.png').touch()
    with pytest.raises(SystemExit) as stopped:
        command._parse(['predict', 'other.png', '-dash.png'])
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert message.count('\n') == 1
    assert "'-dash.png' is a file" in message and "write './-dash.png', or --" in message


def test_an_unknown_flag_that_is_no_file_says_no_more(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command._parse(['predict', '--nowhere=1'])
    message = capsys.readouterr().err
    assert "'nowhere'" in message and 'is a file' not in message


def test_what_tensorflow_tells_of_each_saving_is_no_part_of_the_log():
    for level, file, is_shown in (('INFO', 'functional_saver.py', False), ('INFO', 'loop.py', True),
                                  ('WARNING', 'functional_saver.py', True)):
        record = logging.LogRecord(
            'absl', getattr(logging, level), f'/tf/{file}', 440, '', (), None)
        assert command._is_for_users(record) == is_shown


def test_shards_are_numbered_from_0():
    assert command.shard('0/1') == (0, 1)
    assert command.shard('11/12') == (11, 12)


@pytest.mark.parametrize('text', ['3', '4/4', '1/0', '-1/4', '1/4/2', 'a/b', '1/', '٣/٤٤', ''])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(command.CommandError, match='`--shard` must be'):
        command.shard(text)


def test_progress_in_a_log_file_is_a_line_a_minute_for_a_script_that_imports_tqdm_first():
    script = ('import time, tqdm\nfrom scops_tf import command\n'
              'command.run(lambda argv: [time.sleep(0.005) for _ in tqdm.tqdm(range(200))] and 0)')
    environment = {name: value for name, value in os.environ.items() if name != 'TQDM_MININTERVAL'}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0 and '200/200' in done.stderr
    assert done.stderr.count('it/s]') <= 2
