from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from scops_tf.evaluation import label_scores


def _blocks(values, height=6, width=9):
    """A map with one row of blocks for each value."""
    rows = np.repeat(np.asarray(values), height)[:, None]
    return np.broadcast_to(rows, (len(rows), width)).astype(np.uint8).copy()


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
