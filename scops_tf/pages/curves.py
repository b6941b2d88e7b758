"""Curves over the steps of a run: from its TensorBoard logs and its scores, and as charts."""
from __future__ import annotations

import dataclasses
import glob
import json
import os
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np

from scops_tf.pictures import event_files

# (steps, values) by name.
Curves = Dict[str, Tuple[List[int], List[float]]]

_WIDTH, _HEIGHT = 300, 100
# More points than pixels would only make the page larger.
_MOST_POINTS = 300


@dataclasses.dataclass(frozen=True)
class Chart:
    """One or more curves over the steps, as lines of an SVG image of 300 x 100.

    Attributes:
      name: Title.
      lines: (name, number of its colour, points as SVG has them, last value) of each curve.
      low: Least value.
      high: Largest value.
      first: First step.
      last: Last step.
    """

    name: str
    lines: Sequence[Tuple[str, int, str, str]]
    low: str
    high: str
    first: str
    last: str


def chart(name: str, curves: Mapping[str, Tuple[Sequence[float], Sequence[float]]],
          colors: Mapping[str, int]) -> Chart:
    """A chart of curves on common axes.

    Args:
      name: Title.
      curves: (steps, values) by name. Values that are not finite are left out.
      colors: Number of the colour of each curve.

    Raises:
      ValueError: If a curve has no finite point.
    """
    points = {key: _finite(key, *values) for key, values in curves.items()}
    every = np.concatenate(list(points.values()), axis=1)
    low, high = every.min(axis=1), every.max(axis=1)
    lines = []
    for key, found in points.items():
        shares = (found - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
        text = ' '.join(f'{_WIDTH * x:.1f},{_HEIGHT * (1 - y):.1f}' for x, y in shares.T)
        lines.append((key, colors[key], text, f'{found[1, -1]:.3g}'))
    return Chart(name, lines, f'{low[1]:.3g}', f'{high[1]:.3g}', f'{low[0]:g}', f'{high[0]:g}')


def _finite(name: str, steps: Sequence[float], values: Sequence[float]) -> np.ndarray:
    points = np.stack([np.asarray(steps, np.float64), np.asarray(values, np.float64)])
    points = points[:, np.isfinite(points).all(axis=0)]
    count = points.shape[1]
    if not count:
        raise ValueError(f'The curve {name!r} must have at least one finite point; got none.')
    return points[:, np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(int)]


def finite(curves: Mapping[str, Tuple[Sequence[float], Sequence[float]]]) -> Curves:
    """The curves of at least two finite points."""
    return {name: (list(steps), list(values)) for name, (steps, values) in curves.items()
            if np.count_nonzero(np.isfinite(values)) > 1}


def of_training(workdir: str) -> Curves:
    """The scalars that a run has logged for TensorBoard, by tag; empty without logs.

    Raises:
      OSError: If a file cannot be read.
    """
    points: Dict[str, Tuple[List[int], List[float]]] = {}
    for step, scalars in event_files.scalars(os.path.join(workdir, 'tensorboard')):
        for name, value in scalars.items():
            steps, values = points.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
    return dict(sorted(points.items()))


def of_scores(folder: str, row: str) -> Curves:
    """The scores of a run at the steps evaluated so far, by name; a score that is null is none.

    Args:
      folder: Folder with the files `scores_<step>.json`.
      row: Name of the run among the methods that are scored.

    Raises:
      OSError: If a file cannot be read.
    """
    points: Dict[str, List[Tuple[int, float]]] = {}
    for path in glob.glob(os.path.join(glob.escape(folder), 'scores_*.json')):
        with open(path, encoding='utf-8') as file:
            result = json.load(file)
        for name, value in result['scores'][row].items():
            if value is not None:
                points.setdefault(name, []).append((result['step'], value))
    return {name: tuple(map(list, zip(*sorted(values)))) for name, values in points.items()}
