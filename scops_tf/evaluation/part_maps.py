"""Part maps: arrays of the labels and part centres that a method finds in photos."""
from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

import numpy as np

from scops_tf.datasets.records import Record


class PhotoSplit(NamedTuple):
    """Readable photos of a split.

    Attributes:
      records: Records of the photos.
      sizes: int[N,2]. (height, width) of the photos before resizing.
    """

    records: Tuple[Record, ...]
    sizes: np.ndarray


class PartMaps(NamedTuple):
    """Labels and part centres of a method in the resized photos of a split, in the photos' order.

    Attributes:
      labels: u8[N,H,W]. Decoded labels: 0 is background, 1..K are the parts.
      best_parts: u8[N,H,W]. Strongest part of each pixel, 1..K, without regard to the background.
      centers: f32[N,K,2]. Part centres (x, y) in pixels of the resized photo.
      presence: f32[N,K]. Largest response of each part.
      whole_centers: f32[N,K,2]. Part centres by Eq. 1 over the whole photo, if `centers` are
        others; else None.
    """

    labels: np.ndarray
    best_parts: np.ndarray
    centers: np.ndarray
    presence: np.ndarray
    whole_centers: Optional[np.ndarray] = None


def position_maps(num_parts: int, counts: Tuple[int, int], map_size: Tuple[int, int], *,
                  seed: int = 0) -> Tuple[PartMaps, PartMaps]:
    """Trivial part maps, the same for every photo: pixels clustered by their position alone.

    Args:
      num_parts: K.
      counts: Numbers of photos to fit and to test on.
      map_size: (height, width) of the maps.
      seed: Seed of k-means.

    Returns:
      Part maps of the photos to fit on and of those to test on.
    """
    from sklearn.cluster import KMeans  # Its import takes seconds.

    rows, columns = np.mgrid[:map_size[0], :map_size[1]]
    # Clusters of a coarse grid are almost those of all pixels.
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
