"""Runs cases in a process of their own, so that one that crashes or hangs costs that case alone."""
from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import traceback
from typing import Any, Iterator, Sequence, Tuple

import numpy as np

from experiments.outcome import CRASH, HANG, TRACEBACK, Experiment, Outcome, generator

# Until the first case of a process: TensorFlow's start, or a small training, and a busy machine.
_PREPARATION = 1800.0
_READY = -1


def outcomes(experiment: Experiment, seed: int, indices: Sequence[int], *, folder: str
             ) -> Iterator[Tuple[int, Outcome]]:
    """The outcome of each case, in order.

    Args:
      experiment: What is done.
      seed: Seed of all cases.
      indices: Numbers of the cases.
      folder: Folder for scratch files, which are removed.
    """
    left = list(indices)
    while left:
        scratch = tempfile.mkdtemp(prefix=f'{experiment.name}-', dir=folder)
        try:
            yield from _some(experiment, seed, left, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _some(experiment: Experiment, seed: int, left: list, scratch: str
          ) -> Iterator[Tuple[int, Outcome]]:
    """Outcomes until the process ends; takes their cases from the list."""
    # A fork, since it starts at once and has no TensorFlow in it.
    context = multiprocessing.get_context('fork')
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(experiment, seed, tuple(left), scratch, writer))
    process.start()
    writer.close()
    patience = _PREPARATION
    try:
        while left:
            ended = None
            if not reader.poll(patience):
                ended = Outcome(HANG, f'no answer after {patience:.0f} s')
            else:
                try:
                    index, outcome = reader.recv()
                except EOFError:
                    process.join()
                    ended = Outcome(CRASH, f'the process ended with code {process.exitcode}')
            if ended is not None:
                if patience == _PREPARATION:
                    raise RuntimeError(f'The preparation of {experiment.name} failed: '
                                       f'{ended.detail}.')
                yield left.pop(0), ended
                return
            patience = experiment.patience
            if index == _READY:
                continue
            assert index == left.pop(0)
            yield index, outcome
    finally:
        if process.is_alive():
            # With all that it has started.
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def _work(experiment: Experiment, seed: int, indices: Sequence[int], scratch: str, writer: Any
          ) -> None:
    os.setpgid(0, 0)
    # What cases print is of no interest; what they end with is.
    quiet = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if not os.environ.get('RELIABILITY_LOUD'):
            os.dup2(quiet, descriptor)
    np.seterr(all='ignore')
    state = experiment.prepare(scratch)
    writer.send((_READY, None))
    for index in indices:
        try:
            outcome = experiment.case(state, index, generator(seed, index))
        except Exception as error:  # An error of the experiment itself must not pass for one case.
            outcome = Outcome(TRACEBACK, f'{error!r} {traceback.format_exc()[-600:]}')
        writer.send((index, outcome))
