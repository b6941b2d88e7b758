"""What is computed once, before the steps: tap scales, caches, the starting basis, views."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import (
    config as config_lib,
    feature_cache,
    features as features_lib,
    part_basis,
    trainer as trainer_lib,
    warp,
)
from scops_tf.datasets import pipeline
from scops_tf.datasets.records import Record
from scops_tf.saliency import maps as saliency_maps

# Photos that the tap scales and the starting basis are taken from; more change neither noticeably.
_NUM_SAMPLED = 2000
# Photos whose features are scaled at a time.
_CHUNK = 16

# From indices i64[n] of photos to their raw reference features float[n,h,w,C].
Read = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The batches of the training, from any step on.

    Attributes:
      store: The photos.
      config: Of the run.
      arrays: What else belongs to each photo; see `pipeline.training_batches`.
    """

    store: pipeline.PhotoStore
    config: config_lib.Config
    arrays: Dict[str, Any]

    def batches(self, start_step: int) -> tf.data.Dataset:
        """Batches of the steps from `start_step` on, as `trainer.Trainer.train_step` takes them."""
        run = self.config.run
        return pipeline.training_batches(
            self.store, batch_size=run.batch_size, seed=run.seed, num_steps=run.steps,
            start_step=start_step, arrays=self.arrays)


def open_store(config: config_lib.Config, records: Sequence[Record], workdir: str, *,
               with_saliency: bool = True) -> pipeline.PhotoStore:
    """Photos of the configured size with their saliency maps.

    RBD maps that are missing are computed and kept in a cache that is shared by the runs beside
    each other: `saliency_cache`, in the folder that holds the run's.

    Args:
      config: Of the run.
      records: Of the photos.
      workdir: Folder of the run.
      with_saliency: Whether maps are needed.

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
    return pipeline.PhotoStore(
        records, image_size=data.image_size, saliency=source, on_bad_file=data.on_bad_file,
        memory_limit_gib=data.memory_limit_gib)


def prepare(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, workdir: str, *,
            fresh: bool) -> Prepared:
    """Fills the caches and, for a fresh run, sets the tap scales and the starting part basis.

    Args:
      trainer: Its tap scales and basis are assigned where `fresh`, and read otherwise.
      store: Photos to train on.
      workdir: Folder of the run; caches on disk lie in its `cache`.
      fresh: Whether the trainer holds nothing of an earlier run.

    Raises:
      ValueError: If photos and saliency hold too little for the parts, or a cache is larger than
        its limit.
      OSError: If a cache cannot be written.
    """
    config = trainer.config
    caches = os.path.join(workdir, 'cache')
    arrays: Dict[str, Any] = {}
    read = _reader(config, trainer.reference_features, store)
    if config.features.cache != 'none':
        features = reference_features(config, trainer.reference_features, store, caches)
        arrays['reference_features'] = features
        read = features.__getitem__
    if fresh:
        _start(trainer, store, read)
    if int(trainer.step) < config.run.warmup_steps:
        arrays['warmup_target'] = warmup_targets(trainer, store, read)
    if config.segmenter.num_views:
        arrays.update(_cached_views(trainer, store, caches))
    return Prepared(store, config, arrays)


def _reader(config: config_lib.Config, network: features_lib.ReferenceFeatures,
            store: pipeline.PhotoStore) -> Read:
    """Computes raw reference features, rounded as in the cache."""

    def read(indices: np.ndarray) -> np.ndarray:
        photos = tf.constant(np.stack([store.image(index) for index in indices.tolist()]))
        return network.raw(trainer_lib.images_at(photos, config)).numpy().astype(np.float16)

    return read


def reference_features(config: config_lib.Config, network: features_lib.ReferenceFeatures,
                       store: pipeline.PhotoStore, caches: str) -> np.ndarray:
    """f16[N,h,w,C]. Raw reference features of all photos, in memory or memory-mapped.

    Raises:
      ValueError: If they are more than `Features.cache_limit_gib` allows.
      OSError: If the cache cannot be written.
    """
    settings = config.features
    shape = (len(store), *network.shape(settings.image_size or config.data.image_size))
    key = fingerprint(store, features=dataclasses.asdict(settings), shape=shape,
                      precision=config.run.precision)
    return feature_cache.filled(
        shape, _reader(config, network, store), key=key,
        folder=_cache_folder(shape, settings, caches), description='Reference features')


def _cache_folder(shape: Sequence[int], settings: config_lib.Features, caches: str
                  ) -> Optional[str]:
    """Where a cache of this shape lies: None is memory.

    Raises:
      ValueError: If it is larger than the limit allows on the disk.
    """
    needed, limit = feature_cache.bytes_needed(shape) / 2**30, settings.cache_limit_gib
    if settings.cache == 'memory' or settings.cache != 'disk' and needed <= limit:
        return None
    if needed > 10 * limit:
        raise ValueError(
            '`Features.cache_limit_gib` must be at least a tenth of the cache on disk, which takes '
            f'{needed:.1f} GiB here; got {limit}: raise it, or set `Features.cache` to \'none\' '
            'and `Segmenter.num_views` to 0.')
    return caches


def _start(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, read: Read) -> None:
    """Assigns tap scales, measured over the photos, and the basis that training starts from."""
    config, network = trainer.config, trainer.reference_features
    chosen = sample(len(store))
    raw = np.concatenate([read(part) for part in tqdm.tqdm(
        _chunks(chosen), desc='Measuring features', unit='batch')])
    network.measure_scales(_chunks(raw))
    logging.info('RMS of the taps of the reference features: %s.', network.tap_scales.numpy())
    scaled = scaled_features(network, raw)
    trainer.part_basis.raw.assign(part_basis.initial_basis(
        scaled, saliency_at(config, store, chosen, scaled.shape[1:3]), config.run.num_parts,
        method=config.part_basis.init, seed=config.run.seed))


def _chunks(array: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(array, -(-len(array) // _CHUNK))


def scaled_features(network: features_lib.ReferenceFeatures, raw: np.ndarray) -> np.ndarray:
    """f16[N,h,w,C]. V of raw features."""
    return np.concatenate([network.scale(part).numpy().astype(np.float16)
                           for part in _chunks(raw)])


def saliency_at(config: config_lib.Config, store: pipeline.PhotoStore, indices: np.ndarray,
                size: Tuple[int, int]) -> Optional[np.ndarray]:
    """f32[n,h,w]. Saliency maps at the features' size; None without saliency constraint."""
    if config.data.saliency is None:
        return None
    maps = [tf.image.resize(store.saliency(index)[..., np.newaxis], size, antialias=True)
            for index in indices.tolist()]
    return np.stack(maps)[..., 0].clip(0, 1)


