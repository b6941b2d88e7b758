"""Drawings of jointed creatures in landscapes, with their true parts and landmarks.

A creature has four parts with one texture each: a plain head, a dotted body, legs with narrow rings
and a tail with broad rings. It is posed facing right and then mirrored at random. The unit of
length is about the length of the body. Angles are in degrees; 0 is forward and 90 is down.
"""
from __future__ import annotations

import colorsys
import dataclasses
from typing import Dict, Sequence, Tuple

import numpy as np
from PIL import Image

PART_NAMES = ('head', 'body', 'legs', 'tail')
LANDMARK_NAMES = ('eye', 'snout', 'chest', 'back', 'rump', 'near knee', 'near foot', 'far foot',
                  'tail middle', 'tail tip')

# Colours as (hue, saturation, value).
_COLORS = {
    'coral': (0.02, 0.68, 0.88), 'amber': (0.11, 0.72, 0.90), 'teal': (0.48, 0.58, 0.65),
    'violet': (0.74, 0.42, 0.75), 'leaf': (0.28, 0.50, 0.65), 'rose': (0.92, 0.46, 0.88),
    'sky': (0.57, 0.45, 0.88), 'earth': (0.07, 0.42, 0.58)}
# The landscape takes five of all colours, so that a colour alone does not identify a part.
_COAT = {'head': 'coral', 'body': 'amber', 'legs': 'violet', 'tail': 'teal'}
_CREAM, _DARK = np.array([0.99, 0.95, 0.82]), np.array([0.16, 0.12, 0.20])


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn creature with its annotations.

    Attributes:
      image: uint8[H,W,3]. RGB.
      part_mask: uint8[H,W]. True part labels: 0 is background, k is `PART_NAMES[k - 1]`.
      landmarks: f32[L,2]. (x, y) in pixels, in the order of `LANDMARK_NAMES`.
      visible: bool[L]. False if a limb in front hides the landmark.
    """

    image: np.ndarray
    part_mask: np.ndarray
    landmarks: np.ndarray
    visible: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Limb:
    """A chain of capsules: joints f64[n,2], half widths f64[n] at the joints, and brightness."""

    part: str
    joints: np.ndarray
    radii: np.ndarray
    light: float = 1.0


@dataclasses.dataclass(frozen=True)
class Group:
    """Several creatures in one landscape, with their annotations.

    Attributes:
      image: uint8[H,W,3]. RGB.
      part_mask: uint8[H,W]. True part labels, as of `Picture`.
      object_mask: uint8[H,W]. 0 is background, i is the i-th creature.
    """

    image: np.ndarray
    part_mask: np.ndarray
    object_mask: np.ndarray


def draw(rng: np.random.Generator, size: Tuple[int, int]) -> Picture:
    """Draws one creature in a landscape.

    Args:
      rng: Generator of all random choices.
      size: (height, width) in pixels.
    """
    limbs, landmarks = _pose(rng)
    points = np.array([landmarks[name][1] for name in LANDMARK_NAMES])
    limbs, points, unit = _place(rng, limbs, points, size)
    canvas = _landscape(rng, size)
    part_mask, owner = _paint(rng, canvas, limbs, points[0], unit)

    columns, rows = np.rint(points).astype(int).T
    front = [list(limbs)[index] for index in owner[rows, columns]]
    visible = np.array([limb == landmarks[name][0] for limb, name in zip(front, LANDMARK_NAMES)])
    return Picture(_developed(rng, canvas), part_mask, points.astype(np.float32), visible)


def draw_group(rng: np.random.Generator, size: Tuple[int, int], *, count: int = 2,
               overlap: float = 0.0) -> Group:
    """Draws creatures side by side in a landscape; those to the right are in front.

    Args:
      rng: Generator of all random choices.
      size: (height, width) in pixels.
      count: Number of creatures.
      overlap: Share of a creature's column by which the columns overlap, in [0, 1).
    """
    canvas = _landscape(rng, size)
    part_mask, object_mask = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    width = int(size[1] / (1 + (count - 1) * (1 - overlap)))
    for number in range(count):
        limbs, landmarks = _pose(rng)
        left = round((size[1] - width) * number / max(count - 1, 1))
        limbs, points, unit = _place(rng, limbs, landmarks['eye'][1][np.newaxis],
                                     (size[0], width), left=left)
        own, _ = _paint(rng, canvas, limbs, points[0], unit)
        part_mask = np.where(own > 0, own, part_mask)
        object_mask[own > 0] = number + 1
    return Group(_developed(rng, canvas), part_mask, object_mask)


def _paint(rng: np.random.Generator, canvas: np.ndarray, limbs: Dict[str, _Limb], eye: np.ndarray,
           unit: float) -> Tuple[np.ndarray, np.ndarray]:
    """Paints a creature over a canvas f32[H,W,3].

    Returns:
      Its true part labels uint8[H,W], and the position in `limbs` of the limb at each pixel,
      int[H,W], -1 for none.
    """
    size = canvas.shape[:2]
    part_mask, owner = np.zeros(size, np.uint8), np.full(size, -1)
    _draw_shadow(canvas, limbs)
    coat = _Coat(rng)
    for index, limb in enumerate(limbs.values()):
        window, distance, along, across = _capsules(limb, size)
        coverage = np.clip(0.5 - distance, 0, 1)[..., None]
        # A limb is darker towards its outline, so that it looks round.
        light = limb.light * (0.5 + 0.5 * np.sqrt(np.clip(-distance / (0.13 * unit), 0, 1)))
        color = light[..., None] * coat.color(limb.part, along / unit, across / unit, 1 / unit)
        canvas[window] += coverage * (color - canvas[window])
        inside = coverage[..., 0] >= 0.5
        part_mask[window][inside] = PART_NAMES.index(limb.part) + 1
        owner[window][inside] = index
    _draw_disc(canvas, eye, 0.078 * unit, np.array([0.98, 0.98, 0.96]))
    _draw_disc(canvas, eye, 0.048 * unit, np.array([0.08, 0.06, 0.10]))
    return part_mask, owner


def _developed(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """The photo uint8[H,W,3] of a canvas, in a random light and with noise."""
    canvas = canvas * (rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, 3)).astype(np.float32)
    canvas += 0.012 * rng.standard_normal(canvas.shape[:2] + (1,), np.float32)
    return np.rint(255 * canvas.clip(0, 1)).astype(np.uint8)


def _chain(start: Sequence[float], lengths: Sequence[float], angles: Sequence[float]) -> np.ndarray:
    """Joints f64[n+1,2] of n bones laid end to end."""
    angles = np.radians(angles)
    bones = np.stack([np.cos(angles), np.sin(angles)], 1) * np.reshape(lengths, (-1, 1))
    return np.cumsum(np.concatenate([[start], bones]), 0)


def _pose(rng: np.random.Generator) -> Tuple[Dict[str, _Limb], Dict[str, Tuple[str, np.ndarray]]]:
    """A random pose.

    Returns:
      Limbs by name, from back to front; and by landmark, the limb on which it lies and its point.
    """
    body = _chain((-0.25, 0.06), (0.25, 0.25), rng.uniform(-22, 4) + rng.uniform(-6, 6, 2))
    neck = _chain(body[2], (0.36,), (rng.uniform(-80, -35),))
    head = _chain(neck[1], (0.27,), (rng.uniform(-12, 30),))
    crest = _chain(neck[1] + (-0.05, -0.10), (0.15, 0.15),
                   rng.uniform(-20, 20) + np.array([-120, -150]))
    tail = _chain(body[0] + (-0.08, -0.02), (0.2,) * 4,
                  rng.uniform(165, 205) + np.arange(4) * rng.uniform(0, 34))
    limbs: Dict[str, _Limb] = {}
    for side, hip, thigh, light in (('far', (0.17, 0.16), rng.uniform(50, 85), 0.72),
                                    ('near', (-0.12, 0.18), rng.uniform(70, 105), 1.0)):
        shin = rng.uniform(90, 125)
        leg = _chain(body[1] + hip, (0.24, 0.22), (thigh, shin))
        foot = _chain(leg[2] + (0, 0.02), (0.2,), (shin - 105 + rng.uniform(-8, 8),))
        limbs[f'{side} foot'] = _Limb('legs', foot, np.array([0.115, 0.085]), light)
        limbs[f'{side} leg'] = _Limb('legs', leg, np.array([0.22, 0.15, 0.115]), light)
        if side == 'far':
            limbs['tail'] = _Limb('tail', tail, np.array([0.24, 0.20, 0.165, 0.125, 0.075]))
            limbs['neck'] = _Limb('body', neck, np.array([0.22, 0.17]))
            limbs['body'] = _Limb('body', body, np.array([0.32, 0.33, 0.27]))
    limbs['crest'] = _Limb('head', crest, np.array([0.12, 0.08, 0.04]))
    limbs['head'] = _Limb('head', head, np.array([0.25, 0.15]))
    return limbs, {
        'eye': ('head', 0.7 * head[0] + 0.3 * head[1] + (0, -0.08)), 'snout': ('head', head[1]),
        'chest': ('body', body[2]), 'back': ('body', body[1] + (0, -0.2)),
        'rump': ('body', body[0] + (-0.1, 0)),
        'near knee': ('near leg', limbs['near leg'].joints[1]),
        'near foot': ('near foot', limbs['near foot'].joints[1]),
        'far foot': ('far foot', limbs['far foot'].joints[1]),
        'tail middle': ('tail', tail[2]), 'tail tip': ('tail', tail[4])}


def _place(rng: np.random.Generator, limbs: Dict[str, _Limb], points: np.ndarray,
           size: Tuple[int, int], *, left: int = 0
           ) -> Tuple[Dict[str, _Limb], np.ndarray, float]:
    """Places the creature at random: mirrored or not, turned, scaled and shifted.

    It lies in a window of `size` pixels whose first column is `left`.

    Returns:
      Limbs and points in pixels, and the number of pixels per unit.
    """
    turn = np.radians(rng.uniform(-20, 20))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix[:, 0] *= rng.choice([-1, 1])
    joints = np.concatenate([limb.joints for limb in limbs.values()]) @ matrix.T
    radii = np.concatenate([limb.radii for limb in limbs.values()])[:, None]
    low, high = (joints - radii).min(0), (joints + radii).max(0)
    # Slightly less than the centres of the pixels span, so that the outermost pixels stay free.
    room = np.array(size[::-1]) - 1.01
    unit = rng.uniform(0.76, 1) * (room / (high - low)).min()
    shift = rng.uniform(0, 1, 2) * (room - unit * (high - low)) - unit * low + (left, 0)
    placed = {name: dataclasses.replace(limb, joints=unit * limb.joints @ matrix.T + shift,
                                        radii=unit * limb.radii) for name, limb in limbs.items()}
    return placed, unit * points @ matrix.T + shift, unit


def _window(low: np.ndarray, high: np.ndarray, size: Tuple[int, ...]
            ) -> Tuple[Tuple[slice, slice], np.ndarray, np.ndarray]:
    """Slices of the rows and columns from `low` to `high` (x, y), and x and y of their pixels."""
    left, top = np.maximum(np.floor(low).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(high).astype(int) + 2, size[1::-1])
    return ((slice(top, bottom), slice(left, right)),
            np.arange(left, right)[None, :], np.arange(top, bottom)[:, None])


def _capsules(limb: _Limb, size: Tuple[int, int]) -> Tuple[
        Tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of the pixels around a limb.

    Returns:
      The window, and in it, in pixels: the distance to the outline (negative inside), and the place
      along and across the limb.
    """
    radii = limb.radii[:, None]
    window, x, y = _window((limb.joints - radii).min(0), (limb.joints + radii).max(0), size)
    distances, preference, along, across = [], [], [], []
    length_before = 0.0
    for start, end, radius, end_radius in zip(limb.joints, limb.joints[1:], limb.radii,
                                              limb.radii[1:]):
        length = np.linalg.norm(end - start)
        axis = (end - start) / length
        u = (x - start[0]) * axis[0] + (y - start[1]) * axis[1]
        v = (y - start[1]) * axis[0] - (x - start[0]) * axis[1]
        share = np.clip(u / length, 0, 1)
        distances.append(np.hypot(u - share * length, v) - radius - share * (end_radius - radius))
        # Around a joint two bones are equally near, and rounding must not decide between them.
        preference.append(distances[-1] + 1e-3 * np.abs(u - share * length))
        along.append(length_before + u)
        across.append(v)
        length_before += length
    nearest = np.argmin(preference, 0)[None]
    return (window, *(np.take_along_axis(np.stack(values), nearest, 0)[0]
                      for values in (distances, along, across)))


