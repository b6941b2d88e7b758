"""The networks of a run: this module alone builds them and defines their layout in checkpoints."""
from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, Dict, Iterator, List, Optional

from absl import logging
import tensorflow as tf

from scops_tf import config as config_lib, network_card
from scops_tf.networks import (
    averages,
    checkpoints,
    linear_segmenter,
    part_basis,
    part_segmenter,
    pretrained,
    reference_features as reference_features_lib,
    segmenter as segmenter_lib,
)


def pinned(config: config_lib.Config) -> config_lib.Config:
    """The configuration with the hash of its SavedModel, if it has one, in `Features.sha256`.

    A run keeps the hash in its configuration, so it is never continued, evaluated or exported with
    another network.

    Raises:
      NetworkError: See `network_card.require`.
    """
    features = config.features
    if features.network != 'saved_model':
        return config
    return dataclasses.replace(config, features=dataclasses.replace(
        features, sha256=network_card.require(features.path, features.sha256).sha256))


def reference_features(config: config_lib.Config, *, precision: Optional[str] = None,
                       is_restored: bool = False) -> reference_features_lib.ReferenceFeatures:
    """The reference features of a run, before their tap scales are measured.

    Args:
      config: Configuration of the run; `Features` and `Run.precision` are read.
      precision: Precision of the arithmetic; None for the run's.
      is_restored: Whether a checkpoint will give the weights, so that no weights are looked for.

    Raises:
      NetworkError: See `network_card.require` and `SavedNetwork`.
      WeightsError: See `pretrained.build`.
    """
    settings = config.features
    if settings.network == 'vgg19' and settings.weights is None and not is_restored:
        logging.warning('vgg19 starts from random weights, since `Features.weights` is None.')
    with pretrained.precision(precision or config.run.precision):
        return reference_features_lib.ReferenceFeatures(
            settings.network, weights=None if is_restored else settings.weights,
            layers=settings.layers, layer_weights=settings.layer_weights,
            normalization=settings.normalization, image_size=settings.image_size,
            path=settings.path or '', sha256=settings.sha256, rectifier=settings.rectifier)


def _segmenter(config: config_lib.Config,
               features: reference_features_lib.ReferenceFeatures, *, precision: str,
               is_restored: bool) -> part_segmenter.PartSegmenter:
    settings, run = config.segmenter, config.run
    if settings.backbone == 'features':
        # The size of the map takes a trace of the network, so it is not asked for without need.
        window = linear_segmenter.window_of(
            settings.context, features.shape(run.image_size)[:2]) if settings.context else 1
        return linear_segmenter.LinearSegmenter(
            run.num_parts, features, context=window, normalization=settings.normalization,
            seed=run.seed)
    if settings.weights is None and settings.backbone != 'tiny' and not is_restored:
        logging.warning('%s starts from random weights, since `Segmenter.weights` is None.',
                        settings.backbone)
    with pretrained.precision(precision):
        return segmenter_lib.Segmenter(
            run.num_parts, backbone=settings.backbone,
            weights=None if is_restored else settings.weights, seed=run.seed,
            recompute=settings.recompute,
            frozen_stages=segmenter_lib.FROZEN_STAGES[settings.trained])


class Model:
    """Segmenter, reference features and part basis of a run.

    Args:
      config: Configuration of the run; `Run`, `Segmenter`, `Features` and
        `Optimizer.average` are read.
      precision: Precision of the networks' arithmetic; None for the run's.
      is_restored: Whether `restore` follows. Pretrained weights are then not looked for.

    Attributes:
      segmenter: The `PartSegmenter`, from photos to part logits.
      reference_features: The frozen reference features V, with their tap scales.
      part_basis: The part basis W.
      trained_variables: The segmenter's trained variables, by the groups 'head' and 'backbone';
        without the latter where the backbone is frozen.
      averages: The moving averages of the segmenter's trained variables; None without
        `Optimizer.average`.

    Raises:
      WeightsError: See `pretrained.build`.
    """

    def __init__(self, config: config_lib.Config, *, precision: Optional[str] = None,
                 is_restored: bool = False) -> None:
        precision = precision or config.run.precision
        self.reference_features = reference_features(
            config, precision=precision, is_restored=is_restored)
        self.segmenter = _segmenter(
            config, self.reference_features, precision=precision, is_restored=is_restored)
        self.part_basis = part_basis.PartBasis(
            config.run.num_parts, self.reference_features.num_channels, seed=config.run.seed)
        self.trained_variables = {'head': self.segmenter.head_variables}
        if config.segmenter.trained != 'head':
            self.trained_variables['backbone'] = self.segmenter.backbone_variables
        self._trained, decay = config.segmenter.trained, config.optimizer.average
        self.averages = averages.Averages(
            self._averaged(self._trained), decay=decay) if decay else None

    def _averaged(self, trained: str) -> List[tf.Variable]:
        """The segmenter's variables that a run of `Segmenter.trained` averages, in their order."""
        backbone = [] if trained == 'head' else self.segmenter.variables_beyond(
            segmenter_lib.FROZEN_STAGES[trained])
        return [*backbone, *self.segmenter.head_variables]

    @contextlib.contextmanager
    def as_served(self) -> Iterator[None]:
        """Context in which the segmenter has the averages that `restore` would give it."""
        if self.averages is None:
            yield
            return
        self.averages.exchange()
        try:
            yield
        finally:
            self.averages.exchange()

    def checkpoint(self, step: tf.Variable, **others: Any) -> tf.train.Checkpoint:
        """A checkpoint of the model, the step, and the `others` that a training keeps."""
        kept = {} if self.averages is None else {'averages': self.averages}
        model = tf.train.Checkpoint(**self._networks(), **kept)
        return tf.train.Checkpoint(step=step, model=model, **others)

    def _networks(self) -> Dict[str, Any]:
        return {'segmenter': self.segmenter, 'part_basis': self.part_basis,
                'tap_scales': self.reference_features.tap_scales}

    def restore(self, path: str, *, trained: Optional[str] = None) -> int:
        """Assigns the networks' variables from a checkpoint, or their averages where it has some.

        Args:
          path: Path of the checkpoint.
          trained: `Segmenter.trained` of the checkpoint's run, whose averages are numbered; None
            for this model's.

        Returns:
          The step at which the checkpoint was saved.

        Raises:
          CheckpointError: If the checkpoint is damaged or holds networks of another shape.
        """
        step = tf.Variable(0, dtype=tf.int64)
        checkpoints.restore(tf.train.Checkpoint(
            step=step, model=tf.train.Checkpoint(**self._networks())), path)
        if checkpoints.holds(path, 'model/averages/'):
            # A run may start from one that averages other variables, or keep no averages itself.
            kept = averages.Averages(self._averaged(trained or self._trained), decay=0.0)
            checkpoints.restore(tf.train.Checkpoint(
                model=tf.train.Checkpoint(averages=kept)), path)
            kept.apply()
        if self.averages is not None:
            self.averages.start()
        return int(step.numpy())
