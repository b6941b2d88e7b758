#!/usr/bin/env python
"""Draws annotations of PASCAL-Part on their photos, to look at.

    python scripts/draw_pascal_parts.py --root=DIR --out=pictures

DIR holds Annotations_Part/NAME.mat and JPEGImages/NAME.jpg. OUT/NAME.png shows the objects with
their boxes, and the parts with their names.
"""
from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
from typing import List, Sequence, Tuple

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
from PIL import Image, ImageDraw

from scops_tf import images
from scops_tf.datasets import pascal_annotation
from scops_tf.pictures import drawing, sheets

_CELL = (600, 800)
_MOST_LABELS = 255


def _captioned(image: np.ndarray, captions: Sequence[Tuple[str, np.ndarray]],
               boxes: Sequence[Tuple[int, int, int, int]] = ()) -> np.ndarray:
    """The image enlarged, with boxes in its pixels and captions at the middles of their masks."""
    image, factor = sheets.fit(image, _CELL)
    canvas = Image.fromarray(image)
    draw, typeface = ImageDraw.Draw(canvas), sheets.font(13)
    for x, y, width, height in boxes:
        corners = (x * factor, y * factor, (x + width) * factor - 1, (y + height) * factor - 1)
        draw.rectangle(corners, outline='white', width=4)
        draw.rectangle(corners, outline='red', width=2)
    for text, mask in captions:
        rows, columns = np.nonzero(mask)
        draw.text(((columns.mean() + 0.5) * factor, (rows.mean() + 0.5) * factor), text,
                  fill='white', font=typeface, anchor='mm', stroke_width=2, stroke_fill='black')
    return np.array(canvas)


def _labels(masks: Sequence[np.ndarray], size: Tuple[int, int]) -> np.ndarray:
    """u8[H,W]. The masks, numbered from 1, the small ones above the large ones."""
    labels = np.zeros(size, np.uint8)
    for number, mask in sorted(enumerate(masks, start=1), key=lambda item: -item[1].sum()):
        labels[mask] = number
    return labels


def draw(photo: np.ndarray, annotation: pascal_annotation.Annotation, name: str) -> np.ndarray:
    """u8[h,w,3]. Objects, and parts beside them."""
    if photo.shape[:2] != annotation.size:
        raise ValueError(f'{name}.jpg must be as large as its masks, {annotation.size}; got '
                         f'{photo.shape[:2]}.')
    objects = annotation.objects
    parts: List[pascal_annotation.Part] = [part for found in objects for part in found.parts]
    # Labels end at 255; a crowd may show more parts.
    parts = sorted(parts, key=lambda part: -part.mask.sum())[:_MOST_LABELS]
    cells = []
    for named, boxes in (([(found.category, found.mask) for found in objects],
                          [found.box for found in objects]),
                         ([(part.name, part.mask) for part in parts], [])):
        labels = _labels([mask for _, mask in named], annotation.size)
        cells.append(_captioned(drawing.overlay(photo, labels), named, boxes))
    return sheets.sheet([cells], cell_size=_CELL, row_captions=[
        f'{name}; objects: {len(objects)}, parts: {len(parts)}'])


def main() -> None:
    """Draws all annotations."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, required=True)
    parser.add_argument('--out', type=Path, default=Path('pictures'))
    arguments = parser.parse_args()
    try:
        paths = sorted((arguments.root / 'Annotations_Part').glob('*.mat'))
        if not paths:
            raise ValueError(f'`root` must hold Annotations_Part/*.mat; {arguments.root} has none.')
        for path in paths:
            photo = images.read(str(arguments.root / 'JPEGImages' / f'{path.stem}.jpg'))
            picture = draw(photo, pascal_annotation.read_annotation(str(path)), path.stem)
            images.write_png(str(arguments.out / f'{path.stem}.png'), picture)
    except (OSError, ValueError) as error:
        sys.exit(f'Error: {error}')
    print(f'{len(paths)} pictures in {arguments.out}')


if __name__ == '__main__':
    main()
