"""Reading of photos, and batches of those that have one size."""
from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from scops_tf import images
from scops_tf.prediction.photos import Photo

# Pixels of a batch, unless it is a single photo; the graph takes some 20 bytes for each.
_MOST_PIXELS = 2 ** 24
# Pixels of all photos that wait for others of their size.
_MOST_WAITING = 2 ** 25


class Read(NamedTuple):
    """A photo that is to be read, or was read.

    Attributes:
      photo: The photo.
      image: u8[H,W,3]. RGB; None if it is not read yet, or cannot be read.
      error: Why it cannot be read; one sentence.
      key: Text that says what its results depend on; see `output.Output.key`.
      window: Number of its window; photos of different windows are never in one batch.
    """

    photo: Photo
    image: Optional[np.ndarray] = None
    error: str = ''
    key: str = ''
    window: int = 0


def read(task: Read, *, max_side: Optional[int] = None, content: Optional[bytes] = None) -> Read:
    """Reads a photo.

    Args:
      task: The photo.
      max_side: See `images.read`.
      content: Content of its file; None for that of its path.
    """
    path = task.photo.path
    try:
        return task._replace(
            image=images.read(path, max_side=max_side) if content is None
            else images.decode(content, name=path, max_side=max_side))
    except images.ImageError as error:
        return task._replace(error=str(error))


def of_one_size(reads: Iterable[Read], *, most: int) -> Iterator[List[Read]]:
    """Batches of photos that have one size, of one window each.

    The last digits of a result depend on the photos that go through the network together. Batches
    depend on the photos of their window alone, so that the results of a window are always the same.

    Args:
      reads: Photos that could be read, window by window.
      most: Largest number of photos in a batch.

    Yields:
      At least one photo. Those that are larger have fewer in a batch.
    """
    waiting: Dict[Tuple[int, ...], List[Read]] = {}
    pixels = window = 0
    for one in reads:
        height, width = one.image.shape[:2]
        if one.window != window or pixels + height * width > _MOST_WAITING:
            yield from waiting.values()
            waiting, pixels, window = {}, 0, one.window
        batch = waiting.setdefault((height, width), [])
        batch.append(one)
        pixels += height * width
        if len(batch) >= most or (len(batch) + 1) * height * width > _MOST_PIXELS:
            yield waiting.pop((height, width))
            pixels -= len(batch) * height * width
    yield from waiting.values()
