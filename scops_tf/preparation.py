"""What is computed once, before the steps: tap scales, cached features, the starting basis, cached views."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, Dict, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib, feature_cache, features as features_lib, part_basis, trainer as trainer_lib, warp
from scops_tf.datasets import pipeline
from scops_tf.datasets.records import Record
from scops_tf.saliency import maps as saliency_maps

# Photos that the tap scales and the starting basis are taken from; more change neither noticeably.
_NUM_SAMPLED = 2000


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The batches of the training, from any step on."""

    store: pipeline.PhotoStore
    config: config_lib.Config
    arrays: Dict[str, Any]

    def batches(self, start_step: int) -> tf.data.Dataset:
        """Batches of the steps from `start_step` on, as `trainer.Trainer.train_step` takes them."""
        run = self.config.run
        return pipeline.training_batches(
            self.store, batch_size=run.batch_size, seed=run.seed, num_steps=run.steps, start_step=start_step,
            arrays=self.arrays)


def open_store(config: config_lib.Config, records: Sequence[Record], workdir: str, *,
               with_saliency: bool = True) -> pipeline.PhotoStore:
    """Photos of the configured size, with their saliency maps; missing RBD maps are computed and kept.

    The cache of computed maps is shared by runs beside each other: `saliency_cache` in the folder that holds
    the run's.
    """
    data = config.data
    source: Any = data.saliency if with_saliency else None
    if source == 'rbd':
        cache = os.path.join(os.path.dirname(os.path.abspath(workdir)), 'saliency_cache')
        found = saliency_maps.cached_maps([record.path for record in records], cache)
        # An unreadable photo has no map; the store meets it too, and leaves it out or stops.
        records = [dataclasses.replace(record, saliency_path=path or record.path)
                   for record, path in zip(records, found.paths)]
        source = 'folder'
    return pipeline.PhotoStore(records, image_size=data.image_size, saliency=source,
                               on_bad_file=data.on_bad_file, memory_limit_gib=data.memory_limit_gib)


def prepare(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, workdir: str, *, fresh: bool) -> Prepared:
    """Fills the caches and, for a fresh run, sets the tap scales and the starting part basis.

    Args:
      trainer: Its tap scales and basis are assigned where `fresh`, and read otherwise.
      store: Photos to train on.
      workdir: Folder of the run; caches on disk lie in its `cache`.
      fresh: Whether the trainer holds nothing of an earlier run.
    """
    config = trainer.config
    caches = os.path.join(workdir, 'cache')
    arrays: Dict[str, Any] = {}
    cached = config.features.cache != 'none'
    features = reference_features(config, trainer.reference_features, store, caches) if cached else None
    if fresh:
        _start(trainer, store, features)
    if cached:
        arrays['reference_features'] = features
    if int(trainer.step) < config.run.warmup_steps:
        arrays['warmup_target'] = warmup_targets(trainer, store, features)
    if config.segmenter.num_views:
        arrays.update(_cached_views(trainer, store, caches))
    return Prepared(store, config, arrays)


def reference_features(config: config_lib.Config, network: features_lib.ReferenceFeatures,
                       store: pipeline.PhotoStore, caches: str) -> np.ndarray:
    """f16[N,h,w,C]. Unscaled reference features of all photos, in memory or memory-mapped."""
    settings = config.features

    def compute(indices: np.ndarray) -> np.ndarray:
        photos = np.stack([store.image(index) for index in indices.tolist()])
        return network.raw(trainer_lib.images_at(tf.constant(photos), config)).numpy()

    shape = (len(store), *compute(np.zeros(1, np.int64)).shape[1:])
    key = fingerprint(store, features=dataclasses.asdict(settings), shape=shape,
                      precision=config.run.precision)
    return feature_cache.filled(shape, compute, key=key, folder=_cache_folder(shape, settings, caches),
                                description='Reference features')


def _cache_folder(shape: Sequence[int], settings: config_lib.Features, caches: str) -> Optional[str]:
    """Where a cache of this shape lies: None is memory.

    Raises:
      ValueError: If it is larger than the limit allows on the disk.
    """
    needed, limit = feature_cache.bytes_needed(shape) / 2**30, settings.cache_limit_gib
    if settings.cache == 'memory' or settings.cache == 'auto' and needed <= limit:
        return None
    if needed > 10 * limit:
        raise ValueError(
            f'`Features.cache_limit_gib` must be at least a tenth of the cache on disk, which takes {needed:.1f} GiB '
            f'here; got {limit}: raise it, or set `Features.cache` to \'none\'.')
    return caches


