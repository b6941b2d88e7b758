"""Work that threads do ahead, in order, with a bound on what is held."""
from __future__ import annotations

import collections
from concurrent import futures
import os
from typing import Callable, Deque, Iterable, Iterator, Tuple, TypeVar

Item = TypeVar('Item')
Outcome = TypeVar('Outcome')

_WORKERS = min(4, os.cpu_count() or 1)
# Also of items that cost little.
_MOST_ITEMS = 64


def ahead(function: Callable[[Item], Outcome], items: Iterable[Item], *,
          cost: Callable[[Item], int], limit: int) -> Iterator[Outcome]:
    """Outcomes of a function in the order of the items, computed ahead in threads.

    Items are taken one by one in the thread that asks for the outcomes. So two of these, one behind
    the other, work beside what is between them.

    Args:
      function: Function that may run in several threads.
      items: The items; more of them are only taken as far as the limit allows.
      cost: Bytes that an item and its outcome take.
      limit: Most bytes of all items that are taken and whose outcomes are not yet asked for. An
        item that costs more goes alone.

    Raises:
      Exception: What the function raises for an item, in the place of its outcome. Items that are
        not begun are dropped, as when the iterator is closed.
    """
    waiting: Deque[Tuple[futures.Future[Outcome], int]] = collections.deque()
    held = 0
    pool = futures.ThreadPoolExecutor(_WORKERS)
    try:
        for item in items:
            needed = cost(item)
            while waiting and (held + needed > limit or len(waiting) >= _MOST_ITEMS):
                future, freed = waiting.popleft()
                held -= freed
                yield future.result()
            waiting.append((pool.submit(function, item), needed))
            held += needed
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
