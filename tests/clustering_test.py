"""Laws of k-means clusters."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.features import clustering

CENTERS = np.array([[0, 9, 0], [5, 0, 1], [3, 3, 7]])


def _rows() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.01, (60, 3))
    return (np.repeat(CENTERS, [10, 30, 20], axis=0) + noise).astype(np.float32)


def test_clusters_are_found_in_the_order_of_their_sizes():
    found = clustering.cluster(_rows(), 3)
    np.testing.assert_allclose(found.centers, CENTERS[[1, 2, 0]], atol=0.02)
    np.testing.assert_array_equal(found.assigned, np.repeat([2, 0, 1], [10, 30, 20]))


def test_a_size_is_a_sum_of_weights_and_what_has_none_does_not_count():
    weights = np.repeat([1, 0.1, 0], [10, 30, 20]).astype(np.float32)
    found = clustering.cluster(_rows(), 2, weights=weights)
    np.testing.assert_allclose(found.centers, CENTERS[:2], atol=0.02)


def test_the_same_seed_gives_the_same_clusters_to_the_bit():
    rows = np.random.default_rng(1).random((500, 6)).astype(np.float32)
    first, again = (clustering.cluster(rows, 5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.centers, again.centers)
    np.testing.assert_array_equal(first.assigned, again.assigned)


def test_more_clusters_than_vectors_of_any_weight_are_refused():
    for count, weights in ((61, None), (0, None), (4, np.repeat([1, 0], [3, 57]))):
        with pytest.raises(ValueError, match=f'`num_clusters` must be .* got {count}'):
            clustering.cluster(_rows(), count, weights=weights)


def test_shares_sum_to_1_and_a_centre_is_its_own():
    centers = CENTERS.astype(np.float32)
    vectors = np.random.default_rng(2).normal(2, 5, (2, 4, 7, 3)).astype(np.float32)
    found = clustering.shares(vectors, centers).numpy()
    assert found.shape == (2, 4, 7, 3) and found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    distances = np.linalg.norm(vectors[..., np.newaxis, :] - centers, axis=-1)
    np.testing.assert_array_equal(found.argmax(axis=-1), distances.argmin(axis=-1))
    np.testing.assert_allclose(clustering.shares(centers, centers), np.eye(3), atol=5e-3)


def test_what_lies_half_way_is_shared_and_the_temperature_goes_with_the_centres():
    centers = CENTERS.astype(np.float32)
    half_way = (centers[0] + centers[1]) / 2
    np.testing.assert_allclose(clustering.shares(half_way, centers[:2]), [0.5, 0.5], rtol=1e-5)
    # Half the squared distances differ by a tenth of what separates the two: by the temperature.
    nearer = half_way + (centers[1] - centers[0]) / 20
    np.testing.assert_allclose(clustering.shares(nearer, centers[:2]),
                               [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-4)
    vectors = np.random.default_rng(3).normal(2, 3, (5, 3)).astype(np.float32)
    np.testing.assert_allclose(clustering.shares(3 * vectors + 2, 3 * centers + 2),
                               clustering.shares(vectors, centers), atol=1e-4)


def test_a_single_cluster_has_everything():
    centers = CENTERS[:1].astype(np.float32)
    np.testing.assert_array_equal(clustering.shares(_rows(), centers), np.ones((60, 1)))
