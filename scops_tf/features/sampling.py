"""Random samples of the photos' feature vectors, as many as fit into memory."""
from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np
import tqdm

# With 1024 float32 channels these take 400 MB; with scikit-learn's copies a fit peaks at 2 GB.
MAX_ROWS = 100_000


class Rows(NamedTuple):
    """Feature vectors and the places they come from.

    Attributes:
      features: f32[n,C]. Feature vectors.
      photo: i64[n]. Index of the photo, ascending.
      cell: i64[n]. Index y * w + x of the cell on the features' grid, ascending within a photo.
    """

    features: np.ndarray
    photo: np.ndarray
    cell: np.ndarray


def sample(features: Any, generator: np.random.Generator, *, max_rows: int = MAX_ROWS,
           eligible: Optional[np.ndarray] = None) -> Rows:
    """All feature vectors if there are at most `max_rows` of them, else a random sample of so many.

    Photos are read one after another, and only the sampled rows are held in memory.

    Args:
      features: f[N,h,w,C]. An array, or any object that has a shape and gives f[h,w,C] for the
        index of a photo.
      generator: Generator of the random sample.
      max_rows: Largest number of feature vectors, at least 1.
      eligible: bool[N,h,w]. Cells to draw from; None for all.

    Raises:
      ValueError: If the shape has not four sides of at least 1, `eligible` does not match it, or a
        value is not finite.
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


def values_at(rows: Rows, maps: np.ndarray) -> np.ndarray:
    """Values f32[n] of maps f[N,h,w], on the features' grid, at the places of the vectors."""
    return maps.reshape(len(maps), -1)[rows.photo, rows.cell].astype(np.float32)
