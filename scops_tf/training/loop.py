"""The training loop: preparation, steps and their checks."""
from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from typing import Any, Callable, Iterator, Mapping, Optional

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib, datasets, files
from scops_tf.datasets import photo_list, photo_store
from scops_tf.datasets.batches import Batch
from scops_tf.features import photo_features
from scops_tf.labels import parts_file
from scops_tf.networks import arithmetic, checkpoints, model as model_lib
from scops_tf.pictures import tensorboard
from scops_tf.training import (
    loss_scale,
    memory_need,
    preparation,
    profiling,
    replicas,
    run_log,
    stop_request,
    teacher as teacher_lib,
    trainer as trainer_lib,
)

# Least share of the photos' area that must be foreground; with less, the parts have vanished.
_LEAST_FOREGROUND = 1e-3

# Function from the configuration, the dataset and its training photos to what scores these photos,
# or None if they cannot be scored.
Scorer = Callable[
    [config_lib.Config, datasets.PartDataset, photo_store.PhotoStore], Optional[run_log.Score]]

_WAY_ON = ('start in another folder, with `Run.init_from` naming this one if what its last '
           'checkpoint has learned is to be kept')


class TrainingError(ValueError):
    """A training that cannot continue; the message is one sentence for the user."""


class CollapseError(TrainingError):
    """A training whose parts have vanished, or whose loss or gradients are not finite."""


def train(config: config_lib.Config, workdir: str, scorer: Optional[Scorer] = None) -> bool:
    """Trains a run, or continues it; the weights are the same as without a stop.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run, for configuration, checkpoints, logs and caches.
      scorer: Maker of the scores that are logged at each checkpoint, or None. No training depends
        on them.

    Returns:
      Whether all steps are done and nothing asked to stop. False where a signal came, even in the
      last step or while its checkpoint was written: what follows the training should not start.

    Raises:
      ConfigError: If the folder holds a run of another configuration.
      NetworkError: If the SavedModel of the reference features cannot be used.
      MemoryNeedError: If the training needs twice the memory that there is.
      FolderInUseError: If another process trains in the folder.
      FolderLostError: If the folder is removed, moved or replaced while it is trained in.
      CollapseError: If the loss is not finite or the parts have vanished.
      TrainingError: If a photo has become unreadable, or a worker has another folder.
      WorkerLostError: If another worker has ended; this process should then be started again.
      ReplicasError: If the replicas cannot share a batch evenly.
      ValueError: If data, weights, replicas or checkpoints cannot be used.
      OSError: If the folder cannot be written.
    """
    files.require_no_pattern(workdir, '--workdir')
    config = model_lib.pinned(config)
    config_lib.require_same(config, workdir)
    # A worker that is started again after the end would wait forever for the others.
    done = checkpoints.whole_step(workdir)
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
        if config.run.strategy != 'none':
            logging.info('Training on %d replicas.', strategy.num_replicas_in_sync)
        with stop_request.StopRequest() as stop:
            done = _train(config, workdir, strategy, stop, scorer)
            if done and stop.received:
                logging.info('Stopped by a signal after the last step.')
            return done and not stop.received


def _train_teacher(config: config_lib.Config, workdir: str, scorer: Optional[Scorer]) -> bool:
    """Trains a run's teacher, or continues it; see `train` for what it returns.

    What would stop the run after its teacher is refused before.
    """
    recipe = config_lib.load_recipe(config.run.teacher, config)
    teacher_lib.require_usable(config, recipe, config.run.teacher)
    count = replicas.strategy(config.run.strategy).num_replicas_in_sync
    replicas.require_shared(config.run.batch_size, count)
    if recipe.run.batch_size % count:
        logging.info('The teacher is trained on one device, since %d replicas cannot share its '
                     'batch of %d evenly.', count, recipe.run.batch_size)
        recipe = dataclasses.replace(
            recipe, run=dataclasses.replace(recipe.run, strategy='none'))
    folder = teacher_lib.folder_of(config, workdir)
    logging.info('Training the teacher of %s, by %s.', workdir, config.run.teacher)
    return train(recipe, folder, scorer)


def _train(config: config_lib.Config, workdir: str, strategy: tf.distribute.Strategy,
           stop: stop_request.StopRequest, scorer: Optional[Scorer]) -> bool:
    with replicas.chief_first(strategy):
        dataset = datasets.load_for(config, workdir)
    # Only after the photos are found, so that a misspelt name makes no folder.
    files.require_writable(workdir)
    # The chief writes for all workers.
    owned = files.owned(workdir) if replicas.is_chief(strategy) else contextlib.nullcontext()
    with owned as require_kept:
        return _train_owned(config, workdir, strategy, stop, scorer, dataset, require_kept)


