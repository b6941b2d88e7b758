"""Laws of checkpoints: which one is found, and that nothing broken hides a whole one."""
from __future__ import annotations

import os
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.networks import checkpoints
from scops_tf.serving import trained_model


def _manager(workdir: pathlib.Path, size: int = 3, keep: int = 3):
    variable = tf.Variable(tf.range(size, dtype=tf.float32))
    checkpoint = tf.train.Checkpoint(variable=variable)
    return variable, checkpoint, tf.train.CheckpointManager(
        checkpoint, checkpoints.folder_of(str(workdir)), max_to_keep=keep)


def _step(path: str) -> int:
    return int(path.rsplit('-', 1)[1])


def test_the_latest_is_found_or_that_of_a_step(tmp_path):
    assert checkpoints.find(str(tmp_path)) is None
    assert checkpoints.latest_step(str(tmp_path)) == -1
    _, _, manager = _manager(tmp_path)
    for step in (0, 5, 20, 100):
        checkpoints.save(manager, step)
    assert _step(checkpoints.find(str(tmp_path))) == checkpoints.latest_step(str(tmp_path)) == 100
    assert _step(checkpoints.find(str(tmp_path), 5)) == 5
    with pytest.raises(checkpoints.CheckpointError, match='has 5, 20, 100; got 0'):
        checkpoints.find(str(tmp_path), 0)


def test_a_step_of_no_run_is_an_error_too(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match='has none; got 3'):
        checkpoints.find(str(tmp_path), 3)


def test_where_the_latest_was_removed_the_one_before_it_is_found(tmp_path):
    variable, checkpoint, manager = _manager(tmp_path)
    for step in (1, 2):
        variable.assign(tf.fill([3], float(step)))
        latest = checkpoints.save(manager, step)
    os.remove(f'{latest}.index')
    checkpoints.restore(checkpoint, checkpoints.find(str(tmp_path)))
    np.testing.assert_array_equal(variable, [1, 1, 1])


def _cut(path: str) -> None:
    data = pathlib.Path(f'{path}.data-00000-of-00001')
    data.write_bytes(data.read_bytes()[:-4])


def _flip(path: str) -> None:
    data = pathlib.Path(f'{path}.data-00000-of-00001')
    content = bytearray(data.read_bytes())
    content[2] ^= 255
    data.write_bytes(content)


@pytest.mark.parametrize('damage', [
    _cut, _flip, lambda path: os.remove(f'{path}.data-00000-of-00001'),
    lambda path: pathlib.Path(f'{path}.index').write_bytes(b'')])
def test_a_damaged_checkpoint_is_named_with_the_way_out(tmp_path, damage):
    _, _, manager = _manager(tmp_path)
    path = checkpoints.save(manager, 7)
    damage(path)
    other = tf.train.Checkpoint(variable=tf.Variable(tf.zeros(3)))
    with pytest.raises(checkpoints.CheckpointError, match='is damaged') as caught:
        checkpoints.restore(other, path)
    assert '`Evaluation.step`' in str(caught.value) and '\n' not in str(caught.value)


# A list that is lost, and checkpoints that are damaged.


def _lose(path: pathlib.Path) -> None:
    path.unlink()


@pytest.mark.parametrize('damage', [
    _lose, lambda path: path.write_text('hello: {'), lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(bytes(range(256))),
    lambda path: path.write_text('model_checkpoint_path: "ckpt-1"\n')],
    ids=['lost', 'no list', 'empty', 'binary', 'old'])
