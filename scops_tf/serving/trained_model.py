"""The trained model of a run, out of one of its checkpoints, ready to serve."""
from __future__ import annotations

import dataclasses
from typing import List, NamedTuple

import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.features import photo_features
from scops_tf.networks import checkpoints, linear_segmenter, segmenter
from scops_tf.serving import folded_segmenter, part_model as part_model_lib


class TrainedModel(NamedTuple):
    """What a checkpoint holds for use: the segmenter, ready to serve.

    Attributes:
      part_model: The segmenter with the decoding.
      step: At which it was saved.
      tap_scales: RMS of each tap of the reference features, as measured over the training photos.
    """

    part_model: part_model_lib.PartModel
    step: int
    tap_scales: List[float]


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
    settings = config.segmenter
    on_features = settings.backbone == 'features'
    foldable = (config.features.network == 'vgg19' if on_features
                else settings.backbone in segmenter.RESNETS)
    if precision != 'float32' and not foldable:
        raise ValueError('`--precision`, or `Evaluation.precision`, must be float32 for a '
                         f'segmenter that is on neither a ResNet nor VGG19; got {precision!r}.')
    path = checkpoints.find(workdir, config.evaluation.step)
    if path is None:
        raise checkpoints.CheckpointError(
            '`--workdir` must be the folder of a run that has saved a checkpoint; there is none in '
            f'{workdir!r}.')
    step = tf.Variable(0, dtype=tf.int64)
    if on_features:
        reference_features = photo_features.build_reference_network(config.features, None,
                                                                    'float32')
        network = linear_segmenter.FeatureSegmenter(
            config.run.num_parts, reference_features, context=settings.context,
            normalization=settings.normalization)
        tap_scales = reference_features.tap_scales
    else:
        network = segmenter.Segmenter(
            config.run.num_parts, backbone=settings.backbone, weights=None)
        tap_scales = tf.Variable([], shape=[None], dtype=tf.float32)
    model = tf.train.Checkpoint(segmenter=network, tap_scales=tap_scales)
    checkpoints.restore(tf.train.Checkpoint(step=step, model=model), path)
    served = (folded_segmenter.FoldedSegmenter(network, precision=precision) if foldable
              else network)
    part_model = part_model_lib.PartModel(
        part_model_lib.SegmenterResponses(served), num_parts=config.run.num_parts,
        input_size=config.run.image_size, **dataclasses.asdict(config.decode))
    return TrainedModel(part_model, int(step.numpy()), tap_scales.numpy().tolist())
