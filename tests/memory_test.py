from __future__ import annotations

import builtins
import io
import threading
from typing import Dict

import pytest

from scops_tf import memory


def test_threads_hold_no_more_than_the_room_together():
    room, held, most, lock = memory.Room(10), [0], [0], threading.Lock()
    barrier = threading.Barrier(8)

    def work(needed: int) -> None:
        barrier.wait()
        for _ in range(50):
            with room.of(needed):
                with lock:
                    held[0] += min(needed, 10)
                    most[0] = max(most[0], held[0])
                with lock:
                    held[0] -= min(needed, 10)

    threads = [threading.Thread(target=work, args=(needed,))
               for needed in (1, 2, 3, 4, 5, 6, 9, 99)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert held[0] == 0 and 0 < most[0] <= 10


def test_who_is_inside_takes_nothing_more_and_an_error_gives_back():
    room = memory.Room(10)
    with pytest.raises(KeyError), room.of(7), room.of(8), room.of(9):
        raise KeyError
    taken = []
    thread = threading.Thread(target=lambda: taken.append(room.of(10).__enter__()), daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert taken


def test_a_large_need_is_not_passed_over():
    room, order = memory.Room(10), []
    first_is_inside, may_leave = threading.Event(), threading.Event()

    def work(name: str, needed: int) -> None:
        with room.of(needed):
            order.append(name)
            if name == 'first':
                first_is_inside.set()
                may_leave.wait(60)

    threads = []
    for name, needed in (('first', 5), ('large', 10), ('small', 1)):
        threads.append(threading.Thread(target=work, args=(name, needed)))
        threads[-1].start()
        first_is_inside.wait(60)
        while len(threads) > 1 and len(room._waiting) < len(threads) - 1:
            pass  # Until it stands in the line.
    may_leave.set()
    for thread in threads:
        thread.join(timeout=60)
    assert order == ['first', 'large', 'small']


@pytest.mark.parametrize('contents, expected', [
    ({}, 2 ** 40),
    ({'/proc/self/cgroup': '0::/a/b\n', '/sys/fs/cgroup/a/memory.max': '4096\n',
      '/sys/fs/cgroup/a/b/memory.max': 'max\n'}, 4096),
    ({'/proc/self/cgroup': '3:memory:/job\n',
      '/sys/fs/cgroup/memory/job/memory.limit_in_bytes': '5000\n'}, 5000),
    ({'/sys/fs/cgroup/memory.max': '6000\n'}, 6000),
])
def test_the_total_is_the_least_limit(monkeypatch, contents: Dict[str, str], expected):
    def opened(path, *arguments, **options):
        if path not in contents:
            raise FileNotFoundError(path)
        return io.StringIO(contents[path])

    monkeypatch.setattr(memory.os, 'sysconf', lambda name: 2 ** 20)
    monkeypatch.setattr(builtins, 'open', opened)
    assert memory.total() == expected


def test_what_is_available_is_part_of_the_total():
    available = memory.available()
    assert available is None or 0 < available <= memory.total()
