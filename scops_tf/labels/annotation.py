"""An annotated photo: labels with names, as the formats of labelling tools hold them."""
from __future__ import annotations

from typing import Dict, Iterable, NamedTuple, Tuple

import numpy as np


class AnnotationError(ValueError):
    """Annotations that cannot be read; the message is one sentence for the user."""


class Annotation(NamedTuple):
    """An annotated photo.

    Attributes:
      photo: Name of the photo, with its suffix where the format keeps it.
      labels: u8[H,W]. 0 is background, k is the part that is named `names[k]`.
      names: Names of the labels from 1 on.
    """

    photo: str
    labels: np.ndarray
    names: Dict[int, str]


def painted(photo: str, size: Tuple[int, int], shapes: Iterable[Tuple[str, np.ndarray]],
            names: Dict[int, str]) -> Annotation:
    """An annotation from masks, of which later ones cover earlier ones.

    Args:
      photo: See `Annotation`.
      size: (height, width) of the photo.
      shapes: (name, mask bool[H,W]) of each shape.
      names: Names of the labels from 1 on, as far as they are known; others follow.

    Raises:
      AnnotationError: If there are more than 255 names.
    """
    names = dict(names)
    numbers = {name: number for number, name in names.items()}
    labels = np.zeros(size, np.uint8)
    for name, mask in shapes:
        if name not in numbers:
            numbers[name] = max(names, default=0) + 1
            names[numbers[name]] = name
            if numbers[name] > 255:
                raise AnnotationError(f'{photo} must have at most 255 names; it has more.')
        labels[mask] = numbers[name]
    return Annotation(photo, labels, names)
