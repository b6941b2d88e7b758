"""The laws of fields: type, range, and the error for a value that breaks the law."""
from __future__ import annotations

import dataclasses
import math
import re
import typing
from typing import Any, Callable, Optional, Tuple

# Upper bounds of numbers that have no other one, whole ones and others; what is larger is a slip.
_LARGEST_INT, _LARGEST_FLOAT = 1e9, 1e38


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one sentence for the user."""


def field(default: Any, law: str = '', check: Optional[Callable[[Any], bool]] = None) -> Any:
    """A field whose values pass `check`; `law` completes the error about other values."""
    return dataclasses.field(default=default, metadata={'law': law, 'check': check})


def one_of(default: Any, *choices: Any) -> Any:
    """A field whose value is one of `choices`."""
    law = 'must be one of ' + ', '.join(repr(choice) for choice in choices)
    return field(default, law, lambda value: value in choices)


def _largest(default: Any) -> float:
    return _LARGEST_FLOAT if isinstance(default, float) else _LARGEST_INT


def at_least(default: Any, minimum: float) -> Any:
    """A field of numbers that are at least `minimum` and no larger than a computer can serve."""
    maximum = _largest(default)
    return field(default, f'must be at least {minimum}, and at most {maximum:g}',
                 lambda value: minimum <= value <= maximum)


def within(default: Any, low: float, high: float) -> Any:
    """A field of numbers in [low, high]."""
    return field(default, f'must lie in [{low}, {high}]', lambda value: low <= value <= high)


def positive(default: Any, maximum: float = _LARGEST_FLOAT) -> Any:
    """A field of positive numbers no larger than `maximum`."""
    return field(default, f'must be positive, and at most {maximum:g}',
                 lambda value: 0 < value <= maximum)


def interval(default: Tuple[float, float], low: float) -> Any:
    """A field of intervals (low, high) whose ends are above `low`."""
    return field(default, f'must be (low, high) with {low} < low <= high',
                 lambda value: low < value[0] <= value[1])


def image_size(default: Any) -> Any:
    """A field of sizes (height, width) of photos in pixels."""
    return field(default, 'must be (height, width) in pixels, each from 32 to 4096',
                 lambda value: all(32 <= side <= 4096 for side in value))


def _matches(value: Any, hint: Any) -> bool:
    """Whether `value` has the annotated type; an int is also a float, but a bool is no number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return any(_matches(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_matches(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_matches, value, arguments))
    if hint is float:
        if isinstance(value, float):
            return math.isfinite(value)
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _shown(value: Any) -> str:
    """The value as text; the middle of a long one is left out."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:40]} [...] {text[-30:]}'


class Checked:
    """Base of the sections: checks that every field has its annotated type and obeys its law."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            binding = f'{type(self).__name__}.{field.name}'
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            if not _matches(value, hints[field.name]):
                expected = re.sub(r'typing\.', '', str(hints[field.name]))
                expected = re.sub(r"<class '(\w+)'>", r'\1', expected)
                raise ConfigError(f'`{binding}` must be of type {expected}; got {_shown(value)}.')
            check = field.metadata.get('check')
            if value is not None and check is not None and not check(value):
                raise ConfigError(f'`{binding}` {field.metadata["law"]}; got '
                                  f'{_shown(value)}.')
