"""Clicked points with names: a small CSV or JSON.

    photo,x,y,name                    [{"photo": "a.jpg", "x": 120, "y": 84, "name": "head"},
    a.jpg,120,84,head                  {"photo": "a.jpg", "x": 300, "y": 90, "name": "wing"}]
    a.jpg,300,90,wing

x and y are in pixels from the photo's upper left corner. The name 'background' marks what is no
part.
"""
from __future__ import annotations

import csv
import io
import math
from typing import Any, Dict, List, NamedTuple

from scops_tf import files
from scops_tf.labels.annotation import AnnotationError
from scops_tf.labels.json_text import load

_COLUMNS = ('photo', 'x', 'y', 'name')


class Point(NamedTuple):
    """A point on a photo.

    Attributes:
      x: Pixels from the left border of the photo.
      y: Pixels from its upper border.
      name: Name of what the photo shows there.
    """

    x: float
    y: float
    name: str


def read(path: str) -> Dict[str, List[Point]]:
    """The points in a file, by photo.

    Args:
      path: A CSV, or a JSON if its name ends with '.json'.

    Raises:
      AnnotationError: If the file cannot be used.
      OSError: If it cannot be opened.
    """
    if path.lower().endswith('.json'):
        rows: Any = load(path)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AnnotationError(f'{path} must be a list of points, each with '
                                  f'{", ".join(_COLUMNS)}; it is not.')
    else:
        text = files.read(path).decode('utf-8-sig', 'surrogateescape')
        try:
            # Lines may end as on any system.
            rows = list(csv.DictReader(io.StringIO(text, newline=None)))
        except csv.Error as error:
            raise AnnotationError(f'{path} must be a CSV, which it is not ({error}): write it '
                                  'again.') from None
    found: Dict[str, List[Point]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            photo, name = row['photo'], row['name'].strip()
            point = Point(float(row['x']), float(row['y']), name)
            if not (isinstance(photo, str) and photo and name and math.isfinite(point.x)
                    and math.isfinite(point.y)):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise AnnotationError(
                f'Point {number} of {path} must have {", ".join(_COLUMNS)}, with numbers for x and '
                f'y; got {str(dict(row))[:80]}.') from None
        found.setdefault(photo, []).append(point)
    if not found:
        raise AnnotationError(f'{path} must hold at least one point, with the columns '
                              f'{", ".join(_COLUMNS)}; it holds none.')
    return found
