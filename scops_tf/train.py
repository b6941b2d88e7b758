"""Trains a part segmenter: `python -m scops_tf.train --gin_file=gin/cub.gin`.

Running the same command again continues where the run stopped, to the same weights as if it had not.
"""
from __future__ import annotations

import os
import signal
import time
from typing import Any, Dict, List

from absl import app, flags, logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import command, config as config_lib, datasets, preparation, report, trainer as trainer_lib, visualize

FLAGS = flags.FLAGS


class _StopRequest:
    """Whether SIGTERM or SIGINT asked the run to stop after the current step; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, signal_number: int, frame: Any) -> None:
        self.received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main(argv: List[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f'Every argument must be a flag; got {argv[1]!r}.')
    config = config_lib.load(FLAGS.gin_file, FLAGS.gin_param, seed=FLAGS.seed)
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file)
    # Threads that add in another order would round otherwise; a resumed run must not.
    tf.config.experimental.enable_op_determinism()
    # Layers of keras-cv ask for it when they are made; nothing is drawn from it.
    tf.random.set_global_generator(tf.random.Generator.from_seed(config.run.seed))
    dataset = datasets.load_for(config, workdir)
    config_lib.save(config, workdir)

    trainer = trainer_lib.Trainer(config)
    manager = trainer.manager(workdir)
    restored = trainer.restore(workdir)
    if restored:
        logging.info('Continuing %s from step %d.', workdir, trainer.step.numpy())
    elif config.run.init_from:
        trainer.restore_model(config.run.init_from)
    store = preparation.open_store(config, dataset.train, workdir)
    prepared = preparation.prepare(trainer, store, workdir, fresh=not restored and not config.run.init_from)
    if not restored:
        trainer.save(manager)

    with report.SummaryWriter(os.path.join(workdir, 'tensorboard'), start_step=int(trainer.step)) as writer:
        if not restored:
            writer.text('config', f'```\n{config.operative}\n```', 0)
        _train(trainer, manager, store, prepared, writer)
    logging.info('Trained %d steps; checkpoints and TensorBoard logs are in %s. '
                 'Next: python -m scops_tf.evaluate --workdir=%s', trainer.step.numpy(), workdir, workdir)


def _train(trainer: trainer_lib.Trainer, manager: tf.train.CheckpointManager, store: Any,
           prepared: preparation.Prepared, writer: report.SummaryWriter) -> None:
    config = trainer.config
    start, total = int(trainer.step), config.run.steps
    stop, empty_steps, since = _StopRequest(), 0, time.monotonic()
    progress = tqdm.tqdm(prepared.batches(start), initial=start, total=total, desc='Training', unit='step')
    for batch in progress:
        warming_up = int(trainer.step) < config.run.warmup_steps
        scalars = (trainer.warmup_step if warming_up else trainer.train_step)(batch)
        step, loss = int(trainer.step), float(scalars['loss/total'])
        if not np.isfinite(loss):
            terms = ', '.join(f'{name} {float(value):.4g}' for name, value in sorted(scalars.items())
                              if name.startswith(('loss/', 'gradient_norm/')))
            raise trainer_lib.TrainingError(
                f'The loss must be finite, but is {loss} at step {step} ({terms}); lower '
                '`Optimizer.learning_rate` or the weight of the term at fault, and start again from a '
                'checkpoint before it.')
        empty_steps = empty_steps + 1 if float(scalars['part/foreground_share']) < 1e-3 else 0
        if empty_steps >= config.run.collapse_after:
            raise trainer_lib.TrainingError(
                f'Parts must cover something, but all pixels have been background for {empty_steps} steps at '
                f'step {step}, from where no gradient leads back; lower the learning rates or '
                '`Losses.semantic_consistency`, or set `Run.warmup_steps`, and start again.')
        progress.set_postfix(loss=f'{loss:.4f}', refresh=False)

        done = step >= total
        if step % config.logging.scalars_every == 0 or done:
            now = time.monotonic()
            count = (step - 1) % config.logging.scalars_every + 1 if step - start >= config.logging.scalars_every \
                else step - start
            values = {name: float(value) for name, value in scalars.items()}
            values['examples_per_second'] = count * config.run.batch_size / max(now - since, 1e-9)
            writer.scalars(values, step)
            since = now
        if step % config.logging.pictures_every == 0 or done:
            _write_pictures(trainer, store, writer, step)
            since = time.monotonic()
        if step % config.checkpoint.every == 0 or done or stop.received:
            trainer.save(manager)
            writer.flush()
        if stop.received and not done:
            progress.close()
            logging.info('Stopped by a signal; step %d is saved, the same command continues.', step)
            return


def _write_pictures(trainer: trainer_lib.Trainer, store: Any, writer: report.SummaryWriter, step: int) -> None:
    count = min(trainer.config.logging.num_pictures, len(store))
    images = np.stack([store.image(index) for index in range(count)])
    found: Dict[str, np.ndarray] = {
        name: value.numpy() for name, value in trainer.pictures(tf.constant(images)).items()}
    parts = found['part_responses'][..., 1:]
    picture = visualize.training_picture(
        images, parts, found['labels'], centers=found['part_centers'], presence=parts.max(axis=(1, 2)),
        saliency_maps=np.stack([store.saliency(index) for index in range(count)]),
        views=np.rint(found['view'] * 255).astype(np.uint8), view_labels=found['view_labels'],
        view_centers=found['view_part_centers'])
    writer.image('parts', picture, step)
    basis = trainer.part_basis().numpy()
    for part, row in enumerate(basis, start=1):
        writer.histogram(f'part_basis/{part}', row, step)


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
