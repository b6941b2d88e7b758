"""An annotated photo: labels with names, as the formats of labelling tools hold them."""
from __future__ import annotations

import contextlib
import os
from typing import Dict, Iterable, Iterator, NamedTuple, Tuple, Type

import numpy as np

from scops_tf import images


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


def files_below(folder: str, suffix: str) -> Iterator[Tuple[str, str]]:
    """Files that describe a photo each, in the order of their names.

    Args:
      folder: Folder, which is searched recursively.
      suffix: Suffix of the files, such as '.json'.

    Yields:
      (path, name of the photo): its path below the folder, without suffix.
    """
    for root, folders, found in os.walk(folder):
        folders.sort()
        for name in sorted(found):
            if name.endswith(suffix):
                path = os.path.join(root, name)
                yield path, os.path.relpath(path, folder)[:-len(suffix)].replace(os.sep, '/')


@contextlib.contextmanager
def whole(path: str, kind: str, *errors: Type[Exception], advice: str = 'write it again'
          ) -> Iterator[None]:
    """Reads a file in its body, where errors mean that the file is not whole.

    Args:
      path: Path of the file.
      kind: What the file must be, such as 'JSON of COCO'.
      errors: Errors that a reader of this kind raises, besides those of wrong types and values.
      advice: What to do about it.

    Raises:
      AnnotationError: In place of such an error.
    """
    try:
        yield
    except AnnotationError:  # It is a sentence already.
        raise
    except (KeyError, TypeError, ValueError, OverflowError, *errors) as error:
        raise AnnotationError(f'{path} must be a whole {kind}, but it is not '
                              f'({type(error).__name__}: {error}): {advice}.') from None


def painted(photo: str, size: Tuple[int, int], shapes: Iterable[Tuple[str, np.ndarray]],
            names: Dict[int, str]) -> Annotation:
    """An annotation from masks, of which later ones cover earlier ones.

    Args:
      photo: See `Annotation`.
      size: (height, width) of the photo.
      shapes: (name, mask bool[H,W]) of each shape. An iterator makes no mask before the size is
        checked.
      names: Names of the labels from 1 on, as far as they are known; others follow.

    Raises:
      AnnotationError: If there are more than 255 names, or more pixels than a photo may have.
    """
    height, width = size
    if height * width > images.MAX_PIXELS:
        raise AnnotationError(f'{photo} must have at most {images.MAX_PIXELS} pixels; it has '
                              f'{width} x {height}.')
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
