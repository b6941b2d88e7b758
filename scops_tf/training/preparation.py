"""Preparation of a training: tap scales, caches, starting basis, warm-up targets and views."""
from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable, Dict, Optional, Tuple

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

# Function from indices i64[n] of photos and a size (height, width) to saliency maps f32[n,h,w].
Maps = Callable[[np.ndarray, Tuple[int, int]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The batches of the training, from any step on.

    Attributes:
      store: Photos of the run.
      config: Configuration of the run.
      arrays: Further fields of the batches; see `batches.training_batches`.
    """

    store: photo_store.PhotoStore
    config: config_lib.Config
    arrays: Dict[str, Any]

    def batches(self, start_step: int, context: Optional[tf.distribute.InputContext] = None
                ) -> tf.data.Dataset:
        """Batches for `Trainer.train_step`, from step `start_step` on.

        With a `context` they are the parts of the replicas of this process.
        """
        run = self.config.run
        return batches.training_batches(
            self.store, batch_size=run.batch_size, seed=run.seed, num_steps=run.steps,
            start_step=start_step, arrays=self.arrays, context=context)

    def photos(self, indices: np.ndarray) -> batches.Batch:
        """Photos of indices i64[n], with the saliency maps and the features of the training."""
        image, saliency = self.store.batch(indices.tolist())
        kept = {name: tf.constant(self.arrays[name][indices])
                for name in ('saliency', 'reference_features', 'backbone_features')
                if name in self.arrays}
        return batches.Batch(tf.constant(indices), tf.constant(image),
                             **{'saliency': tf.constant(saliency), **kept})


def prepare(config: config_lib.Config, model: model_lib.Model, views: views_lib.Views,
            store: photo_store.PhotoStore, workdir: str, *, fresh: bool, start_step: int = 0
            ) -> Prepared:
    """Fills the caches and, for a fresh run, sets the tap scales and the starting part basis.

    Args:
      config: Configuration of the run.
      model: Model of the run. Its tap scales and basis are assigned if `fresh`, and read otherwise.
      views: Generator of the views that are kept.
      store: Photos to train on.
      workdir: Folder of the run; caches on disk lie in its folder `cache`.
      fresh: Whether the model has no values from a checkpoint.
      start_step: Number of steps already done.

    Raises:
      ValueError: If photos and saliency maps are too few for the parts, or a cache is larger than
        its limit.
      OSError: If a cache cannot be written.
    """
    caches = photo_features.cache_folder(config, workdir)
    arrays: Dict[str, Any] = {}
    network = model.reference_features
    warms_up = start_step < config.warmup_steps
    is_taught = config.run.teacher and not config.run.init_from and (fresh or warms_up)
    taught = teacher_lib.load(config, workdir) if is_taught else None
    read = None
    if config.features.cache != 'none':
        arrays['reference_features'] = photo_features.reference_features(
            config, network, photo_features.at_reference_size(config, store, workdir), caches)
        read = arrays['reference_features'].__getitem__
    elif not taught and (fresh or warms_up):
        # Only where it is used, since it holds the photos at the features' size.
        read = photo_features.reader(
            network, photo_features.at_reference_size(config, store, workdir))
    if fresh and taught:
        taught.start(model)
    elif fresh:
        chosen = photo_features.spread(len(store))
        raw, rows = arrays.get('reference_features'), chosen
        if raw is None:
            # Kept, since without a cache each reading is a pass of the network.
            shape = network.shape(config.reference_size)
            raw, rows = _read_all(read, chosen, shape), np.arange(len(chosen))
        photo_features.measure_scales(network, raw, rows)
        logging.info('RMS of the taps of the reference features: %s.', network.tap_scales.numpy())
    if config.run.saliency_agreement:
        arrays['saliency'] = _agreed_saliency(config, model, store, arrays['reference_features'])
    maps = functools.partial(_maps, config, store, arrays.get('saliency'))
    if fresh and not taught:
        scaled = photo_features.ScaledFeatures(network.scale, raw, rows)
        model.part_basis.raw.assign(starting_basis.initial_basis(
            scaled, maps(chosen, raw.shape[1:3]), config.run.num_parts,
            method=config.part_basis.init, seed=config.run.seed))
    if warms_up:
        arrays['warmup_target'] = (
            taught.targets(store.records, workdir, mirrored=config.warp.mirror > 0,
                           form=config.run.teacher_targets, crf=config.crf)
            if taught else warmup_targets(config, model, store, read, maps))
    if config.segmenter.num_views:
        arrays.update(cached_views.arrays(config, model, views, store, caches))
    return Prepared(store, config, arrays)


def _agreed_saliency(config: config_lib.Config, model: model_lib.Model,
                     store: photo_store.PhotoStore, raw: np.ndarray) -> np.ndarray:
    """Saliency maps f16[N,h,w] that agree over the photos; see `agreement.agree`.

    They are regressed on the features under the segmenter's normalization, so that the segmenter
    can learn them.
    """
    network = model.reference_features
    scaled = photo_features.ScaledFeatures(
        lambda of_photo: model.segmenter.of_features(network.scale(of_photo)), raw)
    maps = photo_features.saliency_at(config, store, np.arange(len(store)), raw.shape[1:3])
    return agreement.agree(
        scaled, maps, num_rounds=config.run.saliency_agreement).astype(np.float16)


def _maps(config: config_lib.Config, store: photo_store.PhotoStore, agreed: Optional[np.ndarray],
          indices: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Saliency maps f32[n,h,w] at the features' size; ones without saliency constraint."""
    if agreed is not None:
        return agreed[indices].astype(np.float32)
    found = photo_features.saliency_at(config, store, indices, size)
    return np.ones((len(indices), *size), np.float32) if found is None else found


def _read_all(read: photo_features.Read, chosen: np.ndarray, shape: Tuple[int, int, int]
              ) -> np.ndarray:
    """Raw features f16[n,h,w,C] of photos i64[n], which have the shape (h, w, C)."""
    found = np.empty((len(chosen), *shape), np.float16)
    for part in tqdm.tqdm(photo_features.chunks(np.arange(len(chosen))), desc='Reading features',
                          unit='batch'):
        found[part] = read(chosen[part])
    return found


def warmup_targets(config: config_lib.Config, model: model_lib.Model,
                   store: photo_store.PhotoStore, read: photo_features.Read, maps: Maps
                   ) -> np.ndarray:
    """Part responses that warm-up steps fit, made from the starting basis.

    If the basis rows are k-means centroids, a part's response in a cell is the share of its
    centroid there times the cell's saliency. Otherwise the responses are the projection of features
    times saliency on the basis.

    Args:
      config: Configuration of the run; `PartBasis.init` is read.
      model: Model with the starting tap scales and basis.
      store: Photos of the run.
      read: Function that reads the photos' raw reference features.
      maps: Function that reads the photos' saliency maps.

    Returns:
      f16[N,h,w,K+1]. In [0, 1]; channels sum to 1, and channel 0 is background.
    """
    network, basis = model.reference_features, model.part_basis()
    size = network.shape(store.image_size)[:2]

    @tf.function(autograph=False)
    def respond(features: tf.Tensor, saliency: tf.Tensor) -> tf.Tensor:
        if config.part_basis.init == 'kmeans':
            return saliency[..., tf.newaxis] * clustering.shares(features, basis)
        return factorization.project(features * saliency[..., tf.newaxis], basis)

    targets = np.empty((len(store), *size, basis.shape[0] + 1), np.float16)
    for chosen in tqdm.tqdm(photo_features.chunks(np.arange(len(store))), desc='Warm-up targets',
                            unit='batch'):
        parts = respond(network.scale(read(chosen)), tf.constant(maps(chosen, size))).numpy()
        parts /= np.maximum(parts.sum(axis=-1, keepdims=True), 1)
        targets[chosen, ..., :1] = np.maximum(1 - parts.sum(axis=-1, keepdims=True), 0)
        targets[chosen, ..., 1:] = parts
    return targets
