"""Laws of TensorBoard's logs: what is read back, and runs side by side."""
from __future__ import annotations

import resource
import signal

import numpy as np
import pytest
from tensorboard import context as tensorboard_context
from tensorboard.backend.event_processing import (
    data_provider,
    event_accumulator,
    plugin_event_accumulator,
    plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    list_session_groups,
    metadata as hparams_metadata,
)
import tensorflow as tf

from scops_tf.pictures import tensorboard

HEIGHT, WIDTH = 48, 80
_FULL = r'^TensorBoard logs cannot be written to [^{}\n]* too large\); make [^\n]* disk space.$'


def _read(folder):
    reader = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.TENSORS: 0})
    reader.Reload()
    return reader


def _points(folder, tag):
    return [(event.step, float(tf.make_ndarray(event.tensor_proto)))
            for event in _read(folder).Tensors(tag)]


def test_a_point_is_read_back_as_it_was_logged(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.text('config', '```\nRun.steps = 5\n```', 0)
        writer.scalars({'loss/total': 0.5, 'part_area/1': 2.0}, 1)
        writer.histogram('part_basis/1', np.arange(6.0).reshape(2, 3), 1)
        writer.image('parts', picture, 1)
    assert _points(tmp_path, 'loss/total') == [(1, 0.5)]
    assert _points(tmp_path, 'part_area/1') == [(1, 2.0)]
    reader = _read(tmp_path)
    width, height, encoded = tf.make_ndarray(reader.Tensors('parts')[0].tensor_proto)[:3]
    assert (int(width), int(height)) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(tf.io.decode_png(encoded).numpy(), picture)
    assert tf.make_ndarray(reader.Tensors('part_basis/1')[0].tensor_proto)[:, 2].sum() == 6
    text = tf.make_ndarray(reader.Tensors('config')[0].tensor_proto).item()
    assert text == b'```\nRun.steps = 5\n```'


def test_settings_of_every_kind_and_the_names_of_scores_are_in_the_tab_hparams(tmp_path):
    values = {'Run.steps': 5, 'Losses.concentration': 0.5, 'Data.saliency': None,
              'Run.image_size': (64, 96), 'Run.precision': 'float32', 'Segmenter.recompute': True}
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.settings(values, ['eval/NMI'])
        writer.scalars({'eval/NMI': 12.5}, 0)
        writer.scalars({'eval/NMI': 25.0}, 100)
    with tensorboard.SummaryWriter(str(tmp_path), start_step=100):
        pass  # A continued run keeps them.
    contents = {
        tag: hparams_metadata.parse_session_start_info_plugin_data
        if tag == hparams_metadata.SESSION_START_INFO_TAG
        else hparams_metadata.parse_experiment_plugin_data
        for tag in (hparams_metadata.SESSION_START_INFO_TAG, hparams_metadata.EXPERIMENT_TAG)}
    reader = _read(tmp_path)
    session, experiment = (
        parse(reader.SummaryMetadata(tag).plugin_data.content) for tag, parse in contents.items())
    logged = {name: getattr(value, value.WhichOneof('kind'))
              for name, value in session.hparams.items()}
    assert logged == {**values, 'Data.saliency': 'None', 'Run.image_size': '(64, 96)'}
    assert {each.name for each in experiment.hparam_infos} == set(values)
    assert [each.name.tag for each in experiment.metric_infos] == ['eval/NMI']
    assert _points(tmp_path, 'eval/NMI')[-1] == (100, 25.0)


def test_a_run_killed_after_its_checkpoint_logs_every_step_once(tmp_path):
    killed = tensorboard.SummaryWriter(str(tmp_path))
    killed.text('config', 'text', 0)
    for step in range(10, 131, 10):
        killed.scalars({'loss/total': step}, step)
    killed.image('parts', np.zeros((HEIGHT, WIDTH, 3), np.uint8), 120)
    killed.flush()  # Not closed: the process is gone.
    with tensorboard.SummaryWriter(str(tmp_path), start_step=100) as continued:
        assert _points(tmp_path, 'loss/total')[-1] == (100, 100.0)
        for step in range(110, 161, 10):
            continued.scalars({'loss/total': -step}, step)
    expected = [(step, step) for step in range(10, 101, 10)]
    expected += [(step, -step) for step in range(110, 161, 10)]
    assert _points(tmp_path, 'loss/total') == expected
    assert [event.step for event in _read(tmp_path).Tensors('config')] == [0]
    assert 'parts' not in _read(tmp_path).Tags()['tensors']


def test_a_record_torn_by_a_kill_costs_no_other_point(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path)) as killed:
        killed.scalars({'loss/total': 1.0}, 1)
        killed.scalars({'loss/total': 2.0}, 2)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with tensorboard.SummaryWriter(str(tmp_path), start_step=1) as continued:
        continued.scalars({'loss/total': 3.0}, 2)
    assert _points(tmp_path, 'loss/total') == [(1, 1.0), (2, 3.0)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_tensorboard_that_is_running_drops_the_points_logged_twice(tmp_path):
    killed = tensorboard.SummaryWriter(str(tmp_path))
    for step in (99, 100, 101, 130):
        killed.scalars({'loss/total': step}, step)
    killed.flush()
    board = plugin_event_accumulator.EventAccumulator(str(tmp_path))
    board.Reload()
    with tensorboard.SummaryWriter(str(tmp_path), start_step=100) as continued:
        continued.scalars({'loss/total': -1}, 102)
    board.Reload()
    assert [event.step for event in board.Tensors('loss/total')] == [99, 100, 102]


def test_logs_where_no_folder_can_be_are_one_clear_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='TensorBoard logs cannot be written'):
        tensorboard.SummaryWriter(str(tmp_path / 'file' / 'logs'))


