"""Examines a trained run, or one that is being trained, by its last checkpoint."""
from __future__ import annotations

import dataclasses
import os
from typing import List, NamedTuple

from scops_tf import config as config_lib, datasets
from scops_tf.features import photo_features
from scops_tf.networks import checkpoints
from scops_tf.pictures import event_files
from scops_tf.training import (
    check_up,
    diagnoses,
    findings as findings_lib,
    measures as measures_lib,
    preparation,
    trainer as trainer_lib,
)


class ExaminationError(ValueError):
    """A run that cannot be examined; the message is one sentence for the user."""


class Examination(NamedTuple):
    """What was found in a run.

    Attributes:
      step: Step of the checkpoint.
      measures: The measures.
      findings: What they tell, the worst first; empty for a healthy run.
    """

    step: int
    measures: measures_lib.Measures
    findings: List[findings_lib.Finding]


def examine(config: config_lib.Config, workdir: str, *, max_photos: int = 64) -> Examination:
    """Examines the newest whole checkpoint of a run; nothing is written.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run.
      max_photos: Largest number of training photos that are looked at, spread evenly over all.

    Raises:
      ExaminationError: If the run has no checkpoint after its warm-up, or is not trained.
      ValueError: If data, checkpoints or weights cannot be used.
      OSError: If a file cannot be read.
    """
    # Views and features that a training keeps are made for all photos; here a few are enough.
    config = dataclasses.replace(
        config,
        logging=dataclasses.replace(config.logging, doctor_photos=max_photos),
        segmenter=dataclasses.replace(config.segmenter, num_views=0),
        features=config.features if config.features.cache == 'none'
        else dataclasses.replace(config.features, cache='memory'),
        run=dataclasses.replace(config.run, strategy='none'))
    if config.run.method not in ('segmenter', 'uld'):
        raise ExaminationError(f'`--workdir` must be a run that is trained; {workdir!r} is one of '
                               f'{config.run.method!r}, which is fitted.')
    step = checkpoints.whole_step(workdir)
    if step <= config.warmup_steps:
        raise ExaminationError(
            'A run must have a checkpoint after its warm-up to be examined, which ends with step '
            f'{config.warmup_steps}; ' + (f'there is none in {workdir!r}.' if step < 0 else
                                          f'the last one in {workdir!r} is of step {step}.'))
    records = datasets.load_for(config, workdir).train
    chosen = photo_features.spread(len(records), max_photos)
    trainer = trainer_lib.Trainer(config)
    trainer.restore(workdir)
    step = int(trainer.step.numpy())  # Another process may have saved one since.
    store = photo_features.open_store(config, [records[place] for place in chosen], workdir)
    prepared = preparation.prepare(config, trainer.model, trainer.views, store, workdir,
                                   fresh=False, start_step=step)
    gathered = check_up.CheckUp(trainer, prepared, workdir)
    for logged_step, scalars in event_files.scalars(
            os.path.join(workdir, 'tensorboard'), up_to=step):
        gathered.log(logged_step, scalars)
    batch = prepared.photos(photo_features.spread(len(store), config.run.batch_size))
    found = gathered.measures(batch)
    return Examination(step, found, diagnoses.diagnose(found, config))
