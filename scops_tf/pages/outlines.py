"""Outlines of masks as paths of SVG, and back.

A page colours its parts itself, so a part that is renamed, merged or dropped changes at once. So
the pictures of a page are plain photos, and the parts are paths on top. Holes and pieces of a part
are one path, filled by the even-odd rule. Points are (x, y) in pixels from the corner of the photo:
the first pixel covers 0 to 1.
"""
from __future__ import annotations

import re
from typing import Dict, List, Mapping, Tuple

import numpy as np
import skimage.measure

from scops_tf.labels import polygons

# What a path may hold; a file that says anything else is refused.
PATTERN = r'(?:M-?[\d.]+ -?[\d.]+(?:L-?[\d.]+ -?[\d.]+)*Z)*'
# Largest distance in pixels between an outline and its path (Douglas and Peucker, 1973).
_TOLERANCE = 0.6


def path(mask: np.ndarray) -> str:
    """The outline of a mask bool[H,W] as a path, '' for an empty mask."""
    found = []
    for contour in skimage.measure.find_contours(np.pad(mask, 1).astype(np.uint8), 0.5):
        simple = skimage.measure.approximate_polygon(contour, _TOLERANCE)[:-1]
        # Less than a triangle would be no area, so a pixel stays as it is.
        ring = simple if len(simple) > 2 else contour[:-1]
        # The padding moved the mask by a pixel, and the middle of a pixel is half of one.
        found.append('M' + 'L'.join(f'{x - 0.5:.4g} {y - 0.5:.4g}' for y, x in ring) + 'Z')
    return ''.join(found)


def of_labels(labels: np.ndarray) -> Dict[int, str]:
    """The paths of the parts that labels u8[H,W] show, by their numbers."""
    found = {number: path(labels == number) for number in np.unique(labels).tolist() if number}
    return {number: text for number, text in found.items() if text}


def labels(paths: Mapping[int, str], size: Tuple[int, int]) -> np.ndarray:
    """The labels u8[H,W] of which `of_labels` gives the paths, up to their tolerance."""
    found = np.zeros(size, np.uint8)
    for number, text in paths.items():
        found[polygons.fill(_rings(text), size)] = number
    return found


def _rings(text: str) -> List[np.ndarray]:
    return [np.array(re.findall(r'-?[\d.]+', ring), np.float64).reshape(-1, 2)
            for ring in text.split('Z') if ring]
