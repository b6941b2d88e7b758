"""The warning of a precision that is slow on this machine."""
from __future__ import annotations

import pytest

from scops_tf.networks import arithmetic


def test_float32_takes_as_long_as_itself():
    assert 0.1 < arithmetic.slowdown('float32') < 10


@pytest.mark.parametrize('times, warned', [(8.0, True), (1.2, False), (0.2, False)])
def test_a_slow_precision_is_told(monkeypatch, caplog, times, warned):
    monkeypatch.setattr(arithmetic, 'slowdown', lambda precision: times)
    monkeypatch.setattr(arithmetic.tf.config, 'list_physical_devices', lambda kind: [])
    with caplog.at_level('WARNING'):
        arithmetic.warn_if_slow('Run.precision', 'bfloat16')
        arithmetic.warn_if_slow('Run.precision', 'float32')
    assert [record.getMessage() for record in caplog.records] == [
        "`Run.precision` is 'bfloat16', in which gradients of convolutions take this machine 8 "
        'times as long as in float32: leave it out here.'] * warned
