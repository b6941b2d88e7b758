"""Photos whose parts somebody has named, and the names that a model's parts get by them."""
from __future__ import annotations

import functools
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from absl import logging
import numpy as np

from scops_tf import images
from scops_tf.labels import assignment, clicked_points, formats
from scops_tf.labels.annotation import Annotation, AnnotationError
from scops_tf.labels.part_names import PartNames

# Kinds of annotations: the formats of labels, and clicked points.
KINDS = (*formats.FORMATS, 'points')


class AnnotatedPhoto(NamedTuple):
    """A photo with named parts.

    Attributes:
      path: Path of the photo.
      names: Names that the annotation has, or may have.
      table: Function from the model's labels u8[H,W], all names and K to the photo's table; see
        `assignment.mask_table`.
    """

    path: str
    names: Tuple[str, ...]
    table: Callable[[np.ndarray, Sequence[str], int], np.ndarray]


def read(annotations: str, kind: str, photos: str, *,
         mask_names: Optional[Sequence[str]] = None) -> List[AnnotatedPhoto]:
    """The annotated photos. Those in which nothing is named are left out, and counted in the log.

    Args:
      annotations: File or folder of the annotations.
      kind: One of `KINDS`.
      photos: Folder of the photos. A photo is found by its path below the folder, with or without
        suffix, or else by its name alone.
      mask_names: Names of the values from 1 on, of masks as PNG; None for those that lie beside
        them.

    Raises:
      AnnotationError: If the annotations cannot be read or name nothing, or a photo is missing.
      ValueError: If an image cannot be read.
      OSError: If a file cannot be opened.
    """
    finder = _Finder(photos)
    found: List[Tuple[AnnotatedPhoto, List[str]]] = []
    if kind == 'points':
        for photo, points in clicked_points.read(annotations).items():
            names = [one.name for one in points]
            found.append((AnnotatedPhoto(
                photo, tuple(names), functools.partial(_point_table, photo, points)), names))
    else:
        options: Dict[str, Any] = {}
        if kind == 'yolo':
            options['size_of'] = lambda name: images.read(finder.path(name)).shape[:2]
        if kind == 'png' and mask_names:
            options['names'] = dict(enumerate(mask_names, start=1))
        for one in formats.FORMATS[kind].read(annotations, **options):
            found.append((AnnotatedPhoto(
                one.photo, tuple(one.names.values()), functools.partial(_mask_table, one)),
                [one.names[number] for number in np.unique(one.labels).tolist()
                 if number in one.names]))
    # Tools export all photos of a task, also those in which nobody has drawn yet.
    chosen = [photo._replace(path=finder.path(photo.path)) for photo, names in found
              if assignment.listed_names(names)]
    if not chosen:
        raise AnnotationError(f'{annotations} must name a part in at least one photo, but of its '
                              f'{len(found)} photos none has one: draw or click some, and export '
                              'them as images, not as a video.')
    if len(chosen) < len(found):
        logging.info('Left out %d of %d annotated photos, in which nothing is named.',
                     len(found) - len(chosen), len(found))
    return chosen


def assign(annotated: Sequence[AnnotatedPhoto], names: PartNames,
           predict: Callable[[np.ndarray], np.ndarray]) -> assignment.Assignment:
    """Names of the parts, as they are merged and dropped now, from annotated photos.

    Args:
      annotated: The photos; each counts alike.
      names: The parts as they are now.
      predict: Function from a photo u8[H,W,3], RGB, to the model's labels u8[H,W].

    Raises:
      AnnotationError: If an annotation does not fit its photo.
      ValueError: If a photo cannot be read.
    """
    every = assignment.listed_names([name for one in annotated for name in one.names])
    found = assignment.assign([
        one.table(names.lookup[predict(images.read(one.path))], every, names.num_parts)
        for one in annotated], every)
    # What is merged away or dropped is no part that could have a name.
    return found._replace(parts=tuple(
        part for part in found.parts if part.number in names.names))


def _mask_table(annotation: Annotation, labels: np.ndarray, names: Sequence[str], num_parts: int
                ) -> np.ndarray:
    return assignment.mask_table(labels, annotation, names, num_parts)


def _point_table(photo: str, points: Sequence[clicked_points.Point], labels: np.ndarray,
                 names: Sequence[str], num_parts: int) -> np.ndarray:
    return assignment.point_table(labels, photo, points, names, num_parts)


class _Finder:
    """Finds photos below a folder by the names that annotations have for them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        names = images.names_below(folder)
        self._found: Dict[Callable[[str], str], Dict[str, List[str]]] = {}
        for key in (str, _stem, os.path.basename, _base_stem):
            self._found[key] = {}
            for name in names:
                self._found[key].setdefault(key(name), []).append(name)

    def path(self, name: str) -> str:
        """The path of a photo: of the one whose name below the folder is most like `name`.

        Raises:
          AnnotationError: If there is none, or several are alike.
        """
        base = os.path.basename(name)
        for wanted, key in ((name, str), (name, _stem), (_stem(name), _stem),
                            (base, os.path.basename), (base, _base_stem),
                            (_stem(base), _base_stem)):
            found = self._found[key].get(wanted, ())
            if len(found) == 1:
                return os.path.join(self._folder, found[0])
            if found:
                raise AnnotationError(
                    f'`--photos` must tell which photo is {name!r}, but {self._folder!r} has '
                    f'{len(found)}: give the folder of one of them.')
        raise AnnotationError(f'`--photos` must hold every annotated photo; there is no {name!r} '
                              f'in {self._folder!r}.')


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _base_stem(name: str) -> str:
    return _stem(os.path.basename(name))