def _train_owned(config: config_lib.Config, workdir: str, strategy: tf.distribute.Strategy,
                 stop: stop_request.StopRequest, scorer: Optional[Scorer],
                 dataset: datasets.PartDataset, require_kept: Optional[Callable[[], None]]) -> bool:
    """Trains in a folder that no other training writes to."""
    with strategy.scope():
        trainer = trainer_lib.Trainer(config)
    _check_memory(trainer, len(dataset.train), workdir)
    if config.segmenter.trained != 'head':
        arithmetic.warn_if_slow('Run.precision', config.run.precision)
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
            source = config_lib.load_run(config.run.init_from, setting='Run.init_from')
            _require_same_features(config, source)
            trainer.model.restore(path, trained=source.segmenter.trained)
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
    with tensorboard.SummaryWriter(logdir, start_step=start) as writer, \
            profiling.Profile(logdir, config.run.profile_steps) as profile:
        log = run_log.RunLog(
            trainer, prepared, workdir, manager=manager, writer=writer, profile=profile,
            names=parts_file.load_or_unnamed(workdir, config.run.num_parts),
            score=scorer(config, dataset, store) if scorer else None, require_kept=require_kept)
        if not restored:
            log.begin()
        return _run_steps(trainer, prepared, stop, log)


def _require_same_features(config: config_lib.Config, source: config_lib.Config) -> None:
    """Refuses a start from a run on other features, which may have as many channels by chance."""
    ours, theirs = ((each.features.network, each.features.sha256) for each in (config, source))
    if ours != theirs:
        raise config_lib.ConfigError(
            '`Run.init_from` must be a run with the same reference features, since its basis and '
            f'head are taken over; {config.run.init_from!r} has {theirs[0]!r} '
            f'({theirs[1] or "no SavedModel"}) and this run {ours[0]!r} '
            f'({ours[1] or "no SavedModel"}).')


def _check_memory(trainer: trainer_lib.Trainer, num_photos: int, workdir: str) -> None:
    """Compares what the training needs with the memory; see `memory_need`. No law is for GPUs."""
    if tf.config.list_physical_devices('GPU'):
        return
    config, model = trainer.config, trainer.model
    memory_need.check(memory_need.estimate(
        config, num_photos,
        batch_size=-(-config.run.batch_size // trainer.strategy.num_replicas_in_sync),
        reference_shape=model.reference_features.shape(config.reference_size),
        backbone_shape=model.segmenter.feature_shape(config.run.image_size),
        teacher_size=teacher_lib.photo_size(config, workdir, checkpoints.latest_step(workdir))))


def _run_steps(trainer: trainer_lib.Trainer, prepared: preparation.Prepared,
               stop: stop_request.StopRequest, log: Optional[run_log.RunLog] = None) -> bool:
    """Does the steps that are left; returns whether no signal asked to stop."""
    config, start = trainer.config, int(trainer.step.numpy())
    total = config.run.steps
    stop.expect_steps()
    empty_steps = 0
    with tqdm.tqdm(_batches(trainer, prepared, start), initial=start, total=total, desc='Training',
                   unit='step') as progress:
        for batch in progress:
            done_steps = int(trainer.step.numpy())
            with log.profiled(done_steps + 1) if log else contextlib.nullcontext():
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
                raise CollapseError(
                    'Parts must cover something, but all pixels have been background for '
                    f'{empty_steps} steps at step {step}, from where no gradient leads back; lower '
                    f'the learning rates, {trainer.objective.advice}, and {_WAY_ON}.')
            progress.set_postfix(loss=f'{float(scalars["loss/total"]):.4f}', refresh=False)
            # All workers stop after the same step.
            stopping = replicas.any_of(trainer.strategy, stop.received)
            if log:
                log.record(batch, scalars, step, stopping=stopping)
            if stopping:
                logging.info('Stopped by a signal; step %d is saved, %s.', step, (
                    'the same command continues' if step < total else 'the last one'))
                return False
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
      CollapseError: If a value is not finite. The message has the step and the value of each term.
    """
    scale = float(scalars.get('loss_scale', loss_scale.LEAST))
    kinds = ('loss/',) if scale > loss_scale.LEAST else ('loss/', 'gradient_norm/')
    watched = {name: float(value) for name, value in sorted(scalars.items())
               if name.startswith(kinds)}
    if not np.all(np.isfinite(list(watched.values()))):
        terms = ', '.join(f'{name} {value:.4g}' for name, value in watched.items())
        precision = ', or another `Run.precision`' if 'loss_scale' in scalars else ''
        raise CollapseError(
            f'Loss and gradients must be finite, but are not at step {step} ({terms}); lower '
            f'`Optimizer.learning_rate` or the weight of the term at fault{precision}, and '
            f'{_WAY_ON}.')
