"""PASCAL-Part annotations (Chen et al., 2014): the objects of a photo and their parts, from a .mat.

    anno: imname, objects(1..n): class, class_ind, mask, parts(1..m): part_name, mask

Masks are as large as the photo. Parts overlap: an eye lies on the head, a door on the left side.
"""
from __future__ import annotations

import os
import re
from typing import Any, List, NamedTuple, Tuple

import numpy as np

from scops_tf import files
from scops_tf.datasets import matlab_file
from scops_tf.datasets.lists import RESTORE, DatasetError

_QUADRUPED = ('head', 'leye', 'reye', 'lear', 'rear', 'muzzle', 'torso', 'neck', 'lfuleg', 'lflleg',
              'rfuleg', 'rflleg', 'lbuleg', 'lblleg', 'rbuleg', 'rblleg', 'tail')
_COACH = ('frontside', 'leftside', 'rightside', 'backside', 'roofside', 'leftmirror', 'rightmirror',
          'fliplate', 'bliplate', 'door', 'wheel', 'headlight', 'window')
# Part names of the paper's categories, as in the annotations; wheel_1 and wheel_2 are one name.
PART_NAMES = {
    'aeroplane': ('body', 'stern', 'lwing', 'rwing', 'tail', 'engine', 'wheel'),
    'bus': _COACH,
    'car': _COACH,
    'cow': _QUADRUPED + ('lhorn', 'rhorn'),
    'horse': _QUADRUPED + ('lfho', 'rfho', 'lbho', 'rbho'),
    'motorbike': ('fwheel', 'bwheel', 'handlebar', 'saddle', 'headlight'),
    'sheep': _QUADRUPED + ('lhorn', 'rhorn'),
}
CATEGORIES = tuple(PART_NAMES)


class Part(NamedTuple):
    """A part of an object: its name without a number, and its mask bool[H,W]."""

    name: str
    mask: np.ndarray


class Object(NamedTuple):
    """An object of a photo; `category` has PASCAL-Part's spelling, which may differ from VOC's."""

    category: str
    mask: np.ndarray
    parts: Tuple[Part, ...]

    @property
    def box(self) -> Tuple[int, int, int, int]:
        """(x, y, width, height) in pixels; the box has `width` pixels, the first of which is x."""
        columns, rows = self.mask.any(axis=0).nonzero()[0], self.mask.any(axis=1).nonzero()[0]
        return (int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1,
                int(rows[-1] - rows[0]) + 1)


class Annotation(NamedTuple):
    """Annotation of a photo; `size` is (height, width), or (0, 0) if there is no object."""

    size: Tuple[int, int]
    objects: Tuple[Object, ...]

    def object_mask(self, category: str) -> np.ndarray:
        """Mask bool[H,W] of all objects of the category."""
        masks = [found.mask for found in self.objects if found.category == category]
        return np.any(masks, axis=0) if masks else np.zeros(self.size, bool)

    def part_mask(self, category: str) -> np.ndarray:
        """True part labels u8[H,W]; label 1 is the first of `PART_NAMES[category]`.

        If parts overlap, the smallest one has the pixel, as an eye on a head. Pixels of an object
        that belong to no part (a seam of some 3 %) are 0, as the background is.
        """
        names = PART_NAMES[category]
        parts = [part for found in self.objects if found.category == category
                 for part in found.parts]
        labels = np.zeros(self.size, np.uint8)
        for part in sorted(parts, key=lambda part: -part.mask.sum()):
            labels[part.mask] = 1 + names.index(part.name)
        return labels


def read_annotation(path: str) -> Annotation:
    """Reads a .mat of Annotations_Part; objects and parts without a pixel are left out.

    Raises:
      DatasetError: If the file is damaged, or not the annotation of the photo it is named after.
    """
    def damaged(law: str) -> DatasetError:
        return DatasetError(f'{path} {law}; {RESTORE}')

    try:
        content = matlab_file.read(files.read(path))
    except matlab_file.MatlabFileError as error:
        raise damaged('must be a compressed MATLAB file, as PASCAL-Part has them, but it is '
                      f'damaged or another kind of file: {error}') from None
    try:
        annotation, = content['anno']
        stem = os.path.splitext(os.path.basename(path))[0]
        if _text(annotation['imname']) != stem:
            raise damaged(f'must be the annotation of {stem}, it is that of '
                          f'{_text(annotation["imname"])[:60]!r}')
        objects = [_object(element) for element in _elements(annotation['objects'])]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise damaged('must hold anno with imname and objects of class, mask and parts, but '
                      f'{type(error).__name__} {error}') from None
    sizes = {mask.shape for found in objects
             for mask in (found.mask, *(part.mask for part in found.parts))}
    if len(sizes) > 1:
        raise damaged(f'must hold masks of one size, got {sorted(sizes)}')
    for found in objects:
        for part in found.parts:
            if part.name not in PART_NAMES.get(found.category, (part.name,)):
                raise damaged(f'must name parts of PASCAL-Part, got {part.name!r} of a '
                              f'{found.category}')
    size = sizes.pop() if sizes else (0, 0)
    return Annotation(size, tuple(found for found in objects if found.mask.any()))


def _elements(value: Any) -> List[Any]:
    """The structures of an array; MATLAB saves an array without any as numbers of no size."""
    if isinstance(value, np.ndarray) and not value.size:
        return []
    if not isinstance(value, list):
        raise TypeError('for structures there is something else')
    return value


def _object(element: Any) -> Object:
    parts: List[Part] = []
    for part in _elements(element['parts']):
        mask = _mask(part['mask'])
        if mask.any():
            parts.append(Part(re.sub(r'_\d+$', '', _text(part['part_name'])), mask))
    return Object(_text(element['class']), _mask(element['mask']), tuple(parts))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError('for text there is something else')
    return value


def _mask(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not value.size:
        raise TypeError('for a mask there is something else')
    return value > 0
