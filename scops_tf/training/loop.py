"""The training loop: preparation, steps, checks, logs and checkpoints."""
from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import command, config as config_lib, datasets, files
from scops_tf.datasets import photo_list, photo_store
from scops_tf.datasets.batches import Batch
from scops_tf.features import photo_features
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.networks import checkpoints, model as model_lib
from scops_tf.pictures import parts as part_pictures, tensorboard
from scops_tf.training import (
    check_up,
    loss_scale,
    memory_need,
    preparation,
    profiling,
    replicas,
    teacher as teacher_lib,
    trainer as trainer_lib,
)

# Least share of the photos' area that must be foreground; with less, the parts have vanished.
_LEAST_FOREGROUND = 1e-3

# Scalars that TensorBoard shows beside the settings of each run, besides its scores.
_COMPARED = ('loss/total', 'loss/semantic_consistency_relative', 'part/foreground_share',
             'doctor/findings')

# Function from indices i64[n] of training photos to the outputs of `Trainer.predict`.
Predict = Callable[[np.ndarray], Dict[str, Any]]
# Function from a prediction of the model as it is to scores by name.
Score = Callable[[Predict], Dict[str, float]]
# Function from the configuration, the dataset and its training photos to what scores these photos,
# or None if they cannot be scored.
Scorer = Callable[
    [config_lib.Config, datasets.PartDataset, photo_store.PhotoStore], Optional[Score]]

_WAY_ON = ('start in another folder, with `Run.init_from` naming this one if what its last '
           'checkpoint has learned is to be kept')


class TrainingError(ValueError):
    """A training that cannot continue; the message is one sentence for the user."""


class StopRequest:
    """A request, by SIGTERM or SIGINT, to stop the training after its current step.

    Signals are handled inside this context manager. Before the first step there is nothing to save:
    SIGTERM ends the process at once with the code `command.STOPPED`, and SIGINT raises
    KeyboardInterrupt. During the steps the first signal only sets `received`; SIGINT after it
    raises KeyboardInterrupt.

    Attributes:
      received: Whether a signal came.
    """

    def __init__(self) -> None:
        self.received = False
        self._stepping = False

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.getsignal(number)
                        for number in (signal.SIGTERM, signal.SIGINT)}
        signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def expect_steps(self) -> None:
        """Starts the steps: from now on the first signal only sets `received`."""
        self._stepping = True
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = True
        if not self._stepping:
            logging.info('Stopped by a signal before the first step; the same command goes on.')
            sys.exit(command.STOPPED)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def train(config: config_lib.Config, workdir: str, scorer: Optional[Scorer] = None) -> bool:
    """Trains a run, or continues it; the weights are the same as without a stop.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run, for configuration, checkpoints, logs and caches.
      scorer: Maker of the scores that are logged at each checkpoint, or None. No training depends
        on them.

    Returns:
      Whether all steps are done; False if a signal stopped the training before.

    Raises:
      ConfigError: If the folder holds a run of another configuration.
      NetworkError: If the SavedModel of the reference features cannot be used.
      MemoryNeedError: If the training needs twice the memory that there is.
      FolderInUseError: If another process trains in the folder.
      FolderLostError: If the folder is removed, moved or replaced while it is trained in.
      TrainingError: If the loss is not finite or the parts have vanished.
      WorkerLostError: If another worker has ended; this process should then be started again.
      ValueError: If data, weights, replicas or checkpoints cannot be used.
      OSError: If the folder cannot be written.
    """
    files.require_no_pattern(workdir, '--workdir')
    config = model_lib.pinned(config)
    config_lib.require_same(config, workdir)
    # A worker that is started again after the end would wait forever for the others.
    done = checkpoints.latest_step(workdir)
    if done >= config.run.steps:
        logging.info('%s is trained: it has done its %d steps.', workdir, config.run.steps)
        return True
    needs_teacher = config.run.trains_teacher and done < config.warmup_steps
    if needs_teacher and not _train_teacher(config, workdir, scorer):
        return False
    with replicas.watched(config.run.strategy):
        # Python handles no signal while the process waits for other workers here, so signals must
        # still end the process: StopRequest comes after the wait.
        strategy = replicas.strategy(config.run.strategy)
        with StopRequest() as stop:
            return _train(config, workdir, strategy, stop, scorer)


