"""What a training leaves while it runs: checkpoints, and TensorBoard's scalars and pictures."""
from __future__ import annotations

import time
from typing import Any, Callable, ContextManager, Dict, Mapping, Optional, Sequence

import numpy as np
import tensorflow as tf

from scops_tf.datasets import photo_store
from scops_tf.datasets.batches import Batch
from scops_tf.labels.part_names import PartNames
from scops_tf.pictures import parts as part_pictures, tensorboard
from scops_tf.training import check_up, preparation, profiling, replicas, trainer as trainer_lib

# Scalars that TensorBoard shows beside the settings of each run, besides its scores.
_COMPARED = ('loss/total', 'loss/semantic_consistency_relative', 'part/foreground_share',
             'doctor/findings')

# Function from indices i64[n] of training photos to the outputs of `Trainer.predict`.
Predict = Callable[[np.ndarray], Dict[str, Any]]
# Function from a prediction of the model as it is to scores by name.
Score = Callable[[Predict], Dict[str, float]]


class RunLog:
    """The writers of a training's chief.

    Args:
      trainer: Trainer of the run.
      prepared: Photos and what is kept of them.
      workdir: Folder of the run.
      manager: Of the checkpoints.
      writer: Of the TensorBoard logs.
      profile: Recorder of the steps to profile.
      names: Names of the parts, for the pictures.
      score: What scores the model, or None.
      require_kept: Raises an error if the run's folder is gone; see `files.owned`.

    Raises:
      OSError: If kept features cannot be read.
    """

    def __init__(self, trainer: trainer_lib.Trainer, prepared: preparation.Prepared,
                 workdir: str, *, manager: tf.train.CheckpointManager,
                 writer: tensorboard.SummaryWriter, profile: profiling.Profile, names: PartNames,
                 score: Optional[Score], require_kept: Callable[[], None]) -> None:
        self._trainer, self._prepared = trainer, prepared
        self._manager, self._writer, self._profile = manager, writer, profile
        self._names, self._score, self._require_kept = names, score, require_kept
        self._doctor = (check_up.CheckUp(trainer, prepared, workdir)
                        if trainer.config.logging.doctor_photos else None)
        # Step of the last scalars, and the seconds of the steps since, without what is written.
        self._logged, self._seconds = int(trainer.step.numpy()), 0.0
        self._since = time.monotonic()

    def begin(self) -> None:
        """Logs the settings of a new run, and the scores of its start."""
        config, scores = self._trainer.config, self._scores()
        self._writer.text('config', f'```\n{config.operative}\n```', 0)
        self._writer.settings(config.settings, [*scores, *_COMPARED])
        self._writer.scalars(scores, 0)
        self._since = time.monotonic()

    def profiled(self, step: int) -> ContextManager[Any]:
        """Context of a step; see `profiling.Profile.step`."""
        return self._profile.step(step)

    def record(self, batch: Batch, scalars: Mapping[str, tf.Tensor], step: int, *, stopping: bool
               ) -> None:
        """Writes what is due after a step.

        Args:
          batch: Of the step.
          scalars: Of the step, by name.
          step: Number of steps done.
          stopping: Whether a signal asks the process to end. A checkpoint is then saved, and its
            scores are not computed, since they take time.

        Raises:
          FolderLostError: If the run's folder is gone.
          OSError: If it cannot be written.
        """
        config = self._trainer.config
        self._seconds += time.monotonic() - self._since
        done = step >= config.run.steps
        if step % config.logging.scalars_every == 0 or done:
            self._log_scalars(scalars, step)
        if step % config.logging.pictures_every == 0 or done:
            write_pictures(self._trainer, self._prepared.store, self._writer, step, self._names)
        if step % config.checkpoint.every == 0 or done or stopping:
            # TensorFlow would make the folder anew, without the files of the start.
            self._require_kept()
            self._trainer.save(self._manager)
            if not stopping:
                self._writer.scalars(self._scores(), step)
                if self._doctor and step > config.warmup_steps:
                    self._doctor.report(
                        replicas.local(self._trainer.strategy, batch), step, self._writer)
            self._writer.flush()
        self._since = time.monotonic()

    def _log_scalars(self, scalars: Mapping[str, tf.Tensor], step: int) -> None:
        values = {name: float(value) for name, value in scalars.items()}
        values['examples_per_second'] = (
            (step - self._logged) * self._trainer.config.run.batch_size
            / max(self._seconds, 1e-9))
        self._writer.scalars(values, step)
        if self._doctor:
            self._doctor.log(step, values)
        self._logged, self._seconds = step, 0.0

    def _scores(self) -> Dict[str, float]:
        """Scores of the model that a checkpoint holds, by their TensorBoard names."""
        trainer, prepared = self._trainer, self._prepared
        if self._score is None:
            return {}
        with trainer.model.as_served():
            found = self._score(lambda indices: trainer.predict(prepared.photos(indices)))
        return {f'eval/{name}': value for name, value in found.items()}


def write_pictures(trainer: trainer_lib.Trainer, store: photo_store.PhotoStore,
                   writer: tensorboard.SummaryWriter, step: int, names: PartNames) -> None:
    """Logs pictures of the first photos with parts and views, and histograms of what is trained.

    The pictures have the names, colours and merges of the parts.

    Histograms are the objective's, of the head, and of the kernels of the backbone's last stage.
    """
    num_pictures = min(trainer.config.logging.num_pictures, len(store))
    if num_pictures:
        writer.image('parts', _picture(trainer, store, range(num_pictures), names), step)
    for name, values in trainer.objective.histograms().items():
        writer.histogram(name, values.numpy(), step)
    for variable in trainer.model.segmenter.head_variables:
        writer.histogram(f'head/{variable.name.split(":")[0].split("/")[-1]}', variable.numpy(),
                         step)
    for name, kernel in _last_kernels(trainer.model.trained_variables.get('backbone', [])).items():
        writer.histogram(f'backbone/{name}', kernel.numpy(), step)


def _picture(trainer: trainer_lib.Trainer, store: photo_store.PhotoStore, chosen: Sequence[int],
             names: PartNames) -> np.ndarray:
    """Photos with their parts and a view of each; see `part_pictures.training_picture`."""
    images = np.stack([store.image(index) for index in chosen])
    found = {name: value.numpy() for name, value in trainer.pictures(tf.constant(images)).items()}
    parts = found['part_responses'][..., 1:]
    return part_pictures.training_picture(
        images, parts, found['labels'], centers=found['part_centers'],
        presence=found['presence'],
        saliency_maps=np.stack([store.saliency(index) for index in chosen]),
        views=np.rint(found['view'] * 255).astype(np.uint8), view_labels=found['view_labels'],
        view_centers=found['view_part_centers'], names=names.names, lookup=names.lookup,
        colors=names.colors)


def _last_kernels(variables: Sequence[tf.Variable]) -> Dict[str, tf.Variable]:
    """The kernels of a backbone's last stage by the names of their layers.

    The layers of one stage have names that agree up to the first underscore, such as
    'conv5_block1_1_conv'.
    """
    kernels = {variable.name.split('/')[-2]: variable for variable in variables
               if variable.name.endswith('/kernel:0')}
    stage = list(kernels)[-1].split('_')[0] if kernels else ''
    return {name: kernel for name, kernel in kernels.items() if name.split('_')[0] == stage}
