"""Experiments on photos, masks and lists of photos: damaged files, and odd kinds of images."""
from __future__ import annotations

import io
import os
from typing import Any, Dict, List, Optional

import numpy as np
from PIL import Image

from experiments import layouts, mutation
from experiments.outcome import Experiment, Outcome, judge
from scops_tf import files, images
from scops_tf.datasets import lists, photo_list
from scops_tf.datasets.records import Record

_FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF')
_MODES = ('RGB', 'L', 'RGBA', 'LA', 'P', '1', 'CMYK', 'I', 'F', 'I;16', 'YCbCr')


def _encoded(array: np.ndarray, rng: np.random.Generator) -> 'tuple[bytes, str]':
    """An image in a format and mode drawn at random; those that do not go together are RGB or L."""
    image = Image.fromarray(array)
    kind, mode = str(rng.choice(_FORMATS)), str(rng.choice(_MODES))
    buffer = io.BytesIO()
    try:
        if mode == 'I;16':
            grey = np.asarray(image.convert('L')).astype(np.uint16)
            Image.fromarray(grey * 257).save(buffer, kind)
        else:
            image.convert(mode).save(buffer, kind)
    except (OSError, ValueError, KeyError):
        buffer, mode = io.BytesIO(), image.mode
        image.save(buffer, kind)
    return buffer.getvalue(), f'{kind} {mode}'


def _prepare(folder: str) -> Dict[str, Any]:
    found = layouts.drawings()
    return {'path': os.path.join(folder, 'one.img'), 'folder': folder,
            'photos': [picture.image for picture in found],
            'masks': [picture.part_mask for picture in found]}


def _photo(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    data, kind = _encoded(state['photos'][index % layouts.NUM_PHOTOS], rng)
    changed, how = mutation.of_bytes(data, rng) if rng.random() < 0.95 else (data, 'whole')
    files.write(state['path'], changed)

    def problem_of(photo: np.ndarray) -> Optional[str]:
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            return f'read as {photo.dtype}{list(photo.shape)}'
        if photo.shape[0] * photo.shape[1] > images.MAX_PIXELS:
            return f'of {photo.shape}, beyond the limit'
        return None if how != 'whole' or photo.shape[:2] == layouts.SIZE else 'another size'

    return judge(lambda: images.read(state['path']), problem_of, f'{kind}, {how}')


def _mask(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    part_mask = state['masks'][index % layouts.NUM_PHOTOS]
    values = (part_mask if rng.random() < 0.5 else
              np.where(part_mask > 0, 255, 0).astype(np.uint8))
    data, kind = _encoded(values, rng)
    changed, how = mutation.of_bytes(data, rng) if rng.random() < 0.6 else (data, 'whole')
    files.write(state['path'], changed)
    read = [images.read_mask, images.read_labels, images.read_map][index % 3]

    def problem_of(found: np.ndarray) -> Optional[str]:
        expected = {'read_mask': 'bool', 'read_labels': 'uint8', 'read_map': 'float32'}
        if found.dtype != expected[read.__name__] or found.ndim != 2:
            return f'read as {found.dtype}{list(found.shape)}'
        if read is images.read_map and not (found.min() >= 0 and found.max() <= 1):
            return f'values up to {found.max()}'
        # A grey or palette mask without loss is what was drawn.
        if read is images.read_mask and how == 'whole' and kind in ('PNG L', 'PNG RGB', 'BMP L',
                                                                     'TIFF L', 'PNG P', 'PNG 1'):
            if not np.array_equal(found, part_mask > 0) and kind != 'PNG 1':
                return 'another mask'
        return None

    return judge(lambda: read(state['path']), problem_of, f'{read.__name__}, {kind}, {how}')


def _prepare_lists(folder: str) -> Dict[str, Any]:
    records = []
    for index, picture in enumerate(layouts.drawings()):
        path = os.path.join(folder, f'{index}, "odd" \u00e9.png')
        images.write_png(path, picture.image)
        records.append(Record(name=os.path.basename(path), path=path))
    photo_list.write(folder, records, None)
    path = os.path.join(folder, photo_list.FILE)
    return {'records': records, 'folder': folder, 'path': path, 'whole': files.read(path)}


def _list(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    """The list of a run, with photos that are the same or of which one has changed."""
    changed, how = mutation.of_text(state['whole'], rng)
    files.write(state['path'], changed)
    names = {record.name for record in state['records']}
    if index % 2:
        def problem_of(found: List[lists.Line]) -> Optional[str]:
            return None if all(len(line.fields) == 2 for line in found) else 'a row of other length'

        return judge(lambda: list(lists.read_lines(
            state['path'], num_columns=2, advice='restore it')), problem_of, f'lines, {how}')

    def problem_of_list(nothing: None) -> Optional[str]:
        text = changed.decode('utf-8', 'replace')
        lacking = [name for name in names if name.replace('"', '""') not in text]
        return f'{lacking[0]} is not in the list, and nothing was said' if lacking else None

    return judge(lambda: photo_list.require_same(state['folder'], state['records'], None),
                 problem_of_list, f'{photo_list.FILE}, {how}')


EXPERIMENTS: List[Experiment] = [
    Experiment('photos', 'a photo of any format and mode, damaged', 500, _prepare, _photo),
    Experiment('masks', 'a mask or map of any format and mode, damaged or whole', 500, _prepare,
               _mask),
    Experiment('lists', 'a list of photos, damaged', 500, _prepare_lists, _list)]
