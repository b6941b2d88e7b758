"""Labels in the layout of PASCAL VOC: PNGs of classes and of objects, and the list of photos.

    voc/SegmentationClass/<photo>.png       the value of a pixel is the number of its part
    voc/SegmentationObject/<photo>.png      the value of a pixel is the number of its instance
    voc/ImageSets/Segmentation/default.txt  names of the photos
    voc/labelmap.txt                        name:r,g,b:: of each part

No pixel has VOC's 255, which stands for void. The photos are not copied to `JPEGImages`.

    M. Everingham et al.: The PASCAL Visual Object Classes Challenge. IJCV 2015.
"""
from __future__ import annotations

import os
from typing import Dict, List, Sequence

import numpy as np
from PIL import Image

from scops_tf import files, images
from scops_tf.labels import writer
from scops_tf.labels.annotation import Annotation, AnnotationError
from scops_tf.labels.instances import instances
from scops_tf.labels.part_names import BACKGROUND, Color, PartNames
from scops_tf.labels.result import PartResult
from scops_tf.pictures import parts as part_pictures
from scops_tf.pictures.palette import palette

FOLDER = 'voc'
_LIST = os.path.join('ImageSets', 'Segmentation', 'default.txt')
_MAP = 'labelmap.txt'


class Writer(writer.Writer):
    """Writes two PNGs for each photo, and the lists."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        self._folder, self._parts = os.path.join(out, FOLDER), parts
        for part in parts.parts:
            if ':' in part.name or part.name.startswith('#'):
                raise AnnotationError(
                    f'The name of part {part.number} must have no colon and not begin with # for '
                    f'VOC, whose list of names these divide; got {part.name!r}: give another '
                    'name, or take another format.')

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo."""
        numbers = np.zeros(result.size, np.uint8)
        for number, found in enumerate(instances(result), start=1):
            # More than VOC can number share the last number.
            numbers[found.on_photo(result.size)] = min(number, 254)
        for kind, labels, colors in (('SegmentationClass', result.labels, self._parts.colors),
                                     ('SegmentationObject', numbers, palette(254))):
            part_pictures.write_label_png(
                result.path_in(os.path.join(self._folder, kind), '.png'), labels, colors)

    def close(self, names: Sequence[str]) -> None:
        """Writes the list of photos and that of the parts."""
        files.write(os.path.join(self._folder, _LIST),
                    files.encoded(''.join(f'{name}\n' for name in names)))
        lines = ['# label:color_rgb:parts:actions', f'{BACKGROUND}:0,0,0::',
                 *(f'{part.name}:{",".join(map(str, part.color))}::'
                   for part in self._parts.parts)]
        files.write(os.path.join(self._folder, _MAP), '\n'.join([*lines, '']).encode())


def read(path: str) -> List[Annotation]:
    """The labels in a folder of VOC's layout; void pixels count as background.

    Args:
      path: Folder with `SegmentationClass` and `labelmap.txt`.

    Raises:
      AnnotationError: If there are none, or a colour has no name.
      ValueError: If a PNG cannot be read.
      OSError: If a file cannot be opened.
    """
    colors = _read_map(os.path.join(path, _MAP))
    folder = os.path.join(path, 'SegmentationClass')
    names = [name for name in images.names_below(folder) if name.lower().endswith('.png')]
    if not names:
        raise AnnotationError(f'{folder!r} must hold PNGs; it holds none.')
    order = dict(enumerate(colors.values(), start=1))
    annotations = []
    for name in names:
        file = os.path.join(folder, name)
        labels = images.read_labels(file)
        with Image.open(file) as picture:
            own = np.reshape(picture.getpalette() or palette(255).ravel(), (-1, 3))
        found: Dict[int, str] = {}
        for value in np.unique(labels[(labels > 0) & (labels < 255)]).tolist():
            if tuple(own[value].tolist()) not in colors:
                raise AnnotationError(f'The colours of {file} must be in {_MAP}; '
                                      f'{own[value].tolist()} is not.')
            found[value] = colors[tuple(own[value].tolist())]
        annotations.append(Annotation(os.path.splitext(name)[0], np.where(
            labels == 255, 0, labels).astype(np.uint8), found or order))
    return annotations


def _read_map(path: str) -> Dict[Color, str]:
    """Names of the parts by their colours, without that of the background."""
    found: Dict[Color, str] = {}
    for line in files.read(path).decode(errors='replace').splitlines():
        if not line.strip() or line.startswith('#'):
            continue
        try:
            name, color, *_ = line.rsplit(':', 3)
            red, green, blue = (int(word) for word in color.split(','))
        except ValueError:
            raise AnnotationError(f'Each line of {path} must be `name:r,g,b::`; got '
                                  f'{line[:60]!r}.') from None
        if name.lower() != BACKGROUND:
            found[red, green, blue] = name
    return found
