"""Experiments on interruptions: commands that are killed, stopped, or left without room.

After each, the same command must end as one that was never interrupted: a training with the same
bits, the other commands with the same files.
"""
from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from experiments.commands import STEPS, WARMUP_STEPS, Commands, Ended, contents, copied, left_over
from experiments.outcome import CRASH, HANG, RIGHT, SENTENCE, TRACEBACK, WRONG, Experiment, Outcome
from scops_tf import command

# Every so many cases a training traces its steps, as users' trainings do; the others save the time.
_TRACED_EVERY = 10
# Of an export, what is the same each time: graphs have names and maps in any order.
_OF_EXPORT = ('variables' + os.sep, 'scops_tf.json')


class _Whole(NamedTuple):
    """Commands, and what they leave without an interruption.

    Attributes:
      run: Folder of a run that is trained, scored and exported.
      digests: Hash of the last checkpoint, by whether the training ran eagerly.
      predictions: Folder of the results of `predict`.
    """

    commands: Commands
    run: str
    digests: Dict[bool, str]
    predictions: str


def _prepare(folder: str, *, traced: bool = False, others: bool = True) -> _Whole:
    """What is left without an interruption: by a training, a traced one, and other commands."""
    commands = Commands(folder)
    digests = {}
    for eager in (True, False) if traced else (True,):
        workdir = os.path.join(folder, 'whole' if eager else 'traced')
        _require(commands.train(workdir, eager=eager))
        digests[eager] = commands.digest(workdir)
    run, out = os.path.join(folder, 'whole'), os.path.join(folder, 'predictions')
    whole = _Whole(commands, run, digests, out)
    # An export has the scores of an evaluation before it, as those of the copies have.
    for name in ('evaluate', 'export', 'predict') if others else ():
        _require(_other(whole, name, run, out))
    return whole


def _require(ended: Ended) -> None:
    if ended.code:
        raise RuntimeError(f'A command without an interruption ended with {ended}')


def _other(whole: _Whole, name: str, run: str, out: str, **job: Any) -> Ended:
    """Runs evaluate, export or predict."""
    arguments = ([f'--export_dir={run}/export', f'--out={out}', f'{whole.commands.creatures}/test']
                 if name == 'predict' else [f'--workdir={run}'])
    return whole.commands.run(f'scops_tf.{name}', *arguments, **job)


# Where a command is interrupted.


