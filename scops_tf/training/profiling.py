"""A profile of some steps of a training, for TensorBoard's tab Profile."""
from __future__ import annotations

import contextlib
from typing import Any, ContextManager, Optional, Tuple

from absl import logging
import tensorflow as tf


class Profile:
    """Context manager of a training whose named steps are recorded.

    Args:
      logdir: Folder of the TensorBoard logs; the profile goes to `plugins/profile` in it.
      steps: First and last step, counted from 1; None for none. A run that is continued between
        them is recorded from where it goes on.
    """

    def __init__(self, logdir: str, steps: Optional[Tuple[int, int]]) -> None:
        self._logdir, self._steps, self._active = logdir, steps, False

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stop()

    def step(self, number: int) -> ContextManager[Any]:
        """Context of a step; the recording begins before the first and ends before what follows.

        Args:
          number: Number of the step, from 1.
        """
        if self._steps is None or not self._steps[0] <= number <= self._steps[1]:
            self._stop()
            return contextlib.nullcontext()
        if not self._active:
            tf.profiler.experimental.start(self._logdir)
            self._active = True
        return tf.profiler.experimental.Trace('train', step_num=number, _r=1)

    def _stop(self) -> None:
        if self._active:
            self._active = False
            tf.profiler.experimental.stop()
            logging.info('Wrote the profile of steps %d to %d to %s.', *self._steps, self._logdir)
