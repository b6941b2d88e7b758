"""Datasets as records: photos with their annotations."""
from __future__ import annotations

import dataclasses
from typing import Mapping, Optional, Tuple

import numpy as np

from scops_tf.datasets.lists import DatasetError

# The kind of a dataset's annotations decides how parts are scored. Every kind may have object masks
# (`Record.mask_path`) and boxes too.
ANNOTATION_KINDS = {
    'none': 'neither landmarks nor true parts',
    'faces': 'landmarks, two of which are the eyes; errors are shares of the distance between them',
    'boxed_landmarks': 'landmarks of an object in its box, whose sides errors are shares of',
    'part_masks': 'masks of true parts that parts can be matched with',
    'nested_part_masks': 'masks of true parts that are many and lie within each other, so that '
                         'parts are not matched with them',
}
_WITH_LANDMARKS = ('faces', 'boxed_landmarks')


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One photo and its annotations; everything but the photo is optional.

    Points are (x, y) in pixels of the decoded photo, with EXIF rotation applied; the centre of the
    first pixel is (0, 0).

    Attributes:
      name: Relative path with the separator '/', unique in the dataset. It names predictions too.
      path: Path of the photo.
      class_id: Category of the photo (CUB: 1..200), or None.
      box: f32[4]. The object's box (x, y, width, height), or None.
      landmarks: f32[L,2], or None. The rows of invisible landmarks are (0, 0) and have no meaning.
      visible: bool[L]. Whether each landmark can be seen; given if `landmarks` is given.
      mask_path: Path of the object mask (non-zero is object), or None.
      part_mask_path: Path of the true part labels (uint8, 0 is background), or None.
      saliency_path: Path of the user's soft saliency map, or None.
    """

    name: str
    path: str
    class_id: Optional[int] = None
    box: Optional[np.ndarray] = None
    landmarks: Optional[np.ndarray] = None
    visible: Optional[np.ndarray] = None
    mask_path: Optional[str] = None
    part_mask_path: Optional[str] = None
    saliency_path: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class PartDataset:
    """The splits of one dataset.

    Attributes:
      name: Name of the dataset, as in gin (`Data.dataset`).
      train: Records that the networks are trained on, without their annotations.
      fit: Records that an evaluation may fit a regressor on (often the same as `train`).
      test: Records that scores are computed on.
      landmark_names: One name per landmark; () without landmarks.
      part_names: One name per true part (label 1 first); () without true parts.
      annotation_kind: One of `ANNOTATION_KINDS`. Datasets with landmarks may have part masks too.
      eyes: For the kind 'faces', indices from 0 of the two landmarks whose distance is the
        inter-ocular distance; else None.
      notes: Sentences to print beside every score, such as counts that differ from the paper's or
        photos that are left out.
      expected_counts: Numbers of photos that the paper, or the archive, has for the same choice of
        photos, by the names of `counts.of`; empty if none are known.
      is_whole: Whether the photos are chosen in the paper's way from the whole archive, where no
        counts are known to tell.

    Raises:
      DatasetError: If the kind is unknown, or the names or the eyes do not fit it.
    """

    name: str
    train: Tuple[Record, ...]
    fit: Tuple[Record, ...]
    test: Tuple[Record, ...]
    landmark_names: Tuple[str, ...] = ()
    part_names: Tuple[str, ...] = ()
    annotation_kind: str = 'none'
    eyes: Optional[Tuple[int, int]] = None
    notes: Tuple[str, ...] = ()
    expected_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    is_whole: bool = False

    def __post_init__(self) -> None:
        kind = self.annotation_kind
        if kind not in ANNOTATION_KINDS:
            raise DatasetError(f'`annotation_kind` must be one of {", ".join(ANNOTATION_KINDS)}; '
                               f'got {kind!r}: let the reader of {self.name!r} set it.')
        expected = kind in _WITH_LANDMARKS
        annotated = any(record.landmarks is not None for record in self.test)
        if bool(self.landmark_names) != expected or (annotated and not expected):
            raise DatasetError(
                f'`annotation_kind` must be {" or ".join(_WITH_LANDMARKS)} where there are '
                f'landmarks with `landmark_names`, and another where there are none; got {kind!r} '
                f'with {len(self.landmark_names)} names: give another kind or other names.')
        if self.part_names and kind == 'none':
            raise DatasetError(
                f'`part_names` must be () for the kind {kind!r}; got {len(self.part_names)} '
                'names: give another `annotation_kind`.')
        numbers = range(len(self.landmark_names))
        if kind != 'faces' and self.eyes is not None:
            raise DatasetError(f"`eyes` must be None unless `annotation_kind` is 'faces'; got "
                               f'{self.eyes} for {kind!r}: remove them.')
        if kind == 'faces' and (self.eyes is None or len(set(self.eyes) & set(numbers)) != 2):
            raise DatasetError(
                f'`eyes` must be the numbers of two of the {len(numbers)} landmarks, counted from '
                f"0, for the kind 'faces'; got {self.eyes}: let the reader of {self.name!r} set "
                'them.')
