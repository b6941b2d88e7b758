"""Checkpoints of a run: finding, writing and restoring them."""
from __future__ import annotations

import glob
import logging as python_logging
import os
import re
import shutil
from typing import Dict, Optional, Sequence

from absl import logging
import tensorflow as tf

from scops_tf import files

FOLDER = 'checkpoints'

# Errors of a checkpoint that is damaged; a file that is too short raises IndexError.
_DAMAGED = (tf.errors.OpError, IndexError)


class CheckpointError(ValueError):
    """A checkpoint that is missing or does not fit; the message is one sentence for the user."""


class DamagedError(CheckpointError):
    """A checkpoint that cannot be read."""


def folder_of(workdir: str) -> str:
    """The folder of a run's checkpoints."""
    return os.path.join(workdir, FOLDER)


def kept(workdir: str) -> Dict[int, str]:
    """Paths of a run's existing checkpoints by step, the latest last.

    The files themselves are looked at. TensorFlow's list of them, the file `checkpoint`, may be
    lost or damaged, and a user may have removed a checkpoint by hand. One that is not listed may
    have been left half written; it counts if it has data and its index can be read.
    """
    folder = folder_of(workdir)
    listed = {os.path.basename(path) for path in _listed(folder)}
    names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    found = filter(None, (re.fullmatch(r'ckpt-(\d+)\.index', name) for name in names))
    paths = {step: os.path.join(folder, f'ckpt-{step}')
             for step in sorted(int(match.group(1)) for match in found)}
    return {step: path for step, path in paths.items()
            if os.path.basename(path) in listed or _is_readable(path) and any(
                name.startswith(f'ckpt-{step}.data-') for name in names)}


def _listed(folder: str) -> Sequence[str]:
    """Paths in TensorFlow's list of checkpoints; none if it is lost or damaged."""
    try:
        state = tf.train.get_checkpoint_state(folder)
    except (ValueError, tf.errors.OpError):
        return ()
    return state.all_model_checkpoint_paths if state else ()


def _is_readable(path: str) -> bool:
    try:
        tf.train.load_checkpoint(path)
    except (ValueError, *_DAMAGED):
        return False
    return True


def newest_whole(workdir: str) -> Optional[str]:
    """Path of the newest checkpoint of which every variable can be read; None without checkpoints.

    Nothing is written, so another process may train the run.

    Raises:
      DamagedError: If all checkpoints are damaged.
    """
    found = list(kept(workdir).values())
    for path in reversed(found):
        if _is_whole(path):
            return path
    if found:
        raise DamagedError(
            f'A run must have a whole checkpoint, but all {len(found)} in {folder_of(workdir)!r} '
            'are damaged; start in another folder.')
    return None


def _is_whole(path: str) -> bool:
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)  # Which compares it with its checksum.
    except (ValueError, *_DAMAGED):
        return False
    return True


def manager(checkpoint: tf.train.Checkpoint, workdir: str, *, keep: int
            ) -> tf.train.CheckpointManager:
    """The manager of a run's checkpoints, which knows all that exist, in a folder that is owned.

    Checkpoints that are damaged and newer than the newest whole one are renamed, so that the run
    does not write over them.

    Args:
      checkpoint: What is saved.
      workdir: Folder of the run.
      keep: Largest number of checkpoints that are kept.

    Raises:
      DamagedError: If all checkpoints are damaged.
      OSError: If the list of checkpoints is not that of the files and cannot be written, or a
        damaged checkpoint cannot be renamed.
    """
    folder = folder_of(workdir)
    _set_aside_damaged(workdir)
    found = kept(workdir)
    # A killed process has left these unfinished; no other one writes here now.
    _remove_unfinished(folder)
    paths = list(found.values())
    if [os.path.basename(path) for path in paths] != [
            os.path.basename(path) for path in _listed(folder)] and paths:
        logging.warning('The list of checkpoints in %s was lost, damaged or old; it has the steps '
                        '%s again.', folder, ', '.join(map(str, found)))
        state = tf.compat.v1.train.generate_checkpoint_state_proto(
            folder, paths[-1], paths,
            all_model_checkpoint_timestamps=[os.path.getmtime(f'{path}.index') for path in paths])
        files.write(os.path.join(folder, 'checkpoint'), str(state).encode())
    return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=keep)


def _set_aside_damaged(workdir: str) -> None:
    whole = newest_whole(workdir)
    for path in reversed(kept(workdir).values()):
        if path == whole:
            return
        folder, name = os.path.split(path)
        for each in os.listdir(folder):
            if each.startswith(f'{name}.'):
                os.replace(os.path.join(folder, each), os.path.join(folder, f'damaged-{each}'))
        logging.warning('%s is damaged and was set aside as damaged-%s.*; the run continues from '
                        '%s.', path, name, whole)


def _remove_unfinished(folder: str) -> None:
    for left in glob.glob(os.path.join(glob.escape(folder), 'ckpt-*_temp')):
        shutil.rmtree(left, ignore_errors=True)


