"""The photos of a run with their saliency maps and reference features, which are computed once."""
from __future__ import annotations

import dataclasses
import os
from typing import Any, Callable, Iterator, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.datasets.records import Record
from scops_tf.features import cache as feature_cache
from scops_tf.networks import reference_features as features_lib
from scops_tf.saliency import maps as saliency_maps

# Number of photos for measurements that change little with more photos, such as the tap scales.
_NUM_SPREAD = 2000
# Number of photos whose features are read at a time.
_CHUNK = 16

# Function from indices i64[n] of photos to their raw reference features float[n,h,w,C].
Read = Callable[[np.ndarray], np.ndarray]


def open_store(config: config_lib.Config, records: Sequence[Record], workdir: str, *,
               with_saliency: bool = True, image_size: Optional[Tuple[int, int]] = None
               ) -> photo_store.PhotoStore:
    """Opens the photos at the configured size with their saliency maps.

    Missing RBD maps are computed and kept in the folder `saliency_cache` beside the run's folder,
    where other runs find them.

    Args:
      config: Configuration of the run.
      records: Records of the photos.
      workdir: Folder of the run.
      with_saliency: Whether maps are needed.
      image_size: (height, width) of the photos; `Run.image_size` where None.

    Raises:
      DatasetError: If no photo can be read, or a photo has no saliency map.
      ImageError: If `Data.on_bad_file` is 'stop' and a photo cannot be read.
      OSError: If the cache of saliency maps cannot be written.
    """
    data = config.data
    source = data.saliency if with_saliency else None
    if source == 'rbd':
        cache = os.path.join(os.path.dirname(os.path.abspath(workdir)), 'saliency_cache')
        found = saliency_maps.cached_maps([record.path for record in records], cache)
        # An unreadable photo has no map. The store reads it too, and leaves it out or stops.
        records = [dataclasses.replace(record, saliency_path=path or record.path)
                   for record, path in zip(records, found.paths)]
        source = 'folder'
    return photo_store.PhotoStore(
        records, image_size=image_size or config.run.image_size, saliency=source,
        on_bad_file=data.on_bad_file, memory_limit_gib=data.memory_limit_gib)


def cache_folder(config: config_lib.Config, workdir: str) -> str:
    """Folder of the features of a run that are kept on disk."""
    return config.features.cache_folder or os.path.join(workdir, 'cache')


def warn_of_few(config: config_lib.Config, num_photos: int) -> None:
    """Warns if parts are to be found in fewer photos than there are parts, or in one."""
    least = max(config.run.num_parts, 2)
    if num_photos < least:
        logging.warning('%d photo%s for %d parts: parts are what photos have in common, so they '
                        'will be of no use; give at least %d photos, better a hundred.',
                        num_photos, '' if num_photos == 1 else 's', config.run.num_parts, least)


def at_reference_size(config: config_lib.Config, store: photo_store.PhotoStore, workdir: str
                      ) -> photo_store.PhotoStore:
    """The photos of a store at the size that the reference features see, without saliency maps.

    Args:
      config: Configuration of the run.
      store: Photos at `Run.image_size`; returned as it is if both sizes are the same.
      workdir: Folder of the run.
    """
    if config.reference_size == config.run.image_size:
        return store
    return open_store(config, store.records, workdir, with_saliency=False,
                      image_size=config.reference_size)


def spread(num_photos: int, most: Optional[int] = None) -> np.ndarray:
    """At most `most` indices i64[n], by default 2000, spread evenly over the photos."""
    count = min(num_photos, _NUM_SPREAD if most is None else most)
    return np.unique(np.linspace(0, num_photos - 1, count).astype(np.int64))