def _draw_disc(canvas: np.ndarray, center: np.ndarray, radius: float, color: np.ndarray) -> None:
    window, x, y = _window(center - radius, center + radius, canvas.shape)
    coverage = np.clip(radius + 0.5 - np.hypot(x - center[0], y - center[1]), 0, 1)[..., None]
    canvas[window] += coverage * (color - canvas[window])


def _draw_shadow(canvas: np.ndarray, limbs: Dict[str, _Limb]) -> None:
    """A soft dark ellipse under the feet."""
    feet = np.concatenate([limbs['near foot'].joints, limbs['far foot'].joints])
    radius = np.array([0.75 * np.ptp(feet[:, 0]), 1.3 * limbs['near foot'].radii[0]])
    center = np.array([feet[:, 0].mean(), feet[:, 1].max() + 0.3 * radius[1]])
    window, x, y = _window(center - radius, center + radius, canvas.shape)
    inside = 1 - np.hypot((x - center[0]) / radius[0], (y - center[1]) / radius[1])
    canvas[window] *= 1 - 0.5 * np.clip(1.5 * inside, 0, 1)[..., None]


def _shade(rng: np.random.Generator, name: str) -> np.ndarray:
    """A colour, RGB f32[3] in [0, 1], with a small random change."""
    hue, saturation, value = np.array(_COLORS[name]) + rng.normal(0, (0.02, 0.06, 0.05))
    rgb = colorsys.hsv_to_rgb(hue % 1, np.clip(saturation, 0, 1), np.clip(value, 0, 1))
    return np.array(rgb, np.float32)