def find(workdir: str, step: Optional[int] = None) -> Optional[str]:
    """Path of the checkpoint of `step`, or of the latest one if `step` is None.

    The result is None if `step` is None and the run has no checkpoint.

    Raises:
      CheckpointError: If there is no checkpoint of `step`.
    """
    found = kept(workdir)
    if step is None:
        return list(found.values())[-1] if found else None
    if step not in found:
        raise CheckpointError(
            f'`Evaluation.step` must be that of a checkpoint in {folder_of(workdir)!r}, which has '
            f'{", ".join(map(str, found)) or "none"}; got {step}.')
    return found[step]


def require(workdir: str, setting: str, *, step: Optional[int] = None) -> str:
    """Path of a checkpoint as `find` gives it, but it is an error if the run has none.

    Args:
      workdir: Folder of the run.
      setting: Name of the setting that gave the folder, for the error message.
      step: Step of the checkpoint; None for the latest one.

    Raises:
      CheckpointError: If there is no checkpoint, or none of `step`.
    """
    path = find(workdir, step)
    if path is None:
        raise CheckpointError(f'`{setting}` must be the folder of a run that has saved a '
                              f'checkpoint; there is none in {workdir!r}.')
    return path


def latest_step(workdir: str) -> int:
    """Step of a run's latest checkpoint, damaged or not; -1 if it has none."""
    return list(kept(workdir) or [-1])[-1]


def whole_step(workdir: str) -> int:
    """Step from which a run continues, that of its newest whole checkpoint; -1 if it has none.

    Raises:
      DamagedError: If all checkpoints are damaged.
    """
    whole = newest_whole(workdir)
    return -1 if whole is None else int(whole.rpartition('-')[2])


def save(manager: tf.train.CheckpointManager, step: int) -> str:
    """Writes a checkpoint atomically and removes the oldest ones beyond the manager's limit.

    Args:
      manager: The run's manager of checkpoints.
      step: Step of the training, which numbers the checkpoint.

    Returns:
      Path of the checkpoint.

    Raises:
      OSError: If the disk is full or the folder cannot be written; earlier checkpoints are
        untouched.
    """
    latest = manager.latest_checkpoint
    try:
        return manager.save(checkpoint_number=step)
    except (tf.errors.OpError, OSError) as error:
        # An unfinished checkpoint must not go on filling a full disk.
        _remove_unfinished(manager.directory)
        then = f'{latest!r} is untouched and ' if latest else ''
        raise OSError(
            f'The checkpoint of step {step} must be written to {manager.directory!r}, which fails '
            f'({_reason(error)}); free disk space or make the folder writable: {then}the same '
            'command continues.') from error


def restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    """Assigns every variable of `checkpoint` from a file, which may hold further variables.

    Raises:
      CheckpointError: If a variable is not in the file or has another shape there, or the file
        cannot be read, which is a DamagedError.
    """
    try:
        checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
    except (ValueError, AssertionError) as error:
        tf.get_logger().addFilter(_is_not_of_a_failed_restore)
        raise CheckpointError(
            f'The checkpoint {path!r} must be of the networks that the configuration builds; it '
            f'is not ({_reason(error)}): restore it with its own `Run.num_parts`, '
            '`Segmenter.backbone` and `Features`, or start in another folder.') from error
    except _DAMAGED as error:
        tf.get_logger().addFilter(_is_not_of_a_failed_restore)
        raise DamagedError(
            f'The checkpoint {path!r} must be whole, but it is damaged ({_reason(error)}); name an '
            'earlier one by `Evaluation.step`, or train on, which continues from the newest whole '
            'one.') from error


def restore_newest(checkpoint: tf.train.Checkpoint, workdir: str) -> Optional[str]:
    """Restores the newest checkpoint that is whole; newer ones that are damaged stay as they are.

    Returns:
      Path of the checkpoint; None if the run has none.

    Raises:
      CheckpointError: If the checkpoint is of other networks, or all checkpoints are damaged.
    """
    path = newest_whole(workdir)
    if path is not None:
        restore(checkpoint, path)
    return path


def holds(path: str, prefix: str) -> bool:
    """Whether a checkpoint, which is whole, holds a variable whose name begins with `prefix`."""
    return any(name.startswith(prefix) for name, _ in tf.train.list_variables(path))


def _is_not_of_a_failed_restore(record: python_logging.LogRecord) -> bool:
    """Filters out the variables that TensorFlow logs long after a restore failed."""
    return not record.getMessage().startswith((
        'Detecting that an object or model or tf.train.Checkpoint is being deleted',
        'Value in checkpoint could not be found in the restored object'))


def _reason(error: BaseException) -> str:
    """First line of an error's message, without TensorFlow's names of operations."""
    message = getattr(error, 'message', None) or getattr(error, 'strerror', None) or str(error)
    return re.sub(r'\{\{.*?\}\} ?|\[Op:\w+\]', '', message).strip().split('\n')[0].rstrip('.')


