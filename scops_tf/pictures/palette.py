"""Colours of the parts, which are distinct on photos, also for colour-blind people."""
from __future__ import annotations

import functools

import numpy as np
from skimage import color as skimage_color

# Okabe & Ito, "Color Universal Design" (2008), ordered so that the first few differ most.
_OKABE_ITO = ('e69f00', '56b4e9', 'd55e00', '009e73', 'f0e442', 'cc79a7', '0072b2')
# Matrices on linear RGB that simulate vision without long- or without medium-wave cones (Machado et
# al., "A physiologically-based model for simulation of color vision deficiency", 2009, severity 1).
_PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
               (-0.003882, -0.048116, 1.051998))
_DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
                 (-0.011820, 0.042940, 0.968881))


def _lab_of_visions(colors: np.ndarray) -> np.ndarray:
    """CIELAB f64[3,N,3] of RGB uint8[N,3] for normal vision, protanopia and deuteranopia."""
    encoded = colors / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = [linear, linear @ np.transpose(_PROTANOPIA), linear @ np.transpose(_DEUTERANOPIA)]
    seen = np.clip(seen, 0, 1)
    encoded = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return skimage_color.rgb2lab(encoded)


def color_distances(colors: np.ndarray, other: np.ndarray) -> np.ndarray:
    """CIELAB distance of each pair of colours, the least for three kinds of vision.

    These are normal vision, protanopia and deuteranopia.

    Args:
      colors: uint8[N,3]. RGB.
      other: uint8[M,3]. RGB.

    Returns:
      f64[N,M]. Two colours at a distance of about 2 can just be told apart side by side.
    """
    differences = _lab_of_visions(colors)[:, :, None] - _lab_of_visions(other)[:, None]
    return np.linalg.norm(differences, axis=-1).min(axis=0)


@functools.lru_cache(maxsize=1)
def _all_part_colors() -> np.ndarray:
    """Colours of parts 1 to 255, uint8[255,3], RGB."""
    given = np.array([tuple(bytes.fromhex(code)) for code in _OKABE_ITO], np.uint8)
    levels = np.linspace(0, 255, 9).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing='ij'), axis=-1)
    candidates = candidates.reshape(-1, 3).astype(np.uint8)
    # Parts must differ from dark shadows and from bright paper.
    lightness = _lab_of_visions(candidates)[0, :, 0]
    candidates = candidates[(lightness > 35) & (lightness < 92)]
    grays = np.array([[0, 0, 0], [128, 128, 128], [255, 255, 255]], np.uint8)
    nearest = color_distances(candidates, np.concatenate([grays, given])).min(axis=1)
    between = color_distances(candidates, candidates)
    colors = list(given)
    while len(colors) < 255:
        farthest = np.argmax(nearest)
        colors.append(candidates[farthest])
        nearest = np.minimum(nearest, between[farthest])
    return np.array(colors)


def palette(num_parts: int) -> np.ndarray:
    """Colours of the labels: black for the background, then one per part.

    The first seven colours are Okabe and Ito's. Each further one is the colour farthest from all
    before it, for normal and for colour-blind people. So `palette(K)` begins with `palette(J)` for
    J < K, and the colour of a part does not depend on K.

    Args:
      num_parts: K, from 0 to 255.

    Returns:
      uint8[K+1,3]. RGB.

    Raises:
      ValueError: If `num_parts` is out of range.
    """
    if not 0 <= num_parts <= 255:
        raise ValueError(f'`num_parts` must lie in [0, 255], as labels do; got {num_parts}.')
    colors = _all_part_colors()[:num_parts] if num_parts > len(_OKABE_ITO) else [
        tuple(bytes.fromhex(code)) for code in _OKABE_ITO[:num_parts]]
    return np.array([(0, 0, 0), *colors], np.uint8)
