"""Reports of a run: points and pictures for TensorBoard, and a static page of results.

Both replace what an earlier write left: points after the step that a run is continued from are
dropped, and the page's files are written atomically, `index.html` last.
"""
from __future__ import annotations

import dataclasses
import io
import math
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import jinja2
import numpy as np
from PIL import Image
import tensorflow as tf

from scops_tf import files, part_gallery, visualize

PAGE_FILE = 'index.html'


def _drop_later_points(logdir: str, step: int) -> None:
    """Removes what the event files of a folder hold of later steps, and the torn end of a file."""
    names = sorted(name for name in os.listdir(logdir) if '.tfevents.' in name)
    for path in (os.path.join(logdir, name) for name in names):
        temporary, complete = os.path.join(logdir, f'events.{os.getpid()}.tmp'), True
        try:
            with tf.io.TFRecordWriter(temporary) as writer:
                try:
                    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                        if tf.compat.v1.Event.FromString(record).step <= step:
                            writer.write(record)
                        else:
                            complete = False
                except tf.errors.DataLossError:  # The process was killed while it wrote.
                    complete = False
            if not complete:
                os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)


class SummaryWriter:
    """Writes what TensorBoard shows of a run; a context manager.

    A run that is killed at step 130 and continued from its checkpoint of step 100 logs the steps
    after 100 twice. The writer therefore removes what older event files hold of them, so that
    whoever reads the folder finds each point once. A TensorBoard that is already running and has
    read those points drops them upon the session log with which the new file begins.

    Args:
      logdir: Folder of the event files, one per writer.
      start_step: Steps done when the writer is made, those of the checkpoint restored; points are
        logged at later steps (at 0 too by a new run).

    Raises:
      OSError: If the folder cannot be written.
    """

    def __init__(self, logdir: str, *, start_step: int = 0) -> None:
        session = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        event = tf.compat.v1.Event(step=start_step + 1, session_log=session)
        try:
            os.makedirs(logdir, exist_ok=True)
            _drop_later_points(logdir, start_step)
            self._writer = tf.summary.create_file_writer(logdir)
            # tf.summary itself has no call for session logs.
            tf.raw_ops.ImportEvent(
                writer=self._writer._resource, event=event.SerializeToString())
            self._writer.flush()
        except (tf.errors.OpError, OSError) as error:
            reason = getattr(error, 'strerror', None) or getattr(error, 'message', None)
            raise OSError(f'TensorBoard logs cannot be written to {logdir!r} ({reason}); '
                          'make the folder writable or free disk space.') from None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Logs a point of each scalar, by its name."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Logs the distribution of f[...]."""
        with self._writer.as_default(step=step):
            tf.summary.histogram(name, values)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Logs a picture uint8[H,W,3]."""
        with self._writer.as_default(step=step):
            tf.summary.image(name, image[np.newaxis])

    def text(self, name: str, markdown: str, step: int) -> None:
        """Logs a text in Markdown; a configuration goes between lines of three backticks."""
        with self._writer.as_default(step=step):
            tf.summary.text(name, markdown)

    def flush(self) -> None:
        """Writes what is still in memory, so that it survives a kill."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file; nothing can be logged afterwards."""
        self._writer.close()


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Scores under one protocol, ours beside baselines.

    Attributes:
      protocol: Its name.
      counts: What was scored, such as {'photos to fit': 90, 'photos to test': 88}.
      columns: (name of the score, 'lower' or 'higher' if that is better, else ''); the best value
        of a column with a direction is marked.
      rows: (name of the method, a value per column, None where it has none); the first is ours.
      note: A sentence below the table.
    """

    protocol: str
    counts: Mapping[str, int]
    columns: Sequence[Tuple[str, str]]
    rows: Sequence[Tuple[str, Sequence[Optional[float]]]]
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
        known = [[None if value is None or not math.isfinite(value) else value for value in values]
                 for _, values in self.rows]
        best = []
        for column, (_, direction) in zip(zip(*known), self.columns):
            choose = {'lower': min, 'higher': max}.get(direction)
            present = [value for value in column if value is not None]
            best.append(choose(present) if choose and len(present) > 1 else None)
        return [(method, [('\u2013' if value is None else f'{value:.2f}',
                           value is not None and value == top) for value, top in zip(values, best)])
                for (method, _), values in zip(self.rows, known)]


def _curve(name: str, steps: Sequence[float], values: Sequence[float]) -> Dict[str, Any]:
    """A curve as points of an SVG picture of 300 x 100, with the numbers at its axes."""
    points = np.stack([np.asarray(steps, np.float64), np.asarray(values, np.float64)])
    points = points[:, np.isfinite(points).all(axis=0)]
    if not points.size:
        raise ValueError(f'The curve {name!r} must have at least one finite point; got none.')
    # More points than pixels only make the page heavy.
    count = points.shape[1]
    points = points[:, np.linspace(0, count - 1, min(count, 600)).round().astype(int)]
    low, high = points.min(axis=1), points.max(axis=1)
    shares = (points - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
    text = ' '.join(f'{300 * x:.1f},{100 * (1 - y):.1f}' for x, y in shares.T)
    return {'name': name, 'points': text, 'low': f'{low[1]:.3g}', 'high': f'{high[1]:.3g}',
            'first': f'{low[0]:g}', 'last': f'{high[0]:g}', 'final': f'{points[1, -1]:.3g}'}


def _write_jpeg(path: str, image: np.ndarray) -> None:
    buffer = io.BytesIO()
    # Full colour resolution keeps coloured outlines crisp.
    Image.fromarray(image).save(buffer, format='JPEG', quality=90, subsampling=0)
    files.write(path, buffer.getvalue())


def write_page(folder: str, *, title: str, facts: Optional[Mapping[str, Any]] = None,
               tables: Sequence[ScoreTable] = (),
               parts: Sequence[part_gallery.PartSummary] = (),
               overlays: Sequence[Tuple[np.ndarray, str]] = (),
               curves: Optional[Mapping[str, Tuple[Sequence[float], Sequence[float]]]] = None,
               config: str = '') -> str:
    """Writes a static page of results, for browsers without network; images lie beside it.

    Args:
      folder: Made if missing; files of an older page are replaced, `index.html` last.
      title: Of the page.
      facts: Short facts below the title, such as {'step': 1000}.
      tables: Scores.
      parts: Of every part, in their order.
      overlays: (uint8[H,W,3], caption) of test photos with their parts.
      curves: (steps, values) by name, for the learning curves.
      config: The operative configuration, shown folded up.

    Returns:
      The path of `index.html`.

    Raises:
      ValueError: If a table's rows and columns do not agree, or a curve is empty.
      OSError: If a file cannot be written.
    """
    cards = []
    colors = visualize.palette(len(parts))[1:]
    for number, (part, color) in enumerate(zip(parts, colors), start=1):
        paths = []
        for index, crop in enumerate(part.crops, start=1):
            paths.append(f'images/part-{number}-{index}.jpg')
            _write_jpeg(os.path.join(folder, paths[-1]), crop)
        cards.append({'number': number, 'name': part.name, 'files': paths,
                      'color': f'#{bytes(color.tolist()).hex()}',
                      'area': f'{100 * part.area_share:.1f}', 'presence': f'{part.presence:.2f}'})
    photos = []
    for index, (image, caption) in enumerate(overlays, start=1):
        photos.append({'file': f'images/overlay-{index}.jpg', 'caption': caption,
                       'width': image.shape[1], 'height': image.shape[0]})
        _write_jpeg(os.path.join(folder, photos[-1]['file']), image)
    environment = jinja2.Environment(loader=jinja2.PackageLoader('scops_tf'), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    page = environment.get_template('report.html').render(
        title=title, facts=facts or {}, tables=tables, parts=cards, overlays=photos, config=config,
        curves=[_curve(name, *points) for name, points in (curves or {}).items()])
    path = os.path.join(folder, PAGE_FILE)
    files.write(path, page.encode())
    return path
