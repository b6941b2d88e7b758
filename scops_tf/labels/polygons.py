"""Outlines of masks as polygons, and back.

Points are (x, y) in pixels from the corner of the photo, as labelling tools have them: the first
pixel covers 0 to 1. An outline runs along the borders of pixels, so it holds the mask exactly.
A point is inside if a ray from it crosses the outline an odd number of times.
"""
from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np
from scipy import spatial
import skimage.measure

# A simplified outline covers the mask with at least this IoU.
LEAST_IOU = 0.98


def rings(mask: np.ndarray) -> List[Tuple[np.ndarray, List[np.ndarray]]]:
    """Exact outlines of the pieces of a mask.

    Args:
      mask: bool[H,W].

    Returns:
      (outer ring, rings of its holes) of each piece, a set of pixels that touch along borders.
      Rings are f64[N,2], without a repeated last point.
    """
    pieces, count = skimage.measure.label(np.pad(mask, 1), connectivity=1, return_num=True)
    found = []
    for region in skimage.measure.regionprops(pieces) if count else ():
        top, left = region.bbox[:2]
        # Pieces do not touch the frame of their padded picture, so all contours are closed.
        contours = [_corners(contour) + (left - 2, top - 2) for contour in
                    skimage.measure.find_contours(np.pad(region.image, 1).astype(np.uint8), 0.5,
                                                  fully_connected='low')]
        contours.sort(key=lambda ring: -np.ptp(ring[:, 0]) * np.ptp(ring[:, 1]))
        found.append((contours[0], contours[1:]))
    return found


def _corners(contour: np.ndarray) -> np.ndarray:
    """The corners of pixels on a closed contour, f64[N,2], (x, y) from the picture's corner.

    Marching squares put a point on the middle of each border between a pixel of the mask and one
    outside. Borders that follow each other share a corner. It has the row of a border that lies
    between two rows and the column of one that lies between two columns.
    """
    first, second = contour[:-1], contour[1:]
    corners = (first + second) / 2
    for axis in (0, 1):
        for border in (first, second):
            between = border[:, axis] % 1 != 0
            corners[between, axis] = border[between, axis]
    # Only where the direction changes: these corners draw the whole outline.
    step, back = np.roll(corners, -1, axis=0) - corners, corners - np.roll(corners, 1, axis=0)
    turns = step[:, 0] * back[:, 1] != step[:, 1] * back[:, 0]
    return corners[turns][:, ::-1] + 0.5


def polygons(mask: np.ndarray, tolerance: float = 0.0) -> List[np.ndarray]:
    """A polygon for each piece of a mask; holes are joined to it by a line there and back.

    Args:
      mask: bool[H,W].
      tolerance: Largest distance in pixels between outline and polygon (Douglas and Peucker, 1973).
        It is made smaller where the polygons would cover the mask with an IoU below `LEAST_IOU`;
        0 for exact polygons.

    Returns:
      f64[N,2] of each polygon. Filled, they give the mask; see `fill`.
    """
    pieces = rings(mask)
    while tolerance > 0.05:
        simple = [_joined([_simplified(ring, tolerance) for ring in (outer, *holes)])
                  for outer, holes in pieces]
        if _iou(fill(simple, mask.shape), mask) >= LEAST_IOU:
            return simple
        tolerance /= 2
    return [_joined([outer, *holes]) for outer, holes in pieces]


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    closed = skimage.measure.approximate_polygon(np.vstack([ring, ring[:1]]), tolerance)
    # Less than a triangle would be no area, so such a ring stays as it is.
    return closed[:-1] if len(closed) > 3 else ring


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One ring of several: each further one is inserted at the pair of points that is nearest."""
    points = np.concatenate(parts)
    ends = np.cumsum([len(part) for part in parts])
    owners = np.repeat(np.arange(len(parts)), np.diff(ends, prepend=0))
    # The distance of each point to the points of the ring so far, and the nearest of these.
    distances, nearest = np.full(len(points), np.inf), np.zeros(len(points), int)
    ring, joined = np.arange(ends[0]), 0
    for _ in parts[1:]:
        # The ring has grown by one part alone. Points nearer to the others than to its box stay.
        own = points[owners == joined]
        distances[owners == joined], owners[owners == joined] = np.nan, -1
        beside = np.hypot(*np.maximum(0, np.maximum(own.min(axis=0) - points,
                                                    points - own.max(axis=0))).T)
        close = np.flatnonzero(beside < distances)
        found, index = spatial.cKDTree(own).query(points[close])
        nearer = found < distances[close]
        distances[close[nearer]] = found[nearer]
        nearest[close[nearer]] = ends[joined] - len(own) + index[nearer]
        start = int(np.nanargmin(distances))
        joined = int(owners[start])
        first, end = ends[joined] - len(parts[joined]), ends[joined]
        at = int(np.argmax(ring == nearest[start]))
        ring = np.concatenate([ring[:at + 1], np.arange(start, end), np.arange(first, start + 1),
                               ring[at:]])
    return points[ring]


def one_polygon(mask: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    """All pieces of a mask as a single polygon f64[N,2]; see `polygons`."""
    return _joined(polygons(mask, tolerance))


def fill(outlines: Sequence[np.ndarray], size: Tuple[int, int]) -> np.ndarray:
    """The mask of polygons: the pixels whose middle is inside of an odd number of them.

    Args:
      outlines: Polygons f[N,2], any N.
      size: (height, width) of the mask.

    Returns:
      bool[H,W].
    """
    height, width = size
    # Where the borders are crossed along each row; what lies right of it changes sides.
    crossed = np.zeros((height, width + 1), bool)
    for outline in outlines:
        points = np.asarray(outline, np.float64).reshape(-1, 2)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
            # From the upper to the lower end, so that a line there and back rounds alike.
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            rows = np.arange(max(0, np.ceil(y0 - 0.5)), min(height, np.ceil(y1 - 0.5)), dtype=int)
            if rows.size:
                at = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
                columns = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
                crossed[rows, columns] ^= True
    return np.logical_xor.accumulate(crossed[:, :width], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The outline of a box, f64[4,2]."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