def sample(num_photos: int) -> np.ndarray:
    """Indices spread evenly over the photos."""
    return np.unique(np.linspace(0, num_photos - 1, min(num_photos, _NUM_SAMPLED)).astype(np.int64))


def fingerprint(store: pipeline.PhotoStore, **settings: Any) -> str:
    """SHA-256 of the photos as squashed and of settings: what a cache of theirs is found by."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for index in range(len(store)):
        digest.update(store.image(index).tobytes())
    return digest.hexdigest()


def warmup_targets(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, read: Read
                   ) -> np.ndarray:
    """f16[N,h,w,K+1]. The masked features' projection on the basis, as responses that sum to 1."""
    config, network = trainer.config, trainer.reference_features
    basis = trainer.part_basis().numpy()
    size = network.shape(config.features.image_size or config.data.image_size)[:2]
    targets = np.empty((len(store), *size, len(basis) + 1), np.float16)
    for index in tqdm.tqdm(range(len(store)), desc='Warm-up targets', unit='photo'):
        chosen = np.array([index])
        scaled = network.scale(read(chosen)).numpy()
        maps = saliency_at(config, store, chosen, size)
        if maps is not None:
            scaled = scaled * maps[..., np.newaxis]
        parts = part_basis.project(scaled, basis)[0]
        parts /= np.maximum(parts.sum(axis=-1, keepdims=True), 1)
        targets[index, ..., :1] = np.maximum(1 - parts.sum(axis=-1, keepdims=True), 0)
        targets[index, ..., 1:] = parts
    return targets


class _DrawnViews:
    """Rows of cached views: at every step a new one of each photo's, by seed and step.

    Args:
      rows: [N * num_views, ...]. Those of the first photo first.
      num_views: Views per photo.
      seed: Of the draws.
    """

    def __init__(self, rows: np.ndarray, *, num_views: int, seed: int) -> None:
        self._rows, self._num_views, self._seed = rows, num_views, seed

    def __call__(self, step: int, indices: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng([self._seed, 1, step])
        drawn = generator.integers(self._num_views, size=len(indices))
        return self._rows[indices * self._num_views + drawn]


def _cached_views(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, caches: str
                  ) -> Dict[str, Any]:
    """Backbone features of all photos and of their views, and the views' spatial transforms."""
    config = trainer.config
    count, seed = config.segmenter.num_views, config.run.seed
    backbone = tf.function(trainer.segmenter.backbone)

    def view_seed(photo: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(tf.constant([seed, 2], tf.int32), photo)

    @tf.function
    def views_of(image: tf.Tensor, photo: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(image, tf.float32) / 255.0
        return trainer.view(tf.repeat(pixels[tf.newaxis], count, axis=0), view_seed(photo)).images

    @tf.function
    def transforms_of(photo: tf.Tensor) -> warp.Transform:
        return trainer.view_transform(count, view_seed(photo))

    def of_photos(indices: np.ndarray) -> np.ndarray:
        photos = np.stack([store.image(index) for index in indices.tolist()])
        return backbone(tf.constant(photos / np.float32(255)))

    def of_views(indices: np.ndarray) -> np.ndarray:
        photo = int(indices[0]) // count  # Rows are asked for photo by photo.
        return backbone(views_of(tf.constant(store.image(photo)), tf.constant(photo, tf.int32)))

    row = trainer.segmenter.feature_shape(config.data.image_size)
    key = fingerprint(
        store, segmenter=dataclasses.asdict(config.segmenter), precision=config.run.precision,
        warp=dataclasses.asdict(config.warp), jitter=dataclasses.asdict(config.color_jitter),
        seed=seed, row=row)
    folder = _cache_folder((len(store) * (1 + count), *row), config.features, caches)
    photo_features = feature_cache.filled(
        (len(store), *row), of_photos, key=f'{key}-photos', folder=folder,
        description='Backbone features of photos')
    view_features = feature_cache.filled(
        (len(store) * count, *row), of_views, key=f'{key}-views', folder=folder, batch_size=count,
        description='Backbone features of views')
    drawn = [transforms_of(tf.constant(photo, tf.int32)) for photo in range(len(store))]
    rows = {'view_features': view_features}
    for name in warp.Transform._fields:
        rows[f'view_{name}'] = np.concatenate([getattr(transform, name) for transform in drawn])
    return {'backbone_features': photo_features,
            **{name: _DrawnViews(values, num_views=count, seed=seed)
               for name, values in rows.items()}}
