"""Scores of label maps at key points, on plain arrays, in per cent."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scops_tf.evaluation.contingency import (
    MetricError,
    check_maps,
    check_parts,
    check_range,
    clustering_scores,
    percent,
)


def keypoint_tables(labels: Sequence[np.ndarray], points: np.ndarray, visible: np.ndarray, *,
                    num_parts: int) -> np.ndarray:
    """Counts of visible key points by the map's label at the point and the point's number.

    Args:
      labels: N integer maps [H,W] with values in [0, num_parts].
      points: f[N,L,2]. (x, y) in pixels of the maps; the centre of the first pixel is (0, 0). The
        nearest pixel is read.
      visible: bool[N,L]. Whether each key point can be seen.
      num_parts: K.

    Returns:
      int64[N,K+1,L].

    Raises:
      MetricError: If shapes do not fit, no point is visible, or a visible point is NaN or more than
        a pixel outside its map, which means that points and maps have different frames.
    """
    check_parts(num_parts)
    labels = check_maps('labels', labels)
    points, visible = np.asarray(points, np.float64), np.asarray(visible)
    if points.ndim != 3 or points.shape[0] != len(labels) or points.shape[2] != 2:
        raise MetricError(f'`points` must be of shape [{len(labels)}, landmarks, 2]; got '
                          f'{list(points.shape)}.')
    if visible.shape != points.shape[:2] or visible.dtype != bool:
        raise MetricError(f'`visible` must be booleans of shape {list(points.shape[:2])}; got '
                          f'{visible.dtype}{list(visible.shape)}.')
    if not visible.any():
        raise MetricError('`visible` must be true for at least one key point; got none.')
    tables = np.zeros((len(labels), num_parts + 1, points.shape[1]), np.int64)
    for index, label_map in enumerate(labels):
        numbers = np.flatnonzero(visible[index])
        x, y = points[index, numbers].T
        height, width = label_map.shape
        inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
        if not inside.all():
            at = np.flatnonzero(~inside)[0]
            raise MetricError(
                f'`points` must lie on the maps where visible; got ({x[at]:g}, {y[at]:g}) on a map '
                f'of {width} x {height} pixels at image {index}, key point {numbers[at]}.')
        values = label_map[np.clip(np.floor(y + 0.5), 0, height - 1).astype(int),
                           np.clip(np.floor(x + 0.5), 0, width - 1).astype(int)].astype(np.int64)
        check_range('labels', values, num_parts + 1, index)
        tables[index, values, numbers] = 1
    return tables


def keypoint_scores(labels: Sequence[np.ndarray], points: np.ndarray, visible: np.ndarray, *,
                    num_parts: int,
                    best_parts: Sequence[np.ndarray] | None = None) -> dict[str, float]:
    """NMI and ARI of the label at each visible key point against the key point's number.

    Args:
      labels: See `keypoint_tables`.
      points: See `keypoint_tables`.
      visible: See `keypoint_tables`.
      num_parts: K.
      best_parts: N maps with values in [1, K], the strongest part of each pixel without regard to
        the background; or None.

    Returns:
      'nmi' and 'ari': Background counts as one more label.
      'fg_nmi' and 'fg_ari': Key points on background are left out; NaN if all are.
      'on_part': Share of the visible key points that lie on a part. If it is small, 'fg_nmi' and
      'fg_ari' mean little.
      'best_part_nmi' and 'best_part_ari', if `best_parts` is given: All visible key points are
      labelled by the strongest part. These are closest to FG-NMI and FG-ARI of Choudhury et al.
      (2021).
    """
    table = keypoint_tables(labels, points, visible, num_parts=num_parts).sum(0)
    scores = {**clustering_scores(table), **clustering_scores(table[1:], 'fg_'),
              'on_part': percent(table[1:].sum(), table.sum())}
    if best_parts is not None:
        best = keypoint_tables(best_parts, points, visible, num_parts=num_parts).sum(0)
        if best[0].any():
            raise MetricError(f'`best_parts` must lie in [1, {num_parts}]; got 0, the background.')
        scores.update(clustering_scores(best, 'best_part_'))
    return scores
