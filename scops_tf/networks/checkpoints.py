"""Checkpoints of a run: finding, writing and restoring them."""
from __future__ import annotations

import glob
import logging
import os
import re
import shutil
from typing import Dict, Optional

import tensorflow as tf

FOLDER = 'checkpoints'


class CheckpointError(ValueError):
    """A checkpoint that is missing or does not fit; the message is one sentence for the user."""


def folder_of(workdir: str) -> str:
    """The folder of a run's checkpoints."""
    return os.path.join(workdir, FOLDER)


def kept(workdir: str) -> Dict[int, str]:
    """Paths of a run's existing checkpoints by step, the latest last."""
    state = tf.train.get_checkpoint_state(folder_of(workdir))
    listed = state.all_model_checkpoint_paths if state else ()
    # A user may have removed a damaged one by hand; then the one before it is used.
    return {int(path.rsplit('-', 1)[-1]): path for path in listed
            if os.path.exists(f'{path}.index')}


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
    """Step of a run's latest checkpoint; -1 if it has none."""
    return list(kept(workdir) or [-1])[-1]


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
        for left in glob.glob(os.path.join(glob.escape(manager.directory), '*_temp')):
            shutil.rmtree(left, ignore_errors=True)
        then = f'{latest!r} is untouched and ' if latest else ''
        raise OSError(
            f'The checkpoint of step {step} must be written to {manager.directory!r}, which fails '
            f'({_reason(error)}); free disk space or make the folder writable: {then}the same '
            'command continues.') from error


def restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    """Assigns every variable of `checkpoint` from a file, which may hold further variables.

    Raises:
      CheckpointError: If a variable is not in the file or has another shape there, or the file
        cannot be read.
    """
    try:
        checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
    except (ValueError, AssertionError) as error:
        tf.get_logger().addFilter(_is_not_of_a_failed_restore)
        raise CheckpointError(
            f'The checkpoint {path!r} must be of the networks that the configuration builds; it '
            f'is not ({_reason(error)}): restore it with its own `Run.num_parts`, '
            '`Segmenter.backbone` and `Features`, or start in another folder.') from error
    except (tf.errors.OpError, IndexError) as error:  # A file that is too short raises IndexError.
        tf.get_logger().addFilter(_is_not_of_a_failed_restore)
        raise CheckpointError(
            f'The checkpoint {path!r} must be whole, but it is damaged ({_reason(error)}); remove '
            f'{path}.index, and the checkpoint before it is used.') from error


def holds(path: str, prefix: str) -> bool:
    """Whether a checkpoint, which is whole, holds a variable whose name begins with `prefix`."""
    return any(name.startswith(prefix) for name, _ in tf.train.list_variables(path))


def _is_not_of_a_failed_restore(record: logging.LogRecord) -> bool:
    """Filters out the variables that TensorFlow logs long after a restore failed."""
    return not record.getMessage().startswith((
        'Detecting that an object or model or tf.train.Checkpoint is being deleted',
        'Value in checkpoint could not be found in the restored object'))


def _reason(error: BaseException) -> str:
    """First line of an error's message, without TensorFlow's names of operations."""
    message = getattr(error, 'message', None) or getattr(error, 'strerror', None) or str(error)
    return re.sub(r'\{\{.*?\}\} ?|\[Op:\w+\]', '', message).strip().split('\n')[0].rstrip('.')


