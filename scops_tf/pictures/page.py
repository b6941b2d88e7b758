"""A static page of a run's results.

A new page replaces an older one. Files are written atomically, `index.html` last.
"""
from __future__ import annotations

import dataclasses
import io
import math
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import jinja2
import numpy as np
from PIL import Image

from scops_tf import files
from scops_tf.pictures import gallery
from scops_tf.pictures.palette import palette

PAGE_FILE = 'index.html'


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Scores on one set of photos, ours beside baselines.

    Attributes:
      title: Title above the table, such as 'cub, protocol cub'.
      counts: Numbers of scored items, such as {'photos to fit': 90, 'photos to test': 88}.
      columns: (name of the score, direction). The direction is 'lower' or 'higher' if that is
        better, else ''. The best value of a column with a direction is marked.
      rows: (name of the method, values). There is one value per column: a number, a text that is
        shown as it is, or None. The first row is ours.
      note: Sentence below the table.
    """

    title: str
    counts: Mapping[str, int]
    columns: Sequence[Tuple[str, str]]
    rows: Sequence[Tuple[str, Sequence[Union[float, str, None]]]]
    note: str = ''

    def cells(self) -> List[Tuple[str, List[Tuple[str, bool]]]]:
        """Rows as (method, [(text, whether it is the column's best)]).

        Raises:
          ValueError: If a row has not one value per column.
        """
        for method, values in self.rows:
            if len(values) != len(self.columns):
                raise ValueError(f'`rows` must hold {len(self.columns)} values, one per column; '
                                 f'got {len(values)} for {method!r}.')
        known = [[value if isinstance(value, str) or value is None or math.isfinite(value) else None
                  for value in values] for _, values in self.rows]
        best = []
        for column, (_, direction) in zip(zip(*known), self.columns):
            choose = {'lower': min, 'higher': max}.get(direction)
            present = [value for value in column
                       if value is not None and not isinstance(value, str)]
            best.append(choose(present) if choose and len(present) > 1 else None)
        return [(method, [(_text(value), value is not None and value == top)
                          for value, top in zip(values, best)])
                for (method, _), values in zip(self.rows, known)]


def _text(value: Union[float, str, None]) -> str:
    if value is None:
        return '\u2013'
    return value if isinstance(value, str) else f'{value:.2f}'


def _curve(name: str, steps: Sequence[float], values: Sequence[float]) -> Dict[str, Any]:
    """A curve as points of an SVG image of 300 x 100, with the numbers at its axes."""
    points = np.stack([np.asarray(steps, np.float64), np.asarray(values, np.float64)])
    points = points[:, np.isfinite(points).all(axis=0)]
    if not points.size:
        raise ValueError(f'The curve {name!r} must have at least one finite point; got none.')
    # More points than pixels would only make the page larger.
    count = points.shape[1]
    points = points[:, np.linspace(0, count - 1, min(count, 600)).round().astype(int)]
    low, high = points.min(axis=1), points.max(axis=1)
    shares = (points - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
    text = ' '.join(f'{300 * x:.1f},{100 * (1 - y):.1f}' for x, y in shares.T)
    return {'name': name, 'points': text, 'low': f'{low[1]:.3g}', 'high': f'{high[1]:.3g}',
            'first': f'{low[0]:g}', 'last': f'{high[0]:g}', 'final': f'{points[1, -1]:.3g}'}


def _write_jpeg(path: str, image: np.ndarray) -> None:
    buffer = io.BytesIO()
    # Full colour resolution keeps coloured outlines sharp.
    Image.fromarray(image).save(buffer, format='JPEG', quality=90, subsampling=0)
    files.write(path, buffer.getvalue())


def write_page(folder: str, *, title: str, facts: Optional[Mapping[str, Any]] = None,
               tables: Sequence[ScoreTable] = (),
               parts: Sequence[gallery.PartSummary] = (),
               part_titles: Optional[Mapping[int, str]] = None,
               colors: Optional[np.ndarray] = None,
               overlays: Sequence[Tuple[np.ndarray, str]] = (),
               curves: Optional[Mapping[str, Tuple[Sequence[float], Sequence[float]]]] = None,
               config: str = '') -> str:
    """Writes a static page of results with its images, which needs no network.

    Args:
      folder: Folder of the page, made if missing. Files of an older page are replaced.
      title: Title of the page.
      facts: Short facts below the title, such as {'step': 1000}.
      tables: Tables of scores.
      parts: Summaries of all parts, in the order of the parts.
      part_titles: Titles of the parts that are shown, by number; None for all, as 'part 1'.
      colors: uint8[K+1,3]. Colours of the labels; None for `palette`.
      overlays: (uint8[H,W,3], caption) of test photos with their parts.
      curves: (steps, values) of the learning curves, by name.
      config: Operative configuration, which the page shows folded.

    Returns:
      Path of `index.html`.

    Raises:
      ValueError: If a row has not one value per column, or a curve is empty.
      OSError: If a file cannot be written.
    """
    cards = []
    colors = palette(len(parts)) if colors is None else colors
    if part_titles is None:
        part_titles = {number: f'part {number}' for number in range(1, len(parts) + 1)}
    for number, title_of_part in part_titles.items():
        part, paths = parts[number - 1], []
        for index, crop in enumerate(part.crops, start=1):
            paths.append(f'images/part-{number}-{index}.jpg')
            _write_jpeg(os.path.join(folder, paths[-1]), crop)
        cards.append({'title': title_of_part, 'files': paths,
                      'color': f'#{bytes(colors[number].tolist()).hex()}',
                      'area': f'{100 * part.area_share:.1f}', 'presence': f'{part.presence:.2f}'})
    photos = []
    for index, (image, caption) in enumerate(overlays, start=1):
        photos.append({'file': f'images/overlay-{index}.jpg', 'caption': caption,
                       'width': image.shape[1], 'height': image.shape[0]})
        _write_jpeg(os.path.join(folder, photos[-1]['file']), image)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('scops_tf.pictures'), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template('report.html').render(
        title=title, facts=facts or {}, tables=tables, parts=cards, overlays=photos, config=config,
        curves=[_curve(name, *points) for name, points in (curves or {}).items()])
    path = os.path.join(folder, PAGE_FILE)
    # A name that is not UTF-8 is shown with question marks.
    files.write(path, page.encode('utf-8', 'replace'))
    return path
