"""Photos whose parts somebody has named, and the names that a model's parts get by them."""
from __future__ import annotations

import functools
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

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
    """The annotated photos.

    Args:
      annotations: File or folder of the annotations.
      kind: One of `KINDS`.
      photos: Folder of the photos. A photo is found by its path below the folder, or by its name
        alone, each with or without suffix.
      mask_names: Names of the values from 1 on, of masks as PNG; None for those that lie beside
        them.

    Raises:
      AnnotationError: If the annotations cannot be read, or a photo is missing.
      ValueError: If an image cannot be read.
      OSError: If a file cannot be opened.
    """
    paths = _paths(photos)
    if kind == 'points':
        return [AnnotatedPhoto(_find(name, paths, photos), tuple(one.name for one in points),
                               functools.partial(_point_table, name, points))
                for name, points in clicked_points.read(annotations).items()]
    options: Dict[str, Any] = {}
    if kind == 'yolo':
        options['size_of'] = lambda name: images.read(_find(name, paths, photos)).shape[:2]
    if kind == 'png' and mask_names:
        options['names'] = dict(enumerate(mask_names, start=1))
    return [AnnotatedPhoto(_find(one.photo, paths, photos), tuple(one.names.values()),
                           functools.partial(_mask_table, one))
            for one in formats.FORMATS[kind].read(annotations, **options)]


def assign(annotated: Sequence[AnnotatedPhoto], names: PartNames,
           predict: Callable[[np.ndarray], np.ndarray]) -> assignment.Assignment:
    """Names of the parts, as they are merged and dropped now, from annotated photos.

    Args:
      annotated: The photos; each counts alike.
      names: The parts as they are now.
      predict: Function from a photo u8[H,W,3], RGB, to the model's labels u8[H,W].

    Raises:
      AnnotationError: If an annotation does not fit its photo, or nothing is named.
      ValueError: If a photo cannot be read.
    """
    every = assignment.listed_names([name for one in annotated for name in one.names])
    if not every:
        raise AnnotationError('The annotations must name at least one part; they name none.')
    return assignment.assign([
        one.table(names.lookup[predict(images.read(one.path))], every, names.num_parts)
        for one in annotated], every)


def _mask_table(annotation: Annotation, labels: np.ndarray, names: Sequence[str], num_parts: int
                ) -> np.ndarray:
    return assignment.mask_table(labels, annotation, names, num_parts)


def _point_table(photo: str, points: Sequence[clicked_points.Point], labels: np.ndarray,
                 names: Sequence[str], num_parts: int) -> np.ndarray:
    return assignment.point_table(labels, photo, points, names, num_parts)


def _paths(folder: str) -> Dict[str, List[str]]:
    """Paths of the photos below a folder by their names, with and without suffix and folder."""
    found: Dict[str, List[str]] = {}
    for name in images.names_below(folder):
        for key in {name, os.path.splitext(name)[0], os.path.basename(name),
                    os.path.splitext(os.path.basename(name))[0]}:
            found.setdefault(key, []).append(os.path.join(folder, name))
    return found


def _find(name: str, paths: Dict[str, List[str]], folder: str) -> str:
    base = os.path.basename(name)
    for key in (name, base, os.path.splitext(base)[0]):
        if len(paths.get(key, ())) == 1:
            return paths[key][0]
        if key in paths:
            raise AnnotationError(f'`--photos` must tell which photo is {name!r}, but {folder!r} '
                                  f'has {len(paths[key])}: give the folder of one of them.')
    raise AnnotationError(f'`--photos` must hold every annotated photo; there is no {name!r} in '
                          f'{folder!r}.')
