"""The reference features of photos that a trained run is looked at with, each computed once."""
from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.features import cache as feature_cache, photo_features
from scops_tf.networks import reference_features as features_lib


class RunFeatures:
    """Reference features V of photos, by photo.

    Training photos have the raw features of the training: in the run's precision, rounded to
    float16. They are read from the run's cache. Without one they are computed when they are first
    asked for, for at most 2000 photos that are spread evenly, and kept where the training would
    keep them. The features of all other photos are computed at each reading and not kept.

    Args:
      config: Configuration of the run.
      network: Reference features of the run in its precision, with its tap scales.
      compute: Function from photos f32[B,H,W,3], RGB in [0, 1], to raw features f32[B,h,w,C], for
        photos that are not kept.
      train: Training photos; None if there are none to look at.
      workdir: Folder of the run.
    """

    def __init__(self, config: config_lib.Config, network: features_lib.ReferenceFeatures,
                 compute: Callable[[tf.Tensor], tf.Tensor],
                 train: Optional[photo_store.PhotoStore], workdir: str) -> None:
        self.network = network
        self._config, self._compute, self._workdir = config, compute, workdir
        self._seen = functools.lru_cache(maxsize=None)(functools.partial(
            photo_features.at_reference_size, config, workdir=workdir))
        self._train = None if train is None else self._seen(train)

    @functools.cached_property
    def _kept(self) -> Tuple[Any, Dict[str, int]]:
        """Raw features f16[M,h,w,C], and their rows by the paths of the photos."""
        train = self._train
        if train is None:
            return (), {}
        caches = photo_features.cache_folder(self._config, self._workdir)
        rows = photo_features.cached_features(self._config, self.network, train, caches)
        chosen = np.arange(len(train))
        if rows is None:
            chosen = photo_features.spread(len(train))
            rows = photo_features.reference_features(
                self._config, self.network, train, caches, chosen)
        return rows, {train.records[index].path: row for row, index in enumerate(chosen.tolist())}

    def of(self, store: photo_store.PhotoStore, indices: np.ndarray) -> tf.Tensor:
        """V f32[n,h,w,C] of the photos of a store that have the indices i64[n].

        Raises:
          ValueError: If the training's features are larger than `Features.cache_limit_gib` allows.
          OSError: If their cache cannot be written or read.
        """
        rows, row_of = self._kept
        places = [row_of.get(store.records[index].path) for index in indices.tolist()]
        raw: List[Any] = [None if place is None else rows[place] for place in places]
        others = [place for place, found in enumerate(raw) if found is None]
        if others:
            seen = self._seen(store)
            photos = np.stack([seen.image(index) for index in indices[others].tolist()])
            computed = self._compute(tf.constant(photos, tf.float32) / 255.0).numpy()
            for place, found in zip(others, computed):
                raw[place] = found
        scaled = self.network.scale(np.stack(raw))
        feature_cache.release(rows)
        return scaled

    def training_sample(self) -> Tuple[photo_features.ScaledFeatures, np.ndarray]:
        """V of at most 2000 training photos, and the indices i64[n] of these; raises as `of`."""
        rows, row_of = self._kept
        chosen = photo_features.spread(len(self._train))
        places = np.array([row_of[self._train.records[index].path] for index in chosen.tolist()])
        return photo_features.ScaledFeatures(self.network.scale, rows, places), chosen
