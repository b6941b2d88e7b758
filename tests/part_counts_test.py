"""Laws of the advice on the number of parts, on plain arrays."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.evaluation import part_counts

_SIZE = (16, 24)


def _maps(num_parts, seed=0, count=3):
    """Label maps of vertical stripes, the parts in another order for each seed."""
    order = np.random.default_rng(seed).permutation(num_parts) + 1
    stripes = np.arange(_SIZE[1]) * (num_parts + 1) // _SIZE[1]
    row = np.concatenate([[0], order])[stripes]
    return [np.tile(row, (_SIZE[0], 1))] * count


def _count(num_parts, agreement, kept=90.0, dead=0, gap=None):
    return part_counts.Count(num_parts, [agreement - 1, agreement, agreement + 1], [kept] * 3,
                             [dead] * 3, gap)


def test_runs_agree_in_any_order_of_the_parts():
    assert part_counts.agreement(_maps(3), _maps(3, seed=1), num_parts=3) == 100
    assert part_counts.agreements([_maps(3), _maps(3, 1), _maps(3, 2)], num_parts=3) == [100] * 3


def test_a_part_without_a_match_counts_as_no_agreement():
    other = [np.where(labels == 3, 0, labels) for labels in _maps(3)]
    assert part_counts.agreement(_maps(3), other, num_parts=3) == pytest.approx(200 / 3)
    assert part_counts.agreement(other, _maps(3), num_parts=3) == pytest.approx(200 / 3)
    nothing = [np.zeros(_SIZE, np.int64)] * 3
    assert part_counts.agreement(_maps(3), nothing, num_parts=3) == 0
    assert part_counts.agreement(nothing, _maps(3), num_parts=3) == 0


def test_the_kept_foreground_is_the_salient_share_that_is_a_part():
    saliency = np.zeros((3, *_SIZE))
    saliency[:, :, 3:9] = 1  # The first six columns are background.
    assert part_counts.kept_foreground(_maps(3), saliency) == 50
    assert np.isnan(part_counts.kept_foreground(_maps(3), 0 * saliency))


def test_the_largest_gap_is_at_the_number_of_groups_that_photos_share():
    generator = np.random.default_rng(0)
    groups = np.eye(3)[generator.integers(3, size=200)]
    features = groups + 0.02 * generator.uniform(size=(200, 3))
    gaps = part_counts.eigengaps(features, np.arange(200) // 10, 6)
    assert set(gaps) == {2, 3, 4, 5, 6} and max(gaps, key=gaps.get) == 3
    # What all cells of one photo have in common makes no group.
    marks = np.eye(20)[np.arange(200) // 10]
    gaps = part_counts.eigengaps(np.hstack([features, 0.8 * marks]), np.arange(200) // 10, 6)
    assert max(gaps, key=gaps.get) == 3
    assert part_counts.eigengaps(features, np.zeros(200), 6) == {}


def test_the_largest_number_that_seeds_agree_on_is_taken():
    found = part_counts.advise([_count(2, 80, gap=0.1), _count(3, 70, gap=0.1),
                                _count(4, 82, gap=0.3), _count(5, 50), _count(6, 45)])
    assert found.num_parts == 4 and found.doubt == part_counts.CLEAR and found.others == [2]
    assert 'largest gap at 4' in ' '.join(found.reasons)


def test_the_eigengap_decides_where_seeds_agree_as_well_on_several_numbers():
    found = part_counts.advise([_count(3, 91, gap=0.02), _count(4, 89, gap=0.04),
                                _count(5, 87, gap=0.03), _count(6, 60, gap=0.09)])
    assert found.num_parts == 4 and found.others == [3, 5, 6]


def test_an_advice_is_in_doubt_where_agreement_does_not_fall_or_is_low():
    assert part_counts.advise([_count(2, 80), _count(3, 79)]).doubt == part_counts.OPEN
    low = part_counts.advise([_count(2, 30), _count(3, 12)])
    assert low.num_parts == 2 and low.doubt == part_counts.OPEN
    assert 'agree little' in low.reasons[-1]
    # A small fall counts where the eigengap says the same, and not against it.
    for gap, doubt in ((0.4, part_counts.OPEN), (0.01, part_counts.LIKELY)):
        small = part_counts.advise([_count(2, 94), _count(3, 92, gap=0.02), _count(4, 88, gap=gap)])
        assert small.num_parts == 3 and small.doubt == doubt
    other = part_counts.advise([_count(2, 60, gap=0.1), _count(3, 80), _count(4, 50, gap=0.4)])
    assert other.num_parts == 3 and other.doubt == part_counts.LIKELY and other.others == [4]


def test_runs_with_dead_parts_or_a_lost_foreground_are_left_out():
    found = part_counts.advise([_count(2, 70), _count(3, 70), _count(4, 95, dead=1),
                                _count(5, 95, kept=40.0)])
    assert found.num_parts == 3 and '4, 5 parts' in ' '.join(found.reasons)
    assert part_counts.advise([_count(4, 95, dead=2)]).num_parts == 4
    with pytest.raises(ValueError, match='at least one'):
        part_counts.advise([])
