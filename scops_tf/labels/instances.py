"""Instances: the parts of the objects of a photo, one by one."""
from __future__ import annotations

from typing import Iterator, NamedTuple, Tuple

import numpy as np
from scipy import ndimage

from scops_tf.labels.result import PartResult


class Instance(NamedTuple):
    """The pixels of one part of one object.

    Attributes:
      part: Number of the part.
      object: Number of the object, from 1; 0 where parts are not grouped into objects.
      left: First column of the box.
      top: First row of the box.
      mask: bool[h,w]. The pixels in the box, in which all rows and columns at the edge have some.
      presence: Largest response of the part in the photo, in [0, 1].
    """

    part: int
    object: int
    left: int
    top: int
    mask: np.ndarray
    presence: float

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def box(self) -> Tuple[int, int, int, int]:
        """(left, top, width, height) in pixels."""
        return self.left, self.top, self.mask.shape[1], self.mask.shape[0]

    def on_photo(self, size: Tuple[int, int]) -> np.ndarray:
        """The mask of a photo of this size, bool[H,W]."""
        found = np.zeros(size, bool)
        found[self.top:self.top + self.mask.shape[0],
              self.left:self.left + self.mask.shape[1]] = self.mask
        return found


def instances(result: PartResult) -> Iterator[Instance]:
    """The instances of a photo, by object and part; only parts that have pixels."""
    objects = [0] if result.objects is None else range(1, int(result.objects.max()) + 1)
    for number in objects:
        labels = result.labels if number == 0 else np.where(
            result.objects == number, result.labels, 0)
        for part, window in enumerate(ndimage.find_objects(labels), start=1):
            if window is not None:
                yield Instance(part, number, window[1].start, window[0].start,
                               labels[window] == part, float(result.presence[part - 1]))
