"""Laws of work that threads do ahead."""
from __future__ import annotations

import threading
import time

import pytest

from scops_tf.prediction.ahead import ahead


@pytest.mark.parametrize('limit, most', [(0, 1), (1, 1), (10, 5), (11, 5), (10 ** 9, 64)])
def test_outcomes_keep_their_order_and_no_more_is_taken_than_the_limit_allows(limit, most):
    taken = []
    found = []

    def items():
        for item in range(200):
            taken.append(item)
            yield item

    for outcome in ahead(lambda item: -item, items(), cost=lambda item: 2, limit=limit):
        # One more is taken to see that it must wait.
        assert len(taken) - len(found) <= most + 1
        found.append(outcome)
    assert found == [-item for item in range(200)]


def test_an_item_that_costs_more_than_the_limit_goes_alone():
    at_work = []

    def work(item):
        at_work.append(item)
        time.sleep(0.01)
        others = len(at_work)
        at_work.remove(item)
        return item, others

    outcomes = list(ahead(work, [9, 9, 9], cost=lambda item: item, limit=5))
    assert outcomes == [(9, 1)] * 3


def test_it_works_beside_the_one_who_asks():
    may_end = threading.Event()
    found = ahead(lambda item: item or may_end.wait(timeout=60), range(3), cost=lambda item: 1,
                  limit=3)
    taken = threading.Thread(target=lambda: next(found))
    taken.start()
    assert taken.is_alive()  # It waits for the first item, not for all of them in turn.
    may_end.set()
    taken.join()
    assert list(found) == [1, 2]


def test_an_error_comes_in_the_place_of_its_outcome_and_ends_the_work():
    worked = []

    def work(item):
        worked.append(item)
        if item == 3:
            raise OSError('no room')
        return item

    found = ahead(work, range(10_000), cost=lambda item: 1, limit=2)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match='no room'):
        next(found)
    assert len(worked) < 10


def test_what_is_not_begun_is_dropped_when_it_is_closed():
    source = iter(range(10_000))
    found = ahead(lambda item: item, source, cost=lambda item: 1, limit=4)
    next(found)
    found.close()
    assert next(source) < 10
