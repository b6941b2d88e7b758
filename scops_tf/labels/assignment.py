"""Which part is which: names of parts from a few photos whose parts are named.

The names are chosen so that the mean IoU of the names is largest, over the named photos together:
a name's area is compared with that of all parts that have it. The search starts from the best
assignment of one part to each name (Hungarian method; Kuhn, 1955). Then single parts change, get
or lose their name as long as the mean rises.
"""
from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import scipy.optimize

from scops_tf.labels.annotation import Annotation, AnnotationError
from scops_tf.labels.clicked_points import Point
from scops_tf.labels.part_names import BACKGROUND

# Below these a name is told to be unsure: the share of the part on its name over that on the next
# best, the share of a part without a name on what has none, and the share of photos that agree.
_LEAST_RATIO = 2.0
_LEAST_SHARE = 0.5
_LEAST_AGREEMENT = 2 / 3
# A click this share of the photo's longer side beside a part is on it.
_NEAR = 0.05


class NamedPart(NamedTuple):
    """What is known about the name of a part.

    Attributes:
      number: Number of the part.
      name: Its name; '' for none.
      share: Share of the part that lies on what has this name, in [0, 1]; without a name, on what
        has none. NaN if no photo shows the part.
      other: The other name that it covers most; '' for none.
      other_share: Share of the part on that one.
      agreeing: Number of photos in which it covers this name more than any other.
      showing: Number of photos that show the part on something named.
    """

    number: int
    name: str
    share: float
    other: str
    other_share: float
    agreeing: int
    showing: int

    @property
    def is_sure(self) -> bool:
        """Whether the name, or having none, is clear."""
        clear = self.share >= (
            _LEAST_RATIO * self.other_share if self.name else _LEAST_SHARE)
        return bool(clear
                    and self.agreeing >= _LEAST_AGREEMENT * self.showing)


class Assignment(NamedTuple):
    """Names of parts, and how sure they are.

    Attributes:
      parts: All parts of the model, by number.
      iou: IoU of each name with the parts that have it, in [0, 1].
    """

    parts: Tuple[NamedPart, ...]
    iou: Dict[str, float]

    @property
    def names(self) -> Dict[int, str]:
        """Names of the named parts by number."""
        return {part.number: part.name for part in self.parts if part.name}


def mask_table(labels: np.ndarray, annotation: Annotation, names: Sequence[str], num_parts: int
               ) -> np.ndarray:
    """Pixels by part and name, of one photo, as shares of the named pixels.

    Args:
      labels: u8[H,W]. The model's labels.
      annotation: The photo's annotation, of the same size.
      names: All N names.
      num_parts: K.

    Returns:
      f64[K+1,N+1]. Row and column 0 are of what is no part and of what has no name.

    Raises:
      AnnotationError: If the sizes differ or the annotation names nothing.
    """
    if labels.shape != annotation.labels.shape:
        raise AnnotationError(
            f'The annotation of {annotation.photo!r} must have the size of its photo, '
            f'{labels.shape[1]} x {labels.shape[0]}; it has {annotation.labels.shape[1]} x '
            f'{annotation.labels.shape[0]}.')
    columns = np.zeros(256, np.int64)
    for number, name in annotation.names.items():
        columns[number] = names.index(name) + 1 if name in names else 0
    codes = labels.astype(np.int64) * (len(names) + 1) + columns[annotation.labels]
    return _shares(np.bincount(codes.ravel(), minlength=(num_parts + 1) * (len(names) + 1)).reshape(
        num_parts + 1, -1), annotation.photo)


def point_table(labels: np.ndarray, photo: str, points: Sequence[Point], names: Sequence[str],
                num_parts: int) -> np.ndarray:
    """As `mask_table`, of clicked points.

    A point on a named thing that lies close beside a part counts for that part.

    Raises:
      AnnotationError: If a point lies outside of the photo, or all are of the background.
    """
    height, width = labels.shape
    table = np.zeros((num_parts + 1, len(names) + 1))
    for point in points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):
            raise AnnotationError(f'Each point of {photo!r} must lie on the photo of {width} x '
                                  f'{height} pixels; got ({point.x:g}, {point.y:g}).')
        if point.name in names:
            table[_part_near(point, labels), names.index(point.name) + 1] += 1
        else:
            table[_part_at(point, labels), 0] += 1
    return _shares(table, photo)