def _train_teacher(config: config_lib.Config, workdir: str, scorer: Optional[Scorer]) -> bool:
    """Trains a run's teacher, or continues it; returns whether it has done all of its steps."""
    recipe = config_lib.load_recipe(config.run.teacher, config)
    folder = teacher_lib.folder_of(config, workdir)
    logging.info('Training the teacher of %s, by %s.', workdir, config.run.teacher)
    return train(recipe, folder, scorer)


def _train(config: config_lib.Config, workdir: str, strategy: tf.distribute.Strategy,
           stop: StopRequest, scorer: Optional[Scorer]) -> bool:
    with replicas.chief_first(strategy):
        dataset = datasets.load_for(config, workdir)
    # Only after the photos are found, so that a misspelt name makes no folder.
    files.require_writable(workdir)
    # The chief writes for all workers.
    owned = files.owned(workdir) if replicas.is_chief(strategy) else contextlib.nullcontext()
    with owned as require_kept:
        return _train_owned(config, workdir, strategy, stop, scorer, dataset, require_kept)


def _train_owned(config: config_lib.Config, workdir: str, strategy: tf.distribute.Strategy,
                 stop: StopRequest, scorer: Optional[Scorer], dataset: datasets.PartDataset,
                 require_kept: Optional[Callable[[], None]]) -> bool:
    """Trains in a folder that no other training writes to."""
    with strategy.scope():
        trainer = trainer_lib.Trainer(config)
    _check_memory(trainer, len(dataset.train))
    # The chief leaves a checkpoint and full caches for the others.
    with replicas.chief_first(strategy):
        restored = trainer.restore(workdir)
        start = int(trainer.step.numpy())
        if restored:
            logging.info('Continuing %s from step %d.', workdir, start)
        elif not replicas.is_chief(strategy):
            raise TrainingError('`--workdir` must be one folder that all workers share, but the '
                                f"chief's checkpoint is not in {workdir!r}.")
        elif config.run.init_from:
            path = checkpoints.require(config.run.init_from, 'Run.init_from')
            _require_same_features(config)
            trainer.model.restore(path)
        store = photo_features.open_store(config, dataset.train, workdir)
        photo_features.warn_of_few(config, len(store))
        if restored:
            photo_list.require_same(workdir, store.records, config.data.saliency)
        prepared = preparation.prepare(
            config, trainer.model, trainer.views, store, workdir, start_step=start,
            fresh=not restored and not config.run.init_from)
        if replicas.is_chief(strategy):
            # Saved late, so that a user who mends an earlier failure may use the same folder.
            config_lib.save(config, workdir)
            if not restored:
                photo_list.write(workdir, store.records, config.data.saliency)
                aside = parts_file.set_aside(workdir)
                if aside:
                    logging.warning('The names of parts in %s are of another training, whose '
                                    'numbers are others; they are now in %s.', workdir, aside)
            manager = trainer.manager(workdir)
            if not restored:
                trainer.save(manager)
    if not replicas.is_chief(strategy):
        return _run_steps(trainer, prepared, stop)
    logdir = os.path.join(workdir, 'tensorboard')
    names = parts_file.load_or_unnamed(workdir, config.run.num_parts)
    with tensorboard.SummaryWriter(logdir, start_step=start) as writer, \
            profiling.Profile(logdir, config.run.profile_steps) as profile:
        score = scorer(config, dataset, store) if scorer else None
        if not restored:
            writer.text('config', f'```\n{config.operative}\n```', 0)
            scores = _scores(trainer, prepared, score)
            writer.settings(config.settings, [*scores, *_COMPARED])
            writer.scalars(scores, 0)
        doctor = (check_up.CheckUp(trainer, prepared, workdir)
                  if config.logging.doctor_photos else None)
        return _run_steps(trainer, prepared, stop,
                          _Records(manager, writer, score, require_kept, names, profile, doctor))


def _require_same_features(config: config_lib.Config) -> None:
    """Refuses a start from a run on other features, which may have as many channels by chance."""
    ours, theirs = ((each.features.network, each.features.sha256) for each in (
        config, config_lib.load_run(config.run.init_from)))
    if ours != theirs:
        raise config_lib.ConfigError(
            '`Run.init_from` must be a run with the same reference features, since its basis and '
            f'head are taken over; {config.run.init_from!r} has {theirs[0]!r} '
            f'({theirs[1] or "no SavedModel"}) and this run {ours[0]!r} '
            f'({ours[1] or "no SavedModel"}).')


