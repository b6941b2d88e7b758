from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from scops_tf.evaluation import label_scores


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
        table = label_scores.keypoint_tables([labels], np.array([[point]]), np.ones((1, 1), bool),
                                             num_parts=2)
        assert table[0, :, 0].tolist() == [float(label == value) for value in range(3)]


def test_key_points_on_the_edge_count_and_farther_out_are_refused():
    labels, seen = [_blocks([1, 2], height=2)], np.ones((1, 1), bool)
    for point in ((-1, 0), (9, 4)):
        assert label_scores.keypoint_tables(labels, np.array([[point]]), seen,
                                            num_parts=2).sum() == 1
    for point in ((-1.1, 0), (0, 4.1), (np.nan, 0)):
        with pytest.raises(label_scores.MetricError, match='must lie on the maps'):
            label_scores.keypoint_tables(labels, np.array([[point]]), seen, num_parts=2)


def test_key_point_scores_are_scikit_learns_over_the_visible_points():
    generator = np.random.default_rng(0)
    labels = [generator.integers(0, 4, (8, 5 + index)) for index in range(20)]
    points = np.stack([_points(one, 6, index) for index, one in enumerate(labels)])
    visible = generator.random((20, 6)) < 0.7
    read = np.array([one[points[index, :, 1].astype(int), points[index, :, 0].astype(int)]
                     for index, one in enumerate(labels)])
    numbers = np.broadcast_to(np.arange(6), (20, 6))
    scores = label_scores.keypoint_scores(labels, points, visible, num_parts=3)
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
    assert (label_scores.keypoint_scores(labels, points, visible, num_parts=2)
            == label_scores.keypoint_scores(labels, elsewhere, visible, num_parts=2))


def test_scores_by_the_strongest_part_do_not_see_the_background():
    labels, best = [_blocks([0, 1, 2])], [_blocks([1, 1, 2])]
    points, visible = np.array([[[1.0, 2], [1, 8], [1, 14]]]), np.ones((1, 3), bool)
    scores = label_scores.keypoint_scores(labels, points, visible, num_parts=2, best_parts=best)
    assert scores['best_part_nmi'] == pytest.approx(
        100 * sklearn_metrics.normalized_mutual_info_score([0, 1, 2], [1, 1, 2]))
    with pytest.raises(label_scores.MetricError, match='`best_parts`'):
        label_scores.keypoint_scores(labels, points, visible, num_parts=2, best_parts=labels)


def test_foreground_scores_without_any_point_on_a_part_are_undefined():
    scores = label_scores.keypoint_scores([np.zeros((4, 6), int)], np.ones((1, 2, 2)),
                                          np.ones((1, 2), bool), num_parts=3)
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
    with pytest.raises(label_scores.MetricError, match=words):
        label_scores.keypoint_scores([_blocks([0, 1])], points, visible, num_parts=num_parts)


def test_pixel_scores_of_renamed_parts_are_100_and_foreground_is_that_of_the_truth():
    true = [_blocks([0, 1, 2, 3]), _blocks([2, 0, 1], width=5)]
    renamed = [np.array([0, 3, 1, 2])[one] for one in true]
    scores = label_scores.pixel_scores(renamed, true, num_parts=3, num_true_parts=3)
    assert all(score == pytest.approx(100) for score in scores.values())
    spilt = [np.where(one == 0, 1, one) for one in renamed]
    scores = label_scores.pixel_scores(spilt, true, num_parts=3, num_true_parts=3)
    assert scores['ari'] < 99
    assert scores['fg_ari'] == scores['fg_nmi'] == pytest.approx(100)


def test_consistency_of_permuted_runs_is_100_and_its_foreground_is_that_of_either():
    first = [_blocks([0, 0, 1, 2])]
    assert label_scores.consistency(first, [np.array([0, 2, 1])[first[0]]], num_parts=2) == (
        pytest.approx({'nmi': 100, 'ari': 100, 'fg_nmi': 100, 'fg_ari': 100}))
    second = [_blocks([0, 2, 2, 1])]
    flat = [one[0].ravel() for one in (first, second)]
    either = (flat[0] > 0) | (flat[1] > 0)
    assert label_scores.consistency(first, second, num_parts=2)['fg_ari'] == pytest.approx(
        100 * sklearn_metrics.adjusted_rand_score(flat[0][either], flat[1][either]))


