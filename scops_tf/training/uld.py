"""The objective of ULD, the baseline that the SCOPS paper compares with (§4.1).

It joins the losses of Thewlis et al. (ICCV 2017) and Zhang et al. (CVPR 2018): concentration,
separation, landmark equivariance and reconstruction. The segmenter is that of SCOPS, as in the
paper, and its parts are the landmarks:

* Part responses R are the soft-max of the part logits over K landmarks and the background, channel
  0. So have Zhang et al. (Thewlis et al. have a soft-max over space and no background). The
  background takes the pixels that belong to no landmark.
* A landmark is the centre of its map (Eq. 1 of the SCOPS paper). So a trained run is evaluated,
  exported and pictured as one of SCOPS, and `part_centers` are its landmarks where
  `Decode.center_window` is None and `Decode.center_power` is 1.
* No term reads saliency, reference features or the part basis.
"""
from __future__ import annotations

from typing import Dict, Tuple

import tensorflow as tf

from scops_tf import config as config_lib, geometry
from scops_tf.networks import landmark_decoder, model as model_lib
from scops_tf.training import landmarks as landmarks_lib, losses, objective


class Uld(objective.Objective):
    """The losses of ULD; see `objective.Objective`.

    The photos that it reconstructs have the size of the responses, `Losses.response_size`.

    Args:
      config: Configuration of the run.
      model: Networks of the run.

    Attributes:
      decoder: The decoder, which is trained beside the segmenter and which no prediction needs.
    """

    advice = 'lower `Uld.concentration`'

    def __init__(self, config: config_lib.Config, model: model_lib.Model) -> None:
        self.weights = config.uld
        self._size = config.response_size
        self.decoder = landmark_decoder.LandmarkDecoder(
            config.run.num_parts, model.segmenter.feature_shape(config.run.image_size)[2],
            self._size, num_descriptors=config.uld.num_descriptors, seed=config.run.seed)
        self.trained_variables = {'decoder': self.decoder.trainable_variables}
        self.saved = {'landmark_decoder': self.decoder}

    def terms(self, seen: objective.Observation
              ) -> Tuple[Dict[str, tf.Tensor], Dict[str, tf.Tensor]]:
        """The four loss terms, named like their weights in `config.Uld`, and figures to log.

        Concentration and separation are those of photos and views, reconstruction is of photos.
        """
        settings = self.weights
        responses, view_responses = (
            tf.nn.softmax(geometry.upsample(logits, self._size))
            for logits in (seen.logits, seen.view_logits))
        parts = tf.concat([responses, view_responses], axis=0)[..., 1:]
        both = geometry.part_centers(parts, epsilon=settings.epsilon)
        landmarks, view_landmarks = tf.split(both, 2)
        moved = seen.transform.warp_points(landmarks)
        terms = {
            'concentration': losses.concentration_loss(parts, epsilon=settings.epsilon),
            'separation': landmarks_lib.separation_loss(both, width=settings.separation_width),
            'landmark_equivariance': losses.center_equivariance_loss(
                view_landmarks, moved, geometry.is_inside(moved)),
            'reconstruction': landmarks_lib.reconstruction_loss(
                self.reconstructed(seen.features, landmarks), self._photos(seen)),
        }
        return terms, objective.part_figures(responses)

    def reconstructed(self, features: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
        """Photos f32[B,H,W,3] from features float[B,h,w,D] at landmarks f32[B,K,2]."""
        width = self.weights.gaussian_width
        cells = geometry.static_size('features', features)
        local = landmarks_lib.local_features(
            features, landmarks_lib.gaussian_maps(landmarks, cells, width=width))
        return self.decoder(
            (landmarks_lib.gaussian_maps(landmarks, self._size, width=width), local))

    def _photos(self, seen: objective.Observation) -> tf.Tensor:
        """The photos f32[B,H,W,3] at the responses' size, RGB in [0, 1]."""
        return tf.image.resize(
            tf.cast(seen.batch.image, tf.float32) / 255.0, self._size, antialias=True)
