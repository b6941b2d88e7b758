"""Labels as Label Studio has them: one JSON of tasks with predictions, as brush masks.

`labelstudio/tasks.json` is imported into a project whose labelling interface is
`labelstudio/labeling_config.xml`. A task names its photo by `/data/local-files/?d=<photo>`, as
Label Studio serves folders of its own machine.

A mask is kept as a stream of bits. The head has the number of bytes of the mask as RGBA (32 bits),
the bits per value less one (5), and four sizes of lengths less one (4 each). Then each run has one
bit, 1 for a repeated value and 0 for values one by one, two bits that choose a size, the length
less one in that many bits, and the value or values.

    https://labelstud.io/tags/brushlabels
"""
from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Sequence, Tuple
from urllib import parse
from xml.sax import saxutils

import numpy as np

from scops_tf import files
from scops_tf.labels import polygons, writer
from scops_tf.labels.annotation import Annotation, painted, whole
from scops_tf.labels.instances import instances
from scops_tf.labels.json_text import dump, load, require
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.parts_file import color_text
from scops_tf.labels.result import PartResult

FOLDER, FILE, CONFIG_FILE = 'labelstudio', 'tasks.json', 'labeling_config.xml'
_PREFIX = '/data/local-files/?d='
# Kinds of regions that are read.
_KINDS = ('brushlabels', 'polygonlabels', 'rectanglelabels')
# Bits of the lengths of runs that our streams use.
_SIZES = (3, 4, 8, 16)


def encode(mask: np.ndarray) -> List[int]:
    """The stream of a mask bool[H,W], as bytes."""
    values = mask.ravel()
    starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    # Of RGBA values, all four of which are alike.
    lengths = 4 * np.diff([*starts, len(values)])
    text = [f'{4 * len(values):032b}{8 - 1:05b}', *(f'{size - 1:04b}' for size in _SIZES)]
    most = 1 << _SIZES[-1]
    for start, length in zip(starts, lengths.tolist()):
        value = '1' * 8 if values[start] else '0' * 8
        for own in [most] * (length // most) + ([length % most] if length % most else []):
            choice = next(index for index, size in enumerate(_SIZES) if own <= 1 << size)
            text.append(f'1{choice:02b}{own - 1:0{_SIZES[choice]}b}{value}')
    bits = ''.join(text)
    bits += '0' * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, 'big'))


def decode(stream: Sequence[int], size: Tuple[int, int]) -> np.ndarray:
    """The mask bool[H,W] of a stream: the pixels whose alpha is above 0.

    Raises:
      ValueError: If the stream is damaged or of another size.
    """
    bits = ''.join(f'{value:08b}' for value in stream)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count:at], 2)

    count, width = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if count != 4 * size[0] * size[1]:
        raise ValueError(f'a mask of {count} values is not one of {size[0]} x {size[1]} RGBA')
    values, done = np.zeros(count, np.uint8), 0
    while done < count:
        repeated, length = take(1), take(sizes[take(2)]) + 1
        if at > len(bits):
            raise ValueError('a mask ends early')
        values[done:done + length] = take(width) if repeated else [
            take(width) for _ in range(length)]
        done += length
    return values[3::4].reshape(size) > 0


class Writer(writer.OfPieces):
    """Writes the tasks when it is closed."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        super().__init__(out, FOLDER)
        self._parts = parts

    def add(self, result: PartResult) -> None:
        """Keeps the labels of a photo."""
        height, width = result.size
        regions = [
            {'id': f'part{number}', 'type': 'brushlabels', 'from_name': 'parts',
             'to_name': 'image', 'original_width': width, 'original_height': height,
             'image_rotation': 0, 'score': round(found.presence, 4),
             'value': {'format': 'rle', 'rle': encode(found.on_photo(result.size)),
                       'brushlabels': [self._parts.names[found.part]]}}
            for number, found in enumerate(instances(result), start=1)]
        photo = parse.quote(files.encoded(result.file_name))
        self._pieces.add(result.name, dump(
            {'data': {'image': _PREFIX + photo, 'width': width, 'height': height},
             'predictions': [{'model_version': 'scops_tf', 'result': regions}]}))

    def close(self, names: Sequence[str]) -> None:
        """Writes the tasks of all photos and the labelling interface."""
        files.write_chunks(os.path.join(self._folder, FILE), self._chunks(names))
        labels = ''.join(
            f'    <Label value={saxutils.quoteattr(part.name)} '
            f'background="{color_text(part.color)}"/>\n' for part in self._parts.parts)
        files.write(os.path.join(self._folder, CONFIG_FILE), (
            '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <BrushLabels name="parts" toName="image">\n{labels}'
            '  </BrushLabels>\n</View>\n').encode())

    def _chunks(self, names: Sequence[str]) -> Iterator[bytes]:
        yield b'['
        for number, piece in enumerate(self._pieces.of(names)):
            yield (b',\n' if number else b'\n') + piece
        yield b'\n]\n'


def read(path: str) -> List[Annotation]:
    """The labels in a JSON of Label Studio: brush masks, polygons and rectangles.

    Of a task the first annotation that was not cancelled counts, or else the first prediction. A
    task without either, or without any region that would have the size of its photo, is left out.

    Args:
      path: The JSON, or a folder with `tasks.json`.

    Raises:
      AnnotationError: If it cannot be read.
      OSError: If it cannot be opened.
    """
    path = os.path.join(path, FILE) if os.path.isdir(path) else path
    content = load(path)
    require(isinstance(content, list), path, 'be a JSON of Label Studio, a list of tasks')
    annotations: List[Annotation] = []
    names: Dict[int, str] = {}
    with whole(path, 'JSON of Label Studio', IndexError, AttributeError,
               advice='export it again'):
        for task in content:
            image = parse.unquote(task['data']['image'].split('?d=')[-1],
                                  errors='surrogateescape')
            answers = [*(one for one in task.get('annotations', ())
                         if not one.get('was_cancelled')), *task.get('predictions', ())]
            regions = answers[0]['result'] if answers else []
            # Regions may be relations between others, which have no size.
            sizes = [(one['original_height'], one['original_width']) for one in regions
                     if 'original_height' in one]
            if answers and 'height' in task['data']:
                sizes.append((task['data']['height'], task['data']['width']))
            if sizes:
                annotations.append(painted(image, sizes[0], (
                    _shape(one, sizes[0]) for one in regions if one['type'] in _KINDS), names))
                names = annotations[-1].names
    return annotations


def _shape(region: Any, size: Tuple[int, int]) -> Tuple[str, np.ndarray]:
    value, name = region['value'], region['value'][region['type']][0]
    if region['type'] == 'brushlabels':
        return name, decode(value['rle'], size)
    if region['type'] == 'polygonlabels':
        return name, polygons.fill([np.multiply(value['points'], size[::-1]) / 100], size)
    corner = np.multiply((value['x'], value['y']), size[::-1]) / 100
    width, height = np.multiply((value['width'], value['height']), size[::-1]) / 100
    # Turned around its upper left corner, clockwise as it is seen.
    angle = np.deg2rad(value.get('rotation', 0))
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    return name, polygons.fill([corner + polygons.box(0, 0, width, height) @ turn], size)