def test_foreground_iou_unites_the_parts_and_differs_by_the_order_of_averaging():
    labels = [_blocks([1, 2, 0, 0]), _blocks([3, 0], width=20)]
    masks = [_blocks([1, 0, 0, 0]) > 0, _blocks([1, 0], width=20) > 0]
    scores = label_scores.foreground_iou(labels, masks)
    assert scores['per_image'].tolist() == [50, 100]
    assert scores['mean'] == 75
    assert scores['pooled'] == pytest.approx(100 * (54 + 120) / (108 + 120))


def test_foreground_iou_of_nothing_against_nothing_is_100_and_against_something_0():
    nothing, mask = np.zeros((3, 5), int), np.zeros((3, 5), bool)
    assert label_scores.foreground_iou([nothing], [mask])['mean'] == 100
    assert label_scores.foreground_iou([nothing], [~mask])['mean'] == 0


def test_part_iou_finds_the_permutation_once_for_all_images():
    true = [_blocks([0, 1, 2, 3]), _blocks([3, 2, 0], width=4)]
    scores = label_scores.part_iou([np.array([0, 2, 3, 1])[one] for one in true], true, num_parts=3,
                                   num_true_parts=3)
    assert scores['mean'] == scores['background'] == 100
    assert scores['matches'].tolist() == [2, 3, 1]
    swapped = [np.array([0, 2, 3, 1])[true[0]], np.array([0, 3, 2, 1])[true[1]]]
    assert label_scores.part_iou(swapped, true, num_parts=3, num_true_parts=3)['mean'] < 90


def test_part_iou_never_matches_background_and_counts_unmatched_true_parts_as_0():
    true = [_blocks([0, 1, 2, 2])]
    nothing = label_scores.part_iou([_blocks([0, 0, 0, 0])], true, num_parts=2, num_true_parts=3)
    assert nothing['mean'] == 0 and np.isnan(nothing['per_part'][2])
    one = label_scores.part_iou([_blocks([0, 1, 1, 1])], true, num_parts=1, num_true_parts=2)
    assert one['per_part'].tolist() == pytest.approx([0, 200 / 3])
    assert one['mean'] == pytest.approx(100 / 3) and one['matches'].tolist() == [0, 1]


def test_more_parts_than_true_ones_leave_the_rest_unmatched():
    scores = label_scores.part_iou([_blocks([0, 1, 2, 3])], [_blocks([0, 1, 1, 2])], num_parts=3,
                                   num_true_parts=2)
    assert scores['per_part'].tolist() == [50, 100] and scores['matches'].tolist()[1] == 3


def test_part_iou_of_no_true_part_is_refused():
    with pytest.raises(label_scores.MetricError, match='background alone'):
        label_scores.part_iou([_blocks([0, 1])], [_blocks([0, 0])], num_parts=1, num_true_parts=1)


def test_leakage_counts_part_pixels_outside_the_box_of_so_many_pixels():
    labels = np.zeros((6, 10), np.uint8)
    labels[2:4, 3:8] = 1
    for box, inside in (((3, 2, 5, 2), 10), ((4, 2, 2, 1), 2), ((0, 0, 10, 6), 10),
                        ((3.4, 2, 1, 2), 2), ((3, 2.4, 5, 1), 5)):
        score = label_scores.leakage([labels], boxes=np.array([box], float))
        assert score == pytest.approx({'pooled': 10 * (10 - inside), 'mean': 10 * (10 - inside)})


def test_leakage_out_of_masks_pools_or_averages_over_images_with_parts():
    labels = [_blocks([1, 2]), _blocks([0, 1], width=18), _blocks([0, 0])]
    masks = [_blocks([1, 0]) > 0, _blocks([0, 1], width=18) > 0, _blocks([1, 0]) > 0]
    assert label_scores.leakage(labels, masks=masks) == pytest.approx({'pooled': 25, 'mean': 25})
    masks[0] = _blocks([0, 0]) > 0
    assert label_scores.leakage(labels, masks=masks) == pytest.approx({'pooled': 50, 'mean': 50})
    assert np.isnan(label_scores.leakage(labels[2:], masks=masks[2:])['pooled'])


