"""Laws of scripts/reliability.py: a case can be repeated, and all outcomes are told apart."""
from __future__ import annotations

import os
import pathlib
import signal
import time
from typing import Any, Dict

import experiments
from experiments import (
    commands,
    interruptions,
    isolation,
    mutation,
    outcome,
    readers,
    served,
    starter,
    table,
)
import numpy as np
import pytest
import tensorflow as tf

from scops_tf.serving import part_model as part_model_lib, saved_model

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_ALL = experiments.all_experiments()


@pytest.mark.parametrize('name', [
    'photos', 'masks', 'lists', 'cub', 'celeba', 'aflw', 'pascal', 'drawn', 'arrays', 'config',
    'checkpoints', 'caches'])
def test_a_case_is_answered_right_and_the_same_when_it_is_repeated(name, tmp_path):
    state = _ALL[name].prepare(str(tmp_path))
    found = [_ALL[name].case(state, index, outcome.generator(5, index)) for index in (1, 2, 1)]
    assert found[0] == found[2]
    for each in found:
        assert each.kind in (outcome.RIGHT, outcome.SENTENCE), each
        assert each.detail


class _Colors(tf.Module):
    """Its parts are what is red, green and blue."""

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        shares = images / (1.0 + tf.reduce_sum(images, axis=-1, keepdims=True))
        return tf.concat([1.0 - tf.reduce_sum(shares, axis=-1, keepdims=True), shares], axis=-1)


def test_requests_are_served_or_refused_and_a_damaged_export_is_told(tmp_path, monkeypatch):
    def export(folder: str) -> str:
        return saved_model.export(
            part_model_lib.PartModel(_Colors(), num_parts=3, input_size=(64, 96)),
            os.path.join(folder, name), metadata={})

    monkeypatch.setattr(served, '_export', export)
    for name, count in (('requests', 3), ('exports', 1)):
        state = _ALL[name].prepare(str(tmp_path))
        for index in range(count):
            found = _ALL[name].case(state, index, outcome.generator(0, index))
            assert found.kind in (outcome.RIGHT, outcome.SENTENCE), found


def test_a_reader_that_lets_a_wrong_value_through_is_found(tmp_path):
    dataset = _ALL['cub'].prepare(str(tmp_path)).read()
    assert readers._problem_of((dataset, {'landmark error': 3.0})) is None
    assert 'is inf' in readers._problem_of((dataset, {'landmark error': np.inf}))
    dataset.test[0].box[2] = np.nan
    assert 'has the box' in readers._problem_of((dataset, {}))


# How outcomes are told apart.


def _raise(error: BaseException) -> None:
    raise error


def test_a_result_a_sentence_a_traceback_and_a_wrong_result_are_told_apart():
    judged = [outcome.judge(lambda: 3, lambda value: None, 'a'),
              outcome.judge(lambda: 3, lambda value: 'odd', 'b'),
              outcome.judge(lambda: _raise(OSError(28, 'No space left')), lambda value: None, 'c'),
              outcome.judge(lambda: np.zeros(3).reshape(2, 2), lambda value: None, 'd'),
              outcome.judge(lambda: _raise(KeyError('x')), lambda value: None, 'e')]
    assert [each.kind for each in judged] == [
        outcome.RIGHT, outcome.WRONG, outcome.SENTENCE, outcome.TRACEBACK, outcome.TRACEBACK]
    assert 'odd' in judged[1].detail and 'reliability_test.py' in judged[4].detail


def test_a_case_that_crashes_or_hangs_costs_that_case_alone(tmp_path):
    def case(state: str, index: int, rng: np.random.Generator) -> outcome.Outcome:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 3:
            time.sleep(60)
        return outcome.Outcome(outcome.RIGHT, f'{state} {rng.integers(1000)}')

    experiment = outcome.Experiment('any', 'any', 5, lambda folder: 'ready', case, 1.0)
    found = dict(isolation.outcomes(experiment, 7, range(5), folder=str(tmp_path)))
    assert [found[index].kind for index in range(5)] == [
        outcome.RIGHT, outcome.CRASH, outcome.RIGHT, outcome.HANG, outcome.RIGHT]
    assert found[4].detail == f'ready {outcome.generator(7, 4).integers(1000)}'
    assert not os.listdir(tmp_path)


class _Played:
    """Commands that end as they are told to."""

    def __init__(self, folder: pathlib.Path, *ends: Any) -> None:
        self.folder, self.ends, self.weights = str(folder), list(ends), '6 ab finite'

    def train(self, workdir: str, **job: Any) -> commands.Ended:
        os.makedirs(workdir, exist_ok=True)
        return commands.Ended(*self.ends.pop(0))

    def digest(self, workdir: str) -> str:
        return self.weights


_TOLD = 'Error: no room'


@pytest.mark.parametrize('ends, weights, kind', [
    ([(-9, ''), (0, '')], '6 ab finite', outcome.RIGHT),
    ([(-9, ''), (0, '')], '6 cd finite', outcome.WRONG),
    ([(-9, ''), (1, _TOLD)], '6 ab finite', outcome.WRONG),
    ([(-9, ''), (1, 'Traceback (most recent call last)')], '6 ab finite', outcome.TRACEBACK),
    ([(-9, ''), (None, '')], '6 ab finite', outcome.HANG),
    ([(-9, ''), (-11, '')], '6 ab finite', outcome.CRASH)])
