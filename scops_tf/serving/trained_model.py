"""The trained model of a run, out of one of its checkpoints, ready to serve."""
from __future__ import annotations

import dataclasses
from typing import List, NamedTuple

from scops_tf import config as config_lib
from scops_tf.networks import checkpoints, model as model_lib
from scops_tf.serving import folded_segmenter, part_model as part_model_lib


class TrainedModel(NamedTuple):
    """What a checkpoint holds for use.

    Attributes:
      part_model: The segmenter with the decoding, ready to serve.
      model: The networks as restored.
      step: At which it was saved.
    """

    part_model: part_model_lib.PartModel
    model: model_lib.Model
    step: int

    @property
    def tap_scales(self) -> List[float]:
        """RMS of each tap of the reference features, as measured over the training photos."""
        return self.model.reference_features.tap_scales.numpy().tolist()


def load_part_model(config: config_lib.Config, workdir: str, *, precision: str = 'float32'
                    ) -> TrainedModel:
    """The trained model of a run, from the checkpoint of `Evaluation.step` or the latest.

    Args:
      config: Of the run. Its `Run.precision` makes no difference.
      workdir: Folder of the run.
      precision: As of `folded_segmenter.FoldedSegmenter`; 'float32' for segmenters that it does not
        take.

    Raises:
      CheckpointError: If there is no such checkpoint, or it is of a network of another shape.
      ValueError: If `precision` breaks its law.
    """
    model = model_lib.Model(config, precision='float32', is_restored=True)
    foldable = folded_segmenter.is_foldable(model.segmenter)
    if precision != 'float32' and not foldable:
        raise ValueError('`--precision`, or `Evaluation.precision`, must be float32 for a '
                         f'segmenter that is on neither a ResNet nor VGG19; got {precision!r}.')
    step = model.restore(
        checkpoints.require(workdir, '--workdir', step=config.evaluation.step))
    served = (folded_segmenter.FoldedSegmenter(model.segmenter, precision=precision) if foldable
              else model.segmenter)
    part_model = part_model_lib.PartModel(
        part_model_lib.SegmenterResponses(served), num_parts=config.run.num_parts,
        input_size=config.run.image_size, **dataclasses.asdict(config.decode))
    return TrainedModel(part_model, model, step)
