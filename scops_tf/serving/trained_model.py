"""The trained model of a run, loaded from a checkpoint for inference."""
from __future__ import annotations

import dataclasses
from typing import Any, Dict, List, NamedTuple, Optional, Union

import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.labels.part_names import PartNames
from scops_tf.networks import checkpoints, model as model_lib, part_segmenter
from scops_tf.serving import folded_segmenter, part_model as part_model_lib


class TrainedModel(NamedTuple):
    """The model from a checkpoint.

    Attributes:
      part_model: The segmenter with resizing and decoding.
      segmenter: The segmenter in it: a folded copy of the restored one, where it can be folded.
      model: The restored networks.
      step: Step at which the checkpoint was saved.
    """

    part_model: part_model_lib.PartModel
    segmenter: Union[folded_segmenter.FoldedSegmenter, part_segmenter.PartSegmenter]
    model: model_lib.Model
    step: int

    @property
    def tap_scales(self) -> List[float]:
        """RMS of each tap of the reference features, measured over the training photos."""
        return self.model.reference_features.tap_scales.numpy().tolist()

    @property
    def reference_network(self) -> Optional[Dict[str, Any]]:
        """Card of the SavedModel of the reference features; None for other networks."""
        card = self.model.reference_features.card
        return card and card.described


def load_part_model(config: config_lib.Config, workdir: str, *, precision: str = 'float32',
                    target: str = 'cpu', parts: Optional[PartNames] = None,
                    setting: str = '--workdir') -> TrainedModel:
    """The trained model of a run, from the checkpoint of `Evaluation.step` or the latest one.

    Args:
      config: Configuration of the run. Its `Run.precision` makes no difference.
      workdir: Folder of the run.
      precision: See `FoldedSegmenter`. Segmenters that it does not support take 'float32' only.
      target: See `FoldedSegmenter`. Segmenters that it does not support are the same for both.
      parts: Parts that are merged and dropped; None for none.
      setting: Name of the setting that gave the folder, for the error message.

    Raises:
      CheckpointError: If there is no such checkpoint, or it holds networks of another shape.
      ValueError: If `precision` or `target` is unknown, or `precision` is not 'float32' for an
        unsupported segmenter.
    """
    model = model_lib.Model(config, precision='float32', is_restored=True)
    foldable = folded_segmenter.is_foldable(model.segmenter)
    if precision != 'float32' and not foldable:
        raise ValueError('`--precision`, or `Evaluation.precision`, must be float32 for a '
                         f'segmenter that is on neither a ResNet nor VGG19; got {precision!r}.')
    step = model.restore(
        checkpoints.require(workdir, setting, step=config.evaluation.step))
    served = (folded_segmenter.FoldedSegmenter(
        model.segmenter, precision=precision, target=target) if foldable else model.segmenter)
    part_model = as_part_model(config, part_model_lib.SegmenterResponses(
        served, model.segmenter.head_variables), parts)
    return TrainedModel(part_model, served, model, step)


def as_part_model(config: config_lib.Config, network: tf.Module, parts: Optional[PartNames] = None
                  ) -> part_model_lib.PartModel:
    """The model of a run's network, which has `part_responses`, with its decoding and merges."""
    return part_model_lib.PartModel(
        network, num_parts=config.run.num_parts, input_size=config.run.image_size,
        **dataclasses.asdict(config.decode),
        lookup=parts.lookup if parts and parts.changes_labels else None)