class _Coat:
    """Colours and textures of one creature."""

    def __init__(self, rng: np.random.Generator):
        self._colors = {part: _shade(rng, name) for part, name in _COAT.items()}
        self._stretch = rng.uniform(0.9, 1.15)

    def color(self, part: str, along: np.ndarray, across: np.ndarray, pixel: float) -> np.ndarray:
        """RGB f[h,w,3] in [0, 1] at places on a limb; all lengths, also a pixel's, are in units."""
        along, across = along / self._stretch, across / self._stretch
        if part == 'head':
            return np.broadcast_to(self._colors[part], along.shape + (3,))
        # Signed distance to the edge of the pattern, positive inside.
        if part == 'body':
            row = np.rint(across / 0.16)
            shift = 0.5 * (row % 2)
            column = np.rint(along / 0.185 + shift)
            edge = 0.058 - np.hypot(along - (column - shift) * 0.185, across - row * 0.16)
        else:
            period = 0.13 if part == 'legs' else 0.3
            edge = np.cos(2 * np.pi * along / period) * period / (2 * np.pi)
        coverage = np.clip(0.5 + edge / pixel, 0, 1)[..., None]
        pattern = _DARK if part == 'legs' else _CREAM
        return self._colors[part] + 0.85 * coverage * (pattern - self._colors[part])


