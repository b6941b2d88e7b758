"""How well the parts of a checkpoint reconstruct the reference features of photos (Eq. 4)."""
from __future__ import annotations

import dataclasses
from typing import Any, Dict, Optional, Tuple

import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib
from scops_tf.features import photo_features
from scops_tf.networks import checkpoints, part_basis, reference_features as features_lib
from scops_tf.serving import trained_model
from scops_tf.training import losses, trainer as trainer_lib


def feature_space(config: config_lib.Config) -> Tuple[Any, ...]:
    """What the reference features of a run are, the same for runs whose errors are comparable."""
    features = dataclasses.asdict(config.features)
    for name in ('cache', 'cache_limit_gib'):
        del features[name]
    return (*features.items(), photo_features.reference_size(config))


class PhotoFeatures:
    """Raw reference features of the photos, computed once for all runs of the same precision.

    But for it the features of the runs are the same.

    Args:
      images: u8[N,H,W,3]. The photos.
      trainer: Of the first run, whose network is used where the precision is its.
    """

    def __init__(self, images: np.ndarray, trainer: trainer_lib.Trainer) -> None:
        self._images = images
        self._networks = {trainer.config.run.precision: trainer.reference_features}
        self._raw: Dict[str, np.ndarray] = {}

    def of(self, config: config_lib.Config
           ) -> Tuple[features_lib.ReferenceFeatures, np.ndarray]:
        """The network of a run, and its raw features f16[N,h,w,C]."""
        key = config.run.precision
        if key not in self._networks:
            self._networks[key] = photo_features.reference_network(config)
        network = self._networks[key]
        if key not in self._raw:
            self._raw[key] = np.concatenate([
                network.raw(photo_features.images_at(tf.constant(image[np.newaxis]), config))
                .numpy().astype(np.float16)
                for image in tqdm.tqdm(self._images, desc='Reference features', unit='photo')])
        return network, self._raw[key]


class Reconstruction:
    """How well the parts of a checkpoint reconstruct the features, batch by batch.

    Args:
      network: Of the reference features; takes the tap scales of the checkpoint.
      raw: f16[N,h,w,C]. Raw features of the photos.
      trained: The checkpoint's model.
      num_parts: K.
      path: Of the checkpoint.
    """

    def __init__(self, network: features_lib.ReferenceFeatures, raw: np.ndarray,
                 trained: trained_model.TrainedModel, num_parts: int, path: str) -> None:
        self._network, self._raw = network, raw
        network.tap_scales.assign(trained.tap_scales or tf.ones_like(network.tap_scales))
        self._basis = part_basis.PartBasis(num_parts, network.num_channels)
        checkpoints.restore(tf.train.Checkpoint(model=tf.train.Checkpoint(
            part_basis=self._basis, tap_scales=network.tap_scales)), path)
        self._errors = self._energies = 0.0

    def add(self, batch: slice, saliency_maps: Optional[np.ndarray], responses: tf.Tensor) -> None:
        """Adds photos.

        Args:
          batch: Which of the photos.
          saliency_maps: f32[B,h,w] of these, or None.
          responses: f32[B,H,W,K]. Part responses to these.
        """
        saliency = None
        if saliency_maps is not None:
            saliency = tf.image.resize(saliency_maps[..., np.newaxis],
                                       responses.shape[1:3], antialias=True)[..., 0]
        terms = losses.semantic_consistency_terms(
            self._network.scale(self._raw[batch]), saliency, responses, self._basis())
        self._errors += float(terms.loss) * len(responses)
        self._energies += float(terms.all_background) * len(responses)

    @property
    def error(self) -> float:
        """In per cent of the value were all pixels background."""
        return 100.0 * self._errors / self._energies if self._energies else 100.0
