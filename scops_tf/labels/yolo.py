"""Labels as YOLO has them for segmentation: a text per photo, a line per part.

`yolo/labels/<photo>.txt` has lines `class x1 y1 x2 y2 …`, with x and y as shares of the photo's
width and height. A line has one polygon: holes and further pieces are joined by a line there and
back. Classes count from 0, in the order of the parts; `yolo/data.yaml` has their names. A photo
without parts has an empty file.

    https://docs.ultralytics.com/datasets/segment
"""
from __future__ import annotations

import json
import os
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
import yaml

from scops_tf import files
from scops_tf.labels import polygons, writer
from scops_tf.labels.annotation import Annotation, AnnotationError, files_below, painted
from scops_tf.labels.instances import instances
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult

FOLDER, NAMES_FILE = 'yolo', 'data.yaml'


class Writer(writer.Writer):
    """Writes a text for each photo, and the names."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        self._folder, self._parts = os.path.join(out, FOLDER), parts
        self._classes = {part.number: index for index, part in enumerate(parts.parts)}
        self._tolerance = tolerance

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo."""
        lines = []
        for found in instances(result):
            outline = polygons.one_polygon(found.mask, self._tolerance)
            shares = (outline + (found.left, found.top)) / result.size[::-1]
            numbers = ' '.join(f'{value:.8g}' for value in shares.ravel())
            lines.append(f'{self._classes[found.part]} {numbers}\n')
        files.write(result.path_in(os.path.join(self._folder, 'labels'), '.txt'),
                    ''.join(lines).encode())

    def close(self, names: Sequence[str]) -> None:
        """Writes the names."""
        # Without `path` the folders are beside this file. A text of JSON is a text of YAML too.
        classes = ''.join(f'  {index}: {json.dumps(part.name, ensure_ascii=False)}\n'
                          for index, part in enumerate(self._parts.parts))
        files.write(os.path.join(self._folder, NAMES_FILE),
                    f'train: images\nval: images\nnames:\n{classes}'.encode())


def read(path: str, *, size_of: Callable[[str], Tuple[int, int]]) -> List[Annotation]:
    """The labels in a folder of YOLO.

    Args:
      path: Folder with `data.yaml` and `labels`.
      size_of: Function from a photo's name, without suffix, to its (height, width), which the
        format does not keep.

    Raises:
      AnnotationError: If it cannot be read.
      OSError: If a file cannot be opened.
    """
    names = _read_names(os.path.join(path, NAMES_FILE))
    folder = os.path.join(path, 'labels')
    annotations = [_read_photo(file, photo, size_of(photo), names)
                   for file, photo in files_below(folder, '.txt')]
    if not annotations:
        raise AnnotationError(f'{folder!r} must hold texts of YOLO; it holds none.')
    return annotations


def _read_photo(file: str, photo: str, size: Tuple[int, int], names: Dict[int, str]) -> Annotation:
    shapes = []
    for number, line in enumerate(files.read(file).decode(errors='replace').splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            values = np.array(words[1:], np.float64)
            if len(values) == 4:
                x, y, width, height = values
                values = polygons.box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            outline = values.reshape(-1, 2)
            if len(outline) < 3 or not np.isfinite(outline).all():
                raise ValueError
            shapes.append((names[int(words[0])], polygons.fill([outline * size[::-1]], size)))
        except (ValueError, KeyError):
            raise AnnotationError(
                f'Line {number} of {file} must be the number of a class, and a box or a polygon of '
                f'at least three points; got {line[:60]!r}.') from None
    return painted(photo, size, shapes, {key + 1: name for key, name in names.items()})


def _read_names(path: str) -> Dict[int, str]:
    """Names of the classes by their numbers, from `names` of a `data.yaml`: a list or a mapping."""
    try:
        # With this loader names such as 7 and yes stay texts.
        content = yaml.load(files.read(path).decode('utf-8-sig', errors='replace'),
                            Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        reason = ' '.join(str(error).split())
        raise AnnotationError(f'{path} must be YAML, which it is not ({reason}): mend it.'
                              ) from None
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, list):
        names = {str(index): name for index, name in enumerate(names)}
    if not (isinstance(names, dict) and names and all(
            isinstance(key, str) and key.isdecimal() and isinstance(name, str)
            for key, name in names.items())):
        raise AnnotationError(f'{path} must have `names`, a list or a line `0: name` for each '
                              f'class; got {str(names)[:60]!r}.')
    return {int(key): name for key, name in names.items()}
