"""The result of a prediction on a photo, which all output passes through."""
from __future__ import annotations

import dataclasses
import os
from typing import Optional, Tuple

import numpy as np

from scops_tf.labels.part_names import PartNames


@dataclasses.dataclass(frozen=True)
class PartResult:
    """Parts of a photo.

    Merges and drops are done: labels, responses, centres and presence are of the parts that
    `parts` shows. What belongs to other numbers is 0 everywhere.

    Attributes:
      name: Name of the photo without its suffix, such as 'deep/a'; files of results are named so.
      file_name: Name of the photo with its suffix, relative to the folder of all photos.
      path: Path of the photo.
      labels: u8[H,W]. 0 is background, k is part k.
      part_responses: f[h,w,K+1]. R in [0, 1]; channel 0 is background.
      part_centers: f[K,2]. (x, y) in pixels of the photo.
      presence: f[K]. Largest response of each part, in [0, 1].
      parts: Names and colours of the K parts.
      objects: i32[H,W]. Number of the object of each pixel, 0 for none; None where parts are not
        grouped into objects, and so for the next two.
      object_centers: f[N,K,2]. Part centres of each object, (x, y) in pixels of the photo.
      object_presence: f[N,K]. Largest response of each part on each object, in [0, 1].

    Raises:
      ValueError: If a shape or a type does not fit.
    """

    name: str
    file_name: str
    path: str
    labels: np.ndarray
    part_responses: np.ndarray
    part_centers: np.ndarray
    presence: np.ndarray
    parts: PartNames
    objects: Optional[np.ndarray] = None
    object_centers: Optional[np.ndarray] = None
    object_presence: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        num_parts = self.parts.num_parts
        if self.labels.dtype != np.uint8 or self.labels.ndim != 2 or not self.labels.size:
            raise ValueError('`labels` must be uint8[H,W]; got '
                             f'{self.labels.dtype}{list(self.labels.shape)}.')
        if self.labels.max() > num_parts:
            raise ValueError(f'`labels` must be at most {num_parts}; got {self.labels.max()}.')
        for name, shape in (('part_centers', (num_parts, 2)), ('presence', (num_parts,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f'`{name}` must be of shape {list(shape)}; got '
                                 f'{list(getattr(self, name).shape)}.')
        if self.part_responses.ndim != 3 or self.part_responses.shape[-1] != num_parts + 1:
            raise ValueError(f'`part_responses` must be [h,w,{num_parts + 1}]; got '
                             f'{list(self.part_responses.shape)}.')
        if self.objects is not None and self.objects.shape != self.labels.shape:
            raise ValueError(f'`objects` must be of the shape of `labels`, {self.size}; got '
                             f'{self.objects.shape}.')

    @property
    def size(self) -> Tuple[int, int]:
        """(height, width) of the photo."""
        return self.labels.shape

    @property
    def centers(self) -> np.ndarray:
        """Part centres of each object, f[N,K,2]; of the photo, N = 1, without objects."""
        return self.part_centers[np.newaxis] if self.objects is None else self.object_centers

    @property
    def presences(self) -> np.ndarray:
        """Presence of the parts of each object, f[N,K]; of the photo, N = 1, without objects."""
        return self.presence[np.newaxis] if self.objects is None else self.object_presence

    @property
    def areas(self) -> np.ndarray:
        """Number of pixels of each part of each object, i64[N,K]; as for `centers`."""
        count = self.parts.num_parts + 1
        if self.objects is None:
            return np.bincount(self.labels.ravel(), minlength=count)[np.newaxis, 1:]
        # One by one: numbers of both for all pixels would take eight bytes a pixel.
        found = [np.bincount(self.labels[self.objects == number], minlength=count)[1:]
                 for number in range(1, len(self.centers) + 1)]
        return np.array(found, np.int64).reshape(-1, count - 1)

    def path_in(self, folder: str, suffix: str) -> str:
        """Path of a file of this photo in a folder of results."""
        return os.path.join(folder, f'{self.name}{suffix}')
