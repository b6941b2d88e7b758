"""Drawings of parts: labels and centres on a photo, and responses as heat maps.

Images are uint8[H,W,3] RGB and are never changed in place. Points are (x, y) in pixels of their
image, x right and y down; the centre of the first pixel is (0, 0). Labels are integers [H,W], 0 for
the background and 1..K for the parts.
"""
from __future__ import annotations

import math
from typing import Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from scops_tf.pictures import sheets
from scops_tf.pictures.palette import palette

_NEIGHBORS = ((0, 1), (2, 1), (1, 0), (1, 2))
# Number of rows that are tinted at a time.
_STRIP = 256


def check_image(image: np.ndarray) -> np.ndarray:
    """Returns the image; raises a ValueError unless it is uint8[H,W,3]."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'`image` must be uint8[H,W,3]; got {image.dtype}{list(image.shape)}.')
    return image


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Returns labels as uint8[H,W]; raises a ValueError unless they are integers in [0, 255]."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f'`labels` must be integers [H,W]; got {labels.dtype}{list(labels.shape)}.')
    if labels.size and not 0 <= labels.min() <= labels.max() <= 255:
        raise ValueError(
            f'`labels` must lie in [0, 255]; got {labels.min()} to {labels.max()}.')
    return labels.astype(np.uint8)


def _check_points(name: str, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f'`{name}` must be (x, y) of shape [N,2]; got shape {points.shape}.')
    return points


def boundaries(labels: np.ndarray, *, thickness: int = 1) -> np.ndarray:
    """Boundary pixels of the parts: those within `thickness` steps of another label.

    Args:
      labels: Integers [H,W].
      thickness: Number of steps in pixels, counted along rows and columns.

    Returns:
      bool[H,W]. The border of the image is not a boundary.
    """
    labels = check_labels(labels)
    height, width = labels.shape
    values = np.pad(labels, 1, mode='edge')
    windows = [np.s_[dy:dy + height, dx:dx + width] for dy, dx in _NEIGHBORS]
    found = np.zeros(labels.shape, bool)
    for window in windows:
        found |= values[window] != labels
    found &= labels > 0
    for _ in range(thickness - 1):
        padded = np.pad(found, 1)
        for window in windows:
            found = found | (padded[window] & (values[window] == labels))
    return found


def _stroke(size: Sequence[int]) -> int:
    """Width of a line that is sharp on a thumbnail and still visible on a large photo."""
    return max(1, round(min(size[:2]) / 200))


def overlay(image: np.ndarray, labels: np.ndarray, *, alpha: float = 0.45,
            outlined: bool = True, colors: Optional[np.ndarray] = None) -> np.ndarray:
    """Photo with its parts tinted and outlined; the background is unchanged.

    Args:
      image: uint8[H,W,3]. RGB.
      labels: Integers [H,W].
      alpha: Share of the part's colour in the tint, in [0, 1].
      outlined: Whether a part has a border of its full colour, inside its area.
      colors: uint8[K+1,3]. Colours of the labels; None for `palette`.

    Returns:
      uint8[H,W,3].

    Raises:
      ValueError: If sizes or types do not fit.
    """
    image, labels = check_image(image), check_labels(labels)
    if image.shape[:2] != labels.shape:
        raise ValueError(
            f'`labels` must be of the image\'s size {image.shape[:2]}; got {labels.shape}.')
    colors = palette(int(labels.max(initial=0))) if colors is None else colors
    blended = image.copy()
    # In strips, since the arithmetic takes 24 bytes for each value of the parts.
    for start in range(0, len(image), _STRIP):
        rows = blended[start:start + _STRIP]
        strip = labels[start:start + _STRIP]
        inside = strip > 0
        rows[inside] = np.rint(rows[inside] * (1 - alpha) + colors[strip[inside]] * alpha)
    if outlined:
        border = boundaries(labels, thickness=_stroke(image.shape))
        blended[border] = colors[labels[border]]
    return blended


def heatmap(values: np.ndarray, color: Sequence[int] = (255, 255, 255)) -> np.ndarray:
    """Image uint8[H,W,3] of values f[H,W]: black at 0, `color` at 1, clipped beyond."""
    scaled = np.clip(values, 0, 1)[..., None] * np.asarray(color, np.float64)
    return np.rint(scaled).astype(np.uint8)


def response_heatmaps(part_responses: np.ndarray, *, colors: Optional[np.ndarray] = None
                      ) -> np.ndarray:
    """A heat map per part in its colour, on the fixed scale [0, 1], so that a dead part is black.

    Args:
      part_responses: f[H,W,K] in [0, 1]. R, background removed.
      colors: uint8[K+1,3]. Colours of the labels; None for `palette`.

    Returns:
      uint8[K,H,W,3].

    Raises:
      ValueError: If `part_responses` is not of rank 3 or holds no part.
    """
    part_responses = np.asarray(part_responses)
    if part_responses.ndim != 3 or not part_responses.shape[-1]:
        raise ValueError(
            f'`part_responses` must be [H,W,K], K at least 1; got shape {part_responses.shape}.')
    num_parts = part_responses.shape[-1]
    colors = (palette(num_parts) if colors is None else colors)[1:]
    return np.stack([heatmap(part_responses[..., k], colors[k]) for k in range(num_parts)])


def _ink_on(color: Sequence[int]) -> Tuple[int, int, int]:
    """Black or white, whichever is more legible on `color` (relative luminance as in WCAG 2)."""
    luminance = (np.asarray(color) / 255) ** 2.2 @ (0.2126, 0.7152, 0.0722)
    return (0, 0, 0) if luminance > 0.18 else (255, 255, 255)


def _draw_disc(canvas: Image.Image, center: Sequence[float], radius: float, color: Sequence[int],
               text: str = '') -> None:
    """Draws a smooth disc in a white ring, with a text in it; Pillow's own circles are jagged."""
    oversampling = 4
    left, top = (math.floor(coordinate - radius) - 1 for coordinate in center)
    side = 2 * math.ceil(radius) + 4
    x, y = ((coordinate - origin + 0.5) * oversampling
            for coordinate, origin in zip(center, (left, top)))
    for extent, paint in ((radius, (255, 255, 255)), (radius - max(1, radius / 6), color)):
        shape = Image.new('L', (side * oversampling, side * oversampling))
        reach = extent * oversampling
        box = (x - reach, y - reach, x + reach - 1, y + reach - 1)
        ImageDraw.Draw(shape).ellipse(box, fill=255)
        shape = shape.resize((side, side), Image.Resampling.BOX)
        canvas.paste(tuple(int(level) for level in paint), (left, top), shape)
    if text:
        font = sheets.font(radius * (1.3 if len(text) == 1 else 1.05))
        ImageDraw.Draw(canvas).text((center[0] + 0.5, center[1] + 0.5), text, fill=_ink_on(color),
                                    font=font, anchor='mm')


