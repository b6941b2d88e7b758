"""The scripts, run in a copy of the repository with a Python that is played by a shell script."""
from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
from typing import Dict, List

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_TOOLS = ('bash', 'awk', 'cat', 'cksum', 'cp', 'df', 'dirname', 'flock', 'grep', 'ls', 'mkdir',
          'mv', 'rm', 'sleep', 'touch')
_STANDS_FOR_PYTHON = '''#!/usr/bin/env bash
echo "$*" >>"$CALLS"
[[ $3 != install ]] || echo "$PIP_CONSTRAINT $SCOPS_STACK" >>"$CALLS.pip"
case "$1 $2" in
    *version_info*) echo "${VERSION:-3.11}" ;;
    *ensurepip*) exit "${WITHOUT_VENV:-0}" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" ;;
    "-m pip") [[ $3 != install ]] || eval "${INSTALL:-}" ;;
esac
'''
_DEFINITIONS = ('requirements.txt', 'constraints.txt', 'setup.py')
_PYTHONS = '3.9, 3.10, 3.11, 3.12 or 3.13'
_SET_UP = ('bash', '-euo', 'pipefail', '-c', 'source scripts/environment.sh')


class Clone:
    """A copy of the scripts and of the files they read, and a PATH of its own."""

    def __init__(self, folder: pathlib.Path):
        self.root, self.bin = folder / 'clone', folder / 'bin'
        shutil.copytree(_ROOT / 'scripts', self.root / 'scripts')
        for name in (*_DEFINITIONS, 'constraints-current.txt'):
            shutil.copy(_ROOT / name, self.root)
        self.bin.mkdir()
        for tool in _TOOLS:
            if shutil.which(tool):
                (self.bin / tool).symlink_to(shutil.which(tool))
        (self.bin / 'env').symlink_to('/usr/bin/env')
        self.add_tool('python3', _STANDS_FOR_PYTHON)
        self.add_tool('c++', '#!/bin/sh\n')
        self.venv, self.log = self.root / '.venv', self.root / '.venv.log'
        self.stamp, self._calls = self.venv / 'scops_tf.stamp', folder / 'calls'
        self.environment: Dict[str, str] = {'PATH': str(self.bin), 'CALLS': str(self._calls)}

    def add_tool(self, name: str, source: str) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(source, encoding='utf-8')
        (self.bin / name).chmod(0o755)

    def start(self, *command: str, **variables: str) -> subprocess.Popen:
        return subprocess.Popen(
            command, cwd=self.root, env={**self.environment, **variables}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            # Shells start background jobs with SIGINT ignored, which a script cannot undo.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        process = self.start(*(command or _SET_UP), **variables)
        output, errors = process.communicate(timeout=20)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def calls(self, beginning: str = '') -> List[str]:
        """Command lines that the played Python was called with."""
        lines = self._calls.read_text(encoding='utf-8').splitlines() if self._calls.exists() else []
        return [line for line in lines if line.startswith(beginning)]


    def stacks(self) -> List[str]:
        """The constraints and the stack of each call of `pip install`."""
        return self._calls.with_suffix('.pip').read_text(encoding='utf-8').splitlines()


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def _assert_fails_with(result: subprocess.CompletedProcess, *parts: str) -> None:
    """One sentence on stderr that holds the parts, and exit code 1."""
    assert result.returncode == 1
    assert result.stderr.startswith('Error: '), result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def test_the_set_up_installs_in_one_resolve_and_is_used_again_at_once(clone):
    assert clone.run().returncode == 0
    assert len(clone.calls('-m pip install')) == 1
    assert '--editable .[test,crf]' in clone.calls('-m pip install')[0]
    again = clone.run()
    assert (again.returncode, again.stdout, again.stderr) == (0, '', '')
    assert len(clone.calls('-m pip install')) == 1


@pytest.mark.parametrize('version, asked, stack', [
    ('3.9', '', 'constraints.txt 2.15'), ('3.11', '', 'constraints.txt 2.15'),
    ('3.11', 'current', 'constraints-current.txt current'),
    ('3.12', '', 'constraints-current.txt current')])
def test_a_python_gets_the_stack_that_fits_it(clone, version, asked, stack):
    result = clone.run(VERSION=version, SCOPS_STACK=asked)
    assert (result.returncode, result.stderr) == (0, '')
    assert clone.stacks() == [stack]
    assert clone.run(VERSION=version, SCOPS_STACK=asked).stdout == ''
    # The constraints of the other stack define nothing here.
    other, = {'constraints.txt', 'constraints-current.txt'} - {stack.split()[0]}
    (clone.root / other).write_text('', encoding='utf-8')
    assert clone.run(VERSION=version, SCOPS_STACK=asked).stdout == ''


def test_the_python_of_the_stack_that_is_asked_for_is_found(clone):
    for version in ('3.9', '3.13'):
        clone.add_tool(f'python{version}', _STANDS_FOR_PYTHON.replace('${VERSION:-3.11}', version))
    (clone.bin / 'python3').unlink()
    assert clone.run(SCOPS_VENV='first').returncode == 0
    assert clone.run(SCOPS_VENV='second', SCOPS_STACK='current').returncode == 0
    assert [line.split()[1] for line in clone.stacks()] == ['2.15', 'current', 'current']


def test_on_python_3_13_the_crf_is_built_by_a_later_cython(clone):
    assert clone.run(VERSION='3.13').returncode == 0
    first, second = clone.calls('-m pip install')
    assert first.endswith(' cython setuptools wheel')
    assert '--no-build-isolation --editable .[test,crf]' in second
    (clone.bin / 'c++').unlink()
    assert clone.run(VERSION='3.13').returncode == 0
    assert '--no-build-isolation' not in clone.calls('-m pip install')[-1]


def test_an_environment_of_the_other_stack_is_kept(clone):
    clone.run()
    _assert_fails_with(clone.run(SCOPS_STACK='current'), 'the stack current, and has 2.15')
    assert clone.stamp.exists() and len(clone.calls('-m pip install')) == 1
    _assert_fails_with(clone.run(SCOPS_STACK='3'), '`SCOPS_STACK` must be current', 'got 3.')
    _assert_fails_with(clone.run(SCOPS_STACK='current', VERSION='3.9', SCOPS_VENV='new'),
                       'a Python 3.11, 3.12 or 3.13 is needed')


@pytest.mark.parametrize('name', _DEFINITIONS)
def test_a_change_of_what_defines_the_environment_installs_again(clone, name):
    clone.run()
    with open(clone.root / name, 'a', encoding='utf-8') as file:
        file.write('# changed\n')
    assert clone.run().returncode == 0
    assert len(clone.calls('-m pip install')) == 2
    assert len(clone.calls('-m venv')) == 1


def test_an_environment_elsewhere_is_named_from_where_the_caller_stands(clone):
    script = 'cd scripts && set -euo pipefail && source environment.sh && pwd'
    result = clone.run('bash', '-c', script, SCOPS_VENV='../elsewhere')
    assert result.stdout.splitlines()[-1] == str(clone.root)
    assert (clone.root / 'elsewhere' / 'scops_tf.stamp').exists()
    assert not clone.venv.exists()


def test_a_python_that_does_not_exist_is_named(clone):
    result = clone.run(PYTHON='/nonexistent')
    _assert_fails_with(result, f'`PYTHON` must be a Python {_PYTHONS}; got /nonexistent',
                       'no Python that runs')
    assert not clone.venv.exists()


@pytest.mark.parametrize('version', ['3.8', '3.14', '2.7', '3.1'])
def test_a_python_of_another_version_is_turned_down(clone, version):
    _assert_fails_with(clone.run(VERSION=version), _PYTHONS, f'the PATH has {version}')
    _assert_fails_with(clone.run(VERSION=version, PYTHON='python3'), f'is {version};')
    assert not clone.calls('-m')


def test_a_shim_that_fails_is_passed_over(clone):
    clone.add_tool('python3.11', '#!/bin/sh\necho "command not found" >&2\nexit 127\n')
    result = clone.run(VERSION='3.10')
    assert (result.returncode, result.stderr) == (0, '')
    assert clone.calls('-m venv')


def test_no_python_at_all_is_one_sentence(clone):
    (clone.bin / 'python3').unlink()
    _assert_fails_with(clone.run(), 'the PATH has none; install one')


def test_a_python_without_venv_is_one_sentence(clone):
    _assert_fails_with(clone.run(WITHOUT_VENV='1'), 'lacks the modules `venv`', 'python3.11-venv')


def test_an_environment_of_another_python_is_kept(clone):
    clone.run()
    _assert_fails_with(clone.run(PYTHON='python3', VERSION='3.14'), '`PYTHON` must be')
    clone.add_tool('python3.9', '#!/bin/sh\necho 3.9\n')
    _assert_fails_with(clone.run(PYTHON='python3.9'), '`PYTHON` is 3.9, and', 'holds 3.11')
    assert clone.stamp.exists()


def test_a_folder_of_other_files_is_kept(clone):
    clone.venv.mkdir()
    (clone.venv / 'thesis.txt').write_text('words', encoding='utf-8')
    _assert_fails_with(clone.run(), '`SCOPS_VENV` must be', 'holds other files')
    assert [path.name for path in clone.venv.iterdir()] == ['thesis.txt']


def test_a_full_disk_is_one_sentence_before_anything_is_made(clone):
    table = 'echo Filesystem\necho /dev/sda 9000000 8000000 1000000 89% /'
    clone.add_tool('df', f'#!/bin/sh\n{table}\n')
    _assert_fails_with(clone.run(), 'needs 4 GB', '1000 MB free')
    assert not clone.venv.exists()


@pytest.mark.parametrize('said, sentence', [
    ("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'",
     'the package index cannot be reached'),
    ('ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device',
     'the disk filled up'),
    ('ERROR: No matching distribution found for tensorflow==2.15.1',
     'no build of a pinned package'),
    ('ERROR: ResolutionImpossible', 'the packages could not be installed'),
])
def test_what_pip_says_becomes_one_sentence_and_is_kept_in_the_log(clone, said, sentence):
    result = clone.run(INSTALL=f'echo "{said}" >&2; exit 1')
    _assert_fails_with(result, sentence, str(clone.log))
    assert said in clone.log.read_text(encoding='utf-8')
    assert not clone.stamp.exists()


def test_a_failed_change_leaves_no_stamp_of_the_time_before(clone):
    clone.run()
    (clone.root / 'constraints.txt').write_text('', encoding='utf-8')
    assert clone.run(INSTALL='exit 1').returncode == 1
    assert not clone.stamp.exists()
    assert clone.run().returncode == 0


def test_an_interrupted_installation_is_done_again(clone):
    process = clone.start(*_SET_UP, INSTALL=': > "$0.started"; sleep 30')
    deadline = time.monotonic() + 20
    while not (clone.venv / 'bin' / 'python.started').exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) != 0
    assert not clone.stamp.exists()
    assert clone.run().returncode == 0
    assert clone.stamp.exists()