def test_checkpoints_are_found_and_counted_without_their_list(tmp_path, damage):
    _, checkpoint, manager = _manager(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(manager, step)
    damage(tmp_path / checkpoints.FOLDER / 'checkpoint')
    assert list(checkpoints.kept(str(tmp_path))) == [1, 2, 3]
    again = checkpoints.manager(checkpoint, str(tmp_path), keep=3)
    checkpoints.save(again, 4)
    # The oldest of those that were not listed is gone.
    assert list(checkpoints.kept(str(tmp_path))) == [2, 3, 4]


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    _, checkpoint, manager = _manager(tmp_path)
    checkpoints.save(manager, 5)
    folder = pathlib.Path(checkpoints.folder_of(str(tmp_path)))
    before = sorted(os.listdir(folder))
    (folder / 'ckpt-8_temp').mkdir()
    (folder / 'ckpt-8_temp' / 'part-00000-of-00001.data-00000-of-00001').write_bytes(b'half')
    checkpoints.manager(checkpoint, str(tmp_path), keep=3)
    assert sorted(os.listdir(folder)) == before


def test_a_whole_list_is_left_as_it_is(tmp_path):
    _, checkpoint, manager = _manager(tmp_path)
    checkpoints.save(manager, 1)
    path = tmp_path / checkpoints.FOLDER / 'checkpoint'
    before = path.read_bytes()
    checkpoints.manager(checkpoint, str(tmp_path), keep=3)
    assert path.read_bytes() == before


def test_what_was_left_half_written_is_no_checkpoint(tmp_path):
    _, _, manager = _manager(tmp_path)
    checkpoints.save(manager, 1)
    folder = tmp_path / checkpoints.FOLDER
    whole = (folder / 'ckpt-1.index').read_bytes()
    (folder / 'ckpt-2.index').write_bytes(whole[:len(whole) // 2])
    (folder / 'ckpt-2.data-00000-of-00001').write_bytes(b'')
    (folder / 'ckpt-3.index').write_bytes(whole)
    assert checkpoints.latest_step(str(tmp_path)) == 1


@pytest.mark.parametrize('damage', [_cut, _flip])
def test_a_run_continues_from_the_newest_whole_checkpoint_and_keeps_the_others(tmp_path, damage):
    variable, checkpoint, manager = _manager(tmp_path)
    for step in (1, 2, 3):
        variable.assign(tf.fill([3], float(step)))
        damaged = checkpoints.save(manager, step)
    damage(damaged)
    content = pathlib.Path(f'{damaged}.data-00000-of-00001').read_bytes()
    assert checkpoints.latest_step(str(tmp_path)) == 3
    assert checkpoints.whole_step(str(tmp_path)) == 2
    assert _step(checkpoints.restore_newest(checkpoint, str(tmp_path))) == 2
    np.testing.assert_array_equal(variable, [2, 2, 2])
    # Who only reads the run changes nothing of it; who goes on with it does.
    assert list(checkpoints.kept(str(tmp_path))) == [1, 2, 3]
    again = checkpoints.manager(checkpoint, str(tmp_path), keep=3)
    assert list(checkpoints.kept(str(tmp_path))) == [1, 2]
    aside = tmp_path / checkpoints.FOLDER / 'damaged-ckpt-3.data-00000-of-00001'
    checkpoints.save(again, 3)
    assert aside.read_bytes() == content
    assert list(checkpoints.kept(str(tmp_path))) == [1, 2, 3]


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_again(tmp_path):
    _, checkpoint, manager = _manager(tmp_path)
    for step in (1, 2):
        _cut(checkpoints.save(manager, step))
    before = sorted(os.listdir(manager.directory))
    for go_on in (checkpoints.whole_step, lambda workdir: checkpoints.restore_newest(
            checkpoint, workdir), lambda workdir: checkpoints.manager(checkpoint, workdir, keep=2)):
        with pytest.raises(checkpoints.CheckpointError, match='all 2 in .* are damaged; start in'):
            go_on(str(tmp_path))
    assert sorted(os.listdir(manager.directory)) == before


def test_a_checkpoint_of_other_networks_is_not_passed_over(tmp_path):
    _, _, manager = _manager(tmp_path)
    checkpoints.save(manager, 1)
    other = tf.train.Checkpoint(variable=tf.Variable(tf.zeros(5)))
    with pytest.raises(checkpoints.CheckpointError, match='must be of the networks'):
        checkpoints.restore_newest(other, str(tmp_path))
    assert checkpoints.latest_step(str(tmp_path)) == 1


def test_a_run_without_checkpoints_has_none_to_continue_from(tmp_path):
    _, checkpoint, _ = _manager(tmp_path)
    assert checkpoints.restore_newest(checkpoint, str(tmp_path)) is None
    assert checkpoints.whole_step(str(tmp_path)) == -1


@pytest.mark.parametrize('other', [
    lambda: {'variable': tf.Variable(tf.zeros(4))}, lambda: {'another': tf.Variable(tf.zeros(3))}])
def test_a_checkpoint_of_something_else_is_one_sentence(tmp_path, other):
    _, _, manager = _manager(tmp_path)
    path = checkpoints.save(manager, 7)
    with pytest.raises(checkpoints.CheckpointError, match='must be of the networks') as caught:
        checkpoints.restore(tf.train.Checkpoint(**other()), path)
    assert path in str(caught.value) and '\n' not in str(caught.value)


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path):
    _, _, manager = _manager(tmp_path)
    (tmp_path / checkpoints.FOLDER).write_text('a file in the place of the folder')
    with pytest.raises(OSError, match='checkpoint of step 7 must be written to') as caught:
        checkpoints.save(manager, 7)
    assert 'make the folder writable' in str(caught.value) and '\n' not in str(caught.value)
    assert '{{' not in str(caught.value) and '[Op' not in str(caught.value)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(folder)],
                             capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip('A small file system cannot be mounted; that takes the rights of root.')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_it_is_whole(small_disk):
    variable, checkpoint, manager = _manager(small_disk, size=200_000)
    first = checkpoints.save(manager, 1)
    kept = variable.numpy()
    checkpoints.save(manager, 2)
    variable.assign(tf.zeros(200_000))
    with pytest.raises(OSError, match='step 3 .*No space left on device') as caught:
        checkpoints.save(manager, 3)
    assert 'ckpt-2\' is untouched' in str(caught.value) and '\n' not in str(caught.value)
    assert _step(checkpoints.find(str(small_disk))) == 2
    checkpoints.restore(checkpoint, checkpoints.find(str(small_disk)))
    np.testing.assert_array_equal(variable, kept)
    assert os.path.exists(f'{first}.index')
    assert not [name for name in os.listdir(checkpoints.folder_of(str(small_disk)))
                if name.startswith('ckpt-3')]


def test_the_trained_model_of_a_run_is_loaded_in_float32(trained_run, small, monkeypatch):
    config = config_lib.load([], [*small, "Run.precision='bfloat16'", 'Decode.background=0.25'])
    trained = trained_model.load_part_model(config, str(trained_run))
    assert trained.step == 40
    assert len(trained.tap_scales) == 2 and all(scale > 0 for scale in trained.tap_scales)
    assert trained.part_model.background == 0.25 and trained.part_model.num_parts == 3
    variables = trained.part_model.variables
    assert {variable.dtype for variable in variables} == {tf.float32}
    reader = tf.train.load_checkpoint(checkpoints.find(str(trained_run)))
    (kernel,) = [variable for variable in variables if variable.shape.rank == 5]
    np.testing.assert_array_equal(
        reader.get_tensor('model/segmenter/head/kernel/.ATTRIBUTES/VARIABLE_VALUE'), kernel)


def test_a_network_without_batch_norm_is_loaded_in_no_other_precision(small, tmp_path):
    with pytest.raises(ValueError, match="`--precision`.* must be float32 .*; got 'bfloat16'"):
        trained_model.load_part_model(
            config_lib.load([], small), str(tmp_path), precision='bfloat16')


def test_the_model_of_an_earlier_step_is_loaded_where_asked_for(trained_run, small):
    config = config_lib.load([], [*small, 'Evaluation.step=8'])
    assert trained_model.load_part_model(config, str(trained_run)).step == 8


def test_a_folder_without_a_checkpoint_is_named(small, tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match='`--workdir` must be .* there is none'):
        trained_model.load_part_model(config_lib.load([], small), str(tmp_path))
