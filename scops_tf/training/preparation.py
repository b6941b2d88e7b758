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
from scops_tf.networks import model as model_lib
from scops_tf.saliency import agreement
from scops_tf.training import (
    cached_views,
    starting_basis,
    teacher as teacher_lib,
    views as views_lib,
)

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
        """Batches of the steps from `start_step` on, as `Trainer.train_step` takes them.

        They are the parts of the replicas of this process where there is a `context`.
        """
        run = self.config.run
        return batches.training_batches(
            self.store, batch_size=run.batch_size, seed=run.seed, num_steps=run.steps,
            start_step=start_step, arrays=self.arrays, context=context)


def prepare(config: config_lib.Config, model: model_lib.Model, views: views_lib.Views,
            store: photo_store.PhotoStore, workdir: str, *, fresh: bool, start_step: int = 0
            ) -> Prepared:
    """Fills the caches and, for a fresh run, sets the tap scales and the starting part basis.

    Args:
      config: Of the run.
      model: Its tap scales and basis are assigned where `fresh`, and read otherwise.
      views: Draws the views that are kept.
      store: Photos to train on.
      workdir: Folder of the run; caches on disk lie in its `cache`.
      fresh: Whether the model holds nothing of an earlier run.
      start_step: Steps done already.

    Raises:
      ValueError: If photos and saliency hold too little for the parts, or a cache is larger than
        its limit.
      OSError: If a cache cannot be written.
    """
    caches = os.path.join(workdir, 'cache')
    arrays: Dict[str, Any] = {}
    network = model.reference_features
    taught = teacher_lib.load(config) if config.run.teacher else None
    # Features of a larger size than the photos' see the photos themselves at that size.
    seen = store if config.reference_size == config.run.image_size else photo_features.open_store(
        config, store.records, workdir, with_saliency=False, image_size=config.reference_size)
    read = photo_features.reader(network, seen)
    if config.features.cache != 'none':
        features = photo_features.reference_features(config, network, seen, caches)
        arrays['reference_features'] = features
        read = features.__getitem__
    if fresh and taught:
        taught.start(model)
    elif fresh:
        # Once: without a cache each reading is a pass of the network.
        chosen = photo_features.spread(len(store))
        raw = np.concatenate([read(part) for part in tqdm.tqdm(
            _chunks(chosen), desc='Measuring features', unit='batch')])
        network.measure_scales(_chunks(raw))
        logging.info('RMS of the taps of the reference features: %s.', network.tap_scales.numpy())
    if config.run.saliency_agreement:
        arrays['saliency'] = _agreed_saliency(config, model, store, arrays['reference_features'])
    maps = functools.partial(_maps, config, store, arrays.get('saliency'))
    if fresh and not taught:
        scaled = photo_features.ScaledFeatures(network.scale, raw)
        model.part_basis.raw.assign(starting_basis.initial_basis(
            scaled, maps(chosen, raw.shape[1:3]), config.run.num_parts,
            method=config.part_basis.init, seed=config.run.seed))
    if start_step < config.warmup_steps:
        arrays['warmup_target'] = (
            taught.responses(store.records, workdir) if taught
            else warmup_targets(config, model, store, read, maps))
    if config.segmenter.num_views:
        arrays.update(cached_views.arrays(config, model, views, store, caches))
    return Prepared(store, config, arrays)


def _agreed_saliency(config: config_lib.Config, model: model_lib.Model,
                     store: photo_store.PhotoStore, raw: np.ndarray) -> np.ndarray:
    """f16[N,h,w]. Saliency maps made to agree over the photos, as far as the segmenter can learn.

    So they agree by the features as the segmenter can tell them apart.
    """
    network = model.reference_features
    scaled = photo_features.ScaledFeatures(
        lambda of_photo: model.segmenter.of_features(network.scale(of_photo)), raw)
    maps = photo_features.saliency_at(config, store, np.arange(len(store)), raw.shape[1:3])
    return agreement.agree(
        scaled, maps, num_rounds=config.run.saliency_agreement).astype(np.float16)


def _maps(config: config_lib.Config, store: photo_store.PhotoStore, agreed: Optional[np.ndarray],
          indices: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """f32[n,h,w]. Saliency maps at the features' size; ones without saliency constraint."""
    if agreed is not None:
        return agreed[indices].astype(np.float32)
    found = photo_features.saliency_at(config, store, indices, size)
    return np.ones((len(indices), *size), np.float32) if found is None else found


def _chunks(array: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(array, -(-len(array) // _CHUNK))


def warmup_targets(config: config_lib.Config, model: model_lib.Model,
                   store: photo_store.PhotoStore, read: photo_features.Read, maps: Maps
                   ) -> np.ndarray:
    """Responses to the basis that training starts from.

    Where the basis is of centroids, a part's response in a cell is the share that its centroid has
    there, times the cell's saliency. Else the responses are the projection of the features times
    saliency on the basis.

    Args:
      config: Of the run; `PartBasis.init` is read.
      model: Its tap scales and basis are those of the start.
      store: The photos.
      read: Their raw reference features.
      maps: Their saliency maps.

    Returns:
      f16[N,h,w,K+1]. In [0, 1], summing to 1; channel 0 is background.
    """
    network, basis = model.reference_features, model.part_basis()
    size = network.shape(store.image_size)[:2]
    if config.part_basis.init == 'kmeans':
        respond = tf.function(lambda features, saliency: saliency[..., tf.newaxis]
                              * clustering.shares(features, basis))
    else:
        respond = tf.function(lambda features, saliency: factorization.project(
            features * saliency[..., tf.newaxis], basis))
    targets = np.empty((len(store), *size, basis.shape[0] + 1), np.float16)
    for chosen in tqdm.tqdm(_chunks(np.arange(len(store))), desc='Warm-up targets', unit='batch'):
        parts = respond(network.scale(read(chosen)), tf.constant(maps(chosen, size))).numpy()
        parts /= np.maximum(parts.sum(axis=-1, keepdims=True), 1)
        targets[chosen, ..., :1] = np.maximum(1 - parts.sum(axis=-1, keepdims=True), 0)
        targets[chosen, ..., 1:] = parts
    return targets
