"""Laws of the loss scale."""
from __future__ import annotations

import pytest
import tensorflow as tf

from scops_tf.training import loss_scale


def _after(scale: loss_scale.LossScale, *finite: bool) -> list:
    found = []
    for each in finite:
        scale.update(tf.constant(each))
        found.append(float(scale.value))
    return found


def test_it_doubles_after_finite_steps_in_a_row_and_halves_on_any_other():
    scale = loss_scale.LossScale(start=8.0, growth_steps=3)
    assert _after(scale, True, True, True) == [8, 8, 16]
    assert _after(scale, True, True, False) == [16, 16, 8]
    # Counted from the last change.
    assert _after(scale, True, True, True, True) == [8, 8, 16, 16]
    assert _after(scale, False, False) == [8, 4]


def test_it_stays_a_power_of_two_within_its_range():
    scale = loss_scale.LossScale(start=2.0, growth_steps=1)
    assert _after(scale, False, False, False) == [1, 1, 1]
    assert set(_after(scale, *[True] * 30)) == {2.0 ** power for power in range(1, 25)}
    assert float(scale.value) == loss_scale.LARGEST == 2.0 ** 24


@pytest.mark.parametrize('finite', [True, False])
def test_a_restored_scale_goes_on_where_it_was(tmp_path, finite):
    first = loss_scale.LossScale(growth_steps=4)
    _after(first, False, True, True)
    path = tf.train.Checkpoint(loss_scale=first).write(str(tmp_path / 'checkpoint'))
    second = loss_scale.LossScale(growth_steps=4)
    tf.train.Checkpoint(loss_scale=second).read(path).assert_consumed()
    assert int(second.finite_steps) == 2
    rest = finite, True, True, False
    assert _after(second, *rest) == _after(first, *rest)
