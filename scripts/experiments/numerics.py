"""The experiment on numerics: 2000 steps in each precision without a value that is not finite."""
from __future__ import annotations

import os
from typing import List

import numpy as np

from experiments.commands import Commands
from experiments.outcome import HANG, RIGHT, TRACEBACK, WRONG, Experiment, Outcome
from scops_tf.datasets import synthetic

STEPS = 2000
_PARTS = (4, 1, 16)
_PRECISIONS = ('float32', 'bfloat16')
# A network that is trained as a whole, and a head on features that are not trained.
_NETWORKS = {
    'tiny': ("Segmenter.backbone='tiny'", "Segmenter.trained='all'", 'Segmenter.num_views=0'),
    'features': ("Segmenter.backbone='features'", "Segmenter.trained='head'",
                 'Segmenter.num_views=2', 'Segmenter.normalization=0.75')}
_CASES = [(network, parts, precision) for parts in _PARTS for precision in _PRECISIONS
          for network in _NETWORKS]


def _prepare(folder: str) -> Commands:
    commands = Commands(folder)
    commands.creatures = os.path.join(folder, 'wide')
    synthetic.write(commands.creatures, num_train=24, num_test=4, size=(96, 160), seed=1)
    return commands


def _case(commands: Commands, index: int, rng: np.random.Generator) -> Outcome:
    network, parts, precision = _CASES[index % len(_CASES)]
    seed = int(rng.integers(1000))
    what = f'{network}, K = {parts}, {precision}, seed {seed}'
    workdir = os.path.join(commands.folder, f'run{index}')
    ended = commands.train(
        workdir, *_NETWORKS[network], f'Run.num_parts={parts}', f'Run.precision={precision!r}',
        f'Run.seed={seed}', f'Run.steps={STEPS}', 'Run.batch_size=1', 'Run.warmup_steps=100',
        'Run.image_size=(96, 160)', 'Losses.response_size=(48, 80)', 'Checkpoint.every=500',
        'Logging.scalars_every=500', 'Logging.pictures_every=100000', eager=False)
    if ended.code is None:
        return Outcome(HANG, what)
    if 'Traceback' in ended.output:
        return Outcome(TRACEBACK, f'{what}: {ended.output[-400:]}')
    # A loss or a gradient that is not finite ends a training, which then has no last checkpoint.
    if ended.code:
        return Outcome(WRONG, f'{what}: {ended.output[-400:]}')
    digest = commands.digest(workdir)
    if not digest.startswith(f'{STEPS} ') or not digest.endswith('finite'):
        return Outcome(WRONG, f'{what}: {digest}')
    return Outcome(RIGHT, what)


EXPERIMENTS: List[Experiment] = [
    Experiment('numerics', f'{STEPS} steps of the drawn creatures at 96x160, batch 1: K = 1, 4 and '
               '16, float32 and bfloat16, two networks', len(_CASES), _prepare, _case, 7200.0)]
