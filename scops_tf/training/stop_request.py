"""A request by a signal to stop a training."""
from __future__ import annotations

import signal
import sys
from typing import Any

from absl import logging

from scops_tf import command


class StopRequest:
    """A request, by SIGTERM or SIGINT, to stop the training after its current step.

    Signals are handled inside this context manager. Before the first step there is nothing to save:
    SIGTERM ends the process at once with the code `command.STOPPED`, and SIGINT raises
    KeyboardInterrupt. During the steps the first signal only sets `received`; SIGINT after it
    raises KeyboardInterrupt.

    Attributes:
      received: Whether a signal came.
    """

    def __init__(self) -> None:
        self.received = False
        self._stepping = False

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.getsignal(number)
                        for number in (signal.SIGTERM, signal.SIGINT)}
        signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def expect_steps(self) -> None:
        """Starts the steps: from now on the first signal only sets `received`."""
        self._stepping = True
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = True
        if not self._stepping:
            logging.info('Stopped by a signal before the first step; the same command goes on.')
            sys.exit(command.STOPPED)
        signal.signal(signal.SIGINT, signal.default_int_handler)
