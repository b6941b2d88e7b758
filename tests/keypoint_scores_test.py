"""Laws of the scores of label maps at key points."""
from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from scops_tf.evaluation import contingency, keypoint_scores


def _blocks(values, height=6, width=9):
    """A map with one row of blocks for each value."""
    rows = np.repeat(np.asarray(values), height)[:, None]
    return np.broadcast_to(rows, (len(rows), width)).astype(np.uint8).copy()


def _points(label_map, number, seed=0):
    """`number` distinct random pixels as points (x, y)."""
    places = np.random.default_rng(seed).permutation(label_map.size)[:number]
    y, x = np.unravel_index(places, label_map.shape)
    return np.stack([x, y], -1).astype(float)


def test_key_points_read_the_nearest_pixel_x_across_and_y_down():
    labels = np.zeros((4, 7), np.uint8)
    labels[1, 5] = 2
    for point, label in (((5, 1), 2), ((5.4, 0.6), 2), ((4.4, 1), 0), ((1, 3), 0)):
        table = keypoint_scores.keypoint_tables(
            [labels], np.array([[point]]), np.ones((1, 1), bool), num_parts=2)
        assert table[0, :, 0].tolist() == [float(label == value) for value in range(3)]


def test_key_points_on_the_edge_count_and_farther_out_are_refused():
    labels, seen = [_blocks([1, 2], height=2)], np.ones((1, 1), bool)
    for point in ((-1, 0), (9, 4)):
        assert keypoint_scores.keypoint_tables(
            labels, np.array([[point]]), seen, num_parts=2).sum() == 1
    for point in ((-1.1, 0), (0, 4.1), (np.nan, 0)):
        with pytest.raises(contingency.MetricError, match='must lie on the maps'):
            keypoint_scores.keypoint_tables(labels, np.array([[point]]), seen, num_parts=2)


def test_key_point_scores_are_scikit_learns_over_the_visible_points():
    generator = np.random.default_rng(0)
    labels = [generator.integers(0, 4, (8, 5 + index)) for index in range(20)]
    points = np.stack([_points(one, 6, index) for index, one in enumerate(labels)])
    visible = generator.random((20, 6)) < 0.7
    read = np.array([one[points[index, :, 1].astype(int), points[index, :, 0].astype(int)]
                     for index, one in enumerate(labels)])
    numbers = np.broadcast_to(np.arange(6), (20, 6))
    scores = keypoint_scores.keypoint_scores(labels, points, visible, num_parts=3)
    for prefix, chosen in (('', visible), ('fg_', visible & (read > 0))):
        assert scores[prefix + 'nmi'] == pytest.approx(100 * (
            sklearn_metrics.normalized_mutual_info_score(numbers[chosen], read[chosen])), abs=1e-9)
        assert scores[prefix + 'ari'] == pytest.approx(100 * (
            sklearn_metrics.adjusted_rand_score(numbers[chosen], read[chosen])), abs=1e-9)
    assert scores['on_part'] == pytest.approx(100 * (read[visible] > 0).mean())


def test_invisible_points_are_not_looked_at():
    labels, visible = [_blocks([0, 1, 2])], np.array([[True, True, False]])
    points = np.array([[[1.0, 8], [1, 14], [0, 0]]])
    elsewhere = points.copy()
    elsewhere[0, 2] = np.nan
    assert (keypoint_scores.keypoint_scores(labels, points, visible, num_parts=2)
            == keypoint_scores.keypoint_scores(labels, elsewhere, visible, num_parts=2))


def test_scores_by_the_strongest_part_do_not_see_the_background():
    labels, best = [_blocks([0, 1, 2])], [_blocks([1, 1, 2])]
    points, visible = np.array([[[1.0, 2], [1, 8], [1, 14]]]), np.ones((1, 3), bool)
    scores = keypoint_scores.keypoint_scores(labels, points, visible, num_parts=2, best_parts=best)
    assert scores['best_part_nmi'] == pytest.approx(
        100 * sklearn_metrics.normalized_mutual_info_score([0, 1, 2], [1, 1, 2]))
    with pytest.raises(contingency.MetricError, match='`best_parts`'):
        keypoint_scores.keypoint_scores(labels, points, visible, num_parts=2, best_parts=labels)


def test_foreground_scores_without_any_point_on_a_part_are_undefined():
    scores = keypoint_scores.keypoint_scores(
        [np.zeros((4, 6), int)], np.ones((1, 2, 2)), np.ones((1, 2), bool), num_parts=3)
    assert scores['on_part'] == 0 and scores['nmi'] == pytest.approx(0)
    assert np.isnan(scores['fg_nmi']) and np.isnan(scores['fg_ari'])


@pytest.mark.parametrize('points, visible, num_parts, words', [
    (np.zeros((1, 2, 2)), np.zeros((1, 2), bool), 2, 'at least one key point'),
    (np.zeros((1, 2, 2)), np.ones((1, 2), int), 2, 'booleans'),
    (np.zeros((1, 2, 2)), np.ones((1, 3), bool), 2, 'booleans of shape'),
    (np.zeros((2, 2, 2)), np.ones((2, 2), bool), 2, 'shape'),
    (np.zeros((1, 2, 3)), np.ones((1, 2), bool), 2, 'shape'),
    (np.zeros((1, 2, 2)), np.ones((1, 2), bool), 0, '`num_parts` must be at least 1'),
])
def test_key_points_that_do_not_fit_are_refused_in_words(points, visible, num_parts, words):
    with pytest.raises(contingency.MetricError, match=words):
        keypoint_scores.keypoint_scores([_blocks([0, 1])], points, visible, num_parts=num_parts)
