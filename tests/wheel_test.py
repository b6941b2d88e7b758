"""The built packages: a wheel works in an empty folder, and the source archive is complete."""
from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of a fresh clone; a build leaves its own folders there.
TREE = ('gin', 'scops_tf', 'scripts', 'tests', 'docs')
FILES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'requirements.txt', 'constraints.txt',
         'constraints-current.txt', 'requirements.lock', 'requirements-current.lock', 'README.md',
         'LICENSE', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'Makefile')


def _run(*command, cwd, **environment):
    done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, text=True,
                          capture_output=True, env={**os.environ, **environment}, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope='module')
def clone(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp('clone')
    for name in TREE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope='module')
def installed(clone, tmp_path_factory) -> pathlib.Path:
    """A folder with the wheel alone, beside the libraries of this environment."""
    folder = tmp_path_factory.mktemp('installed')
    _run('setup.py', '-q', 'bdist_wheel', '--dist-dir', folder / 'dist', cwd=clone)
    wheel, = (folder / 'dist').glob('*.whl')
    _run('-m', 'zipfile', '-e', wheel, folder / 'site', cwd=folder)
    return folder / 'site'


def test_a_wheel_trains_in_an_empty_folder_by_the_name_of_a_shipped_file(installed, tmp_path):
    bindings = [f'--gin_param={binding}' for binding in (
        'Synthetic.num_train=4', 'Synthetic.num_test=2', 'Run.steps=1', 'Run.warmup_steps=0',
        'Run.image_size=(64, 64)', 'Losses.response_size=(32, 32)', 'Run.batch_size=2',
        'Logging.eval_photos=0', 'Logging.doctor_photos=0', 'Logging.num_pictures=1')]
    done = _run('-m', 'scops_tf.train', '--gin_file=quickstart', *bindings, cwd=tmp_path,
                PYTHONPATH=str(installed))
    assert 'Trained 1 steps' in done.stderr
    # No library greets on standard output, which is for results.
    assert done.stdout == ''
    assert (tmp_path / 'runs' / 'quickstart' / 'checkpoints').is_dir()


def test_a_wheel_has_every_gin_file_and_every_command(installed):
    found = {path.relative_to(installed / 'scops_tf') for path in installed.rglob('*.gin')}
    assert found == {path.relative_to(ROOT) for path in (ROOT / 'gin').rglob('*.gin')}
    templates = ROOT / 'scops_tf' / 'pages' / 'templates'
    assert {path.name for path in templates.iterdir()} == {
        path.name for path in (installed / 'scops_tf' / 'pages' / 'templates').iterdir()}
    text = next(installed.glob('*.dist-info/entry_points.txt')).read_text(encoding='utf-8')
    scripts = dict(line.split(' = ') for line in text.splitlines() if '=' in line)
    commands = {path.stem for path in (ROOT / 'scops_tf').glob('*.py')
                if "__name__ == '__main__'" in path.read_text(encoding='utf-8')}
    assert scripts == {f'scops-{name.replace("_", "-")}': f'scops_tf.console:{name}'
                       for name in commands}
    assert all((installed / 'scops_tf' / f'{name}.py').exists() for name in commands)
    done = _run('-c', 'import sys; sys.argv[1:] = ["--workdir=/nowhere"]\n'
                'from scops_tf import console\n'
                'try:\n    console.evaluate()\n'
                'except SystemExit as stop:\n    print("exit", stop.code)',
                cwd='/', PYTHONPATH=str(installed))
    assert 'exit 1' in done.stdout
    assert '`--workdir` must be the folder of a trained run' in done.stderr


def test_the_source_archive_has_all_that_the_clone_has(clone, tmp_path):
    _run('setup.py', '-q', 'sdist', '--dist-dir', tmp_path, cwd=clone)
    archive, = tmp_path.glob('*.tar.gz')
    with tarfile.open(archive) as tar:
        found = {name.partition('/')[2] for name in tar.getnames()}
    for name in TREE:
        for path in (ROOT / name).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts and 'egg-info' not in str(path):
                assert str(path.relative_to(ROOT)) in found
    assert set(FILES) <= found
