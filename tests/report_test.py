"""The command `report`."""
from __future__ import annotations

import shutil
import signal
import sys
import time
import types

import pytest

from scops_tf import report
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames


@pytest.fixture
def run(make_page_run, tmp_path):
    return make_page_run(tmp_path / 'run')


def test_a_report_is_current_if_it_is_of_the_newest_checkpoint_or_the_step_that_is_asked_for(
        run, load):
    folder, three, four = str(run), load('Run.num_parts=3'), load('Run.num_parts=4')
    assert report.is_current(folder, three) and not report.is_current(folder, four)
    (run / 'checkpoints').mkdir()
    (run / 'checkpoints' / 'ckpt-40.index').touch()
    assert report.is_current(folder, three)
    (run / 'checkpoints' / 'ckpt-100.index').touch()
    assert not report.is_current(folder, three)
    assert report.is_current(folder, load('Run.num_parts=3', 'Evaluation.step=40'))
    assert not report.is_current(folder, load('Run.num_parts=3', 'Evaluation.step=100'))
    shutil.rmtree(run / 'eval')
    assert not report.is_current(folder, three)


@pytest.mark.parametrize('bindings, gathers', [([], False), (['Decode.background=0.3'], True)])
def test_bindings_are_not_ignored_where_the_page_is_current(run, monkeypatch, bindings, gathers):
    class Flags(types.SimpleNamespace):
        def __getitem__(self, name):
            return types.SimpleNamespace(present=False)

    gathered = []
    monkeypatch.setitem(sys.modules, 'scops_tf.evaluation.run_page', types.SimpleNamespace(
        gather=lambda config, workdir: gathered.append(config.decode.background)))
    monkeypatch.delattr('scops_tf.evaluation.run_page', raising=False)
    monkeypatch.setattr(report, 'FLAGS', Flags(
        workdir=str(run), gin_param=bindings, compare=[], fresh=False, serve=False))
    report.main([''])
    assert gathered == ([0.3] if gathers else [])


def test_the_page_is_written_anew_for_other_names_and_beside_other_runs(
        run, make_page_run, tmp_path, run_command):
    other = make_page_run(tmp_path / 'other')
    downloaded = tmp_path / 'parts.json'
    downloaded.write_bytes(parts_file.encoded(PartNames.unnamed(3).changed(names={1: 'wing'})))
    done = run_command('name', f'--workdir={run}', f'--parts_file={downloaded}')
    assert done.returncode == 0, done.stderr
    assert parts_file.load(str(run)).names[1] == 'wing'
    done = run_command('report', f'--workdir={run}', f'--compare={other}')
    assert done.returncode == 0, done.stderr
    assert 'Predict' not in done.stderr and 'Photos:' not in done.stderr
    page = (run / 'eval' / 'index.html').read_text(encoding='utf-8')
    assert 'wing (part 1)' in page and 'compare.html' in page
    assert (run / 'eval' / 'compare.html').exists()
    assert not (other / 'eval' / 'compare.html').exists()
    wrong = run_command('report', f'--workdir={run}', f'--compare={tmp_path}')
    assert wrong.returncode == 1 and 'Traceback' not in wrong.stderr
    assert f"Error: '{tmp_path}' must have a page" in wrong.stderr


def test_it_serves_until_ctrl_c(run, start_command):
    process = start_command('report', f'--workdir={run}', '--serve')
    for _ in range(600):
        output = process.outputs[0].read_text(encoding='utf-8')
        if 'Ctrl-C' in output:
            break
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert output.startswith('Open http://127.0.0.1:') and 'Traceback' not in errors


@pytest.mark.parametrize('arguments, words', [
    (['--port=80'], '`--port` must come with `--serve`'), (['x'], 'must be a flag')])
def test_wrong_flags_are_one_sentence(run, run_command, arguments, words):
    done = run_command('report', f'--workdir={run}', *arguments)
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
