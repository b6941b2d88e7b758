"""Plots of scores over a whole number, such as the number of parts, as one image."""
from __future__ import annotations

import dataclasses
import math
from typing import List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from scops_tf.pictures import sheets

_WIDTH, _PANEL, _LEFT, _RIGHT, _HEAD, _FOOT = 720, 210, 70, 24, 34, 34
_LINE, _BAND, _CHOSEN = (0, 114, 178), (198, 219, 239), (213, 94, 0)
_SCALE = 2


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
      title: Its title.
      values: Values at each number; those at one number are shown as a line from the least to the
        largest, with a dot at their mean. Values that are not finite are left out.
      low: Value at the lower edge; None for the least one.
      high: Value at the upper edge; None for the largest one.
    """

    title: str
    values: Sequence[Sequence[float]]
    low: Optional[float] = None
    high: Optional[float] = None


def panels(numbers: Sequence[int], shown: Sequence[Panel], *, chosen: Optional[int] = None,
           label: str = '') -> np.ndarray:
    """Plots below each other, with one axis of numbers.

    Args:
      numbers: The numbers, ascending.
      shown: The plots.
      chosen: Number that is marked, or None.
      label: Name of the numbers.

    Returns:
      uint8[H,W,3].

    Raises:
      ValueError: If there is no number or no plot, or a plot has not one entry per number.
    """
    if not numbers or not shown:
        raise ValueError('`numbers` and `shown` must hold at least one each; got '
                         f'{len(numbers)} and {len(shown)}.')
    height = len(shown) * _PANEL + _FOOT
    canvas = Image.new('RGB', (_SCALE * _WIDTH, _SCALE * height), sheets.PAPER)
    draw = ImageDraw.Draw(canvas)
    step = (_WIDTH - _LEFT - _RIGHT) / len(numbers)
    places = [_LEFT + step * (index + 0.5) for index in range(len(numbers))]
    for index, panel in enumerate(shown):
        if len(panel.values) != len(numbers):
            raise ValueError(f'`values` of a plot must have {len(numbers)} entries, one per number;'
                             f' got {len(panel.values)}.')
        _draw_panel(draw, panel, places, index * _PANEL,
                    None if chosen is None else list(numbers).index(chosen))
    for number, place in zip(numbers, places):
        _text(draw, (place, len(shown) * _PANEL + 4), str(number), anchor='mt',
              color=_CHOSEN if number == chosen else sheets.INK)
    _text(draw, (_WIDTH - _RIGHT, height - 2), label, anchor='rb', color=sheets.MUTED)
    return np.array(canvas)


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel, places: Sequence[float], top: int,
                chosen: Optional[int]) -> None:
    finite = [[value for value in values if math.isfinite(value)] for values in panel.values]
    every = [value for values in finite for value in values]
    low = panel.low if panel.low is not None else min(every, default=0.0)
    high = panel.high if panel.high is not None else max(every, default=1.0)
    span = high - low if high > low else 1.0
    upper, lower = top + _HEAD, top + _PANEL - 12

    def at(value: float) -> float:
        return lower - (lower - upper) * (value - low) / span

    _text(draw, (_LEFT, top + 8), panel.title, anchor='lt', size=14)
    if chosen is not None:
        _line(draw, [(places[chosen], upper), (places[chosen], lower)], _CHOSEN, 1)
    for share in (0, 0.5, 1):
        value = low + share * span
        _line(draw, [(_LEFT, at(value)), (_WIDTH - _RIGHT, at(value))], (225, 227, 230), 1)
        _text(draw, (_LEFT - 8, at(value)), f'{value:.3g}', anchor='rm', color=sheets.MUTED)
    means: List[Tuple[float, float]] = []
    for place, values in zip(places, finite):
        if values:
            _line(draw, [(place, at(min(values))), (place, at(max(values)))], _BAND, 7)
            means.append((place, at(float(np.mean(values)))))
    if len(means) > 1:
        _line(draw, means, _LINE, 2)
    for index, (place, values) in enumerate(zip(places, finite)):
        if values:
            y, color = at(float(np.mean(values))), _CHOSEN if index == chosen else _LINE
            draw.ellipse([_SCALE * (place - 4), _SCALE * (y - 4), _SCALE * (place + 4),
                          _SCALE * (y + 4)], fill=color)


def _line(draw: ImageDraw.ImageDraw, points: Sequence[Tuple[float, float]],
          color: Tuple[int, int, int], width: int) -> None:
    draw.line([(_SCALE * x, _SCALE * y) for x, y in points], fill=color, width=_SCALE * width)


def _text(draw: ImageDraw.ImageDraw, place: Tuple[float, float], text: str, *, anchor: str,
          color: Tuple[int, int, int] = sheets.INK, size: int = 12) -> None:
    draw.text((_SCALE * place[0], _SCALE * place[1]), text, fill=color, anchor=anchor,
              font=sheets.font(_SCALE * size))
