"""Laws of the updates: schedules, clipping and decay of each group."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.training import loss_scale, optimization

SETTINGS = {'name': 'sgd', 'learning_rate': 0.1, 'head_multiplier': 10.0,
            'basis_learning_rate': 0.5, 'power': 0.9, 'momentum': 0.0, 'weight_decay': 0.0,
            'clip_norm': None}
NAMES = ('sgd', 'adam', 'adamw')


def _optimization(groups, *, loss_scale=None, **settings) -> optimization.Optimization:
    """Of a training of 100 steps by `SETTINGS` with others on top."""
    return optimization.Optimization(
        groups, 100, settings=config_lib.Optimizer(**{**SETTINGS, **settings}),
        loss_scale=loss_scale)


def _groups() -> dict:
    return {'backbone': [tf.Variable([1.0, 2.0])],
            'head': [tf.Variable([[3.0]]), tf.Variable([4.0])], 'basis': [tf.Variable([5.0])]}


def _update(groups, step=0, *, names=('backbone', 'head', 'basis'), factor=1.0, **settings):
    """One update by the gradient `factor` of the sum of all variables."""
    updates = _optimization(groups, **settings)
    return _step(updates, step, names=names, factor=factor)


def _step(updates, step=0, *, names=('backbone', 'head', 'basis'), factor=1.0):
    """One more update; the backbone's part of the loss is computed in float16."""
    with tf.GradientTape() as tape:
        sums = [tf.reduce_sum(tf.cast(variable, tf.float16 if group == 'backbone' else tf.float32))
                for group, variables in updates.groups.items() for variable in variables]
        loss = factor * tf.add_n([tf.cast(value, tf.float32) for value in sums])
    rates = updates.schedule(tf.constant(step, tf.int64), groups=names)
    gradients, norms = updates.gradients(tape, loss, groups=names)
    return {**updates.update(gradients, norms), **norms, **rates}


@pytest.mark.parametrize('step', [0, 25, 99])
def test_backbone_and_head_follow_the_poly_schedule_and_the_basis_does_not(step):
    groups = _groups()
    scalars = _update(groups, step)
    poly = (1 - step / 100) ** 0.9
    np.testing.assert_allclose(scalars['learning_rate/backbone'], 0.1 * poly, rtol=1e-5)
    np.testing.assert_allclose(scalars['learning_rate/head'], 1.0 * poly, rtol=1e-5)
    np.testing.assert_allclose(scalars['learning_rate/basis'], 0.5)
    np.testing.assert_allclose(groups['backbone'][0], [1 - 0.1 * poly, 2 - 0.1 * poly], rtol=1e-5)
    np.testing.assert_allclose(groups['head'][1], [4 - poly], rtol=1e-5)
    np.testing.assert_allclose(groups['basis'][0], [4.5], rtol=1e-5)


def test_a_decoder_has_the_rate_of_the_head():
    groups = {'head': [tf.Variable([3.0])], 'decoder': [tf.Variable([4.0])]}
    scalars = _update(groups, 25, names=('head', 'decoder'))
    np.testing.assert_array_equal(
        scalars['learning_rate/decoder'], scalars['learning_rate/head'])
    np.testing.assert_array_equal(groups['decoder'][0] - 4, groups['head'][0] - 3)


