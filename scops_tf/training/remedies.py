"""Settings to change, by what a run has set: what would do nothing or be refused is none."""
from __future__ import annotations

from typing import List

from scops_tf import config as config_lib
from scops_tf.training.findings import RAISE, SET, Remedy


def moved(config: config_lib.Config, binding: str, move: str, how: str) -> List[Remedy]:
    """The remedy to raise or lower a number by a factor; none where that would change nothing.

    A number that is 0 is set to its default instead of being raised, if that is another one.
    """
    value = config.settings[binding]
    if value != 0:
        return [Remedy(binding, move, how)]
    section, name = binding.split('.')
    usual = next(getattr(type(each), name) for each in vars(config).values()
                 if type(each).__name__ == section)
    return [Remedy(binding, SET, repr(usual))] if move == RAISE and usual else []


def concentration(config: config_lib.Config, move: str, how: str) -> List[Remedy]:
    """Another weight of concentration, which each method has its own of."""
    section = 'Uld' if config.run.method == 'uld' else 'Losses'
    return moved(config, f'{section}.concentration', move, how)


def warmup(config: config_lib.Config) -> List[Remedy]:
    """A longer warm-up, where there is one, with as many steps after it."""
    run = config.run
    if run.init_from or run.method == 'uld':
        return []
    if not run.warmup_steps:
        return [Remedy('Run.warmup_steps', RAISE, f'to {run.steps // 3}')] if run.steps > 2 else []
    also = ('' if 2 * run.warmup_steps < run.steps
            else f', and `Run.steps` ({run.steps}) to {run.steps + run.warmup_steps}')
    return [Remedy('Run.warmup_steps', RAISE, f'by a factor of 2{also}')]


def other_start(config: config_lib.Config) -> List[Remedy]:
    """Another starting basis, where the run does not take that of another run."""
    if config.run.init_from or config.run.teacher or config.run.method == 'uld':
        return []
    return [Remedy('PartBasis.init', SET,
                   "'kmeans'" if config.part_basis.init == 'nmf' else "'nmf'")]


def num_parts(config: config_lib.Config, move: str, how: str) -> List[Remedy]:
    """Another number of parts, where it is not that of another run."""
    run = config.run
    is_given = run.init_from or run.teacher and not run.trains_teacher
    at_end = run.num_parts == (64 if move == RAISE else 1)
    return [] if is_given or at_end else [Remedy('Run.num_parts', move, how)]