def test_a_killed_training_must_end_with_the_same_weights(tmp_path, ends, weights, kind):
    played = _Played(tmp_path, *ends)
    played.weights = weights
    whole = interruptions._Whole(played, '', {True: '6 ab finite', False: '6 ab finite'}, '')
    found = interruptions._kill(whole, 1, outcome.generator(0, 1))
    assert found.kind == kind, found
    assert not played.ends


def test_a_stopped_training_must_say_so_by_its_code(tmp_path):
    whole = interruptions._Whole(_Played(tmp_path, (79, ''), (0, '')), '',
                                 {True: '6 ab finite'}, '')
    assert interruptions._signal(whole, 1, outcome.generator(0, 1)).kind == outcome.RIGHT
    whole = whole._replace(commands=_Played(tmp_path, (-15, '')))
    assert interruptions._signal(whole, 1, outcome.generator(0, 1)).kind == outcome.CRASH


def test_what_is_left_behind_is_found(tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'ckpt-2_temp').mkdir()
    (tmp_path / '.12-0.tmp').touch()
    (tmp_path / 'scores.json').touch()
    assert commands.left_over(str(tmp_path)) == ['.12-0.tmp', 'checkpoints/ckpt-2_temp']


def test_the_sentence_of_a_failed_command_is_found():
    assert commands.Ended(1, f'Training: 10%\r{_TOLD}\n').sentence == _TOLD
    assert commands.Ended(0, _TOLD).sentence is None
    assert commands.Ended(1, f'Traceback (most recent call last)\n{_TOLD}').sentence is None


@pytest.mark.parametrize('stage', sorted(starter.STAGES))
def test_the_stages_name_what_there_is(stage):
    module, name = starter.STAGES[stage]
    owner = __import__(module, fromlist=['_'])
    for each in name.split('.'):
        owner = getattr(owner, each)
    assert callable(owner)


@pytest.mark.parametrize('moment, written', [('before', 1), ('after', 2)])
def test_a_process_is_interrupted_at_the_call_of_a_number(tmp_path, monkeypatch, moment, written):
    from scops_tf import files
    monkeypatch.setattr(files, 'write', files.write)  # Puts it back afterwards.
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(len(os.listdir(tmp_path))))
    try:
        starter._interrupt({'stage': 'files', 'call': 2, 'moment': moment,
                            'signal': int(signal.SIGUSR1)})
        for number in range(3):
            files.write(str(tmp_path / f'{number}'), b'')
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [written]


# Damage.


@pytest.mark.parametrize('damage, data', [
    (mutation.of_bytes, bytes(range(200))), (mutation.of_text, b'1 a\n2 b\n3 c\n'),
    (mutation.of_json_text, b'{"a": [1, {"b": "c"}], "d": null}')])
def test_damage_changes_what_it_is_given_and_depends_on_its_generator_alone(damage, data):
    found = [damage(data, outcome.generator(0, index)) for index in range(40)]
    assert found == [damage(data, outcome.generator(0, index)) for index in range(40)]
    assert sum(changed != data for changed, _ in found) > 25
    assert len({changed for changed, _ in found}) > 15


def test_damaged_arrays_differ_and_the_given_ones_stay():
    arrays: Dict[str, np.ndarray] = {'train': np.ones((4, 3, 2)), 'names': np.array(['a', 'b'])}
    for index in range(60):
        rng, changed = outcome.generator(1, index), arrays
        for _ in range(4):  # Damage may be damaged again, until nothing is left.
            changed = mutation.of_arrays(changed, rng)[0] if changed else changed
    np.testing.assert_array_equal(arrays['train'], 1)
    assert arrays['names'].tolist() == ['a', 'b']


# The table.


def test_new_rows_replace_old_ones_and_what_was_before_stays():
    tally = outcome.Tally()
    tally.add(0, outcome.Outcome(outcome.RIGHT))
    tally.add(1, outcome.Outcome(outcome.SENTENCE))
    tally.add(2, outcome.Outcome(outcome.CRASH, 'code -11'))
    assert (tally.cases, tally.answered, list(tally.failures)) == (3, 2, [2])
    new = table.row(_ALL['pascal'], tally, '0.9', 4)
    page = '\n'.join(['Words.', table.BEGIN, table.HEADER,
                      '| `pascal` | old | 400 | 397 | 0 | 0 | 0 | 3 | 0.1, 0 | 3 of 400 crashed |',
                      '| `photos` | old | 1 | 1 | 0 | 0 | 0 | 0 | 0.1, 0 | |', table.END, 'More.'])
    merged = table.merged(page, {'pascal': new}, list(_ALL))
    lines = merged.splitlines()
    assert lines[0] == 'Words.' and lines[-1] == 'More.'
    row = next(line for line in lines if line.startswith('| `pascal`'))
    assert row.endswith('| 3 | 2 | 0 | 0 | 0 | 1 | 0.9, 4 | 3 of 400 crashed |')
    assert '| `photos` | old | 1 | 1 | 0 | 0 | 0 | 0 | 0.1, 0 | |' in lines
    assert table.merged(merged, {'pascal': new}, list(_ALL)) == merged
    empty = table.row(_ALL['photos'], tally, '0.9', 4)
    assert f'{empty} |' in table.merged(merged, {'photos': empty}, list(_ALL)).splitlines()


def test_a_page_without_a_place_for_the_table_is_named():
    with pytest.raises(ValueError, match='must have the lines .*begin'):
        table.merged('Words.', {}, [])


def test_the_page_has_a_row_for_every_experiment():
    page = (_ROOT / 'docs' / 'reliability.md').read_text(encoding='utf-8')
    for name in _ALL:
        assert f'\n| `{name}` |' in page, name

