"""Part maps: what a method found in the photos of a split, as arrays."""
from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

import numpy as np

from scops_tf.datasets.records import Record


class PhotoSplit(NamedTuple):
    """Readable photos of a split.

    Attributes:
      records: Of the photos.
      sizes: int[N,2]. (height, width) of the photos before squashing.
    """

    records: Tuple[Record, ...]
    sizes: np.ndarray


class PartMaps(NamedTuple):
    """What a method found in the photos of a split, in order; all is of the squashed photos.

    Attributes:
      labels: u8[N,H,W]. Decoded, 0 is background, 1..K parts.
      best_parts: u8[N,H,W]. The strongest part of each pixel, 1..K, background left out of account.
      centers: f32[N,K,2]. (x, y) in pixels of the squashed photo.
      presence: f32[N,K]. Largest response of each part.
      whole_centers: f32[N,K,2]. As `centers`, by Eq. 1 over the whole photo, where those are not;
        else None.
    """

    labels: np.ndarray
    best_parts: np.ndarray
    centers: np.ndarray
    presence: np.ndarray
    whole_centers: Optional[np.ndarray] = None


def position_maps(num_parts: int, counts: Tuple[int, int], map_size: Tuple[int, int], *,
                  seed: int = 0) -> Tuple[PartMaps, PartMaps]:
    """The trivial part maps: pixels clustered by their position alone, the same for every photo.

    Args:
      num_parts: K.
      counts: Numbers of fit and of test photos.
      map_size: (height, width) of the maps.
      seed: Of k-means.
    """
    from sklearn.cluster import KMeans  # Here, since it takes seconds.

    rows, columns = np.mgrid[:map_size[0], :map_size[1]]
    # Clusters of a coarse grid are those of the pixels.
    step = max(1, min(map_size) // 32)
    places = np.stack([columns[::step, ::step], rows[::step, ::step]], axis=-1).reshape(-1, 2)
    means = KMeans(num_parts, n_init=1, random_state=seed).fit(places.astype(np.float64))
    every = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
    labels = (means.predict(every) + 1).reshape(map_size).astype(np.uint8)

    def repeated(count: int) -> PartMaps:
        return PartMaps(np.tile(labels, (count, 1, 1)), np.tile(labels, (count, 1, 1)),
                        np.tile(means.cluster_centers_, (count, 1, 1)),
                        np.ones((count, num_parts)))

    return repeated(counts[0]), repeated(counts[1])
