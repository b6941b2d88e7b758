"""What is computed once, before the steps: tap scales, caches, the starting basis, views."""
from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib
from scops_tf.datasets import batches, photo_store
from scops_tf.features import clustering, factorization, photo_features
from scops_tf.saliency import agreement
from scops_tf.training import cached_views, starting_basis, trainer as trainer_lib

# Photos whose features are read at a time.
_CHUNK = 16

# From indices i64[n] of photos and a size (height, width) to their saliency maps f32[n,h,w].
Maps = Callable[[np.ndarray, Tuple[int, int]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The batches of the training, from any step on.

    Attributes:
      store: The photos.
      config: Of the run.
      arrays: What else belongs to each photo; see `batches.training_batches`.
    """

    store: photo_store.PhotoStore
    config: config_lib.Config
    arrays: Dict[str, Any]

    def batches(self, start_step: int, context: Optional[tf.distribute.InputContext] = None
                ) -> tf.data.Dataset:
        """Batches of the steps from `start_step` on, as `trainer.Trainer.train_step` takes them.

        The parts of the replicas of this process where there is a `context`.
        """
        run = self.config.run
        return batches.training_batches(
            self.store, batch_size=run.batch_size, seed=run.seed, num_steps=run.steps,
            start_step=start_step, arrays=self.arrays, context=context)


def prepare(trainer: trainer_lib.Trainer, store: photo_store.PhotoStore, workdir: str, *,
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
    read = photo_features.reader(config, trainer.reference_features, store)
    if config.features.cache != 'none':
        features = photo_features.reference_features(config, trainer.reference_features, store,
                                                     caches)
        arrays['reference_features'] = features
        read = features.__getitem__
    if fresh:
        # Once: without a cache each reading is a pass of the network.
        chosen = photo_features.spread(len(store))
        raw = np.concatenate([read(part) for part in tqdm.tqdm(
            _chunks(chosen), desc='Measuring features', unit='batch')])
        trainer.reference_features.measure_scales(_chunks(raw))
        logging.info('RMS of the taps of the reference features: %s.',
                     trainer.reference_features.tap_scales.numpy())
    if config.run.saliency_agreement:
        arrays['agreed_saliency'] = _agreed_saliency(trainer, store, arrays['reference_features'])
    maps = functools.partial(_maps, config, store, arrays.get('agreed_saliency'))
    if fresh:
        _start(trainer, raw, maps(chosen, raw.shape[1:3]))
    if int(trainer.step.numpy()) < config.run.warmup_steps:
        arrays['warmup_target'] = warmup_targets(trainer, store, read, maps)
    if config.segmenter.num_views:
        arrays.update(cached_views.views(trainer, store, caches))
    return Prepared(store, config, arrays)


def _agreed_saliency(trainer: trainer_lib.Trainer, store: photo_store.PhotoStore, raw: np.ndarray
                     ) -> np.ndarray:
    """f16[N,h,w]. Saliency maps made to agree over the collection.

    By what the segmenter's head reads where it is the reference features: they agree as far as it
    can learn them.
    """
    on_features = trainer.config.segmenter.backbone == 'features'
    scaled = photo_features.ScaledFeatures(
        trainer.segmenter.of_raw if on_features else trainer.reference_features.scale, raw)
    maps = photo_features.saliency_at(trainer.config, store, np.arange(len(store)), raw.shape[1:3])
    return agreement.agree(
        scaled, maps, num_rounds=trainer.config.run.saliency_agreement).astype(np.float16)


def _maps(config: config_lib.Config, store: photo_store.PhotoStore, agreed: Optional[np.ndarray],
          indices: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """f32[n,h,w]. Saliency maps at the features' size; ones without saliency constraint."""
    if agreed is not None:
        return agreed[indices].astype(np.float32)
    found = photo_features.saliency_at(config, store, indices, size)
    return np.ones((len(indices), *size), np.float32) if found is None else found


def _start(trainer: trainer_lib.Trainer, raw: np.ndarray, maps: np.ndarray) -> None:
    """Assigns the basis that training starts from, of raw features and saliency maps."""
    run = trainer.config.run
    trainer.part_basis.raw.assign(starting_basis.initial_basis(
        photo_features.ScaledFeatures(trainer.reference_features.scale, raw), maps, run.num_parts,
        method=trainer.config.part_basis.init, seed=run.seed))


def _chunks(array: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(array, -(-len(array) // _CHUNK))


def warmup_targets(trainer: trainer_lib.Trainer, store: photo_store.PhotoStore,
                   read: photo_features.Read, maps: Maps) -> np.ndarray:
    """f16[N,h,w,K+1]. Responses, summing to 1, to the basis that training starts from.

    Where it is of centroids, the share that each has in a cell, times the cell's saliency; else the
    masked features' projection on it.
    """
    config, network = trainer.config, trainer.reference_features
    basis = trainer.part_basis()
    size = network.shape(photo_features.reference_size(config))[:2]
    if config.part_basis.init == 'kmeans':
        respond = tf.function(lambda features, saliency: saliency[..., tf.newaxis]
                              * clustering.shares(features, basis))
    else:
        respond = tf.function(lambda features, saliency: factorization.project(
            features * saliency[..., tf.newaxis], basis))
    targets = np.empty((len(store), *size, basis.shape[0] + 1), np.float16)
    for chosen in tqdm.tqdm(_chunks(np.arange(len(store))), desc='Warm-up targets', unit='batch'):
        scaled = network.scale(read(chosen))
        saliency = maps(chosen, size)
        parts = respond(scaled, tf.constant(saliency)).numpy()
        parts /= np.maximum(parts.sum(axis=-1, keepdims=True), 1)
        targets[chosen, ..., :1] = np.maximum(1 - parts.sum(axis=-1, keepdims=True), 0)
        targets[chosen, ..., 1:] = parts
    return targets
