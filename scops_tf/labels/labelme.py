"""Labels as LabelMe has them: a JSON per photo with polygons, for correcting by hand.

`labelme/<photo>.json` names the photo by its path from that file, so LabelMe opens each of these
files as it is. `labelme my_photos --output parts/labelme` opens all photos of a folder with their
labels, which LabelMe finds by the name of the photo alone, without folders below that one. Pieces
of one part have one `group_id`, and holes are joined to their piece by a line there and back.

    https://github.com/wkentaro/labelme
"""
from __future__ import annotations

import base64
import io
import json
import os
from typing import Any, Dict, List, Tuple

import numpy as np
from PIL import Image

from scops_tf import files
from scops_tf.labels import polygons, writer
from scops_tf.labels.annotation import (
    Annotation,
    AnnotationError,
    files_below,
    painted,
    whole,
)
from scops_tf.labels.instances import instances
from scops_tf.labels.json_text import load, require
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult

FOLDER = 'labelme'
# The version of LabelMe whose fields these are.
_VERSION = '5.5.0'


class Writer(writer.Writer):
    """Writes a JSON for each photo."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        self._folder, self._names = os.path.join(out, FOLDER), parts.names
        self._tolerance = tolerance

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo."""
        path = result.path_in(self._folder, '.json')
        shapes = [
            {'label': self._names[found.part],
             'points': (ring + (found.left, found.top)).round(2).tolist(), 'group_id': group,
             'description': '', 'shape_type': 'polygon', 'flags': {}, 'mask': None}
            for group, found in enumerate(instances(result), start=1)
            for ring in polygons.polygons(found.mask, self._tolerance)]
        content = {'version': _VERSION, 'flags': {}, 'shapes': shapes,
                   'imagePath': os.path.relpath(result.path, os.path.dirname(path)),
                   'imageData': None, 'imageHeight': result.size[0], 'imageWidth': result.size[1]}
        files.write(path, json.dumps(content, indent=2).encode('ascii'))


def read(path: str) -> List[Annotation]:
    """The labels in a folder of LabelMe's JSONs: polygons, rectangles, circles and masks.

    Args:
      path: Folder, which is searched recursively.

    Raises:
      AnnotationError: If there is none, or one cannot be read.
      OSError: If a file cannot be opened.
    """
    annotations, names = [], {}
    for file, photo in files_below(path, '.json'):
        annotations.append(_read_photo(file, photo, names))
        names = annotations[-1].names
    if not annotations:
        raise AnnotationError(f'{path!r} must hold JSONs of LabelMe; it holds none.')
    return annotations


def _read_photo(file: str, photo: str, names: Dict[int, str]) -> Annotation:
    content = load(file)
    require(isinstance(content, dict) and isinstance(content.get('shapes'), list), file,
            'be a JSON of LabelMe, with shapes')
    with whole(file, 'JSON of LabelMe', IndexError, OSError):
        size = content['imageHeight'], content['imageWidth']
        return painted(photo, size, ((shape['label'], _mask(shape, size))
                                     for shape in content['shapes']), names)


def _mask(shape: Dict[str, Any], size: Tuple[int, int]) -> np.ndarray:
    points = np.array(shape['points'], np.float64).reshape(-1, 2)
    kind = shape.get('shape_type', 'polygon')
    if kind == 'polygon':
        return polygons.fill([points], size)
    if kind == 'rectangle':
        (x0, y0), (x1, y1) = points
        return polygons.fill([polygons.box(x0, y0, x1, y1)], size)
    if kind == 'circle':
        rows, columns = np.mgrid[:size[0], :size[1]] + 0.5
        distance = np.hypot(columns - points[0, 0], rows - points[0, 1])
        return distance <= np.hypot(*(points[1] - points[0]))
    if kind == 'mask':
        # The box holds both of its corners.
        left, top = points.min(axis=0).round().astype(int)
        with Image.open(io.BytesIO(base64.b64decode(shape['mask'])), formats=('PNG',)) as picture:
            own = np.asarray(picture.convert('L')) > 0
        found = np.zeros(size, bool)
        found[top:top + own.shape[0], left:left + own.shape[1]] = own
        return found
    raise ValueError(f'a shape of the kind {kind!r} has no area')
