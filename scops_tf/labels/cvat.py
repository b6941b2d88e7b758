"""Labels as 'CVAT for images 1.1' has them: one XML of all photos, with masks.

`cvat/annotations.xml` has one mask per part of a photo, or of an object, as run lengths through the
rows of its box. It can be uploaded to a task that has the photos.

    https://docs.cvat.ai/docs/manual/advanced/xml_format
"""
from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Sequence, Tuple
from xml.etree import ElementTree
from xml.sax import saxutils

import numpy as np

from scops_tf import files
from scops_tf.labels import polygons, run_lengths, writer
from scops_tf.labels.annotation import Annotation, AnnotationError, painted, whole
from scops_tf.labels.instances import instances
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.parts_file import color_text
from scops_tf.labels.result import PartResult

FOLDER, FILE = 'cvat', 'annotations.xml'


class Writer(writer.OfPieces):
    """Writes the XML when it is closed."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        super().__init__(out, FOLDER)
        self._parts = parts

    def add(self, result: PartResult) -> None:
        """Keeps the labels of a photo."""
        height, width = result.size
        if not result.file_name.isprintable():
            raise AnnotationError(f'The name of {result.path!r} must be printable UTF-8 for '
                                  'CVAT, which it is not: rename the photo, or take another '
                                  'format.')
        lines = [f' {_attributes(name=result.file_name, width=width, height=height)}>']
        for found in instances(result):
            rle = ', '.join(map(str, run_lengths.encode(found.mask.ravel())))
            attributes = {
                'label': self._parts.names[found.part], 'source': 'auto', 'occluded': 0,
                'rle': rle, 'left': found.left, 'top': found.top, 'width': found.mask.shape[1],
                'height': found.mask.shape[0], 'z_order': 0}
            if found.object:
                attributes['group_id'] = found.object
            lines.append(f'    <mask {_attributes(**attributes)}></mask>')
        self._pieces.add(result.name, '\n'.join([*lines, '  </image>\n']).encode())

    def close(self, names: Sequence[str]) -> None:
        """Writes the XML of all photos."""
        files.write_chunks(os.path.join(self._folder, FILE), self._chunks(names))

    def _chunks(self, names: Sequence[str]) -> Iterator[bytes]:
        labels = ''.join(
            f'        <label><name>{saxutils.escape(part.name)}</name>'
            f'<color>{color_text(part.color)}</color><type>any</type><attributes></attributes>'
            '</label>\n' for part in self._parts.parts)
        yield ('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
               '  <meta>\n    <task>\n      <name>scops_tf</name>\n'
               f'      <size>{len(names)}</size>\n      <mode>annotation</mode>\n'
               f'      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n').encode()
        for number, piece in enumerate(self._pieces.of(names)):
            yield f'  <image id="{number}"'.encode() + piece
        yield b'</annotations>\n'


def _attributes(**values: Any) -> str:
    return ' '.join(f'{name}={saxutils.quoteattr(str(value))}' for name, value in values.items())


def read(path: str) -> List[Annotation]:
    """The labels in an XML of CVAT for images: masks, polygons and boxes.

    Args:
      path: The XML, or a folder with `annotations.xml`.

    Raises:
      AnnotationError: If it cannot be read.
      OSError: If it cannot be opened.
    """
    path = os.path.join(path, FILE) if os.path.isdir(path) else path
    content = files.read(path)
    with whole(path, 'XML of CVAT for images', ElementTree.ParseError):
        root = ElementTree.fromstring(content)
        names = [label.text or '' for label in root.findall('.//labels/label/name')]
        known = dict(enumerate(dict.fromkeys(names), start=1))
        annotations = []
        for image in root.iter('image'):
            size = int(image.get('height')), int(image.get('width'))
            shapes = sorted((shape for shape in image if shape.tag in ('mask', 'polygon', 'box')),
                            key=lambda shape: int(shape.get('z_order', 0)))
            annotations.append(painted(
                image.get('name'), size,
                ((shape.get('label'), _mask(shape.tag, shape.attrib, size)) for shape in shapes),
                known))
            known = annotations[-1].names
        return annotations


def _mask(kind: str, values: Dict[str, str], size: Tuple[int, int]) -> np.ndarray:
    if kind == 'mask':
        left, top, width, height = (int(values[name]) for name in (
            'left', 'top', 'width', 'height'))
        lengths = [int(word) for word in values['rle'].split(',')]
        found = np.zeros(size, bool)
        found[top:top + height, left:left + width] = run_lengths.decode(
            lengths, width * height).reshape(height, width)
        return found
    if kind == 'box':
        outline = polygons.box(*(float(values[name]) for name in ('xtl', 'ytl', 'xbr', 'ybr')))
    else:
        outline = np.array([
            tuple(map(float, point.split(','))) for point in values['points'].split(';')])
    return polygons.fill([outline], size)