def test_without_a_compiler_the_crf_is_left_out_in_one_sentence(clone):
    (clone.bin / 'c++').unlink()
    result = clone.run()
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.splitlines()[-1] == (
        'The dense CRF is left out, since there is no C++ compiler; nothing but the option for it '
        'needs it.')
    assert '--editable .[test]' in clone.calls('-m pip install')[0]
    assert clone.run().stdout == ''
    clone.add_tool('g++', '#!/bin/sh\n')
    assert clone.run().returncode == 0
    assert '--editable .[test,crf]' in clone.calls('-m pip install')[-1]


def test_a_crf_that_cannot_be_built_is_left_out(clone):
    build = 'echo "ERROR: Failed building wheel for pydensecrf2"; exit 1'
    result = clone.run(INSTALL=f'[[ $* != *crf* ]] || {{ {build}; }}')
    assert (result.returncode, result.stderr) == (0, '')
    assert 'The dense CRF is left out, since it could not be built' in result.stdout
    assert clone.stamp.exists()


@pytest.mark.skipif(shutil.which('flock') is None, reason='No `flock` on this machine.')
def test_of_two_at_once_one_installs_and_the_other_waits(clone):
    processes = [clone.start(*_SET_UP, INSTALL='sleep 1') for _ in range(2)]
    outputs = [process.communicate(timeout=20)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(clone.calls('-m pip install')) == 1
    assert sum('Waiting for another set-up' in output for output in outputs) == 1


def test_the_test_script_checks_the_style_then_hands_its_arguments_to_pytest(clone):
    assert clone.run('scripts/test.sh', 'tests/losses_test.py', '-k', 'a law').returncode == 0
    assert clone.calls('-m')[-2:] == [
        '-m ruff check',
        '-m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/losses_test.py -k a law']


def test_the_quickstart_runs_every_command_on_one_run(clone):
    photos = clone.root / 'runs' / 'quickstart' / 'creatures' / 'test' / 'photos'
    photos.mkdir(parents=True)
    (photos / 'one.png').touch()
    result = clone.run('scripts/quickstart.sh')
    assert result.returncode == 0, result.stderr
    commands = clone.calls('-m scops_tf')
    assert [line.split()[1] for line in commands] == [
        'scops_tf.train', 'scops_tf.evaluate', 'scops_tf.export', 'scops_tf.predict']
    assert all('runs/quickstart' in line for line in commands)
    assert 'one.png' in commands[-1]


@pytest.mark.parametrize('script', sorted(path.name for path in (_ROOT / 'scripts').glob('*.sh')))
def test_the_scripts_are_sound(script):
    subprocess.run(['bash', '-n', f'scripts/{script}'], check=True, timeout=20, cwd=_ROOT)
    if shutil.which('shellcheck'):
        subprocess.run(['shellcheck', '-x', f'scripts/{script}'], check=True, timeout=20, cwd=_ROOT)