def _noise(rng: np.random.Generator, size: Tuple[int, int]) -> np.ndarray:
    """Smooth noise f32[H,W] around 0, a sum of four scales."""
    noise = np.zeros(size, np.float32)
    for cells in (5, 11, 23, 47):
        coarse = [max(2, round(cells * side / max(size))) for side in size]
        values = Image.fromarray(rng.standard_normal(coarse, np.float32))
        noise += np.asarray(values.resize(size[::-1], Image.BICUBIC)) * (5 / cells) ** 0.4
    return noise


def _landscape(rng: np.random.Generator, size: Tuple[int, int]) -> np.ndarray:
    """A landscape of sky, three hills and stones: RGB f32[H,W,3]."""
    names = rng.permutation(list(_COLORS))
    y = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    canvas = np.repeat(_shade(rng, names[0]) * (1 - y) + _shade(rng, names[1]) * y, size[1], 1)
    grain = 1 + 0.13 * _noise(rng, size)
    for hill, name in enumerate(names[2:5]):
        wave = np.interp(np.linspace(0, 1, size[1]), np.linspace(0, 1, 7), rng.normal(0, 0.04, 7))
        ridge = (0.18 + 0.25 * hill + rng.uniform(0, 0.14) + wave).astype(np.float32)
        coverage = np.clip((y[..., 0] - ridge) * size[0] + 0.5, 0, 1)[..., None]
        canvas += coverage * (_shade(rng, name) * grain[..., None] - canvas)
    for _ in range(rng.integers(8, 20)):
        place = rng.uniform((0, 0.4), (1, 1))
        radius = rng.uniform(0.01, 0.035) * max(size) * (0.3 + place[1])
        color = _shade(rng, rng.choice(names)) * rng.uniform(0.6, 1)
        _draw_disc(canvas, place * size[::-1] - 0.5, radius, color)
    return canvas
