"""The experiment on settings: every field of every section with values that may be wrong."""
from __future__ import annotations

import dataclasses
import math
from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np

from experiments.outcome import Experiment, Outcome, judge
from scops_tf import config as config_lib
from scops_tf.config import configuration

# As they are written in a gin file: of the wrong type, not finite, beyond all bounds, empty.
_VALUES = ("'text'", "''", '3', '0.5', 'True', 'None', '0', '-1', '-0.5', '1e-320', '1e38', '1e39',
           '1' + 30 * '0', '()', '(1,)', '(-1, -1)', "('a', 'b')", '(0, 0)', '(10000, 10000)',
           "{'a': 1}", '[1, 2]', "float('nan')", '1e999', '-1e999', '@Run', '%macro', '', '(', "'",
           '\u0663', '0x7fffffffffffffffffff', '(1e999, 1e999)', "'\\x00'", "b'x'")


class _Field(NamedTuple):
    name: str
    annotation: Any


def _prepare(folder: str) -> Tuple[_Field, ...]:
    return tuple(_Field(f'{cls.__name__}.{field.name}', field.type)
                 for _, cls in configuration.SECTIONS for field in dataclasses.fields(cls))


def _case(fields: Tuple[_Field, ...], index: int, rng: np.random.Generator) -> Outcome:
    # Each field with each value, in an order that goes through all fields first.
    field = fields[index % len(fields)]
    value = _VALUES[(index // len(fields) + index) % len(_VALUES)]
    binding = f'{field.name} = {value}'
    return judge(lambda: config_lib.load([], [binding]), _problem_of, binding)


def _problem_of(config: config_lib.Config) -> Optional[str]:
    """What is wrong with values that were accepted: none is infinite or NaN, all can be stored."""
    for name, value in config.settings.items():
        numbers = [each for each in (value if isinstance(value, tuple) else (value,))
                   if isinstance(each, (int, float))]
        if not all(math.isfinite(each) and abs(each) <= 1e38 for each in numbers):
            return f'{name} is {value!r}'
    again = config_lib.load([], [f'{name} = {value!r}' for name, value in config.settings.items()])
    return None if again == config else 'what is saved is another configuration'


def _count() -> int:
    return len(_prepare('')) * len(_VALUES)


EXPERIMENTS: List[Experiment] = [
    Experiment('config', 'each setting with a value of another type, NaN, infinite, negative, '
               'enormous, `None` or empty', _count(), _prepare, _case)]
