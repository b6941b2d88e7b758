"""Laws of the part maps that no part discovery was needed for."""
from __future__ import annotations

import numpy as np

from scops_tf.evaluation import part_maps

MAP_SIZE = (32, 48)


def test_clusters_of_positions_are_the_same_for_all_photos():
    fit, test = part_maps.position_maps(4, (2, 3), MAP_SIZE, seed=5)
    assert fit.labels.shape == (2, *MAP_SIZE) and test.labels.shape == (3, *MAP_SIZE)
    assert (test.labels == fit.labels[0]).all() and (test.best_parts == test.labels).all()
    areas = np.bincount(fit.labels[0].ravel(), minlength=5)
    assert areas[0] == 0 and areas[1:].min() > 0.1 * np.prod(MAP_SIZE)
    for part in range(4):
        places = np.argwhere(fit.labels[0] == part + 1).mean(axis=0)[::-1]
        np.testing.assert_allclose(fit.centers[1, part], places, atol=1)
    again, _ = part_maps.position_maps(4, (2, 3), MAP_SIZE, seed=5)
    np.testing.assert_array_equal(again.labels, fit.labels)
