"""What is wrong in a training, and which setting to change."""
from __future__ import annotations

from typing import List, NamedTuple, Tuple

from scops_tf import config as config_lib

RAISE, LOWER, SET = 'raise', 'lower', 'set'


class Remedy(NamedTuple):
    """A setting to change.

    Attributes:
      binding: Name of the setting, such as 'Losses.concentration'.
      move: `RAISE`, `LOWER` or `SET`.
      how: How far, such as 'by a factor of 2 to 4'; of `SET`, the value.
    """

    binding: str
    move: str
    how: str

    def text(self, config: config_lib.Config) -> str:
        """The remedy with the value that the run has, such as "raise `Run.steps` (600) to 900"."""
        value = config.settings[self.binding]
        link = ' to ' if self.move == SET else ' '
        return f'{self.move} `{self.binding}` ({value!r}){link}{self.how}'


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes:
      kind: Name of the diagnosis, such as 'dead part'.
      fact: What was measured, and the limit.
      reason: Why it matters.
      remedies: Settings to change, the first to try first.
      section: Heading in docs/diagnosing.md.
      advice: What to do besides settings; may be empty.
    """

    kind: str
    fact: str
    reason: str
    remedies: Tuple[Remedy, ...]
    section: str
    advice: str = ''

    def first(self, config: config_lib.Config) -> str:
        """What to do first."""
        return self.advice.rstrip('.') or self.remedies[0].text(config)

    def lines(self, config: config_lib.Config) -> List[str]:
        """The finding in full: the fact, why it matters, and what to change in which order."""
        found = [self.fact, f'  Why it matters: {self.reason}']
        if self.advice:
            found.append(f'  First: {self.advice}')
        found += [f'  Change: {remedy.text(config)}' for remedy in self.remedies]
        return [*found, f'  Read: docs/diagnosing.md, "{self.section}"']
