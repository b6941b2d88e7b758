"""Laws of the choice among runs without labels."""
from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.evaluation import selection, text_report
from scops_tf.networks import checkpoints
from scops_tf.training import warp


@pytest.fixture(scope='module')
def runs(tmp_path_factory, trained_run):
    """Two copies of a trained run."""
    folder = tmp_path_factory.mktemp('chosen')
    return [str(shutil.copytree(trained_run, folder / name)) for name in ('first', 'second')]


@pytest.fixture(scope='module')
def selected(runs):
    return selection.select(runs, steps=[0, 6, 40])


def _by_step(result, workdir):
    return {one['step']: one for one in result['checkpoints'] if one['workdir'] == workdir}


def _identity(batch=1):
    return warp.Transform(tf.eye(3, batch_shape=[batch]), tf.zeros([batch, 0, 0, 2]))


def test_labels_that_do_not_move_under_the_identity_are_equivariant():
    labels = np.random.default_rng(0).integers(0, 4, (2, 6, 9)).astype(np.uint8)
    same, either = selection.equivariance_counts(labels, labels, _identity(2), num_parts=3)
    assert same == either == np.count_nonzero(labels)


def test_equivariance_counts_parts_of_either_and_no_common_background():
    labels = np.array([[[0, 0, 1, 2]], [[0, 0, 0, 0]]], np.uint8).reshape(1, 2, 4)
    view = np.array([[[0, 3, 1, 1]], [[0, 0, 0, 0]]], np.uint8).reshape(1, 2, 4)
    assert selection.equivariance_counts(labels, view, _identity(), num_parts=3) == (1, 3)


def test_labels_moved_by_the_transform_are_equivariant_and_unmoved_ones_are_not():
    labels = np.zeros((1, 20, 31), np.uint8)
    labels[0, 4:10, 5:12], labels[0, 10:14, 5:12] = 1, 2
    shift = np.eye(3, dtype=np.float32)[np.newaxis].copy()
    shift[0, 0, 2] = -2 * 6 / 30  # The view shows what lies 6 pixels to the left: moved right.
    transform = warp.Transform(tf.constant(shift), tf.zeros([1, 0, 0, 2]))
    moved = np.roll(labels, 6, axis=2)
    same, either = selection.equivariance_counts(labels, moved, transform, num_parts=2)
    assert same == either == 10 * 7
    same, either = selection.equivariance_counts(labels, labels, transform, num_parts=2)
    assert same < either / 2


def test_copies_of_a_run_have_the_same_scores_and_agree(selected, runs):
    first, second = (_by_step(selected, workdir) for workdir in runs)
    assert set(first) == set(second) == {0, 6, 40}
    for step, one in first.items():
        assert {**one, 'workdir': None} == {**second[step], 'workdir': None}
    assert first[40]['agreement_nmi'] == first[40]['agreement_ari'] == pytest.approx(100)
    assert first[0]['agreement_nmi'] < 100
    assert selected['photos'] == 6


def test_scores_repeat_and_need_no_other_run(selected, runs):
    alone = selection.select(runs[:1], steps=[6, 40])
    for step, one in _by_step(alone, runs[0]).items():
        before = _by_step(selected, runs[0])[step]
        assert one['agreement_nmi'] is None
        for name in ('equivariance', 'reconstruction_error', 'largest_share', 'dead_parts'):
            assert one[name] == before[name]


def test_a_trained_run_reconstructs_better_than_at_its_start(selected, runs):
    scores = _by_step(selected, runs[0])
    assert scores[40]['reconstruction_error'] < scores[0]['reconstruction_error']


def test_errors_of_other_features_are_not_compared(selected, runs, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(runs[1], other)
    with open(other / 'config.gin', 'a', encoding='utf-8') as file:
        file.write('\nFeatures.normalization = 0.5\n')
    result = selection.select([runs[0], str(other)], steps=[6, 40])
    assert len(result['checkpoints']) == 4
    for one in result['checkpoints']:
        assert one['reconstruction_error'] is None
        before = _by_step(selected, runs[0])[one['step']]
        assert one['equivariance'] == before['equivariance']
    assert ' - ' in text_report.of_selection(result).splitlines()[3]


def test_the_latest_is_taken_where_no_steps_are_named_and_photos_may_be_fewer(runs):
    result = selection.select(runs[:1], max_photos=2)
    assert [one['step'] for one in result['checkpoints']] == [40]
    assert result['photos'] == 2


def test_every_checkpoint_kept_can_be_taken(trained_run):
    assert selection._steps(str(trained_run), None, True) == sorted(
        checkpoints.kept(str(trained_run)))


def test_a_checkpoint_that_is_not_there_is_one_sentence(runs):
    with pytest.raises(selection.SelectionError, match='`--steps` must be .* got 7777'):
        selection.select(runs, steps=[7777])


def test_runs_must_be_different_and_of_the_same_photos(runs, tmp_path):
    with pytest.raises(selection.SelectionError, match='`--workdirs` must name .* each once'):
        selection.select([runs[0], runs[0]])
    from scops_tf.datasets import synthetic

    synthetic.write(str(tmp_path / 'others'), num_train=5, num_test=1, size=(64, 96), seed=1)
    other = shutil.copytree(runs[0], tmp_path / 'other')
    text = (other / 'config.gin').read_text().splitlines()
    (other / 'config.gin').write_text('\n'.join(
        f"Data.root = {str(tmp_path / 'others')!r}" if line.startswith('Data.root') else line
        for line in text))
    with pytest.raises(selection.SelectionError, match='same training photos.*(5).*(6)'):
        selection.select([runs[0], str(other)])
    shutil.rmtree(other / 'checkpoints')
    with pytest.raises(selection.SelectionError, match='must name runs that have saved check'):
        selection.select([str(other)])


def test_the_command_prints_the_table_and_writes_it(runs, tmp_path, run_command):
    output = tmp_path / 'made' / 'selection.json'
    done = run_command('select', f'--workdirs={",".join(runs)}', '--steps=6,40',
                       f'--output={output}', '--max_photos=3')
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert len(result['checkpoints']) == 4 and result['photos'] == 3
    for word in (*runs, 'equivariance', 'agreement NMI', result['image_list_sha256']):
        assert word in done.stdout


@pytest.mark.parametrize('arguments, word', [
    (['--steps=some'], "`--steps` must be 'all' or numbers"),
    (['--steps=12345'], '`--steps`'),
    (['extra'], 'must be a flag'),
])
def test_errors_of_the_command_are_one_line(runs, tmp_path, run_command, arguments, word):
    done = run_command('select', f'--workdirs={runs[0]}', f'--output={tmp_path / "a.json"}',
                       *arguments)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert word in done.stderr.strip().splitlines()[-1]
