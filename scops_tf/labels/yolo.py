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
import re
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

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
        # A text of JSON is a text of YAML too.
        classes = ''.join(f'  {index}: {json.dumps(part.name, ensure_ascii=False)}\n'
                          for index, part in enumerate(self._parts.parts))
        files.write(os.path.join(self._folder, NAMES_FILE),
                    f'path: .\ntrain: images\nval: images\nnames:\n{classes}'.encode())


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
        try:
            outline = np.array(words[1:], np.float64).reshape(-1, 2)
            if len(outline) < 3 or not np.isfinite(outline).all():
                raise ValueError
            shapes.append((names[int(words[0])], polygons.fill([outline * size[::-1]], size)))
        except (ValueError, KeyError, IndexError):
            raise AnnotationError(
                f'Line {number} of {file} must be the number of a class and a polygon of at least '
                f'three points; got {line[:60]!r}.') from None
    return painted(photo, size, shapes, {key + 1: name for key, name in names.items()})


def _read_names(path: str) -> Dict[int, str]:
    """Names of the classes from a `data.yaml`: lines `0: name` below `names:`, or a list."""
    text = files.read(path).decode(errors='replace')
    listed = re.search(r'^names:[ \t]*(\[.*?\])', text, re.MULTILINE | re.DOTALL)
    block = re.search(r'^names:[ \t]*\n((?:[ \t]*(?:\d+:|-).*\n?)+)', text, re.MULTILINE)
    if listed:
        found = [word.strip() for word in listed.group(1)[1:-1].split(',')]
    elif block:
        found = [re.sub(r'^\s*(\d+:|-)\s*', '', line) for line in block.group(1).splitlines()]
    else:
        raise AnnotationError(f'{path} must have `names:`, as a list or with a line for each '
                              'class; it has none.')
    return {index: _unquoted(word) for index, word in enumerate(found)}


def _unquoted(word: str) -> str:
    word = word.strip()
    if word.startswith('"'):
        return json.loads(word)
    return word[1:-1] if word.startswith("'") else word