def _start(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, features: Optional[np.ndarray]) -> None:
    """Assigns tap scales, measured over the photos, and the basis that training starts from."""
    config, network = trainer.config, trainer.reference_features
    chosen = sample(len(store))
    if features is None:
        sampled = np.concatenate([
            network.raw(trainer_lib.images_at(tf.constant(store.image(index)[np.newaxis]), config)).numpy().astype(
                np.float16) for index in tqdm.tqdm(chosen.tolist(), desc='Measuring features', unit='photo')])
    else:
        sampled = features[chosen]
    network.measure_scales(np.array_split(sampled, -(-len(sampled) // 16)))
    logging.info('RMS of the taps of the reference features: %s.', network.tap_scales.numpy())
    scaled = scaled_features(network, sampled)
    trainer.part_basis.raw.assign(part_basis.initial_basis(
        scaled, saliency_at(config, store, chosen, scaled.shape[1:3]), config.run.num_parts,
        method=config.part_basis.init, seed=config.run.seed))


def scaled_features(network: features_lib.ReferenceFeatures, raw: np.ndarray) -> np.ndarray:
    """f16[N,h,w,C]. V of raw features."""
    return np.concatenate([network.scale(part).numpy().astype(np.float16)
                           for part in np.array_split(raw, -(-len(raw) // 16))])


def saliency_at(config: config_lib.Config, store: pipeline.PhotoStore, indices: np.ndarray,
                 size: Tuple[int, int]) -> Optional[np.ndarray]:
    """f32[n,h,w]. Saliency maps at the features' resolution; None without saliency constraint."""
    if config.data.saliency is None:
        return None
    return np.stack([tf.image.resize(store.saliency(index)[..., np.newaxis], size, antialias=True).numpy()[..., 0]
                     for index in indices.tolist()]).clip(0, 1)


def sample(num_photos: int) -> np.ndarray:
    """Indices spread evenly over the photos."""
    return np.unique(np.linspace(0, num_photos - 1, min(num_photos, _NUM_SAMPLED)).astype(np.int64))


def fingerprint(store: pipeline.PhotoStore, **settings: Any) -> str:
    """SHA-256 of the photos as squashed and of settings: what a cache of theirs is found by."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for index in range(len(store)):
        digest.update(store.image(index).tobytes())
    return digest.hexdigest()


def warmup_targets(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore,
                   features: np.ndarray) -> np.ndarray:
    """f16[N,h,w,K+1]. Responses, summing to 1, of the masked features' projection on the starting basis."""
    basis = trainer.part_basis().numpy()
    targets = np.empty((*features.shape[:3], len(basis) + 1), np.float16)
    for index in tqdm.tqdm(range(len(store)), desc='Warm-up targets', unit='photo'):
        chosen = np.array([index])
        scaled = trainer.reference_features.scale(features[chosen]).numpy()
        maps = saliency_at(trainer.config, store, chosen, scaled.shape[1:3])
        if maps is not None:
            scaled = scaled * maps[..., np.newaxis]
        parts = part_basis.project(scaled, basis)
        parts /= np.maximum(parts.sum(axis=-1, keepdims=True), 1)
        targets[index] = np.concatenate([1 - parts.sum(axis=-1, keepdims=True), parts], axis=-1)[0]
    return targets


class _DrawnViews:
    """Rows of cached views: a new one of each photo's `num_views` at every step, a function of seed and step."""

    def __init__(self, rows: np.ndarray, *, num_views: int, seed: int) -> None:
        self._rows, self._num_views, self._seed = rows, num_views, seed

    def __call__(self, step: int, indices: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng([self._seed, 1, step]).integers(self._num_views, size=len(indices))
        return self._rows[indices * self._num_views + drawn]


def _cached_views(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, caches: str) -> Dict[str, Any]:
    """Backbone features of every photo and of its views, and the views' spatial transforms."""
    config = trainer.config
    count, seed = config.segmenter.num_views, config.run.seed
    backbone = tf.function(trainer.segmenter.backbone)

    @tf.function
    def view_of(photos: tf.Tensor, photo: tf.Tensor) -> trainer_lib.View:
        drawn = tf.random.experimental.stateless_fold_in(tf.constant([seed, 2], tf.int32), photo)
        return trainer.view(tf.repeat(tf.cast(photos, tf.float32) / 255.0, count, axis=0), drawn)

    def views(photo: int) -> trainer_lib.View:
        return view_of(tf.constant(store.image(photo)[np.newaxis]), tf.constant(photo, tf.int32))

    def compute(indices: np.ndarray) -> np.ndarray:
        return backbone(tf.constant(np.stack([store.image(index) for index in indices.tolist()]) / np.float32(255)))

    def compute_views(indices: np.ndarray) -> np.ndarray:
        return backbone(views(int(indices[0]) // count).images)

    row = trainer.segmenter.feature_shape(config.data.image_size)
    key = fingerprint(store, segmenter=dataclasses.asdict(config.segmenter), warp=dataclasses.asdict(config.warp),
                      jitter=dataclasses.asdict(config.color_jitter), seed=seed, row=row,
                      precision=config.run.precision)
    folder = _cache_folder((len(store) * (1 + count), *row), config.features, caches)
    photo_features = feature_cache.filled(
        (len(store), *row), compute, key=f'{key}-photos', folder=folder, batch_size=count,
        description='Backbone features of photos')
    view_features = feature_cache.filled(
        (len(store) * count, *row), compute_views, key=f'{key}-views', folder=folder, batch_size=count,
        description='Backbone features of views')
    transforms = [views(photo).transform for photo in range(len(store))]
    drawn = {'view_features': view_features,
             **{f'view_{name}': np.concatenate([getattr(transform, name) for transform in transforms])
                for name in warp.Transform._fields}}
    return {'backbone_features': photo_features,
            **{name: _DrawnViews(rows, num_views=count, seed=seed) for name, rows in drawn.items()}}
