"""The objective of SCOPS (§3): the five losses of the paper, and the part basis."""
from __future__ import annotations

from typing import Dict, Optional, Tuple

import tensorflow as tf

from scops_tf import config as config_lib, geometry
from scops_tf.datasets.batches import Batch
from scops_tf.networks import model as model_lib
from scops_tf.training import losses, objective, replicas


class Scops(objective.Objective):
    """The losses of SCOPS; see `objective.Objective`.

    Args:
      config: Configuration of the run.
      model: Networks of the run, whose part basis is trained.
    """

    advice = 'lower `Losses.semantic_consistency` or raise `Run.warmup_steps`'

    def __init__(self, config: config_lib.Config, model: model_lib.Model) -> None:
        self.weights = config.losses
        self.trained_variables = {'basis': [model.part_basis.raw]}
        self.saved = {}
        self._model = model
        self._response_size = config.response_size
        self._has_saliency = config.data.saliency is not None

    def terms(self, seen: objective.Observation
              ) -> Tuple[Dict[str, tf.Tensor], Dict[str, tf.Tensor]]:
        """The five loss terms, named like their weights in `config.Losses`, and figures to log."""
        settings = self.weights
        size = self._response_size
        transform = seen.transform
        logits = geometry.upsample(seen.logits, size)
        view_logits = geometry.upsample(seen.view_logits, size)
        responses, view_responses = tf.nn.softmax(logits), tf.nn.softmax(view_logits)
        parts, view_parts = responses[..., 1:], view_responses[..., 1:]

        centers = geometry.part_centers(parts, epsilon=settings.concentration_epsilon)
        view_centers = geometry.part_centers(view_parts, epsilon=settings.concentration_epsilon)
        warped_centers = transform.warp_points(centers)

        basis = self._model.part_basis()
        consistency = losses.semantic_consistency_terms(
            objective.reference_features(self._model, seen.batch), self._saliency(seen.batch),
            parts, basis)
        terms = {
            'concentration': losses.concentration_loss(
                parts, epsilon=settings.concentration_epsilon),
            'equivariance': losses.equivariance_loss(
                view_logits, transform.warp(logits), transform.valid_mask(size),
                direction=settings.equivariance_direction,
                gradient=settings.equivariance_gradient),
            'center_equivariance': losses.center_equivariance_loss(
                view_centers, warped_centers, geometry.is_inside(warped_centers)),
            'semantic_consistency': consistency.loss,
            'orthonormal': losses.orthonormal_loss(basis),
        }
        figures = {
            # The value of the loss says little. Below 1 the parts explain more than background.
            'loss/semantic_consistency_relative': tf.math.divide_no_nan(
                consistency.loss, replicas.mean(consistency.all_background)),
            **objective.part_figures(responses),
        }
        return terms, figures

    def histograms(self) -> Dict[str, tf.Tensor]:
        """The rows of the part basis."""
        return {f'part_basis/{part}': row
                for part, row in enumerate(self._model.part_basis(), start=1)}

    def _saliency(self, batch: Batch) -> Optional[tf.Tensor]:
        """Saliency maps D of the photos, f32[B,H,W] at the responses' size; None without them."""
        if not self._has_saliency:
            return None
        maps = tf.cast(batch.saliency, tf.float32)[..., tf.newaxis]
        return geometry.upsample(maps, self._response_size)[..., 0]