def test_each_group_is_clipped_by_the_norm_of_all_of_its_gradients():
    groups = _groups()
    scalars = _update(groups, factor=3.0, clip_norm=1.5)
    np.testing.assert_allclose(scalars['gradient_norm/head'], 3 * np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(groups['head'][1], [4 - 1.5 / np.sqrt(2)], rtol=1e-6)
    np.testing.assert_allclose(groups['backbone'][0], [1 - 0.15 / np.sqrt(2),
                                                       2 - 0.15 / np.sqrt(2)], rtol=1e-6)
    small = _groups()
    _update(small, factor=0.1, clip_norm=1.5)
    np.testing.assert_allclose(small['head'][1], [4 - 0.1], rtol=1e-6)


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
def test_weights_decay_but_the_basis_does_not(name):
    groups = _groups()
    _update(groups, factor=0.0, name=name, weight_decay=0.2)
    # 1 - rate * decay, coupled or not.
    np.testing.assert_allclose(groups['backbone'][0], [0.98, 1.96], rtol=1e-6)
    np.testing.assert_allclose(groups['head'][1], [3.2], rtol=1e-6)
    np.testing.assert_array_equal(groups['basis'][0], [5.0])


def test_adam_has_no_decay_and_moves_by_its_rate():
    groups = _groups()
    _update(groups, factor=1e3, name='adam', weight_decay=0.2)
    np.testing.assert_allclose(groups['backbone'][0], [0.9, 1.9], rtol=1e-4)


def test_only_the_groups_named_are_updated():
    groups = _groups()
    scalars = _update(groups, names=('backbone', 'head'), name='adamw', weight_decay=0.2)
    np.testing.assert_array_equal(groups['basis'][0], [5.0])
    assert not any('basis' in name for name in scalars)


def test_slots_are_there_before_the_first_update():
    updates = _optimization(_groups(), name='adam')
    # The number of updates, and two moments per variable.
    assert len(updates.optimizers['head'].variables) == 1 + 2 * 2


# Gradients in float16.


@pytest.mark.parametrize('name', NAMES)
def test_a_scaled_loss_gives_the_updates_and_norms_of_the_plain_one(name):
    plain, scaled = _groups(), _groups()
    settings = {'name': name, 'weight_decay': 0.2, 'clip_norm': 1.5}
    expected = _update(plain, factor=3.0, **settings)
    found = _update(scaled, factor=3.0, loss_scale=loss_scale.LossScale(start=64.0), **settings)
    assert float(found.pop('loss_scale')) == 64
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    for group, variables in plain.items():
        for one, other in zip(variables, scaled[group]):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('traced', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_an_overflow_of_one_group_leaves_all_variables_and_slots_alone(name, traced):
    groups, scale = _groups(), loss_scale.LossScale(start=2.0 ** 16, growth_steps=2)
    updates = _optimization(groups, loss_scale=scale, name=name, weight_decay=0.2, momentum=0.5,
                            clip_norm=1.0)
    step = tf.function(lambda: _step(updates)) if traced else lambda: _step(updates)
    variables = [variable for group in groups.values() for variable in group] + [
        variable for optimizer in updates.optimizers.values() for variable in optimizer.variables
        if 'learning_rate' not in variable.name]
    before = [variable.numpy() for variable in variables]
    scalars = step()
    assert not np.isfinite(scalars['gradient_norm/backbone'])
    np.testing.assert_allclose(scalars['gradient_norm/head'], np.sqrt(2))
    assert float(scalars['loss_scale']) == 2 ** 16 and float(scale.value) == 2 ** 15
    for old, variable in zip(before, variables):
        np.testing.assert_array_equal(old, variable)
    # The next one, scaled less, is an update.
    scalars = step()
    assert float(scalars['loss_scale']) == 2 ** 15 and float(scale.value) == 2 ** 15
    np.testing.assert_allclose(scalars['gradient_norm/backbone'], np.sqrt(2))
    moved = [np.any(old != variable.numpy()) for old, variable in zip(before, variables)]
    assert all(moved)
    step()
    assert float(scale.value) == 2 ** 16


def test_only_what_has_a_loss_scale_keeps_one():
    plain = _optimization(_groups())
    assert plain.state.keys() == {'backbone', 'head', 'basis'}
    scale = loss_scale.LossScale()
    scaled = _optimization(_groups(), loss_scale=scale)
    assert scaled.state == {**scaled.optimizers, 'loss_scale': scale}


def test_a_setting_that_the_optimizer_does_not_have_is_said(caplog):
    for settings, said in (
            ({'name': 'adam', 'weight_decay': 0.1, 'momentum': 0.5}, ['momentum', 'weight_decay']),
            ({'name': 'adamw', 'weight_decay': 0.1, 'momentum': 0.5}, ['momentum']),
            ({'name': 'sgd', 'weight_decay': 0.1, 'momentum': 0.5}, []),
            ({'name': 'adam', 'weight_decay': 5e-4, 'momentum': 0.0}, [])):
        caplog.clear()
        _optimization(_groups(), **settings)
        assert [record.getMessage().split('`')[1] for record in caplog.records] == [
            f'Optimizer.{name}' for name in said]
        assert all('has no effect' in record.getMessage() for record in caplog.records)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(config_lib.ConfigError, match="`Optimizer.name` must be one of 'adam', "
                       "'adamw', 'sgd'; got 'lion'"):
        _optimization(_groups(), name='lion')
