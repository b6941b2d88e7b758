"""A gallery of the parts: the places where a part is strongest and weakest, and its mean look."""
from __future__ import annotations

import dataclasses
import heapq
from typing import List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image
from scipy import ndimage


@dataclasses.dataclass(frozen=True)
class Crop:
    """A place of a photo where a part responds.

    Attributes:
      photo: Index of the photo in the order in which photos were added.
      response: Mean response of the part at the place, in [0, 1].
      image: u8[s,s,3]. RGB.
      mask: bool[s,s]. Pixels with the part's label.
    """

    photo: int
    response: float
    image: np.ndarray
    mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class PartLooks:
    """How a part looks.

    Attributes:
      strongest: The photos in which the part responds most, best first.
      weakest: The photos that show the part and in which it responds least, weakest first; none of
        `strongest`.
      mean: u8[s,s,3]. Mean of the places of all photos, weighted by their responses; None for a
        part that responds nowhere.
    """

    strongest: Sequence[Crop]
    weakest: Sequence[Crop]
    mean: Optional[np.ndarray]


class PartGallery:
    """Gathers the looks of the parts photo by photo, in bounded memory.

    The place of a part in a photo is the square window with its largest mean response.

    Args:
      num_parts: K.
      num_strongest: Largest number of strongest places per part, each of another photo.
      num_weakest: As `num_strongest`, for the weakest ones.
      crop_share: Side of a window as a share of the photo's shorter side.
      crop_size: Side in pixels of the squares that windows are scaled to.
    """

    def __init__(self, num_parts: int, *, num_strongest: int = 8, num_weakest: int = 4,
                 crop_share: float = 0.4, crop_size: int = 128) -> None:
        self._num_strongest, self._num_weakest = num_strongest, num_weakest
        self._crop_share, self._crop_size = crop_share, crop_size
        # Heaps of (key, - or + index of the photo, crop), whose first entry leaves first. Those of
        # the weakest have room for the strongest, since none should be shown twice.
        self._strongest: List[List[Tuple[float, int, Crop]]] = [[] for _ in range(num_parts)]
        self._weakest: List[List[Tuple[float, int, Crop]]] = [[] for _ in range(num_parts)]
        self._sums = np.zeros((num_parts, crop_size, crop_size, 3))
        self._weights = np.zeros(num_parts)
        self._count = 0

    def add(self, image: np.ndarray, labels: np.ndarray, part_responses: np.ndarray) -> None:
        """Adds a photo.

        Args:
          image: u8[H,W,3]. RGB.
          labels: Integers [H,W].
          part_responses: f[h,w,K] in [0, 1]. R at any resolution, background removed.

        Raises:
          ValueError: If the number of parts or the size of the labels does not fit.
        """
        num_parts = len(self._strongest)
        if np.ndim(part_responses) != 3 or np.shape(part_responses)[-1] != num_parts:
            raise ValueError(f'`part_responses` must be [h,w,{num_parts}]; got shape '
                             f'{np.shape(part_responses)}.')
        if labels.shape != image.shape[:2]:
            raise ValueError(
                f'`labels` must be of the photo\'s size {image.shape[:2]}; got {labels.shape}.')
        part_responses = np.asarray(part_responses, np.float32)
        # The window of a crop is square in the photo, whatever the proportions of the responses.
        side = self._crop_share * min(image.shape[:2])
        scale = np.divide(part_responses.shape[:2], image.shape[:2])
        window = np.maximum(1, np.rint(side * scale)).astype(int)
        mean = ndimage.uniform_filter(part_responses, (*window, 0), mode='constant')
        for part in range(num_parts):
            y, x = np.unravel_index(np.argmax(mean[..., part]), mean.shape[:2])
            response = float(mean[y, x, part])
            if response > 0:
                center = (np.array([y, x]) + 0.5) / scale
                crop = self._crop(image, labels == part + 1, center, round(side), response)
                self._keep(part, crop, (labels == part + 1).any())
        self._count += 1

    def _crop(self, image: np.ndarray, mask: np.ndarray, center: np.ndarray, side: int,
              response: float) -> Crop:
        """Square crop around (y, x), shifted to lie inside the photo."""
        top, left = (int(np.clip(round(middle - side / 2), 0, length - side))
                     for middle, length in zip(center, image.shape[:2]))
        window = np.s_[top:top + side, left:left + side]
        size = (self._crop_size, self._crop_size)
        shown = Image.fromarray(image[window]).resize(size, Image.Resampling.BICUBIC)
        mask = Image.fromarray(mask[window]).resize(size, Image.Resampling.NEAREST)
        return Crop(self._count, response, np.array(shown), np.array(mask))

    def _keep(self, part: int, crop: Crop, is_shown: bool) -> None:
        self._sums[part] += crop.response * crop.image
        self._weights[part] += crop.response
        _push(self._strongest[part], self._num_strongest, (crop.response, -crop.photo, crop))
        if is_shown:
            _push(self._weakest[part], self._num_weakest + self._num_strongest,
                  (-crop.response, -crop.photo, crop))

    def looks(self) -> List[PartLooks]:
        """The looks of the K parts over all added photos.

        Raises:
          ValueError: If no photo was added.
        """
        if not self._count:
            raise ValueError('`looks` must follow at least one photo; got none.')
        found = []
        for part, (strongest, weakest) in enumerate(zip(self._strongest, self._weakest)):
            best = _crops(strongest)
            shown = {crop.photo for crop in best}
            least = [crop for crop in _crops(weakest) if crop.photo not in shown]
            weight = self._weights[part]
            found.append(PartLooks(
                best, least[:self._num_weakest],
                np.rint(self._sums[part] / weight).astype(np.uint8) if weight else None))
        return found


def _push(heap: List[Tuple[float, int, Crop]], most: int, entry: Tuple[float, int, Crop]) -> None:
    """Keeps the largest entries; the second number is another one for each photo."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    elif entry[:2] > heap[0][:2]:
        heapq.heapreplace(heap, entry)


def _crops(heap: List[Tuple[float, int, Crop]]) -> List[Crop]:
    return [entry[-1] for entry in sorted(heap, key=lambda entry: entry[:2], reverse=True)]
