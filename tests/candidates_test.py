"""Laws of the order of preference among checkpoints."""
from __future__ import annotations

import pytest

from scops_tf.evaluation import candidates


def _candidate(step=1, num_parts=3, workdir='a', **scores):
    values = {'equivariance': 50.0, 'reconstruction_error': 90.0, 'dead_parts': [],
              'largest_share': 40.0, **scores}
    return candidates.Candidate(workdir, step, num_parts, **values)


def test_the_rank_is_the_mean_over_the_criteria():
    best = _candidate(1, equivariance=70.0, reconstruction_error=80.0, agreement_nmi=60.0)
    middle = _candidate(2, equivariance=60.0, reconstruction_error=85.0, agreement_nmi=10.0)
    worst = _candidate(3, equivariance=50.0, reconstruction_error=95.0, agreement_nmi=20.0)
    assert [one.step for one in candidates.rank([worst, best, middle])] == [1, 2, 3]
    assert (best.rank_score, middle.rank_score, worst.rank_score) == pytest.approx(
        (0, (0.5 + 0.5 + 1) / 3, (1 + 1 + 0.5) / 3))


def test_degenerate_checkpoints_come_last_whatever_their_scores():
    dead = _candidate(1, equivariance=99.0, dead_parts=[2])
    flooded = _candidate(2, equivariance=98.0, largest_share=81.0)
    sound = _candidate(3, equivariance=1.0, largest_share=79.0)
    assert [one.step for one in candidates.rank([dead, flooded, sound])] == [3, 1, 2]
    assert dead.faults == ['part 2 is dead'] and sound.faults == []
    assert flooded.faults == ['one part is 81 % of the foreground']


def test_runs_are_ranked_among_those_with_as_many_parts():
    few = [_candidate(step, 3, equivariance=90.0 + step) for step in (1, 2)]
    many = [_candidate(step, 8, equivariance=10.0 + step) for step in (1, 2)]
    ranked = candidates.rank([*many, *few])
    assert [(one.num_parts, one.step) for one in ranked] == [(3, 2), (3, 1), (8, 2), (8, 1)]
    assert ranked[0].rank_score == ranked[2].rank_score


def test_a_score_that_no_checkpoint_has_does_not_count_in_the_rank():
    better = _candidate(1, equivariance=70.0, reconstruction_error=None)
    worse = _candidate(2, equivariance=60.0, reconstruction_error=None)
    candidates.rank([worse, better])
    assert (better.rank_score, worse.rank_score) == (0, 1)
