"""Laws of the feature vectors drawn from a collection."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.features import sampling


def _drawn(features, *, seed=0, **options) -> sampling.Rows:
    return sampling.sample(features, np.random.default_rng(seed), **options)


def _features(*shape) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float16)


def test_few_rows_are_all_taken_and_know_where_they_are_from():
    features = _features(3, 4, 5, 6)
    drawn = _drawn(features)
    assert drawn.features.dtype == np.float32
    np.testing.assert_array_equal(drawn.features, features.reshape(-1, 6))
    np.testing.assert_array_equal(features.reshape(3, 20, 6)[drawn.photo, drawn.cell],
                                  drawn.features)


def test_many_rows_are_thinned_over_all_photos_and_repeatably():
    features = _features(7, 14, 15, 6)
    drawn = _drawn(features, max_rows=700, seed=3)
    assert len(drawn.features) == len({*zip(drawn.photo, drawn.cell)}) == 700
    # 100 of each on average, with a standard deviation of 7.
    assert np.all(np.abs(np.bincount(drawn.photo, minlength=7) - 100) < 30)
    np.testing.assert_array_equal(features.reshape(7, 210, 6)[drawn.photo, drawn.cell],
                                  drawn.features)
    np.testing.assert_array_equal(_drawn(features, max_rows=700, seed=3).features, drawn.features)
    assert not np.array_equal(_drawn(features, max_rows=700, seed=4).cell, drawn.cell)


@pytest.mark.parametrize('max_rows', [9, 1000])
def test_rows_are_of_the_eligible_places(max_rows):
    features = _features(5, 4, 6, 3)
    eligible = np.random.default_rng(1).random((5, 4, 6)) < 0.3
    eligible[2] = False
    drawn = _drawn(features, eligible=eligible, max_rows=max_rows)
    assert len(drawn.features) == min(eligible.sum(), max_rows)
    assert eligible.reshape(5, 24)[drawn.photo, drawn.cell].all()
    np.testing.assert_array_equal(features.reshape(5, 24, 3)[drawn.photo, drawn.cell],
                                  drawn.features)


def test_photos_are_read_one_by_one_and_only_where_a_row_is_of_them():
    features = _features(50, 4, 6, 8)

    class Mapped:
        shape = features.shape
        reads = []

        def __getitem__(self, index):
            assert np.ndim(index) == 0
            self.reads.append(int(index))
            return features[index]

    drawn = _drawn(Mapped(), max_rows=30)
    assert drawn.features.shape == (30, 8) and Mapped.reads == sorted(set(drawn.photo))


def test_what_cannot_be_drawn_from_is_named():
    for shape in ((3, 4, 5), (0, 4, 5, 6)):
        with pytest.raises(ValueError, match='`features` must be'):
            _drawn(np.zeros(shape))
    features = _features(2, 3, 4, 5)
    with pytest.raises(ValueError, match='`max_rows` must be at least 1; got 0'):
        _drawn(features, max_rows=0)
    with pytest.raises(ValueError, match=r'`eligible` must be of shape \(2, 3, 4\)'):
        _drawn(features, eligible=np.ones((2, 4, 3), bool))
    features[1, 2, 3, 4] = np.inf
    with pytest.raises(ValueError, match='`features` must be finite'):
        _drawn(features)
