"""A baseline as a run: fitted to the training photos, then served and scored like a trained run."""
from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple, Optional, Sequence

from absl import logging
import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib, datasets, files
from scops_tf.baselines import clusters, factors
from scops_tf.datasets.records import Record
from scops_tf.features import photo_features
from scops_tf.networks import model as model_lib, reference_features as features_lib
from scops_tf.serving import part_model as part_model_lib, saved_model


class Observations(NamedTuple):
    """The data that a baseline is fitted to.

    Attributes:
      network: Reference features with measured tap scales.
      features: V of the photos.
      saliency_maps: f32[N,h,w] in [0, 1]; None without saliency, and for DFF without background.
    """

    network: features_lib.ReferenceFeatures
    features: photo_features.ScaledFeatures
    saliency_maps: Optional[np.ndarray]


def observe(name: str, config: config_lib.Config, records: Sequence[Record], workdir: str
            ) -> Observations:
    """The data that a baseline is fitted to, from caches or computed; measures the tap scales.

    Args:
      name: 'dff' or 'kmeans'.
      config: Configuration of the run.
      records: Records of the photos.
      workdir: Folder of the run.

    Raises:
      ValueError: If photos or weights cannot be used, or the features are larger than
        `Features.cache_limit_gib` allows.
      OSError: If weights cannot be found or a cache cannot be written.
    """
    network = model_lib.reference_features(config)
    with_saliency = config.data.saliency is not None and (
        name != 'dff' or config.dff.num_background > 0)
    store = photo_features.open_store(config, records, workdir, with_saliency=with_saliency)
    photo_features.warn_of_few(config, len(store))
    raw = photo_features.reference_features(
        config, network, photo_features.at_reference_size(config, store, workdir),
        photo_features.cache_folder(config, workdir))
    photo_features.measure_scales(network, raw, photo_features.spread(len(store)))
    scaled = photo_features.ScaledFeatures(network.scale, raw)
    maps = (photo_features.saliency_at(config, store, np.arange(len(store)), scaled.shape[1:3])
            if with_saliency else None)
    return Observations(network, scaled, maps)


def fit(name: str, config: config_lib.Config, observed: Observations) -> tf.Module:
    """The fitted baseline 'dff' or 'kmeans', which has `part_responses`.

    Raises:
      ValueError: If there are fewer feature vectors or channels than factors or clusters.
    """
    num_parts, seed = config.run.num_parts, config.run.seed
    if name == 'dff':
        return factors.DeepFeatureFactorization(observed.network, factors.fit(
            observed.features, observed.saliency_maps, num_parts,
            num_background=config.dff.num_background, seed=seed))
    inside = config.kmeans.inside_saliency and observed.saliency_maps is not None
    return clusters.KMeans(observed.network, clusters.fit(
        observed.features, observed.saliency_maps, num_parts, inside_saliency=inside, seed=seed))


def part_model(config: config_lib.Config, network: tf.Module) -> part_model_lib.PartModel:
    """The exported model of a baseline; see `PartModel`."""
    return part_model_lib.PartModel(
        network, num_parts=config.run.num_parts, input_size=config.reference_size,
        **dataclasses.asdict(config.decode))


def make(config: config_lib.Config, workdir: str) -> None:
    """Fits the baseline `Run.method` and writes its configuration and export.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run, for configuration, export and caches.

    Raises:
      ConfigError: If the folder holds another run.
      ValueError: If data or weights cannot be used, or the data are too few for the parts.
      OSError: If weights cannot be found or the folder cannot be written.
    """
    files.require_no_pattern(workdir, '--workdir')
    config = model_lib.pinned(config)
    config_lib.require_same(config, workdir)
    dataset = datasets.load_for(config, workdir)
    files.require_writable(workdir)
    observed = observe(config.run.method, config, dataset.train, workdir)
    logging.info('Fitting %s to %d photos.', config.run.method, observed.features.shape[0])
    model = part_model(config, fit(config.run.method, config, observed))
    # Saved late, so that a user who mends an earlier failure may use the same folder.
    config_lib.save(config, workdir)
    logging.set_verbosity(logging.WARNING)  # TensorFlow logs its own steps while it saves.
    exported = saved_model.export(model, os.path.join(workdir, 'export'), config=config, metadata={
        'step': 0, 'tap_scales': observed.network.tap_scales.numpy().tolist(),
        'reference_network': observed.network.card and observed.network.card.described})
    logging.set_verbosity(logging.INFO)
    logging.info(
        'Exported to %s. Next: python -m scops_tf.evaluate --workdir=%s', exported, workdir)
