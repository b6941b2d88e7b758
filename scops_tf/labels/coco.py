"""Labels as COCO has them: one JSON of all photos, with run lengths or with polygons.

`coco/annotations.json` has run lengths, which are exact, and `coco/annotations_polygons.json` has
polygons, which more tools can edit. Both have one annotation per part of a photo, or of an object.
The identity of a category is the number of the part.

    T.-Y. Lin et al.: Microsoft COCO: Common Objects in Context. ECCV 2014.
    https://cocodataset.org/#format-data
"""
from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np

from scops_tf import files
from scops_tf.labels import polygons, run_lengths, writer
from scops_tf.labels.annotation import Annotation, painted, whole
from scops_tf.labels.instances import instances
from scops_tf.labels.json_text import dump, load, require
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult

FOLDER, FILE, POLYGON_FILE = 'coco', 'annotations.json', 'annotations_polygons.json'


class Writer(writer.OfPieces):
    """Writes both files when it is closed."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        super().__init__(out, FOLDER)
        self._tolerance = tolerance
        self._categories = [{'id': part.number, 'name': part.name, 'supercategory': 'part'}
                            for part in parts.parts]

    def add(self, result: PartResult) -> None:
        """Keeps the labels of a photo."""
        height, width = result.size
        annotations = []
        for found in instances(result):
            annotation = {
                'category_id': found.part, 'bbox': list(found.box), 'area': found.area,
                'iscrowd': 0, 'score': round(found.presence, 4),
                'segmentation': {'size': [height, width], 'counts': run_lengths.encode(
                    found.on_photo(result.size).ravel(order='F'))},
                'polygons': [
                    (ring + (found.left, found.top)).ravel().round(2).tolist()
                    for ring in polygons.polygons(found.mask, self._tolerance)]}
            if found.object:
                annotation['object'] = found.object
            annotations.append(annotation)
        self._pieces.add(result.name, dump({
            'image': {'file_name': result.file_name, 'width': width, 'height': height},
            'annotations': annotations}))

    def close(self, names: Sequence[str]) -> None:
        """Writes the files of all photos."""
        for file, key in ((FILE, 'segmentation'), (POLYGON_FILE, 'polygons')):
            files.write_chunks(os.path.join(self._folder, file), self._chunks(key, names))

    def _chunks(self, key: str, names: Sequence[str]) -> Iterator[bytes]:
        """The text of a file: all photos, then all annotations."""
        yield b'{"info": {"description": "Parts found by scops_tf"}, "licenses": [],\n"images": ['
        for number, piece in enumerate(self._pieces.of(names), start=1):
            yield (b',\n' if number > 1 else b'\n') + dump(
                {'id': number, **json.loads(piece)['image']})
        yield b'\n],\n"annotations": ['
        count = 0
        for number, piece in enumerate(self._pieces.of(names), start=1):
            for annotation in json.loads(piece)['annotations']:
                count += 1
                annotation['segmentation'] = annotation.pop('polygons') if (
                    key == 'polygons') else annotation['segmentation']
                annotation.pop('polygons', None)
                yield (b',\n' if count > 1 else b'\n') + dump(
                    {'id': count, 'image_id': number, **annotation})
        yield b'\n],\n"categories": ' + dump(self._categories) + b'}\n'


def read(path: str) -> List[Annotation]:
    """The labels in a JSON of COCO: run lengths, polygons and, of what has neither, boxes.

    Args:
      path: The JSON, or a folder with `annotations.json`.

    Raises:
      AnnotationError: If it cannot be read.
      OSError: If it cannot be opened.
    """
    path = os.path.join(path, FILE) if os.path.isdir(path) else path
    content = load(path)
    require(isinstance(content, dict) and all(isinstance(content.get(key), list) for key in (
        'images', 'annotations', 'categories')), path,
        'be a JSON of COCO, with images, annotations and categories')
    with whole(path, 'JSON of COCO', IndexError):
        names = {one['id']: one['name'] for one in content['categories']}
        of_photo: Dict[Any, List[Any]] = {one['id']: [] for one in content['images']}
        for annotation in content['annotations']:
            of_photo[annotation['image_id']].append(annotation)
        # Categories may have any identity; labels go up to 255.
        known = dict(names) if all(
            isinstance(key, int) and 1 <= key <= 255 for key in names) else {}
        return [painted(
            image['file_name'], (image['height'], image['width']),
            ((names[one['category_id']], _mask(one, image))
             for one in of_photo[image['id']]), known) for image in content['images']]


def _mask(annotation: Dict[str, Any], image: Dict[str, Any]) -> np.ndarray:
    size = image['height'], image['width']
    segmentation = annotation.get('segmentation')
    if not segmentation:
        left, top, width, height = annotation['bbox']
        return polygons.fill([polygons.box(left, top, left + width, top + height)], size)
    if isinstance(segmentation, list):
        # Several polygons are pieces of one part, so what is in any of them counts.
        found = np.zeros(size, bool)
        for outline in segmentation:
            found |= polygons.fill([np.reshape(outline, (-1, 2))], size)
        return found
    counts = segmentation['counts']
    lengths = run_lengths.decode_text(counts) if isinstance(counts, str) else counts
    return run_lengths.decode(lengths, size[0] * size[1]).reshape(size, order='F')