def _of_training(rng: np.random.Generator) -> Dict[str, Any]:
    """A stage of a training: the call of a function, and the moment before, in or after it."""
    stage = str(rng.choice(['photos', 'preparation', 'warm-up', 'training', 'training',
                            'checkpoint', 'checkpoint', 'files', 'moves']))
    calls = {'photos': 1, 'preparation': 1, 'warm-up': WARMUP_STEPS,
             'training': STEPS - WARMUP_STEPS, 'checkpoint': 1 + STEPS // 2, 'files': 2, 'moves': 3}
    # What a checkpoint takes to write is some hundredths of a second.
    longest = {'preparation': 1.0, 'photos': 0.05, 'checkpoint': 0.06}.get(stage, 0.1)
    moment = ['before', 'after', float(rng.uniform(0.0, longest))][rng.choice(3, p=[.2, .2, .6])]
    return {'stage': stage, 'call': int(rng.integers(1, 1 + calls[stage])),
            'moment': 'before' if stage == 'moves' else moment}


def _of_other(name: str, rng: np.random.Generator) -> Dict[str, Any]:
    """A stage of evaluate, export or predict, while it writes."""
    if name == 'export' and rng.random() < 0.6:
        return {'stage': 'export', 'call': 1, 'moment': float(rng.uniform(0, 1.5))}
    stage = str(rng.choice(['files', 'moves']))
    most = {'evaluate': 6, 'export': 1, 'predict': 10}[name] + (name == 'export'
                                                                and stage == 'moves')
    moment = 'before' if stage == 'moves' else [
        'before', 'after', float(rng.uniform(0, 0.02))][rng.integers(3)]
    return {'stage': stage, 'call': int(rng.integers(1, 1 + most)), 'moment': moment}


def _told(stage: Dict[str, Any]) -> str:
    moment = stage['moment']
    when = moment if isinstance(moment, str) else f'{moment:.3f} s into'
    return f'{when} call {stage["call"]} of {stage["stage"]}'


# What must hold afterwards.


def _bad_end(ended: Ended, codes: 'tuple[int, ...]', what: str) -> Optional[Outcome]:
    """The outcome of a command that ended otherwise than with one of the codes; else None."""
    if ended.code in codes:
        return None
    if ended.code is None:
        return Outcome(HANG, what)
    if 'Traceback' in ended.output:
        return Outcome(TRACEBACK, f'{what}: {ended.output[-400:]}')
    kind = CRASH if ended.code < 0 else WRONG
    return Outcome(kind, f'{what}: exit code {ended.code}: {ended.output[-300:]}')


def _training_again(whole: _Whole, workdir: str, eager: bool, what: str) -> Outcome:
    """Continues a training, and compares it with one without interruption."""
    again = whole.commands.train(workdir, eager=eager)
    bad = _bad_end(again, (0,), f'{what}, then continued')
    if bad:
        return bad
    digest = whole.commands.digest(workdir)
    if digest != whole.digests[eager]:
        return Outcome(WRONG, f'{what}: other weights, {digest} for {whole.digests[eager]}')
    left = left_over(workdir)
    return Outcome(WRONG, f'{what}: {left} is left') if left else Outcome(RIGHT, what)


def _results(whole: _Whole, name: str, run: str, out: str) -> Dict[str, str]:
    """The results of a command, by the names of their files."""
    if name == 'export':
        versions = os.path.join(run, 'export')
        # Killed after its end, an export is there, and the next one is another version.
        numbers = [int(each) for each in os.listdir(versions) if each.isdigit()] if (
            os.path.isdir(versions)) else []
        found = contents(os.path.join(versions, str(max(numbers)))) if numbers else {}
        return {path: digest for path, digest in found.items() if path.startswith(_OF_EXPORT)}
    folder = out if name == 'predict' else os.path.join(run, 'eval')
    return contents(folder) if os.path.isdir(folder) else {}


def _other_again(whole: _Whole, name: str, run: str, out: str, what: str, *, told: bool = False
                 ) -> Outcome:
    """What was written before the interruption is whole; then the command gives all of it.

    Where the command has `told` of photos without results, its table has the others alone.
    """
    expected = _results(whole, name, whole.run, whole.predictions)
    before = _results(whole, name, run, out)
    # Pieces of the table are there until all photos are done.
    broken = [path for path, digest in before.items() if expected.get(path) != digest
              and not path.startswith('.pieces/') and not (told and path == 'centers.csv')]
    if broken:
        return Outcome(WRONG, f'{what}: {broken[0]} is there and is not whole')
    if name == 'export' and before and set(before) != set(expected):
        return Outcome(WRONG, f'{what}: an export of {sorted(before)} alone')
    bad = _bad_end(_other(whole, name, run, out), (0,), f'{what}, then again')
    if bad:
        return bad
    after = _results(whole, name, run, out)
    if after != expected:
        differing = [path for path in {*after, *expected} if after.get(path) != expected.get(path)]
        return Outcome(WRONG, f'{what}: other results, such as {sorted(differing)[0]}')
    left = left_over(run) + (left_over(out) if os.path.isdir(out) else [])
    return Outcome(WRONG, f'{what}: {left} is left') if left else Outcome(RIGHT, what)


def _fresh(whole: _Whole, name: str) -> 'tuple[str, str]':
    """A copy of the run without the results of a command, and a folder for predictions."""
    run = copied(whole.run, os.path.join(whole.commands.folder, 'copy', 'run'))
    out = os.path.join(whole.commands.folder, 'copy', 'out')
    shutil.rmtree(out, ignore_errors=True)
    if name != 'predict':
        shutil.rmtree(os.path.join(run, {'evaluate': 'eval', 'export': 'export'}[name]))
    return run, out


# The cases.


def _kill(whole: _Whole, index: int, rng: np.random.Generator) -> Outcome:
    if index % 3 == 2:
        name = ('evaluate', 'export', 'predict')[index // 3 % 3]
        run, out = _fresh(whole, name)
        stage = _of_other(name, rng)
        what = f'{name}, killed {_told(stage)}'
        killed = _other(whole, name, run, out, signal=int(signal.SIGKILL), **stage)
        return (_bad_end(killed, (-signal.SIGKILL, 0), what)
                or _other_again(whole, name, run, out, what))
    eager = index % _TRACED_EVERY != 0
    workdir = os.path.join(whole.commands.folder, 'killed')
    shutil.rmtree(workdir, ignore_errors=True)
    stage = _of_training(rng)
    what = f'{"training" if eager else "traced training"}, killed {_told(stage)}'
    killed = whole.commands.train(workdir, eager=eager, signal=int(signal.SIGKILL), **stage)
    return (_bad_end(killed, (-signal.SIGKILL, 0), what)
            or _training_again(whole, workdir, eager, what))


def _signal(whole: _Whole, index: int, rng: np.random.Generator) -> Outcome:
    workdir = os.path.join(whole.commands.folder, 'stopped')
    shutil.rmtree(workdir, ignore_errors=True)
    number = signal.SIGTERM if index % 2 else signal.SIGINT
    stage = _of_training(rng)
    what = f'training, {number.name} {_told(stage)}'
    stopped = whole.commands.train(workdir, signal=int(number), **stage)
    # Ctrl-C before the first step ends a command as it does any other; 0 if it was at its end.
    codes = (command.STOPPED, 0) + ((130,) if number == signal.SIGINT else ())
    bad = _bad_end(stopped, codes, what)
    if not bad and stopped.code == 130 and stage['stage'] in ('warm-up', 'training', 'checkpoint'):
        # The checkpoint of step 0 is written before the steps.
        if not (stage['stage'] == 'checkpoint' and stage['call'] == 1):
            bad = Outcome(WRONG, f'{what}: exit code 130 within the steps')
    return bad or _training_again(whole, workdir, True, what)


@contextlib.contextmanager
def _small_disk(folder: str, size: int) -> Iterator[bool]:
    """Mounts a file system of that many bytes at a folder, if that is allowed."""
    os.makedirs(folder, exist_ok=True)
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder],
                             capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(['umount', '-l', folder], check=True)


def _disk(whole: _Whole, index: int, rng: np.random.Generator) -> Outcome:
    """A command on a disk that is too small, or with a limit of the size of files."""
    name = ('train', 'evaluate', 'export', 'predict')[index // 2 % 4]
    place = os.path.join(whole.commands.folder, 'disk')
    limit = int(np.exp(rng.uniform(np.log(2_000), np.log(2_000_000))))
    with contextlib.ExitStack() as stack:
        # The copied run takes room too.
        mounted = index % 2 == 0 and stack.enter_context(_small_disk(place, 2 ** 26))
        run, out = os.path.join(place, 'run'), os.path.join(place, 'out')
        for folder in (run, out):
            shutil.rmtree(folder, ignore_errors=True)
        if name != 'train':
            copied(_fresh(whole, name)[0], run)
        job: Dict[str, Any] = {}
        what = f'{name} with {limit} bytes left on the disk'
        if mounted:
            used = sum(int(os.stat(os.path.join(base, each)).st_blocks * 512)
                       for base, _, names in os.walk(place) for each in names)
            subprocess.run(['mount', '-o', f'remount,size={used + limit}', place], check=True)
        else:
            job, what = {'limit': limit}, f'{name} with files up to {limit} bytes'
        ended = (whole.commands.train(run, **job) if name == 'train' else
                 _other(whole, name, run, out, **job))
        if mounted:
            subprocess.run(['mount', '-o', f'remount,size={2 ** 26}', place], check=True)
        if ended.code == 1 and not ended.sentence:
            return _bad_end(ended, (), what) or Outcome(WRONG, what)
        bad = _bad_end(ended, (0, 1), what)
        if bad:
            return bad
        after = (_training_again(whole, run, True, what) if name == 'train' else
                 _other_again(whole, name, run, out, what, told=bool(ended.sentence)))
        return (after if after.kind != RIGHT or not ended.sentence else
                Outcome(SENTENCE, f'{what}: {ended.sentence}'))


EXPERIMENTS: List[Experiment] = [
    Experiment('kills', 'SIGKILL in a training, or while results are written; then the same '
               'command', 50, functools.partial(_prepare, traced=True), _kill, 4000.0),
    Experiment('signals', 'SIGTERM or SIGINT in a training; then the same command', 30,
               functools.partial(_prepare, others=False), _signal, 4000.0),
    Experiment('disk', 'a full disk, or a limit of the size of files; then the same command with '
               'room', 24, _prepare, _disk, 4000.0)]
