"""The way of the photos: reading ahead, batches, the network, and writing behind it.

Every stage holds a bounded number of bytes, so memory does not grow with the number of photos. The
network computes in the thread that runs the stream; threads read before it and write after it.
"""
from __future__ import annotations

import contextlib
import math
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from scops_tf import command, images
from scops_tf.labels.annotation import AnnotationError
from scops_tf.prediction import reading
from scops_tf.prediction.ahead import ahead
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import Found, Settings
from scops_tf.prediction.photos import Photo
from scops_tf.prediction.reading import Read

# Photos that are done, or done again, together after a stop; see `reading.of_one_size`.
WINDOW = 64
# Bytes that are read before the network, and that wait to be written behind it.
_READING = _WRITING = 128 * 2 ** 20

Find = Callable[[Sequence[Read]], List[Found]]


class Outcome(NamedTuple):
    """What became of a photo.

    Attributes:
      name: Name of the photo.
      overlay: uint8[H,W,3]. The photo with its parts; None if there is an error.
      failed_to: 'read' or 'written', what failed; '' if nothing did.
      error: Why; one sentence.
    """

    name: str
    overlay: Optional[np.ndarray]
    failed_to: str = ''
    error: str = ''


def windows(photos: Sequence[Photo]) -> Iterator[Sequence[Photo]]:
    """The photos, some at a time, in their order."""
    return (photos[start:start + WINDOW] for start in range(0, len(photos), WINDOW))


def outcomes(reads: Iterable[Read], find: Find, output: Output, *, batch_size: int
             ) -> Iterator[Outcome]:
    """Finds and writes the parts of photos that were read.

    Args:
      reads: The photos, in order.
      find: Finds the parts of photos of one size, as a `PartFinder` does.
      output: Where they are written.
      batch_size: Largest number of photos that go through the network together.

    Yields:
      An outcome of each photo; those of one size and window keep their order.
    """
    unreadable: List[Outcome] = []

    def readable() -> Iterator[Read]:
        for one in reads:
            if one.image is None:
                unreadable.append(Outcome(one.photo.name, None, 'read', one.error))
            else:
                yield one

    def found() -> Iterator[Found]:
        for batch in reading.of_one_size(readable(), most=batch_size):
            yield from find(batch)

    def write(one: Found) -> Outcome:
        try:
            return Outcome(one.result.name, output.add(one))
        except (OSError, AnnotationError) as error:
            return Outcome(one.result.name, None, 'written', command.sentence(error))

    for outcome in ahead(write, found(), cost=lambda one: one.num_bytes, limit=_WRITING):
        yield from unreadable
        unreadable.clear()
        yield outcome
    yield from unreadable


def predict(photos: Sequence[Photo], find: Find, output: Output, settings: Settings, *,
            on_outcome: Callable[[Outcome], None], is_whole: bool = True) -> None:
    """Finds and writes the parts of photos in files, those that are not done.

    What is about all photos is written at the end, also after an error or an interruption: then of
    the photos before it.

    Args:
      photos: The photos.
      find: See `outcomes`.
      output: Where the parts are written.
      settings: Settings of the reading and of the batches.
      on_outcome: Is called for each photo, also for those that an earlier process has done.
      is_whole: Whether these are all photos. Else what is about all of them is not written, and
        what has been done is kept for a later call with all of them.

    Raises:
      OSError: If what is about all photos cannot be written.
      ValueError: See `find`.
    """
    def undone() -> Iterator[Read]:
        """Photos to read, with their keys."""
        for number, window in enumerate(windows(photos)):
            tasks = [Read(photo, key=output.key(photo), window=number) for photo in window]
            left = [task for task in tasks if not output.is_done(task.photo, task.key)]
            errors = _errors(left, settings) if len(left) < len(tasks) else None
            if errors is None:
                yield from tasks
                continue
            for photo in window:
                error = errors.get(photo.name, '')
                on_outcome(Outcome(photo.name, None, 'read' if error else '', error))

    reads = ahead(lambda task: reading.read(task, max_side=settings.max_side), undone(),
                  cost=lambda task: 3 * math.prod(images.stored_size(task.photo.path) or [0]),
                  limit=_READING)
    written = outcomes(reads, find, output, batch_size=settings.batch_size)
    try:
        with contextlib.closing(written):
            for outcome in written:
                on_outcome(outcome)
    finally:
        if is_whole:
            output.close([photo.name for photo in photos if photo.name in output.done])
    if is_whole:
        output.finish()


def _errors(left: Sequence[Read], settings: Settings) -> Optional[Dict[str, str]]:
    """Why each of the photos that are left of a window cannot be read, by name; None if one can.

    Nothing is kept of such photos, since one may be mended or allowed to be read at any time.
    """
    found: Dict[str, str] = {}
    for task in left:
        found[task.photo.name] = reading.read(task, max_side=settings.max_side).error
        if not found[task.photo.name]:
            return None
    return found
