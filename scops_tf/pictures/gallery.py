"""A gallery of the parts: crops of the photos in which each part responds most."""
from __future__ import annotations

import dataclasses
import heapq
from typing import List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image
from scipy import ndimage

from scops_tf.pictures import drawing


@dataclasses.dataclass(frozen=True)
class PartSummary:
    """Summary of a part over a set of photos.

    Attributes:
      area_share: Mean share of the photo's pixels with the part's label, in [0, 1].
      presence: Mean over photos of the largest response, in [0, 1].
      crops: Crops uint8[h,w,3] of the photos in which the part responds most, best first.
    """

    area_share: float
    presence: float
    crops: Sequence[np.ndarray]


class PartGallery:
    """Gathers summaries of the parts photo by photo, in bounded memory.

    Args:
      num_parts: K.
      num_crops: Largest number of crops per part, each from another photo.
      crop_share: Side of a crop as a share of the photo's shorter side.
      crop_size: Side in pixels of the squares that crops are scaled to.
      colors: uint8[K+1,3]. Colours of the labels; None for those of `palette`.
    """

    def __init__(self, num_parts: int, *, num_crops: int = 8, crop_share: float = 0.4,
                 crop_size: int = 128, colors: Optional[np.ndarray] = None) -> None:
        self._colors = colors
        self._num_crops, self._crop_share, self._crop_size = num_crops, crop_share, crop_size
        self._best: List[List[Tuple[float, int, np.ndarray]]] = [[] for _ in range(num_parts)]
        self._area, self._presence = np.zeros(num_parts), np.zeros(num_parts)
        self._count = 0

    def add(self, image: np.ndarray, labels: np.ndarray, part_responses: np.ndarray) -> None:
        """Adds a photo.

        Args:
          image: uint8[H,W,3]. RGB.
          labels: Integers [H,W].
          part_responses: f[h,w,K] in [0, 1]. R at any resolution, background removed.

        Raises:
          ValueError: If the number of parts or the size of the labels does not fit.
        """
        num_parts = len(self._best)
        if np.ndim(part_responses) != 3 or np.shape(part_responses)[-1] != num_parts:
            raise ValueError(f'`part_responses` must be [h,w,{num_parts}]; got shape '
                             f'{np.shape(part_responses)}.')
        if labels.shape != image.shape[:2]:
            raise ValueError(
                f'`labels` must be of the photo\'s size {image.shape[:2]}; got {labels.shape}.')
        part_responses = np.asarray(part_responses, np.float32)
        self._area += np.bincount(labels.ravel(), minlength=num_parts + 1)[1:] / labels.size
        self._presence += part_responses.max(axis=(0, 1))
        # The window of a crop is square in the photo, whatever the proportions of the responses.
        side = self._crop_share * min(image.shape[:2])
        scale = np.divide(part_responses.shape[:2], image.shape[:2])
        window = np.maximum(1, np.rint(side * scale)).astype(int)
        mean = ndimage.uniform_filter(part_responses, (*window, 0), mode='constant')
        for part in range(num_parts):
            y, x = np.unravel_index(np.argmax(mean[..., part]), mean.shape[:2])
            entry = (float(mean[y, x, part]), -self._count)
            best = self._best[part]
            if entry[0] <= 0 or len(best) == self._num_crops and entry <= best[0][:2]:
                continue
            center = (np.array([y, x]) + 0.5) / scale
            crop = self._crop(image, labels == part + 1, part + 1, center, round(side))
            (heapq.heapreplace if len(best) == self._num_crops else heapq.heappush)(
                best, (*entry, crop))
        self._count += 1

    def _crop(self, image: np.ndarray, mask: np.ndarray, part: int, center: np.ndarray,
              side: int) -> np.ndarray:
        """Square crop around (y, x), shifted to lie inside the photo, with the part outlined."""
        top, left = (int(np.clip(round(middle - side / 2), 0, length - side))
                     for middle, length in zip(center, image.shape[:2]))
        window = np.s_[top:top + side, left:left + side]
        size = (self._crop_size, self._crop_size)
        crop = Image.fromarray(image[window]).resize(size, Image.Resampling.BICUBIC)
        mask = Image.fromarray(mask[window].astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        return drawing.overlay(
            np.array(crop), np.array(mask) * part, alpha=0, colors=self._colors)

    def parts(self) -> List[PartSummary]:
        """Summaries of the K parts over all added photos.

        Raises:
          ValueError: If no photo was added.
        """
        if not self._count:
            raise ValueError('`parts` must follow at least one photo; got none.')
        return [
            PartSummary(float(area), float(presence), [crop for *_, crop in sorted(
                best, key=lambda entry: entry[:2], reverse=True)])
            for area, presence, best in zip(
                self._area / self._count, self._presence / self._count, self._best)]
