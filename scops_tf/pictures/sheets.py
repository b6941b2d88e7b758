"""Sheets of images side by side, with captions."""
from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED = (255, 255, 255), (32, 33, 36), (110, 113, 118)


def font(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface, `size` pixels high but at least 8; it needs no installed fonts."""
    return ImageFont.load_default(max(8, round(size)))


def fit(image: np.ndarray, size: Tuple[int, int]) -> Tuple[np.ndarray, float]:
    """Scales an image to fit into a size; keeps its aspect ratio.

    Args:
      image: uint8[H,W,3].
      size: (height, width) in pixels.

    Returns:
      uint8[h,w,3] with h = height or w = width, and the scale factor.
    """
    height, width = image.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    target = (max(1, round(width * factor)), max(1, round(height * factor)))
    if target == (width, height):
        return image, factor
    # These two filters do not overshoot around an outline, as sharper ones do.
    filtering = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(image).resize(target, filtering)), factor


def shortened(text: str, width: int, typeface: ImageFont.FreeTypeFont) -> str:
    """The text; if it is longer than `width` pixels, dots replace its end."""
    if typeface.getlength(text) <= width:
        return text
    while text and typeface.getlength(text + '...') > width:
        text = text[:-1]
    return text + '...'


def sheet(rows: Sequence[Sequence[np.ndarray]], *, column_captions: Sequence[str] = (),
          row_captions: Sequence[str] = (), cell_size: Tuple[int, int] = (192, 192)) -> np.ndarray:
    """Images in a grid of columns of one width; each image is scaled to fit its cell.

    Args:
      rows: Rows of images uint8[h,w,3] of any size; rows may differ in length.
      column_captions: Captions above the columns, or ().
      row_captions: Captions above the first image of each row, or ().
      cell_size: (height, width) of a cell. A row whose images are all lower is as high as the
        highest of them.

    Returns:
      uint8[H,W,3].

    Raises:
      ValueError: If there is no image, or there are more captions than rows or columns.
    """
    num_columns = max((len(row) for row in rows), default=0)
    if not num_columns:
        raise ValueError('`rows` must hold at least one image; got none.')
    for name, captions, count in (('column_captions', column_captions, num_columns),
                                  ('row_captions', row_captions, len(rows))):
        if len(captions) > count:
            raise ValueError(f'`{name}` must be no more than {count}; got {len(captions)}.')
    gap, text_size = 6, max(11, round(min(cell_size) / 14))
    typeface, line = font(text_size), round(1.6 * text_size)
    fitted = [[fit(image, cell_size)[0] for image in row] for row in rows]
    heights = [max((image.shape[0] for image in row), default=0) for row in fitted]
    pitch, row_head = cell_size[1] + gap, line if row_captions else 0
    y = gap + (line if column_captions else 0)
    width, height = gap + num_columns * pitch, y + sum(heights) + len(rows) * (row_head + gap)
    canvas = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, caption in enumerate(column_captions):
        draw.text((gap + column * pitch, gap + (line - gap) / 2),
                  shortened(caption, cell_size[1], typeface), fill=INK, font=typeface, anchor='lm')
    for index, row in enumerate(fitted):
        if index < len(row_captions):
            draw.text((gap, y + (line - gap) / 2),
                      shortened(row_captions[index], width - 2 * gap, typeface),
                      fill=MUTED, font=typeface, anchor='lm')
        y += row_head
        for column, image in enumerate(row):
            left = gap + column * pitch + (cell_size[1] - image.shape[1]) // 2
            top = y + (heights[index] - image.shape[0]) // 2
            canvas.paste(Image.fromarray(image), (left, top))
        y += heights[index] + gap
    return np.array(canvas)
