"""Memory: how much the machine gives this process, and room that threads share."""
from __future__ import annotations

import contextlib
import os
import threading
from typing import Iterator, List, Optional

# Where Linux says what a control group may use, in its second and in its first version.
_GROUP_FILES = ('/sys/fs/cgroup{}/memory.max',
                '/sys/fs/cgroup/memory{}/memory.limit_in_bytes')


class Room:
    """Bytes that threads share: each takes what it needs, and waits while others hold too much.

    Who needs more than there is at all waits until nobody holds anything, and then has it alone.
    Threads are served in the order in which they came, so that a large need is not passed over for
    ever. A thread that is inside already takes nothing more, so it cannot wait for itself.

    Args:
      size: Number of bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._changed = threading.Condition()
        self._waiting: List[object] = []
        self._inside = threading.local()

    @contextlib.contextmanager
    def of(self, needed: int) -> Iterator[None]:
        """Holds `needed` bytes of the room, or all of it, inside this context."""
        if getattr(self._inside, 'holds', False):
            yield
            return
        needed = min(needed, self.size)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(
                    lambda: self._waiting[0] is ticket and self._free >= needed)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            self._free -= needed
        self._inside.holds = True
        try:
            yield
        finally:
            self._inside.holds = False
            with self._changed:
                self._free += needed
                self._changed.notify_all()


def total() -> int:
    """Bytes that this process may use at most: of the machine, or of its control group if less."""
    machine = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return min([machine, *_group_limits()])


def available() -> Optional[int]:
    """Bytes that are free now by Linux's estimate, at most `total()`; None if it gives none."""
    with contextlib.suppress(OSError):
        with open('/proc/meminfo', encoding='ascii') as file:
            for line in file:
                if line.startswith('MemAvailable:'):
                    return min(int(line.split()[1]) * 1024, total())
    return None


def _group_limits() -> Iterator[int]:
    """Limits of the process's control group and of those around it."""
    groups = {''}
    with contextlib.suppress(OSError):  # Not on Linux.
        with open('/proc/self/cgroup', encoding='utf-8') as file:
            for line in file:
                path = line.rstrip('\n').split(':', 2)[-1].rstrip('/')
                while path:
                    groups.add(path)
                    path = os.path.dirname(path).rstrip('/')
    for group in sorted(groups):
        for pattern in _GROUP_FILES:
            with contextlib.suppress(OSError, ValueError):  # 'max' is no number: no limit.
                with open(pattern.format(group), encoding='ascii') as file:
                    yield int(file.read())