@pytest.mark.parametrize('objects, words', [
    ({}, 'none'), ({'boxes': np.ones((1, 4)), 'masks': [np.ones((12, 9), bool)]}, 'both'),
    ({'boxes': np.ones((2, 4))}, 'shape'), ({'boxes': np.full((1, 4), np.nan)}, 'finite'),
    ({'masks': [np.ones((12, 9))]}, 'booleans'),
])
def test_leakage_out_of_no_object_is_refused_in_words(objects, words):
    with pytest.raises(label_scores.MetricError, match=words):
        label_scores.leakage([_blocks([0, 1])], **objects)


def test_part_statistics_count_images_with_the_part_and_shares_of_their_pixels():
    statistics = label_scores.part_statistics([_blocks([0, 1, 1, 2]), _blocks([0, 1], width=3)],
                                              num_parts=3)
    assert statistics['presence'].tolist() == [100, 50, 0]
    assert statistics['area'].tolist() == [50, 12.5, 0]
    assert statistics['foreground'] == 62.5


def test_a_perfect_saliency_map_has_error_0_and_all_else_100():
    mask = _blocks([0, 1, 0]) > 0
    assert label_scores.saliency_scores([mask.astype(np.float32)], [mask]) == pytest.approx(
        {'mae': 0, 'max_f': 100, 'adaptive_iou': 100})


def test_max_f_is_that_of_a_search_over_all_thresholds():
    generator = np.random.default_rng(0)
    masks = [generator.random((9, 14)) < 0.3, generator.random((20, 6)) < 0.5]
    maps = [np.floor(255 * np.clip(mask * 0.3 + generator.random(mask.shape) * 0.7, 0, 1)) / 255
            for mask in masks]
    best = 0
    for threshold in range(256):
        precision, recall = [], []
        for saliency, mask in zip(maps, masks):
            chosen = np.round(saliency * 255) >= threshold
            precision.append((chosen & mask).sum() / max(chosen.sum(), 1))
            recall.append((chosen & mask).sum() / mask.sum())
        p, r = np.mean(precision), np.mean(recall)
        best = max(best, 1.3 * p * r / (0.3 * p + r) if p + r else 0)
    scores = label_scores.saliency_scores([one.astype(np.float32) for one in maps], masks)
    assert scores['max_f'] == pytest.approx(100 * best)
    assert scores['mae'] == pytest.approx(100 * np.mean(
        [np.abs(saliency - mask).mean() for saliency, mask in zip(maps, masks)]), rel=1e-5)


def test_the_adaptive_threshold_is_twice_the_mean():
    saliency = np.full((4, 10), 0.1)
    saliency[:, :2] = 0.9
    saliency[:, 5] = 0.4  # Above the mean, below twice the mean.
    mask = np.zeros((4, 10), bool)
    mask[:, 1:3] = True
    assert label_scores.saliency_scores([saliency],
                                        [mask])['adaptive_iou'] == pytest.approx(100 / 3)


def test_maps_of_8_bits_keep_all_their_levels():
    mask = np.zeros((4, 10), bool)
    mask[1:, 2:5] = True
    for level in range(1, 256):
        saliency = ((level - 1 + mask) / 255).astype(np.float32)
        assert label_scores.saliency_scores([saliency],
                                            [mask])['max_f'] == pytest.approx(100), level


@pytest.mark.parametrize('saliency, mask, words', [
    (np.full((3, 4), 1.5), np.ones((3, 4), bool), r'\[0, 1\]'),
    (np.full((3, 4), np.nan), np.ones((3, 4), bool), r'\[0, 1\]'),
    (np.zeros((3, 4)), np.zeros((3, 4), bool), 'show an object'),
    (np.zeros((4, 3)), np.ones((3, 4), bool), 'sizes'),
    (np.zeros((3, 4)), np.ones((3, 4)), 'booleans'),
])
def test_saliency_maps_that_do_not_fit_are_refused_in_words(saliency, mask, words):
    with pytest.raises(label_scores.MetricError, match=words):
        label_scores.saliency_scores([saliency], [mask])
