"""Laws of training on several replicas: they share a batch, and nothing else changes."""
from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import time
from typing import Any, Dict, List

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.networks import checkpoints
from scops_tf.training import replicas, trainer as trainer_lib

TASK = {'cluster': {'worker': ['localhost:1', 'localhost:2']},
        'task': {'type': 'worker', 'index': 1}}
WHOLE_NETWORK = ["Optimizer.name='sgd'", 'Optimizer.learning_rate=0.02',
                 'Optimizer.clip_norm=1.0', "Features.cache='none'"]
CACHED_VIEWS = ["Segmenter.backbone='resnet50'", 'Segmenter.weights=None',
                "Segmenter.trained='head'", 'Segmenter.num_views=3']


# One replica.


def test_alone_a_replica_has_the_mean_and_the_draws_of_the_whole_batch():
    strategy = replicas.strategy('none')
    assert strategy.num_replicas_in_sync == 1 and replicas.is_chief(strategy)
    values = {'a': tf.constant([1.0, 2.0]), 'b': [tf.constant(3.0)]}
    found = replicas.mean(values)
    np.testing.assert_array_equal(found['a'], [1, 2])
    np.testing.assert_array_equal(found['b'][0], 3)
    rows = replicas.own(lambda count: (tf.range(count), tf.ones((count, 2, 5))), 3)
    np.testing.assert_array_equal(rows[0], [0, 1, 2])
    assert rows[1].shape == (3, 2, 5)
    assert replicas.any_of(strategy, True) and not replicas.any_of(strategy, False)


# What cannot be.


@pytest.mark.parametrize('text, reason', [
    (None, 'it is not set'), ('', 'it is not set'), ('{', 'Expecting property name'),
    ('[1]', 'got .* must be'), ('{"cluster": {}}', "it lacks 'task'"),
    (json.dumps({**TASK, 'task': {'type': 'worker', 'index': 2}}), "one of its cluster's"),
    (json.dumps({**TASK, 'task': {'type': 'ps', 'index': 0}}), "one of its cluster's"),
    (json.dumps({**TASK, 'cluster': {**TASK['cluster'], 'ps': ['localhost:3']}}), "'chief' and"),
    (json.dumps({**TASK, 'task': {'type': 'worker', 'index': 'x'}}), 'invalid literal')])
def test_a_cluster_that_is_not_told_is_one_sentence_with_an_example(monkeypatch, text, reason):
    if text is None:
        monkeypatch.delenv('TF_CONFIG', raising=False)
    else:
        monkeypatch.setenv('TF_CONFIG', text)
    with pytest.raises(replicas.ReplicasError, match=f'`TF_CONFIG` must tell .*{reason}') as caught:
        replicas.strategy('multi_worker')
    assert '"index": 0}' in str(caught.value) and '\n' not in str(caught.value)


def test_an_unknown_strategy_is_an_error_that_lists_the_known_ones():
    with pytest.raises(replicas.ReplicasError, match="none, mirrored, multi_worker; got 'tpu'"):
        replicas.strategy('tpu')


def test_a_batch_that_replicas_cannot_share_evenly_is_one_sentence(small, monkeypatch):
    config = config_lib.load([], [*small, 'Run.batch_size=5'])
    strategy = replicas.strategy('none')
    monkeypatch.setattr(type(strategy), 'num_replicas_in_sync', 2)
    with pytest.raises(replicas.ReplicasError, match='`Run.batch_size` must be a multiple of the '
                       'number of replicas, which share it and are 2; got 5'):
        trainer_lib.Trainer(config)


@pytest.mark.parametrize('error, lost', [
    (tf.errors.UnavailableError(None, None, 'Socket closed'), True),
    (tf.errors.InternalError(None, None, 'Collective ops is aborted by: a peer'), True),
    (tf.errors.InvalidArgumentError(None, None, 'Shapes differ'), False), (OSError('disk'), False)])
def test_of_all_errors_those_of_a_lost_worker_say_start_again(error, lost):
    with pytest.raises(replicas.WorkerLostError if lost else type(error)) as caught:
        with replicas.watched('multi_worker'):
            raise error
    assert ('start this command again' in str(caught.value)) == lost
    with pytest.raises(type(error)), replicas.watched('none'):
        raise error


# Two replicas.


@pytest.fixture(scope='module')
def compared(tmp_path_factory, small, start_command):
    """What one replica and two reported and learned, by the bindings on top of `small`.

    Four trainings trace their steps, which takes over a minute where processors are slow.
    """
    folder = tmp_path_factory.mktemp('compared')
    script = pathlib.Path(__file__).with_name('two_replicas.py')
    processes = {}
    for name, bindings in (('whole network', WHOLE_NETWORK), ('cached views', CACHED_VIEWS)):
        processes[name] = start_command(
            str(script), str(folder / f'{name}.npz'), *small, 'Run.steps=5', 'Run.warmup_steps=2',
            'Run.batch_size=4', *bindings)
    for process in processes.values():
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
    return {name: np.load(folder / f'{name}.npz') for name in processes}