def draw_centers(image: np.ndarray, centers: np.ndarray, presence: Optional[np.ndarray] = None, *,
                 min_presence: float = 0.3, colors: Optional[np.ndarray] = None) -> np.ndarray:
    """Photo with a numbered dot in the part's colour at the centre of every present part.

    Args:
      image: uint8[H,W,3]. RGB.
      centers: f[K,2]. (x, y) in pixels of `image`; a centre that is not finite is not drawn.
      presence: f[K] in [0, 1], the largest response of each part, or bool[K]. None draws all parts.
      min_presence: Least presence of a drawn part; a part with less responds only to noise.
      colors: uint8[K+1,3]. Colours of the labels; None for `palette`.

    Returns:
      uint8[H,W,3].

    Raises:
      ValueError: If the shapes do not fit.
    """
    image, centers = check_image(image), _check_points('centers', centers)
    presence = np.ones(len(centers)) if presence is None else np.asarray(presence, np.float64)
    if presence.shape != (len(centers),):
        raise ValueError(
            f'`presence` must be of shape [{len(centers)}]; got {list(presence.shape)}.')
    canvas = Image.fromarray(image)
    radius = max(7, 0.032 * min(image.shape[:2]))
    colors = palette(len(centers)) if colors is None else colors
    drawn = (presence >= min_presence) & np.isfinite(centers).all(axis=1)
    for part in np.flatnonzero(drawn) + 1:
        _draw_disc(canvas, centers[part - 1], radius, colors[part], str(part))
    return np.array(canvas)
