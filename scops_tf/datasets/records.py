"""What a dataset is: records of photos with whatever is known about them."""
from __future__ import annotations

import dataclasses
from typing import Optional, Tuple

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One photo and its annotations; everything but the photo is optional.

    Coordinates are pixels of the photo as decoded (EXIF rotation applied), (x, y), the centre of
    the first pixel being (0, 0).

    Attributes:
      name: Unique in its dataset; a relative path with '/' for separator. Names predictions.
      path: The photo's file.
      class_id: Category of the photo (CUB: 1..200), or None.
      box: f32[4], the object's box (x, y, width, height), or None.
      landmarks: f32[L,2], or None. Rows of invisible landmarks are (0, 0) and mean nothing.
      visible: bool[L], which landmarks can be seen; given whenever `landmarks` is.
      mask_path: Object mask (non-zero is object), or None.
      part_mask_path: True part labels (uint8, 0 is background), or None.
      saliency_path: Soft saliency map of one's own, or None.
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
      name: Of the dataset, as in gin (`Data.dataset`).
      train: Records that the networks are trained on; no annotation of theirs is used.
      fit: Records that an evaluation may fit a regressor on (often the same as `train`).
      test: Records that scores are computed on.
      landmark_names: One name per landmark, () where there are none.
      part_names: One name per true part (label 1 first), () where there are none.
      protocol: Name of the evaluation protocol that belongs to the dataset.
      notes: Sentences to print beside every score: counts that differ from the paper's, photos left
        out.
    """

    name: str
    train: Tuple[Record, ...]
    fit: Tuple[Record, ...]
    test: Tuple[Record, ...]
    landmark_names: Tuple[str, ...] = ()
    part_names: Tuple[str, ...] = ()
    protocol: str = 'none'
    notes: Tuple[str, ...] = ()
