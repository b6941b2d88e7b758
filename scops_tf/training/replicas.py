"""Copies of the networks that share every batch: who they are, and what all of them know.

A training runs on the replicas of a `tf.distribute.Strategy`; one without any is that of a single
replica. Each replica computes the loss of its own part of the batch, and parts are of one size, so
that the mean over the replicas of a mean over the photos is the mean over the whole batch. What is
divided by something else that is counted over photos must divide by the mean of that over the
replicas, a `mean` too. So losses, gradients and scalars mean the same on any number of replicas.
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
# What collective operations end with in one process when another one is gone or another has taken
# its place.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
         tf.errors.DeadlineExceededError)


class ReplicasError(ValueError):
    """Replicas that cannot be had; the message is one sentence for the user."""


class WorkerLostError(RuntimeError):
    """Another worker has gone, without which this one cannot go on; start it again."""


def strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of a training.

    Args:
      name: 'none': one replica, on the first GPU or the CPU. 'mirrored': one on each GPU of this
        machine. 'multi_worker': one on each GPU of all workers, or one on each worker's CPU; to be
        made before TensorFlow computes anything. It waits for the other workers.

    Raises:
      ReplicasError: If `name` is unknown, or the environment variable TF_CONFIG does not tell the
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
        # Batches are whole: workers need not ask each other at every step whether there is another.
        made.extended.experimental_enable_get_next_as_optional = False
    logging.info('Training on %d replicas.', made.num_replicas_in_sync)
    return made


def _require_task(text: Any) -> None:
    """Refuses a TF_CONFIG that does not tell workers and which of them this process is."""
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
    """Whether this process is the one that writes the run's files."""
    return strategy.extended.should_checkpoint


def mean(values: Any) -> Any:
    """Mean over the replicas of a nest of float[...]; called by a replica, the same on each.

    Gradients flow through: they are those of the mean over the replicas of what is computed from
    it. On one replica the values are returned as they are.
    """
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


def own(draw: Callable[[int], Any], size: int) -> Any:
    """This replica's part of what is drawn at random for the whole batch.

    So a photo gets the same draw whichever replica sees it.

    Args:
      draw: From a number of photos to a nest of tensors with one row each; a pure function.
      size: Photos of this replica.

    Returns:
      The nest, of `size` rows.
    """
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync

    def part(rows: tf.Tensor) -> tf.Tensor:
        return tf.reshape(rows, [count, size, *rows.shape[1:]])[context.replica_id_in_sync_group]

    return tf.nest.map_structure(part, draw(count * size))


def any_of(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Whether `flag` is true in any of the processes; all of them ask and wait for each other."""
    flags = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(flag, tf.float32))
    return bool(strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None) > 0)


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """The chief does what is inside before the other processes do it and find its files there."""
    if not is_chief(strategy):
        any_of(strategy, False)
    yield
    if is_chief(strategy):
        any_of(strategy, False)


@contextlib.contextmanager
def watched(name: str) -> Iterator[None]:
    """What a process notices inside of a lost worker is a `WorkerLostError`.

    Args:
      name: Of the strategy; only 'multi_worker' can lose one.

    Raises:
      WorkerLostError: If a worker has ended, or one that was lost has come back.
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
