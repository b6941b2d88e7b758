"""The command `train` as a user runs it: stopped anyhow, it ends at the same weights."""
from __future__ import annotations

import os
import pathlib
import shutil
import signal
import time
from typing import Dict

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import command, config as config_lib
from scops_tf.networks import checkpoints
from scops_tf.training import loop


def _wait_for_checkpoint(workdir: pathlib.Path, step: int, process) -> None:
    deadline = time.monotonic() + 600
    path = workdir / 'checkpoints' / f'ckpt-{step}.index'
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f'{path} was never written'
        time.sleep(0.01)


def _variables(workdir: pathlib.Path, step: int) -> Dict[str, np.ndarray]:
    path = os.path.join(checkpoints.folder_of(str(workdir)), f'ckpt-{step}')
    reader = tf.train.load_checkpoint(path)
    # How often the run was saved is no part of the training.
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name != '_CHECKPOINTABLE_OBJECT_GRAPH' and not name.startswith('save_counter')}


@pytest.fixture(scope='module')
def killed(tmp_path_factory, small, start_command) -> pathlib.Path:
    """A run killed in its warm-up, some steps after a checkpoint."""
    workdir = tmp_path_factory.mktemp('runs') / 'interrupted'
    process = start_command('train', f'--workdir={workdir}', bindings=small)
    _wait_for_checkpoint(workdir, 4, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return workdir


@pytest.fixture(scope='module')
def stopped(killed, small, start_command):
    """That run, continued and then asked to stop: its folder, exit code and standard error."""
    process = start_command('train', f'--workdir={killed}', bindings=small)
    _wait_for_checkpoint(killed, 16, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    return killed, process.returncode, errors


def test_sigterm_saves_and_ends_with_the_code_for_continue_me(stopped):
    workdir, code, errors = stopped
    assert code == command.STOPPED == 79, errors
    assert 'Next:' not in errors
    # No terminal: the progress bar's first and last lines, not one for each step.
    assert 1 <= errors.count('Training:') <= 3
    step = int(checkpoints.find(str(workdir)).rsplit('-', 1)[1])
    assert 16 <= step < 40
    assert f'step {step} is saved, the same command continues' in errors


def test_a_stopped_run_is_not_continued_on_other_photos(
        stopped, small, creatures, tmp_path):
    # The photos may move, but not change.
    moved = shutil.copytree(creatures, tmp_path / 'moved')
    photo = sorted((moved / 'train' / 'photos').iterdir())[1]
    photo.write_bytes((moved / 'test' / 'photos' / '00000.png').read_bytes())
    before = checkpoints.latest_step(str(stopped[0]))
    config = config_lib.load([], [*small, f'Data.root={str(moved)!r}'])
    with pytest.raises(ValueError, match='1 is changed') as caught:
        loop.train(config, str(stopped[0]))
    assert command.is_user_error(caught.value)
    assert f"but 1 is changed ('train/{photo.name}'): bring" in command.sentence(caught.value)
    assert checkpoints.latest_step(str(stopped[0])) == before


def test_a_killed_and_continued_run_has_the_variables_of_an_uninterrupted_one(
        stopped, trained_run):
    workdir, _, errors = stopped
    assert f'Continuing {workdir} from step ' in errors
    step = int(checkpoints.find(str(workdir)).rsplit('-', 1)[1])
    whole, continued = _variables(trained_run, step), _variables(workdir, step)
    assert whole.keys() == continued.keys()
    for part in ('step', 'model/segmenter/head', 'model/segmenter/backbone', 'model/tap_scales',
                 'model/part_basis/raw', 'head/_variables', 'basis/_variables',
                 'backbone/_variables'):
        assert any(name.startswith(part) for name in whole), part
    for name, value in whole.items():
        np.testing.assert_array_equal(continued[name], value, err_msg=name)
    # The kill came in the warm-up; the basis is trained after it.
    basis = 'model/part_basis/raw/.ATTRIBUTES/VARIABLE_VALUE'
    assert np.abs(whole[basis] - _variables(trained_run, 4)[basis]).max() > 0


def test_a_run_leaves_the_tree_that_the_readme_shows(trained_run):
    assert sorted(os.listdir(trained_run)) == [
        'checkpoints', 'config.gin', 'photos.csv', 'tensorboard']
