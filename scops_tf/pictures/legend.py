"""A legend of parts: a patch of colour and a name for each, in rows."""
from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from scops_tf.pictures import sheets

_TEXT, _GAP = 13, 8


def legend(entries: Sequence[Tuple[Sequence[int], str]], width: int) -> np.ndarray:
    """A strip with a patch and a name for each part; it breaks into rows where it is full.

    Args:
      entries: (RGB, name) of each part, at least one. A name that is wider than the strip is cut.
      width: Width in pixels, at least 64.

    Returns:
      uint8[h,width,3].

    Raises:
      ValueError: If there is no part or the strip is too narrow.
    """
    if not entries or width < 64:
        raise ValueError('`entries` must hold at least one part, and `width` be at least 64; got '
                         f'{len(entries)} and {width}.')
    typeface, line = sheets.font(_TEXT), round(1.6 * _TEXT)
    room = width - 2 * _GAP - line
    rows: List[List[Tuple[int, Sequence[int], str]]] = [[]]
    x = _GAP
    for color, name in entries:
        text = sheets.shortened(name, room, typeface)
        needed = line + round(typeface.getlength(text)) + 2 * _GAP
        if rows[-1] and x + needed > width:
            rows.append([])
            x = _GAP
        rows[-1].append((x, color, text))
        x += needed
    canvas = Image.new('RGB', (width, len(rows) * line + _GAP), sheets.PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, row in enumerate(rows):
        top = index * line + _GAP // 2
        for left, color, text in row:
            draw.rectangle([left, top + 3, left + _TEXT, top + 3 + _TEXT],
                           fill=tuple(int(level) for level in color))
            draw.text((left + line, top + line / 2), text, fill=sheets.INK, font=typeface,
                      anchor='lm')
    return np.array(canvas)
