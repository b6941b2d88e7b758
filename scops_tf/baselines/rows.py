"""Feature vectors drawn from the photos of a collection, as many as fit into memory."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# 400 MB of 1024 float32 channels; with scikit-learn's own copies a fit peaks at about 2 GB.
MAX_ROWS = 100_000


class Rows(NamedTuple):
    """Feature vectors and where they are from.

    Attributes:
      features: f32[n,C].
      photo: i64[n]. Index of the photo, ascending.
      cell: i64[n]. Index y * w + x of the place on the features' grid.
    """

    features: np.ndarray
    photo: np.ndarray
    cell: np.ndarray


def sample(features: Any, *, max_rows: int = MAX_ROWS, seed: int = 0) -> Rows:
    """All feature vectors if they are at most `max_rows`, else as many at random.

    Every photo gives the same number of places, up to one. One photo after the other is read, and
    only the rows themselves are held in memory, whatever the size of the collection.

    Args:
      features: f[N,h,w,C], in memory or mapped from disk.
      max_rows: At least 1.
      seed: Of the draw.

    Raises:
      ValueError: If the shape has not four sides of at least 1, or a value is not finite.
    """
    if len(features.shape) != 4 or 0 in features.shape:
        raise ValueError(f'`features` must be [N,h,w,C], no side 0; got shape {features.shape}.')
    if max_rows < 1:
        raise ValueError(f'`max_rows` must be at least 1; got {max_rows}.')
    num_photos, height, width, num_channels = features.shape
    rng = np.random.default_rng([seed, 0])
    quota, remainder = divmod(min(max_rows, num_photos * height * width), num_photos)
    counts = np.full(num_photos, quota)
    counts[rng.permutation(num_photos)[:remainder]] += 1
    cells = [np.sort(rng.permutation(height * width)[:count]) for count in counts]
    rows = np.empty((counts.sum(), num_channels), np.float32)
    end = 0
    for index in np.flatnonzero(counts):
        start, end = end, end + counts[index]
        rows[start:end] = np.asarray(features[index]).reshape(-1, num_channels)[cells[index]]
    if not np.isfinite(rows).all():
        raise ValueError('`features` must be finite; got infinite or undefined values.')
    return Rows(rows, np.repeat(np.arange(num_photos), counts), np.concatenate(cells))
