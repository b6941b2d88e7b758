"""What a case of an experiment ended with, and the laws by which that is judged."""
from __future__ import annotations

import traceback
from typing import Any, Callable, Dict, NamedTuple, Optional

import numpy as np

from scops_tf import command

# Kinds of outcomes. The first two are answers as they should be.
RIGHT, SENTENCE = 'right', 'sentence'
TRACEBACK, WRONG, HANG, CRASH = 'traceback', 'wrong', 'hang', 'crash'
FAILURES = (TRACEBACK, WRONG, HANG, CRASH)


class Outcome(NamedTuple):
    """The kind of an outcome, and what happened in words."""

    kind: str
    detail: str = ''


class Experiment(NamedTuple):
    """Cases of one sort.

    Attributes:
      name: Name in `--experiments`.
      title: What a case does, for the table.
      count: Number of cases if `--count` is not given.
      prepare: Function from an empty folder to what the cases share. It runs in the process of the
        cases, and again when a case has ended that process.
      case: Function from what `prepare` gave, the number of the case and its own random generator
        to its outcome. What it does depends on these alone.
      patience: Seconds after which a case counts as one that hangs.
    """

    name: str
    title: str
    count: int
    prepare: Callable[[str], Any]
    case: Callable[[Any, int, np.random.Generator], Outcome]
    patience: float = 60.0


def generator(seed: int, index: int) -> np.random.Generator:
    """The random generator of a case."""
    return np.random.default_rng([seed, index])


def judge(attempt: Callable[[], Any], problem_of: Callable[[Any], Optional[str]], what: str
          ) -> Outcome:
    """Judges a call as the commands would.

    Args:
      attempt: The call.
      problem_of: Function from its result to what is wrong with it; None if nothing is.
      what: Description of the case.
    """
    try:
        result = attempt()
    except Exception as error:  # Its kind is what is judged.
        return of_error(error, what)
    problem = problem_of(result)
    return Outcome(RIGHT, what) if problem is None else Outcome(WRONG, f'{what}: {problem}')


def of_error(error: BaseException, what: str) -> Outcome:
    """The outcome of an error: a sentence, or a traceback for the user."""
    if command.is_user_error(error) and command.sentence(error):
        return Outcome(SENTENCE, f'{what}: {command.sentence(error)}')
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Outcome(TRACEBACK, f'{what}: {type(error).__name__} {str(error)[:200]} '
                              f'({frame.filename}:{frame.lineno})')


class Tally:
    """Numbers of outcomes by their kind, and the first failures."""

    def __init__(self) -> None:
        self.counts: Dict[str, int] = dict.fromkeys((RIGHT, SENTENCE, *FAILURES), 0)
        self.failures: Dict[int, Outcome] = {}

    def add(self, index: int, outcome: Outcome) -> None:
        """Adds the outcome of a case."""
        self.counts[outcome.kind] += 1
        if outcome.kind in FAILURES:
            self.failures[index] = outcome

    @property
    def cases(self) -> int:
        """Number of cases."""
        return sum(self.counts.values())

    @property
    def answered(self) -> int:
        """Number of cases with a right result or one sentence."""
        return self.counts[RIGHT] + self.counts[SENTENCE]
