"""Laws of the curves of a run."""
import json

import numpy as np
import pytest

from scops_tf.pages import curves
from scops_tf.pictures import tensorboard


def test_the_scalars_of_a_training_are_read_and_nothing_else(tmp_path):
    assert curves.of_training(str(tmp_path)) == {}
    logs = str(tmp_path / 'tensorboard')
    with tensorboard.SummaryWriter(logs) as writer:
        writer.text('config', 'text', 0)
        writer.scalars({'loss/total': 0.5}, 1)
        writer.histogram('part_basis/1', np.arange(6.0), 1)
        writer.image('parts', np.zeros((4, 6, 3), np.uint8), 1)
        writer.scalars({'loss/total': 0.25}, 3)
    with tensorboard.SummaryWriter(logs, start_step=3) as writer:
        writer.scalars({'loss/total': 0.125, 'eval/NMI': 5}, 4)
    assert curves.of_training(str(tmp_path)) == {
        'loss/total': ([1, 3, 4], [0.5, 0.25, 0.125]), 'eval/NMI': ([4], [5.0])}


def test_a_log_torn_by_a_kill_costs_its_last_point_alone(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path / 'tensorboard')) as writer:
        writer.scalars({'a': 1.0}, 1)
        writer.scalars({'a': 2.0}, 2)
    path, = (tmp_path / 'tensorboard').iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert curves.of_training(str(tmp_path)) == {'a': ([1], [1.0])}


def test_a_chart_runs_from_its_first_step_to_its_last_and_has_common_axes():
    chart = curves.chart('losses', {
        'a': (np.arange(2000), np.linspace(4, 1, 2000)), 'b': ([0, 1000], [1.0, 2.5])},
        {'a': 0, 'b': 7})
    (name, color, points, last), second = chart.lines
    points = points.split()
    assert (name, color, last) == ('a', 0, '1')
    assert points[0] == '0.0,0.0' and points[-1] == '300.0,100.0' and len(points) == 300
    assert second == ('b', 7, '0.0,100.0 150.1,50.0', '2.5')
    assert (chart.low, chart.high, chart.first, chart.last) == ('1', '4', '0', '1999')


def test_values_that_are_not_finite_are_left_out():
    found = {'a': ([1, 2, 3], [1.0, np.nan, 3.0]), 'b': ([1, 2], [np.inf, 1.0])}
    assert list(curves.finite(found)) == ['a']
    assert curves.chart('a', {'a': found['a']}, {'a': 0}).lines[0][2] == '0.0,100.0 300.0,0.0'
    with pytest.raises(ValueError, match="'a'.*at least one finite"):
        curves.chart('a', {'a': ([1], [np.nan])}, {'a': 0})


def test_scores_are_in_the_order_of_their_steps(tmp_path):
    for step, value in ((10, 1.0), (200, 3.0), (30, 2.0), (300, None)):
        (tmp_path / f'scores_{step}.json').write_text(json.dumps(
            {'step': step, 'scores': {'this run': {'NMI': value, 'FG-NMI': None}, 'DFF': {}}}))
    assert curves.of_scores(str(tmp_path), 'this run') == {'NMI': ([10, 30, 200], [1.0, 2.0, 3.0])}