def chunks(indices: np.ndarray) -> Sequence[np.ndarray]:
    """Indices of photos in parts of at most 16, whose features are read at a time."""
    return np.array_split(indices, -(-len(indices) // _CHUNK))


def saliency_at(config: config_lib.Config, store: photo_store.PhotoStore, indices: np.ndarray,
                size: Tuple[int, int]) -> Optional[np.ndarray]:
    """Saliency maps f32[n,h,w] at the features' size; None if `Data.saliency` is None."""
    if config.data.saliency is None:
        return None
    maps = [tf.image.resize(store.saliency(index)[..., np.newaxis], size, antialias=True)
            for index in indices.tolist()]
    return np.stack(maps)[..., 0].clip(0, 1)


def reader(network: features_lib.ReferenceFeatures, store: photo_store.PhotoStore) -> Read:
    """Function that computes raw reference features, rounded to float16 as in the cache."""

    def read(indices: np.ndarray) -> np.ndarray:
        photos = np.stack([store.image(index) for index in indices.tolist()])
        return network.raw(tf.constant(photos, tf.float32) / 255.0).numpy().astype(np.float16)

    return read


def reference_features(config: config_lib.Config, network: features_lib.ReferenceFeatures,
                       store: photo_store.PhotoStore, caches: str,
                       indices: Optional[np.ndarray] = None) -> np.ndarray:
    """Raw reference features f16[n,h,w,C] of photos, in memory or mapped from a file.

    Args:
      config: Configuration of the run.
      network: Reference features of the run.
      store: Photos of the run.
      caches: Folder of the caches on disk.
      indices: i64[n]. Indices of the photos; None for all.

    Raises:
      ValueError: If the features are larger than `Features.cache_limit_gib` allows.
      OSError: If the cache cannot be written.
    """
    chosen = np.arange(len(store)) if indices is None else indices
    shape, key = _identity(config, network, store, chosen)
    folder = feature_cache.place(shape, caches, cache=config.features.cache_place,
                                 limit_gib=config.features.cache_limit_gib)
    read = reader(network, store)
    return feature_cache.filled(shape, lambda rows: read(chosen[rows]), key=key, folder=folder,
                                description='Reference features')


def cached_features(config: config_lib.Config, network: features_lib.ReferenceFeatures,
                    store: photo_store.PhotoStore, caches: str) -> Optional[np.ndarray]:
    """What `reference_features` gives for all photos, if it is complete on disk; else None.

    A damaged cache is logged and counts as none.
    """
    if not os.path.isdir(caches):
        return None
    shape, key = _identity(config, network, store, np.arange(len(store)))
    return feature_cache.found(shape, key=key, folder=caches)


def _identity(config: config_lib.Config, network: features_lib.ReferenceFeatures,
              store: photo_store.PhotoStore, indices: np.ndarray) -> Tuple[Tuple[int, ...], str]:
    """Shape of the features of photos, and the key of their cache."""
    shape = (len(indices), *network.shape(store.image_size))
    return shape, feature_cache.fingerprint(
        map(store.image, indices.tolist()), network.weights, features=config.feature_space,
        card=network.card and network.card.sha256, shape=shape, precision=config.run.precision)


def measure_scales(network: features_lib.ReferenceFeatures, raw: np.ndarray, rows: np.ndarray
                   ) -> None:
    """Measures the tap scales of a network on some photos, of which few are read at a time.

    Args:
      network: Reference features, whose tap scales are assigned.
      raw: f[M,h,w,C]. Raw features in memory or mapped from a file, whose pages are freed.
      rows: i64[n]. Rows of `raw`.

    Raises:
      ValueError: See `ReferenceFeatures.measure_scales`.
    """

    def batches() -> Iterator[np.ndarray]:
        for part in tqdm.tqdm(chunks(rows), desc='Measuring features', unit='batch'):
            yield raw[part]
            feature_cache.release(raw)

    network.measure_scales(batches())


class ScaledFeatures:
    """V of photos from their raw features; each photo is scaled when it is indexed.

    Args:
      scale: Function from raw features to V, such as `ReferenceFeatures.scale` with measured tap
        scales, or to features made from V.
      raw: f[M,h,w,C]. Raw features in memory or mapped from a file. Pages of a file are freed after
        each read.
      rows: i64[N]. Rows of `raw` that belong to the photos; None for all.

    Attributes:
      shape: (N, h, w, C).
    """

    def __init__(self, scale: Callable[[Any], tf.Tensor], raw: np.ndarray,
                 rows: Optional[np.ndarray] = None) -> None:
        self._scale, self._raw = scale, raw
        self._rows = np.arange(len(raw)) if rows is None else rows
        self.shape = (len(self._rows), *raw.shape[1:])

    def __getitem__(self, index: int) -> np.ndarray:
        """V of a photo, f16[h,w,C]."""
        scaled = self._scale(self._raw[self._rows[index]]).numpy().astype(np.float16)
        feature_cache.release(self._raw)
        return scaled
