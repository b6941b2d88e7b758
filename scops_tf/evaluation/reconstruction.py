"""Reconstruction of the photos' reference features by the parts of a checkpoint (Eq. 4)."""
from __future__ import annotations

from typing import Dict, Optional

import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib
from scops_tf.networks import model as model_lib
from scops_tf.training import losses


class PhotoFeatures:
    """Raw reference features of the photos, computed once for all runs of the same precision.

    The runs must have the same `feature_space`.

    Args:
      images: u8[N,H,W,3]. Photos, RGB.
    """

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self._raw: Dict[str, np.ndarray] = {}

    def of(self, config: config_lib.Config) -> np.ndarray:
        """Raw reference features of a run, f16[N,h,w,C]."""
        key = config.run.precision
        if key not in self._raw:
            network = model_lib.reference_features(config)
            self._raw[key] = np.concatenate([
                network.raw(tf.constant(image[np.newaxis], tf.float32) / 255.0)
                .numpy().astype(np.float16)
                for image in tqdm.tqdm(self._images, desc='Reference features', unit='photo')])
        return self._raw[key]


class Reconstruction:
    """Reconstruction error of a checkpoint, accumulated batch by batch.

    Args:
      model: Networks of the checkpoint.
      raw: f16[N,h,w,C]. Raw reference features of the photos.
    """

    def __init__(self, model: model_lib.Model, raw: np.ndarray) -> None:
        self._model, self._raw = model, raw
        self._errors = self._energies = 0.0

    def add(self, batch: slice, saliency_maps: Optional[np.ndarray], responses: tf.Tensor) -> None:
        """Adds a batch of photos.

        Args:
          batch: Slice of the photos.
          saliency_maps: f32[B,h,w]. Saliency maps of the batch, or None.
          responses: f32[B,H,W,K]. Part responses of the batch, background removed.
        """
        saliency = None
        if saliency_maps is not None:
            saliency = tf.image.resize(saliency_maps[..., np.newaxis],
                                       responses.shape[1:3], antialias=True)[..., 0]
        terms = losses.semantic_consistency_terms(
            self._model.reference_features.scale(self._raw[batch]), saliency, responses,
            self._model.part_basis())
        self._errors += float(terms.loss) * len(responses)
        self._energies += float(terms.all_background) * len(responses)

    @property
    def error(self) -> float:
        """Reconstruction error in per cent of its value if all pixels were background."""
        return 100.0 * self._errors / self._energies if self._energies else 100.0