def _part_at(point: Point, labels: np.ndarray) -> int:
    height, width = labels.shape
    return int(labels[min(int(point.y), height - 1), min(int(point.x), width - 1)])


def _part_near(point: Point, labels: np.ndarray) -> int:
    """The part at a point, or the nearest one within a share of the photo's longer side; or 0."""
    found = _part_at(point, labels)
    rows, columns = np.nonzero(labels)
    if found or not len(rows):
        return found
    distances = np.hypot(columns + 0.5 - point.x, rows + 0.5 - point.y)
    nearest = int(distances.argmin())
    near = distances[nearest] <= _NEAR * max(labels.shape)
    return int(labels[rows[nearest], columns[nearest]]) if near else 0


def _shares(table: np.ndarray, photo: str) -> np.ndarray:
    named = table[:, 1:].sum()
    if not named:
        raise AnnotationError(f'The annotation of {photo!r} must name something; it names nothing.')
    return table / named


def listed_names(found: Sequence[str]) -> List[str]:
    """The names without repetition, in their order, without that of the background."""
    return [name for name in dict.fromkeys(found) if name.lower() != BACKGROUND]


def assign(tables: Sequence[np.ndarray], names: Sequence[str]) -> Assignment:
    """Names of the parts; see the module.

    Args:
      tables: f64[K+1,N+1] of each photo; see `mask_table`. Each photo counts alike.
      names: The N names.
    """
    every = np.asarray(tables, np.float64)
    total = every.sum(axis=0)
    chosen, iou = _search(total)
    parts = []
    for part, column in enumerate(chosen, start=1):
        row, size = total[part], total[part].sum()
        others = np.where(np.arange(len(row)) == column, 0, row)[1:]
        shown = every[:, part, 1:].sum(axis=1) > 0
        best = every[shown, part, 1:].argmax(axis=1) + 1
        other = names[int(others.argmax())] if others.any() else ''
        parts.append(NamedPart(
            part, names[column - 1] if column else '', row[column] / size if size else np.nan,
            other, others.max() / size if size else 0.0,
            int((best == column).sum()) if column else int((~shown).sum()),
            int(shown.sum()) if column else len(every)))
    return Assignment(tuple(parts), dict(zip(names, iou.tolist())))


def _search(table: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Column i64[K] of each part, 0 for none, and the IoU f64[N] of each name."""
    sizes, areas, common = table.sum(axis=1)[1:], table.sum(axis=0)[1:], table[1:, 1:]
    single = common / np.maximum(sizes[:, np.newaxis] + areas - common, 1e-12)
    chosen = np.zeros(len(sizes), np.int64)
    rows, columns = scipy.optimize.linear_sum_assignment(single, maximize=True)
    useful = single[rows, columns] > 0
    chosen[rows[useful]] = columns[useful] + 1

    def iou(of: np.ndarray) -> np.ndarray:
        """IoU of each name, f64[N]."""
        has = of[:, np.newaxis] == np.arange(1, len(areas) + 1)
        inside = (common * has).sum(axis=0)
        return inside / np.maximum(areas + (sizes[:, np.newaxis] * has).sum(axis=0) - inside, 1e-12)

    best = iou(chosen).mean()
    while True:
        changes = []
        for part in range(len(chosen)):
            for column in range(len(areas) + 1):
                changed = chosen.copy()
                changed[part] = column
                changes.append((iou(changed).mean(), part, column))
        mean, part, column = max(changes, key=lambda change: change[0])
        # Rounding alone is no gain, so the search ends.
        if mean <= best + 1e-9:
            return chosen, iou(chosen)
        best, chosen[part] = mean, column
