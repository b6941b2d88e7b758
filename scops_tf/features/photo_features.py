"""The photos of a run, with the saliency map and the reference features of each, computed once."""
from __future__ import annotations

import dataclasses
import os
from typing import Any, Callable, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.datasets.records import Record
from scops_tf.features import cache as feature_cache
from scops_tf.networks import reference_features as features_lib
from scops_tf.saliency import maps as saliency_maps

# Photos that what changes little with more of them is taken from, such as the tap scales.
_NUM_SPREAD = 2000

# From indices i64[n] of photos to their raw reference features float[n,h,w,C].
Read = Callable[[np.ndarray], np.ndarray]


def open_store(config: config_lib.Config, records: Sequence[Record], workdir: str, *,
               with_saliency: bool = True, image_size: Optional[Tuple[int, int]] = None
               ) -> photo_store.PhotoStore:
    """Photos of the configured size with their saliency maps.

    RBD maps that are missing are computed and kept in a cache that is shared by the runs beside
    each other: `saliency_cache`, in the folder that holds the run's.

    Args:
      config: Of the run.
      records: Of the photos.
      workdir: Folder of the run.
      with_saliency: Whether maps are needed.
      image_size: (height, width) of the photos; `Run.image_size` where None.

    Raises:
      DatasetError: If no photo can be read, or one has no saliency map.
      ImageError: If `Data.on_bad_file` is 'stop' and a photo cannot be read.
      OSError: If the cache of saliency maps cannot be written.
    """
    data = config.data
    source = data.saliency if with_saliency else None
    if source == 'rbd':
        cache = os.path.join(os.path.dirname(os.path.abspath(workdir)), 'saliency_cache')
        found = saliency_maps.cached_maps([record.path for record in records], cache)
        # An unreadable photo has no map; the store meets it too, and leaves it out or stops.
        records = [dataclasses.replace(record, saliency_path=path or record.path)
                   for record, path in zip(records, found.paths)]
        source = 'folder'
    return photo_store.PhotoStore(
        records, image_size=image_size or config.run.image_size, saliency=source,
        on_bad_file=data.on_bad_file, memory_limit_gib=data.memory_limit_gib)


def spread(num_photos: int) -> np.ndarray:
    """Indices i64[n], at most 2000, spread evenly over the photos."""
    return np.unique(np.linspace(0, num_photos - 1, min(num_photos, _NUM_SPREAD)).astype(np.int64))


def saliency_at(config: config_lib.Config, store: photo_store.PhotoStore, indices: np.ndarray,
                size: Tuple[int, int]) -> Optional[np.ndarray]:
    """f32[n,h,w]. Saliency maps at the features' size; None without saliency constraint."""
    if config.data.saliency is None:
        return None
    maps = [tf.image.resize(store.saliency(index)[..., np.newaxis], size, antialias=True)
            for index in indices.tolist()]
    return np.stack(maps)[..., 0].clip(0, 1)


def reader(network: features_lib.ReferenceFeatures, store: photo_store.PhotoStore) -> Read:
    """Computes raw reference features, rounded as in the cache."""

    def read(indices: np.ndarray) -> np.ndarray:
        photos = np.stack([store.image(index) for index in indices.tolist()])
        return network.raw(tf.constant(photos, tf.float32) / 255.0).numpy().astype(np.float16)

    return read


def reference_features(config: config_lib.Config, network: features_lib.ReferenceFeatures,
                       store: photo_store.PhotoStore, caches: str) -> np.ndarray:
    """f16[N,h,w,C]. Raw reference features of all photos, in memory or memory-mapped.

    Args:
      config: Of the run.
      network: Its reference features.
      store: The photos.
      caches: Folder of caches on disk.

    Raises:
      ValueError: If they are more than `Features.cache_limit_gib` allows.
      OSError: If the cache cannot be written.
    """
    settings = config.features
    shape = (len(store), *network.shape(store.image_size))
    key = feature_cache.fingerprint(
        map(store.image, range(len(store))), features=dataclasses.asdict(settings), shape=shape,
        precision=config.run.precision)
    folder = feature_cache.place(
        shape, caches, cache=settings.cache, limit_gib=settings.cache_limit_gib)
    return feature_cache.filled(shape, reader(network, store), key=key, folder=folder,
                                description='Reference features')


class ScaledFeatures:
    """V of photos from their raw features, scaled photo by photo as it is asked for.

    Args:
      scale: From raw features to V, as of `features.ReferenceFeatures` whose tap scales are
        measured, or to what is made of V.
      raw: f[N,h,w,C]. In memory, or mapped from a file, of which nothing stays in memory.

    Attributes:
      shape: (N, h, w, C).
    """

    def __init__(self, scale: Callable[[Any], tf.Tensor], raw: np.ndarray) -> None:
        self._scale, self._raw = scale, raw
        self.shape = raw.shape

    def __getitem__(self, index: int) -> np.ndarray:
        """f16[h,w,C]. V of a photo."""
        scaled = self._scale(self._raw[index]).numpy().astype(np.float16)
        feature_cache.release(self._raw)
        return scaled
