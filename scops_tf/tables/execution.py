"""Makes the runs of a table one after the other, and tells how long the rest will take."""
from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from absl import logging
import numpy as np
import tqdm

from scops_tf import command as command_lib, files
from scops_tf.tables import paper, runs as runs_lib

_TIMES_FILE = 'seconds.json'


class RunError(ValueError):
    """A run that could not be made or scored; the message is one sentence for the user."""


def make(runs: Sequence[runs_lib.Run], folder: str, report: Callable[[], None]) -> None:
    """Makes and scores the runs that are not done; a stopped one goes on where it stopped.

    SIGTERM is passed on to the command that runs, and the SIGINT of a terminal reaches it by itself.
    The command saves a checkpoint. Then nothing further is started.

    Args:
      runs: The runs in their order.
      folder: Folder of the runs, which keeps how long each one took.
      report: Called after each run that has become done.

    Raises:
      RunError: If a command fails or leaves its run unfinished.
      KeyboardInterrupt: If a signal came.
      OSError: If the folder cannot be written.
    """
    files.require_writable(folder)
    path = os.path.join(folder, _TIMES_FILE)
    for position, run in enumerate(runs, start=1):
        if run.state() == runs_lib.DONE:
            continue
        rest = remaining_seconds(runs, read_times(folder))
        left = f', about {tqdm.tqdm.format_interval(rest)} to the end' if rest else ''
        logging.info('Run %d of %d: %s%s.', position, len(runs), run.name, left)
        start = time.monotonic()
        for command in run.commands():
            _call(command)
        if run.result() is None:
            raise RunError(f'{run.workdir} must be a finished run after its commands, but it is '
                           'not; the same command goes on with it.')
        times = read_times(folder)
        # Of a run that was stopped, the last sitting is known alone.
        times[run.name] = time.monotonic() - start
        files.write(path, json.dumps(times, indent=1).encode())
        report()


def read_times(folder: str) -> Dict[str, float]:
    """Seconds that each finished run took, by the name of its folder; empty if none is known."""
    try:
        with open(os.path.join(folder, _TIMES_FILE), encoding='utf-8') as file:
            return {str(name): float(value) for name, value in json.load(file).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        # An estimate is not worth an error.
        return {}


def remaining_seconds(runs: Sequence[runs_lib.Run], times: Mapping[str, float]
                      ) -> Optional[float]:
    """Estimate of the seconds that the unfinished ones of `runs` take; None if none is timed.

    A run takes as long as the timed runs of its job, else of its method on its data, else of its
    method, else of all.
    """
    known = [(run.job, times[run.name]) for run in runs if run.name in times]

    def estimate(job: paper.Job) -> float:
        for alike in (lambda other: other == job,
                      lambda other: (other.method, other.dataset) == (job.method, job.dataset),
                      lambda other: other.method == job.method):
            found = [seconds for other, seconds in known if alike(other)]
            if found:
                return float(np.mean(found))
        return float(np.mean([seconds for _, seconds in known]))

    if not known:
        return None
    return sum(estimate(run.job) for run in runs if run.state() != runs_lib.DONE)


def _call(command: List[str]) -> None:
    """Runs a command to its end; SIGTERM goes on to it, and the end comes after it."""
    received: List[int] = []
    process: Optional[subprocess.Popen] = None

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        # A terminal sends SIGINT to all of its processes.
        if number == signal.SIGTERM and process is not None:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(command)
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received or code == command_lib.STOPPED:
        raise KeyboardInterrupt
    if code:
        raise RunError(f'Each command of the table must succeed, but this one ended with exit code '
                       f'{code}: {shlex.join(command)}')