@pytest.mark.parametrize('write', [
    lambda writer: writer.scalars({'loss/total': 0.5}, 1),
    lambda writer: writer.histogram('part_basis/1', np.arange(6.0), 1),
    lambda writer: writer.image('parts', np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1),
    lambda writer: writer.text('doctor', 'text', 1),
    lambda writer: writer.settings({'Run.steps': 5}, ['eval/NMI'])])
def test_a_disk_that_is_full_is_the_same_error_at_every_point(tmp_path, write):
    writer = tensorboard.SummaryWriter(str(tmp_path))
    (path,) = tmp_path.iterdir()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limits[1]))
        with pytest.raises(OSError, match=_FULL):
            write(writer)
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_settings_and_scores_of_all_runs_stand_side_by_side(tmp_path):
    scores = ['eval/NMI', 'loss/total']
    for name, weight in (('a', 1.0), ('b', 2.0)):
        with tensorboard.SummaryWriter(str(tmp_path / name / 'tensorboard')) as writer:
            writer.settings({'Losses.concentration': weight, 'Run.seed': 0}, scores)
            writer.scalars({'eval/NMI': 10 * weight, 'loss/total': weight}, 5)
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = tensorboard_context.RequestContext()
    experiment = backend.experiment_from_metadata(
        asked, '', True, backend.hparams_metadata(asked, ''), [])
    assert {info.name for info in experiment.hparam_infos} == {'Losses.concentration', 'Run.seed'}
    columns = [api_pb2.ColParams(metric=api_pb2.MetricName(tag=tag)) for tag in scores]
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING],
        col_params=columns, start_index=0, slice_size=10)
    groups = list_session_groups.Handler(asked, backend, '', request).run().session_groups
    table = {group.hparams['Losses.concentration'].number_value:
             {value.name.tag: value.value for value in group.metric_values} for group in groups}
    assert table == {1: {'eval/NMI': 10, 'loss/total': 1}, 2: {'eval/NMI': 20, 'loss/total': 2}}
