"""Laws of reading back what a run has logged."""
from __future__ import annotations

from scops_tf.pictures import event_files, tensorboard


def test_scalars_are_read_back_up_to_a_step_and_to_where_a_file_is_damaged(tmp_path):
    assert event_files.scalars(str(tmp_path / 'none'), up_to=9) == []
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
    assert event_files.scalars(str(tmp_path), up_to=9) == [*expected, (4, {'loss/total': 4})]
    assert event_files.scalars(str(tmp_path), up_to=2) == expected[:2]