@pytest.mark.parametrize('name', ['whole network', 'cached views'])
def test_two_replicas_with_half_of_the_batch_each_do_the_steps_of_one(compared, name):
    found = compared[name]
    assert (found['none/replicas'], found['mirrored/replicas']) == (1, 2)
    assert found['none/traces'] == found['mirrored/traces'] == 1
    one, two = ({key.split('/', 1)[1]: found[key] for key in found if key.startswith(strategy)}
                for strategy in ('none', 'mirrored'))
    assert one.keys() == two.keys()
    # Steps of the warm-up, whose loss is another, and then of the training.
    assert {'scalar/1/loss/warmup', 'scalar/2/loss/equivariance', 'scalar/4/loss/orthonormal',
            'scalar/4/gradient_norm/head', 'scalar/4/part_area/1',
            'scalar/4/loss/semantic_consistency_relative'} <= one.keys()
    for key, value in one.items():
        if key.startswith('scalar/'):
            np.testing.assert_allclose(two[key], value, rtol=1e-5, atol=1e-7, err_msg=key)
        elif key.startswith('weights/'):
            np.testing.assert_allclose(two[key], value, rtol=0, atol=1e-5, err_msg=key)
    # The first half of the batch stands for all of it.
    pulls = [key for key in one if key.startswith('pull/')]
    assert len(pulls) == 5
    assert all(np.isfinite(two[key]) and (two[key] > 0) == (one[key] > 0) for key in pulls)
    # They moved by far more than the two may differ.
    assert np.abs(one['weights/head'] - one['start/head']).max() > 1e-3


def test_an_overflow_on_one_replica_leaves_out_the_step_on_both(compared):
    found = compared['whole network']
    # Scaled by 2^15 the gradient of the second replica alone is too large for float16.
    np.testing.assert_array_equal(found['overflow/scales'], [2.0 ** 15, 2.0 ** 14, 2.0 ** 14])
    values = found['overflow/values']  # [step, replica]
    np.testing.assert_array_equal(values[0], [1, 1])
    np.testing.assert_array_equal(found['overflow/updates'], [0, 1, 2])
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    # By the mean of the gradients 1 and 3.
    np.testing.assert_allclose(values[1:, 0], [1 - 0.1 * 2, 1 - 0.1 * 4], rtol=1e-6)


# Two workers.


def _tasks() -> List[str]:
    """TF_CONFIG of two workers on free ports of this machine."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(('localhost', 0))
    cluster = {'worker': [f'localhost:{each.getsockname()[1]}' for each in sockets]}
    for each in sockets:
        each.close()
    return [json.dumps({'cluster': cluster, 'task': {'type': 'worker', 'index': index}})
            for index in range(2)]


def _variables(workdir: pathlib.Path, step: int) -> Dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(
        os.path.join(checkpoints.folder_of(str(workdir)), f'ckpt-{step}'))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name.startswith(('model/', 'step/'))}


def test_a_worker_is_killed_and_started_again_and_the_training_ends_as_one_never_interrupted(
        tmp_path, small, start_command, trained_run):
    # Five starts of the command, each of 10 to 15 seconds of a core, are more than 20 seconds.
    workdir = tmp_path / 'run'
    bindings = [*small, "Run.strategy='multi_worker'"]
    tasks = _tasks()
    codes: List[List[int]] = [[], []]
    errors = ['', '']

    def start(index: int) -> Any:
        return start_command('train', f'--workdir={workdir}', bindings=bindings,
                             TF_CONFIG=tasks[index])

    workers = [start(0), start(1)]
    killed = False
    deadline = time.monotonic() + 500
    while any(not codes[index] or codes[index][-1] for index in range(2)):
        assert time.monotonic() < deadline, (codes, errors)
        if not killed and (workdir / 'checkpoints' / 'ckpt-3.index').exists():
            workers[1].kill()
            killed = True
        for index, worker in enumerate(workers):
            if worker.poll() is None or codes[index][-1:] == [0]:
                continue
            errors[index] += worker.communicate()[1]
            codes[index].append(worker.returncode)
            # As the loop in docs/distributed.md.
            assert worker.returncode in (0, 75, -9), errors[index]
            if worker.returncode:
                workers[index] = start(index)
        time.sleep(0.05)
    assert killed and codes[0][0] == 75 and codes[1][0] == -9, (codes, errors)
    assert 'another one was lost; start this command again' in errors[0]
    assert 'Continuing' in errors[0] and 'Training on 2 replicas' in errors[0]

    # Soon after the second start: the further Adam goes, the more it enlarges what two replicas and
    # one round differently. One step too many or too few is more than 5 % of all that is moved.
    assert int(re.search(r'Continuing .* from step (\d+)', errors[0])[1]) < 10
    whole, interrupted = _variables(trained_run, 10), _variables(workdir, 10)
    assert whole.keys() == interrupted.keys()
    start_of_it = _variables(workdir, 0)
    for name, value in whole.items():
        difference = np.linalg.norm(interrupted[name] - value)
        moved = np.linalg.norm(value - start_of_it[name])
        assert difference <= 0.01 * moved + 1e-6 * np.linalg.norm(value), name
    kernel = 'model/segmenter/head/kernel/.ATTRIBUTES/VARIABLE_VALUE'
    assert np.abs(whole[kernel] - start_of_it[kernel]).max() > 0.01
    assert _variables(workdir, 40)[kernel].shape == whole[kernel].shape
    # The chief alone has written; each of its two tries has one file of events.
    assert sorted(os.listdir(workdir)) == [
        'checkpoints', 'config.gin', 'photos.csv', 'tensorboard']
    assert len(os.listdir(workdir / 'tensorboard')) == 2
