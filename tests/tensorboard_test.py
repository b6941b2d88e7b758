"""Laws of TensorBoard's logs: what is read back, and runs side by side."""
from __future__ import annotations

from tensorboard import context as tensorboard_context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from scops_tf.pictures import tensorboard


def test_scalars_are_read_back_up_to_a_step_and_to_where_a_file_is_damaged(tmp_path):
    assert tensorboard.logged_scalars(str(tmp_path / 'none'), up_to=9) == []
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.text('config', 'text', 0)
        for step in (1, 2, 3):
            writer.scalars({'loss/total': step, 'loss_scale': 0.5}, step)
    with tensorboard.SummaryWriter(str(tmp_path), start_step=3) as writer:
        writer.scalars({'loss/total': 4.0}, 4)
        writer.scalars({'loss/total': 5.0}, 5)
    newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-5])
    expected = [(step, {'loss/total': step, 'loss_scale': 0.5}) for step in (1, 2, 3)]
    assert tensorboard.logged_scalars(str(tmp_path), up_to=9) == [*expected, (4, {'loss/total': 4})]
    assert tensorboard.logged_scalars(str(tmp_path), up_to=2) == expected[:2]


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
