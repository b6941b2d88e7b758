"""Laws of the profile of a training."""
from __future__ import annotations

import tensorflow as tf

from scops_tf.training import profiling


def test_the_named_steps_are_recorded_and_no_others(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(profiling.tf.profiler.experimental, 'start',
                        lambda logdir: calls.append(f'start {logdir}'))
    monkeypatch.setattr(profiling.tf.profiler.experimental, 'stop', lambda: calls.append('stop'))
    with profiling.Profile('logs', (2, 3)) as profile:
        for number in range(1, 6):
            with profile.step(number):
                calls.append(number)
    assert calls == [1, 'start logs', 2, 3, 'stop', 4, 5]
    # A continued run is recorded from where it goes on, and to the end of one that stops before.
    calls.clear()
    with profiling.Profile('logs', (2, 9)) as profile, profile.step(5):
        calls.append(5)
    assert calls == ['start logs', 5, 'stop']
    calls.clear()
    with profiling.Profile('logs', None) as profile, profile.step(1):
        calls.append(1)
    assert calls == [1]


def test_the_profile_lies_where_tensorboard_looks_for_it(tmp_path):
    with profiling.Profile(str(tmp_path), (1, 1)) as profile, profile.step(1):
        tf.reduce_sum(tf.ones([3, 5])).numpy()
    found = list((tmp_path / 'plugins' / 'profile').glob('*/*.xplane.pb'))
    assert len(found) == 1 and found[0].stat().st_size > 0
