"""Feature vectors drawn from the photos of a collection, as many as fit into memory."""
from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np
import tqdm

# 400 MB of 1024 float32 channels; with scikit-learn's own copies a fit peaks at about 2 GB.
MAX_ROWS = 100_000


class Rows(NamedTuple):
    """Feature vectors and where they are from.

    Attributes:
      features: f32[n,C].
      photo: i64[n]. Index of the photo, ascending.
      cell: i64[n]. Index y * w + x of the place on the features' grid, ascending within a photo.
    """

    features: np.ndarray
    photo: np.ndarray
    cell: np.ndarray


def sample(features: Any, generator: np.random.Generator, *, max_rows: int = MAX_ROWS,
           eligible: Optional[np.ndarray] = None) -> Rows:
    """All feature vectors if they are at most `max_rows`, else as many of them at random.

    One photo after the other is read, and only the rows themselves are held in memory, whatever the
    size of the collection.

    Args:
      features: f[N,h,w,C], in memory or anything that gives f[h,w,C] for the index of a photo, such
        as a file mapped to memory.
      generator: Of the draw.
      max_rows: At least 1.
      eligible: bool[N,h,w]. Places that are drawn from; None for all.

    Raises:
      ValueError: If the shape has not four sides of at least 1, `eligible` has another, or a value
        is not finite.
    """
    if len(features.shape) != 4 or 0 in features.shape:
        raise ValueError(f'`features` must be [N,h,w,C], no side 0; got shape {features.shape}.')
    if max_rows < 1:
        raise ValueError(f'`max_rows` must be at least 1; got {max_rows}.')
    *grid, num_channels = features.shape
    if eligible is None:
        eligible = np.ones(grid, bool)
    if tuple(eligible.shape) != tuple(grid):
        raise ValueError(f'`eligible` must be of shape {tuple(grid)}, as the features are; got '
                         f'{tuple(eligible.shape)}.')
    chosen = np.flatnonzero(eligible)
    if len(chosen) > max_rows:
        chosen = np.sort(generator.choice(chosen, max_rows, replace=False))
    photo, cell = np.divmod(chosen, grid[1] * grid[2])
    rows = np.empty((len(chosen), num_channels), np.float32)
    photos, starts = np.unique(photo, return_index=True)
    ends = np.append(starts[1:], len(chosen))
    for index, start, end in zip(tqdm.tqdm(photos.tolist(), desc='Reading features', unit='photo'),
                                 starts, ends):
        rows[start:end] = np.asarray(features[index]).reshape(-1, num_channels)[cell[start:end]]
    if not np.isfinite(rows).all():
        raise ValueError('`features` must be finite; got infinite or undefined values.')
    return Rows(rows, photo, cell)
