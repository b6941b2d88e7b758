"""A trained run as the teacher of another one: what it finds are the warm-up's targets."""
from __future__ import annotations

import dataclasses
import os
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib, geometry
from scops_tf.datasets.records import Record
from scops_tf.features import photo_features
from scops_tf.networks import model as model_lib
from scops_tf.serving import crf as crf_lib, decoding, folded_segmenter, trained_model

_DESCRIPTIONS = {'responses': 'Responses of the teacher', 'labels': 'Labels of the teacher',
                 'crf': 'Labels of the teacher, by the CRF'}


class Teacher(NamedTuple):
    """A trained run and what it was trained with.

    Attributes:
      config: The configuration of that run.
      trained: Its model at the latest checkpoint.
    """

    config: config_lib.Config
    trained: trained_model.TrainedModel

    def start(self, model: model_lib.Model) -> None:
        """Gives a model the tap scales and the part basis of the teacher."""
        own = self.trained.model
        model.reference_features.tap_scales.assign(own.reference_features.tap_scales)
        model.part_basis.raw.assign(own.part_basis.raw)

    def targets(self, records: Sequence[Record], workdir: str, *, mirrored: bool, form: str,
                crf: config_lib.Crf) -> np.ndarray:
        """What the teacher finds in photos, which it sees at the size of its own training.

        Args:
          records: The records of the photos, all of them readable.
          workdir: Folder of the run that is taught.
          mirrored: Whether the logits are means over the photo and its mirror image.
          form: Part responses, 'responses'; the share of each label in a cell, 'labels'; or that of
            the labels after a dense CRF, 'crf'. See `Run.teacher_targets`.
          crf: Constants of that CRF.

        Returns:
          f16[N,h,w,K+1]. In [0, 1], summing to 1, on the grid of the teacher's features; channel 0
          is background.

        Raises:
          CrfError: If `form` is 'crf' and the package of the CRF is not installed.
        """
        store = photo_features.open_store(self.config, records, workdir, with_saliency=False)
        part_model, size = self.trained.part_model, self.config.evaluation.batch_size

        @tf.function(autograph=False)
        def logits_of(photos: tf.Tensor) -> tf.Tensor:
            logits = part_model.network.part_logits(photos)
            if mirrored:
                others = part_model.network.part_logits(tf.reverse(photos, axis=[2]))
                logits = (logits + tf.reverse(others, axis=[2])) / 2
            return logits

        def labels_of(logits: tf.Tensor, photos: np.ndarray, pixels: tf.Tensor) -> Any:
            responses = decoding.part_responses_from_logits(logits, part_model.input_size)
            if form == 'labels':
                return part_model.decoded(responses, part_model.input_size, pixels)['labels']
            return np.stack([
                crf_lib.refine_labels(of_photo, photo, background=part_model.background,
                                      **dataclasses.asdict(crf))
                for of_photo, photo in zip(responses.numpy(), photos)])

        targets = []
        for start in tqdm.tqdm(range(0, len(store), size), desc=_DESCRIPTIONS[form], unit='batch'):
            photos = np.stack([store.image(index)
                               for index in range(start, min(start + size, len(store)))])
            pixels = tf.constant(photos, tf.float32) / 255.0
            logits = logits_of(pixels)
            if form == 'responses':
                found = tf.nn.softmax(logits)
            else:
                of_pixels = tf.one_hot(labels_of(logits, photos, pixels), logits.shape[-1])
                found = geometry.downsample(of_pixels, logits.shape[1:3])
            targets.append(found.numpy().astype(np.float16))
        return np.concatenate(targets)


def folder_of(config: config_lib.Config, workdir: str) -> str:
    """Folder of the teacher of the run in `workdir`."""
    run = config.run
    return os.path.join(workdir, 'teacher') if run.trains_teacher else run.teacher


def require_usable(config: config_lib.Config, other: config_lib.Config, source: str) -> None:
    """Refuses a teacher whose part basis or whose targets the run that is taught cannot have.

    Args:
      config: The run's configuration.
      other: The teacher's, trained or not.
      source: What the teacher's is from, for the error message.

    Raises:
      ConfigError: If it has another number of parts or other reference features.
      CrfError: If its labels are to pass a dense CRF, whose package is not installed.
    """
    if config.run.teacher_targets == 'crf':
        crf_lib.library()
    ours, theirs = ({'Run.num_parts': each.run.num_parts, **{
        f'Features.{name}': value for name, value in each.feature_space}}
                    for each in (config, other))
    for name, value in ours.items():
        if value != theirs[name]:
            raise config_lib.ConfigError(
                f'`Run.teacher` must be a run with the same `{name}`, since its part basis is '
                f'taken over; {source!r} has {theirs[name]!r} and this run {value!r}: give both '
                'the same.')


def photo_size(config: config_lib.Config, workdir: str, start_step: int
               ) -> Optional[Tuple[int, int]]:
    """(height, width) of the photos that the teacher responds to; None if it is not asked.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run.
      start_step: Number of steps already done.

    Raises:
      ConfigError: If there is no run in the teacher's folder.
    """
    if not config.run.teacher or start_step >= config.warmup_steps:
        return None
    folder = folder_of(config, workdir)
    return config_lib.load_run(folder, setting='Run.teacher').run.image_size


def load(config: config_lib.Config, workdir: str) -> Teacher:
    """The teacher of a run.

    Args:
      config: The run's configuration, which has a teacher.
      workdir: Folder of the run.

    Raises:
      ConfigError: If there is no trained run in the teacher's folder, or it has other parts or
        reference features.
      CrfError: See `require_usable`.
      CheckpointError: If it has saved no checkpoint, or that is damaged.
    """
    folder = folder_of(config, workdir)
    other = config_lib.load_run(folder, setting='Run.teacher')
    require_usable(config, other, folder)
    network = (other.features.network if other.segmenter.backbone == 'features'
               else other.segmenter.backbone)
    precision = ('bfloat16' if config.run.precision == 'bfloat16'
                 and network in folded_segmenter.ROUNDED else 'float32')
    return Teacher(other, trained_model.load_part_model(
        other, folder, precision=precision, setting='Run.teacher'))
