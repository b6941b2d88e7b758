"""Laws of the updates: schedules, clipping and decay of each group."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import optimization

SETTINGS = {'name': 'sgd', 'learning_rate': 0.1, 'head_multiplier': 10.0,
            'basis_learning_rate': 0.5, 'power': 0.9, 'momentum': 0.0, 'weight_decay': 0.0,
            'clip_norm': None}


def _groups() -> dict:
    return {'backbone': [tf.Variable([1.0, 2.0])],
            'head': [tf.Variable([[3.0]]), tf.Variable([4.0])], 'basis': [tf.Variable([5.0])]}


def _update(groups, step=0, *, names=('backbone', 'head', 'basis'), factor=1.0, **settings):
    """One update by the gradient `factor` of the sum of all variables."""
    updates = optimization.Optimization(groups, 100, **{**SETTINGS, **settings})
    with tf.GradientTape() as tape:
        loss = factor * tf.add_n([tf.reduce_sum(variable) for group in groups.values()
                                  for variable in group])
    rates = updates.schedule(tf.constant(step, tf.int64), groups=names)
    return {**updates.update(tape, loss, groups=names), **rates}


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
    updates = optimization.Optimization(_groups(), 100, **{**SETTINGS, 'name': 'adam'})
    # The number of updates, and two moments per variable.
    assert len(updates.optimizers['head'].variables) == 1 + 2 * 2


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="`name` must be one of sgd, adam, adamw; got 'lion'"):
        optimization.Optimization(_groups(), 100, **{**SETTINGS, 'name': 'lion'})
