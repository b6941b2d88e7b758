"""What is computed once, before the steps: tap scales, caches, the starting basis, views."""
from __future__ import annotations

import dataclasses
import os
from typing import Any, Dict, Optional, Sequence

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import (
    cached_views,
    collection,
    config as config_lib,
    factorization,
    part_basis,
    trainer as trainer_lib,
)
from scops_tf.datasets import pipeline

# Photos whose features are read at a time.
_CHUNK = 16


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

    def batches(self, start_step: int, context: Optional[tf.distribute.InputContext] = None
                ) -> tf.data.Dataset:
        """Batches of the steps from `start_step` on, as `trainer.Trainer.train_step` takes them.

        The parts of the replicas of this process where there is a `context`.
        """
        run = self.config.run
        return pipeline.training_batches(
            self.store, batch_size=run.batch_size, seed=run.seed, num_steps=run.steps,
            start_step=start_step, arrays=self.arrays, context=context)


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
    read = collection.reader(config, trainer.reference_features, store)
    if config.features.cache != 'none':
        features = collection.reference_features(config, trainer.reference_features, store, caches)
        arrays['reference_features'] = features
        read = features.__getitem__
    if fresh:
        _start(trainer, store, read)
    if int(trainer.step.numpy()) < config.run.warmup_steps:
        arrays['warmup_target'] = warmup_targets(trainer, store, read)
    if config.segmenter.num_views:
        arrays.update(cached_views.views(trainer, store, caches))
    return Prepared(store, config, arrays)


def _start(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore, read: collection.Read
           ) -> None:
    """Assigns tap scales, measured over the photos, and the basis that training starts from."""
    config, network = trainer.config, trainer.reference_features
    chosen = collection.spread(len(store))
    raw = np.concatenate([read(part) for part in tqdm.tqdm(
        _chunks(chosen), desc='Measuring features', unit='batch')])
    network.measure_scales(_chunks(raw))
    logging.info('RMS of the taps of the reference features: %s.', network.tap_scales.numpy())
    scaled = collection.ScaledFeatures(network, raw)
    trainer.part_basis.raw.assign(part_basis.initial_basis(
        scaled, collection.saliency_at(config, store, chosen, scaled.shape[1:3]),
        config.run.num_parts, method=config.part_basis.init, seed=config.run.seed))


def _chunks(array: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(array, -(-len(array) // _CHUNK))


def warmup_targets(trainer: trainer_lib.Trainer, store: pipeline.PhotoStore,
                   read: collection.Read) -> np.ndarray:
    """f16[N,h,w,K+1]. The masked features' projection on the basis, as responses that sum to 1."""
    config, network = trainer.config, trainer.reference_features
    basis = trainer.part_basis()
    size = network.shape(collection.reference_size(config))[:2]
    project = tf.function(lambda features: factorization.project(features, basis))
    targets = np.empty((len(store), *size, basis.shape[0] + 1), np.float16)
    for chosen in tqdm.tqdm(_chunks(np.arange(len(store))), desc='Warm-up targets', unit='batch'):
        scaled = network.scale(read(chosen))
        maps = collection.saliency_at(config, store, chosen, size)
        if maps is not None:
            scaled *= maps[..., np.newaxis]
        parts = project(scaled).numpy()
        parts /= np.maximum(parts.sum(axis=-1, keepdims=True), 1)
        targets[chosen, ..., :1] = np.maximum(1 - parts.sum(axis=-1, keepdims=True), 0)
        targets[chosen, ..., 1:] = parts
    return targets
