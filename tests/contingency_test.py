from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from scops_tf.evaluation import contingency

SIZES = ((5, 9), (12, 4), (7, 8))


def _random_maps(seed, num_labels):
    generator = np.random.default_rng(seed)
    return [generator.integers(num_labels, size=size).astype(np.uint8) for size in SIZES]


def _correlated_maps(seed, num_labels):
    generator = np.random.default_rng(seed)
    labels = _random_maps(seed, num_labels)
    others = [np.where(generator.random(one.shape) < 0.7, (one + 1) % num_labels, one)
              for one in labels]
    return labels, others


def test_a_table_counts_each_pixel_once_and_at_its_two_labels():
    labels, true = _random_maps(0, 4), _random_maps(1, 3)
    tables = contingency.contingency_tables(labels, true, num_labels=4, num_true_labels=3)
    for table, one, other in zip(tables, labels, true):
        assert table.sum() == one.size
        assert table[2, 1] == ((one == 2) & (other == 1)).sum()
        assert table[3, 0] == ((one == 3) & (other == 0)).sum()


def test_pixels_with_the_ignored_true_label_are_not_counted():
    labels, true = _random_maps(0, 4), _random_maps(1, 3)
    true[0][:2] = 255
    tables = contingency.contingency_tables(labels, true, num_labels=4, num_true_labels=3,
                                            ignore_label=255)
    assert tables[0].sum() == true[0].size - 2 * true[0].shape[1]
    assert tables[1].sum() == true[1].size


def test_a_table_holds_many_labels_of_uint8_without_wrapping_around():
    labels, true = [np.full((3, 5), 60, np.uint8)], [np.full((3, 5), 63, np.uint8)]
    tables = contingency.contingency_tables(labels, true, num_labels=64, num_true_labels=64)
    assert tables[0, 60, 63] == 15


@pytest.mark.parametrize('seed', range(4))
def test_nmi_and_ari_are_those_of_scikit_learn(seed):
    labels, others = _correlated_maps(seed, 5)
    table = contingency.contingency_tables(labels, others, num_labels=5, num_true_labels=5).sum(0)
    flat = [np.concatenate([one.ravel() for one in maps]) for maps in (labels, others)]
    assert contingency.normalized_mutual_information(table) == pytest.approx(
        100 * sklearn_metrics.normalized_mutual_info_score(*flat), abs=1e-9)
    assert contingency.adjusted_rand_index(table) == pytest.approx(
        100 * sklearn_metrics.adjusted_rand_score(*flat), abs=1e-9)


@pytest.mark.parametrize('score', [contingency.normalized_mutual_information,
                                   contingency.adjusted_rand_index])
def test_scores_of_equal_labellings_are_100_and_do_not_see_the_order_of_labels(score):
    table = np.array([[0, 7, 0], [11, 0, 0], [0, 0, 5]])
    assert score(table) == pytest.approx(100)
    other = np.array([[3, 7, 1], [11, 2, 0], [4, 0, 5]])
    assert score(other) == pytest.approx(score(other[[2, 0, 1]][:, [1, 2, 0]]))
    assert score(other) == pytest.approx(score(other.T))


@pytest.mark.parametrize('score', [contingency.normalized_mutual_information,
                                   contingency.adjusted_rand_index])
def test_scores_of_independent_labellings_are_zero_and_of_no_pixels_undefined(score):
    assert score(np.outer([10, 20, 30], [100, 200])) == pytest.approx(0, abs=1e-1)
    assert score(np.array([[4, 6]])) == pytest.approx(0)
    assert score(np.array([[9]])) == 100
    assert np.isnan(score(np.zeros((2, 3), int)))


@pytest.mark.parametrize('score', [contingency.normalized_mutual_information,
                                   contingency.adjusted_rand_index])
def test_scores_do_not_overflow_on_tables_of_a_billion_pixels(score):
    table = np.array([[8, 2, 1], [1, 9, 3], [2, 0, 7]], np.int64)
    small, large = score(table * 1000), score(table * 1000_000_000)
    assert large == pytest.approx(small, abs=0.01)
    assert 0 < large < 100


@pytest.mark.parametrize('labels, true, words', [
    ([np.zeros((3, 4), int)], [np.zeros((4, 3), int)], 'same sizes'),
    ([np.zeros((3, 4), int)], [np.zeros((3, 4), int)] * 2, 'one per image'),
    ([np.full((3, 4), 2)], [np.zeros((3, 4), int)], r'lie in \[0, 1\]; got 2'),
    ([np.full((3, 4), -1)], [np.zeros((3, 4), int)], r'lie in \[0, 1\]; got -1'),
    ([np.zeros((3, 4))], [np.zeros((3, 4), int)], 'integers'),
    ([np.zeros((3, 4, 1), int)], [np.zeros((3, 4), int)], 'height, width'),
    ([], [], 'at least one'),
])
def test_maps_that_do_not_fit_are_refused_in_words(labels, true, words):
    with pytest.raises(contingency.MetricError, match=words):
        contingency.contingency_tables(labels, true, num_labels=2, num_true_labels=2)