def _check_memory(trainer: trainer_lib.Trainer, num_photos: int) -> None:
    """Compares what the training needs with the memory; see `memory_need`. No law is for GPUs."""
    if tf.config.list_physical_devices('GPU'):
        return
    config, model = trainer.config, trainer.model
    memory_need.check(memory_need.estimate(
        config, num_photos,
        batch_size=-(-config.run.batch_size // trainer.strategy.num_replicas_in_sync),
        reference_shape=model.reference_features.shape(config.reference_size),
        backbone_shape=model.segmenter.feature_shape(config.run.image_size)))


class _Records(NamedTuple):
    """The writers of the chief, for checkpoints and TensorBoard logs, what is scored, and a check.

    Attributes:
      manager: Of the checkpoints.
      writer: Of TensorBoard.
      score: What scores the model, or None.
      require_kept: Raises an error if the run's folder is gone; see `files.owned`.
      names: Names of the parts, for the pictures.
      profile: Recorder of the steps to profile.
      doctor: What examines the model, or None.
    """

    manager: tf.train.CheckpointManager
    writer: tensorboard.SummaryWriter
    score: Optional[Score]
    require_kept: Callable[[], None]
    names: PartNames
    profile: profiling.Profile
    doctor: Optional[check_up.CheckUp]


def _scores(trainer: trainer_lib.Trainer, prepared: preparation.Prepared,
            score: Optional[Score]) -> Dict[str, float]:
    """Scores of the model that a checkpoint holds, by their TensorBoard names."""
    if score is None:
        return {}
    with trainer.model.as_served():
        found = score(lambda indices: trainer.predict(prepared.photos(indices)))
    return {f'eval/{name}': value for name, value in found.items()}


def _run_steps(trainer: trainer_lib.Trainer, prepared: preparation.Prepared, stop: StopRequest,
               records: Optional[_Records] = None) -> bool:
    """Does the steps that are left; returns whether all are done."""
    config, start = trainer.config, int(trainer.step.numpy())
    total = config.run.steps
    stop.expect_steps()
    # `seconds` is the time of the steps since the last scalars, without pictures and checkpoints.
    logged, seconds, since = start, 0.0, time.monotonic()
    empty_steps = 0
    with tqdm.tqdm(_batches(trainer, prepared, start), initial=start, total=total, desc='Training',
                   unit='step') as progress:
        for batch in progress:
            done_steps = int(trainer.step.numpy())
            recorded = records.profile.step(done_steps + 1) if records else contextlib.nullcontext()
            with recorded:
                if done_steps < config.warmup_steps:
                    scalars = trainer.warmup_step(
                        batch, small=done_steps < config.run.small_view_steps)
                else:
                    scalars = trainer.train_step(batch)
                step = int(trainer.step.numpy())
            require_finite(scalars, step)
            foreground = float(scalars['part/foreground_share'])
            empty_steps = empty_steps + 1 if foreground < _LEAST_FOREGROUND else 0
            if empty_steps >= config.run.collapse_after:
                raise TrainingError(
                    'Parts must cover something, but all pixels have been background for '
                    f'{empty_steps} steps at step {step}, from where no gradient leads back; lower '
                    f'the learning rates, {trainer.objective.advice}, and {_WAY_ON}.')
            progress.set_postfix(loss=f'{float(scalars["loss/total"]):.4f}', refresh=False)
            seconds += time.monotonic() - since

            done = step >= total
            # All workers stop after the same step.
            stopping = replicas.any_of(trainer.strategy, stop.received)
            if records and (step % config.logging.scalars_every == 0 or done):
                values = {name: float(value) for name, value in scalars.items()}
                values['examples_per_second'] = (
                    (step - logged) * config.run.batch_size / max(seconds, 1e-9))
                records.writer.scalars(values, step)
                if records.doctor:
                    records.doctor.log(step, values)
                logged, seconds = step, 0.0
            if records and (step % config.logging.pictures_every == 0 or done):
                write_pictures(trainer, prepared.store, records.writer, step, records.names)
            if records and (step % config.checkpoint.every == 0 or done or stopping):
                # TensorFlow would make the folder anew, without the files of the start.
                records.require_kept()
                trainer.save(records.manager)
                if not stopping:  # A process that was asked to end should not take its time.
                    records.writer.scalars(_scores(trainer, prepared, records.score), step)
                    if records.doctor and step > config.warmup_steps:
                        records.doctor.report(replicas.local(trainer.strategy, batch), step,
                                              records.writer)
                records.writer.flush()
            if stopping and not done:
                logging.info('Stopped by a signal; step %d is saved, the same command continues.',
                             step)
                return False
            since = time.monotonic()
    logging.info('Trained %d steps.', total)
    return True


def _batches(trainer: trainer_lib.Trainer, prepared: preparation.Prepared, start: int
             ) -> Iterator[Batch]:
    """The batches from a step on; a photo that has become unreadable is a `TrainingError`."""
    try:
        yield from trainer.strategy.distribute_datasets_from_function(
            lambda context: prepared.batches(start, context))
    except tf.errors.OpError as error:
        # tf.data passes an error on as text with its traceback.
        found = re.search('ImageError: (.*)', error.message)
        if found is None:
            raise
        raise TrainingError('Photos must stay as they are while they are trained on; '
                            f'{found.group(1)}') from error


def require_finite(scalars: Mapping[str, Any], step: int) -> None:
    """Refuses a step whose loss or gradients are not finite, before a checkpoint is saved.

    Gradients may overflow because of the loss scale. This is no failure: the step updates nothing,
    and the next step has a smaller scale. At the least scale it is a failure.

    Raises:
      TrainingError: If a value is not finite. The message has the step and the value of each term.
    """
    scale = float(scalars.get('loss_scale', loss_scale.LEAST))
    kinds = ('loss/',) if scale > loss_scale.LEAST else ('loss/', 'gradient_norm/')
    watched = {name: float(value) for name, value in sorted(scalars.items())
               if name.startswith(kinds)}
    if not np.all(np.isfinite(list(watched.values()))):
        terms = ', '.join(f'{name} {value:.4g}' for name, value in watched.items())
        precision = ', or another `Run.precision`' if 'loss_scale' in scalars else ''
        raise TrainingError(
            f'Loss and gradients must be finite, but are not at step {step} ({terms}); lower '
            f'`Optimizer.learning_rate` or the weight of the term at fault{precision}, and '
            f'{_WAY_ON}.')


def write_pictures(trainer: trainer_lib.Trainer, store: photo_store.PhotoStore,
                   writer: tensorboard.SummaryWriter, step: int, names: PartNames) -> None:
    """Logs pictures of the first photos with parts and views, and histograms of what is trained.

    The pictures have the names, colours and merges of the parts.

    Histograms are the objective's, of the head, and of the kernels of the backbone's last stage.
    """
    chosen = range(min(trainer.config.logging.num_pictures, len(store)))
    images = np.stack([store.image(index) for index in chosen])
    found = {name: value.numpy() for name, value in trainer.pictures(tf.constant(images)).items()}
    parts = found['part_responses'][..., 1:]
    picture = part_pictures.training_picture(
        images, parts, found['labels'], centers=found['part_centers'],
        presence=found['presence'],
        saliency_maps=np.stack([store.saliency(index) for index in chosen]),
        views=np.rint(found['view'] * 255).astype(np.uint8), view_labels=found['view_labels'],
        view_centers=found['view_part_centers'], names=names.names, lookup=names.lookup,
        colors=names.colors)
    writer.image('parts', picture, step)
    for name, values in trainer.objective.histograms().items():
        writer.histogram(name, values.numpy(), step)
    for variable in trainer.model.segmenter.head_variables:
        writer.histogram(f'head/{variable.name.split(":")[0].split("/")[-1]}', variable.numpy(),
                         step)
    for name, kernel in _last_kernels(trainer.model.trained_variables.get('backbone', [])).items():
        writer.histogram(f'backbone/{name}', kernel.numpy(), step)


def _last_kernels(variables: Sequence[tf.Variable]) -> Dict[str, tf.Variable]:
    """The kernels of a backbone's last stage by the names of their layers.

    The layers of one stage have names that agree up to the first underscore, such as
    'conv5_block1_1_conv'.
    """
    kernels = {variable.name.split('/')[-2]: variable for variable in variables
               if variable.name.endswith('/kernel:0')}
    stage = list(kernels)[-1].split('_')[0] if kernels else ''
    return {name: kernel for name, kernel in kernels.items() if name.split('_')[0] == stage}
