"""Replicas: copies of the networks that share every batch.

A training runs on the replicas of a `tf.distribute.Strategy`; the default strategy has one replica.
Each replica computes the loss of its own part of the batch. All parts have one size, so the mean
over the replicas of a mean over photos is the mean over the whole batch. A loss that divides by
another count, such as the number of valid pixels, must divide by the `mean` of that count over the
replicas. So losses, gradients and scalars do not depend on the number of replicas.
"""
from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Callable, Iterator

from absl import logging
import tensorflow as tf

NAMES = ('none', 'mirrored', 'multi_worker')

_EXAMPLE = ('{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}')
# Errors that collective operations raise in a process if another process is lost or was replaced.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
         tf.errors.DeadlineExceededError)


class ReplicasError(ValueError):
    """Replicas that cannot be made; the message is one sentence for the user."""


class WorkerLostError(RuntimeError):
    """Another worker was lost, and this one cannot continue without it; start this one again."""


def strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of a training.

    Args:
      name: 'none': one replica, on the first GPU or the CPU. 'mirrored': one replica on each GPU of
        this machine. 'multi_worker': one replica on each GPU of all workers, or on the CPU of each
        worker. It must be made before TensorFlow computes anything, and it waits for the other
        workers.

    Raises:
      ReplicasError: If `name` is unknown, or the environment variable TF_CONFIG does not list the
        workers.
    """
    if name not in NAMES:
        raise ReplicasError(f'`name` must be one of {", ".join(NAMES)}; got {name!r}.')
    if name == 'none':
        return tf.distribute.get_strategy()
    if name == 'mirrored':
        made = tf.distribute.MirroredStrategy()
    else:
        _require_task(os.environ.get('TF_CONFIG'))
        logging.info('Waiting for all workers of TF_CONFIG.')
        made = tf.distribute.MultiWorkerMirroredStrategy()
        # All workers have the same number of batches, so they need not ask each other at every step
        # whether there is another batch.
        made.extended.experimental_enable_get_next_as_optional = False
    return made


def require_shared(batch_size: int, count: int) -> None:
    """Refuses a batch that `count` replicas cannot share evenly.

    Raises:
      ReplicasError: If `batch_size` is no multiple of `count`.
    """
    if batch_size % count:
        raise ReplicasError(
            '`Run.batch_size` must be a multiple of the number of replicas, which share it and are '
            f'{count}; got {batch_size}: set it to {-(-batch_size // count) * count}, or let '
            'CUDA_VISIBLE_DEVICES name fewer GPUs.')


def _require_task(text: Any) -> None:
    """Refuses a TF_CONFIG that does not list the workers and say which of them this process is."""
    law = ("`TF_CONFIG` must tell all workers and which of them this process is, since "
           f"`Run.strategy` is 'multi_worker', such as {_EXAMPLE}; ")
    if not text:
        raise ReplicasError(f'{law}it is not set.')
    try:
        value = json.loads(text)
        cluster, task = value['cluster'], value['task']
        jobs = {job: list(cluster[job]) for job in cluster}
        kind, index = task['type'], int(task['index'])
    except (ValueError, KeyError, TypeError) as error:
        reason = f'it lacks {error}' if isinstance(error, KeyError) else str(error)
        raise ReplicasError(f'{law}got {text!r} ({reason}).') from None
    if not set(jobs) <= {'chief', 'worker'} or not 0 <= index < len(jobs.get(kind, ())):
        raise ReplicasError(f"{law}got {text!r}, whose task must be one of its cluster's, which "
                            "are of the types 'chief' and 'worker'.")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the chief, which writes the run's files."""
    return strategy.extended.should_checkpoint


def mean(values: Any) -> Any:
    """Mean over the replicas of a nest of float[...]; all replicas call it and get the same result.

    Gradients flow through it: averaged over the replicas, the gradients of their losses are the
    gradient of the mean loss. With one replica the values are returned unchanged.
    """
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


def own(draw: Callable[[int], Any], size: int) -> Any:
    """This replica's rows of a random draw for the whole batch.

    So a photo has the same draw on any replica.

    Args:
      draw: Pure function from a number of photos to a nest of tensors with one row per photo.
      size: Number of photos of this replica.

    Returns:
      The nest with `size` rows.
    """
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync

    def part(rows: tf.Tensor) -> tf.Tensor:
        return tf.reshape(rows, [count, size, *rows.shape[1:]])[context.replica_id_in_sync_group]

    return tf.nest.map_structure(part, draw(count * size))


def local(strategy: tf.distribute.Strategy, values: Any) -> Any:
    """The first replica's part of a nest of values that replicas share."""
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], values)


def any_of(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Whether `flag` is true in any process; all processes must call it and wait for each other."""
    flags = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(flag, tf.float32))
    return bool(strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None) > 0)


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Context that the chief runs before the other processes, which then find its files."""
    if not is_chief(strategy):
        any_of(strategy, False)
    yield
    if is_chief(strategy):
        any_of(strategy, False)


@contextlib.contextmanager
def watched(name: str) -> Iterator[None]:
    """Context that turns TensorFlow's errors about a lost worker into a `WorkerLostError`.

    Args:
      name: Name of the strategy; only 'multi_worker' can lose a worker.

    Raises:
      WorkerLostError: If a worker was lost, or a lost worker has come back.
    """
    try:
        yield
    except tf.errors.OpError as error:
        lost = isinstance(error, _LOST) or 'Collective ops is aborted' in error.message
        if name != 'multi_worker' or not lost:
            raise
        raise WorkerLostError(
            'All workers must run, but another one was lost; start this command again, also where '
            'that one is started again: training goes on from the last checkpoint.') from error
