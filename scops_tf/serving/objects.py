"""Objects of a photo: which pixels of the parts belong together, and the parts of each object.

SCOPS finds the parts of all objects that a photo shows, where a landmark is a single point (§1).
Its labels do not say which parts are of one object; these functions do, on plain arrays.
"""
from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

import numpy as np
import scipy.ndimage
import skimage.measure
import skimage.segmentation

from scops_tf import images

# Neighbours of a pixel: the eight around it.
_NEIGHBOURS = np.ones((3, 3), bool)
# A piece of a part counts if it is this share of the largest piece of the part in its region.
# Chosen among 0.05 to 0.35 on drawings of one and of two creatures: below 0.15 the gain was small.
_LEAST_PIECE = 0.15
# A part counts if it is this share of its region.
_LEAST_PART = 0.05


class ObjectParts(NamedTuple):
    """Parts of the N objects of a photo.

    Attributes:
      centers: f64[N,K,2]. (x, y) in pixels of the photo. A part without any response has the middle
        of the object.
      presence: f64[N,K]. Largest response of each part on the object, in [0, 1].
      areas: i64[N,K]. Number of pixels of each part.
    """

    centers: np.ndarray
    presence: np.ndarray
    areas: np.ndarray


def certain_pixels(part_responses: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """The pixels where the parts together respond more than the background; see `separate`.

    Args:
      part_responses: float[h,w,K+1]. R in [0, 1]; channel 0 is the background.
      size: (height, width) of the photo.

    Returns:
      bool[H,W].
    """
    return images.resize_map(1 - np.asarray(part_responses, np.float32)[..., 0], size) > 0.5


def separate(labels: np.ndarray, certain: Optional[np.ndarray] = None, *,
             least_share: float = 0.1) -> np.ndarray:
    """Groups the pixels of the parts into objects.

    1. Certain pixels that touch, also at a corner, form a region. Labels reach further than that
       and often join objects that stand apart.
    2. A region in which most parts show several pieces holds several objects that touch. Their
       number is the lower median over the parts of the number of pieces. They are grown inside the
       region from the pieces of the part that has as many and most pixels. So a creature with four
       legs and one head, body and tail is one object.
    3. A region that is smaller than `least_share` of the largest one is a fragment and no object.
    4. The objects grow over the pixels of the parts, all at one speed. What they do not reach joins
       the nearest one.

    Args:
      labels: Integer [H,W]. 0 is background, k is the k-th part.
      certain: bool[H,W]. Pixels that certainly show an object; see `certain_pixels`. None, or none
        of them on a part, for all pixels of the parts.
      least_share: In [0, 1]; 0 makes every region an object.

    Returns:
      i32[H,W]. 0 is background, 1..N are the objects, the largest first.

    Raises:
      ValueError: If `labels` is not of rank 2, `certain` has another shape, or `least_share` is out
        of range.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or (certain is not None and np.shape(certain) != labels.shape):
        raise ValueError('`labels` must be of shape [H,W], and `certain` of the same; got '
                         f'{list(labels.shape)} and {list(np.shape(certain))}.')
    if not 0 <= least_share <= 1:
        raise ValueError(f'`least_share` must be in [0, 1]; got {least_share}.')
    shown = labels > 0
    if not shown.any():
        return np.zeros(labels.shape, np.int32)
    cores = shown if certain is None or not np.any(certain & shown) else certain & shown
    regions = skimage.measure.label(cores, connectivity=2)
    areas = np.bincount(regions.ravel())[1:]
    objects = np.zeros(labels.shape, np.int32)
    for region in np.flatnonzero(areas >= least_share * areas.max()) + 1:
        inside = regions == region
        objects[inside] = objects.max() + _split(labels, inside)[inside]
    objects = _grown(objects, shown)
    objects = np.where(shown, _nearest(objects), 0)
    order = np.argsort(-np.bincount(objects.ravel())[1:], kind='stable')
    ranks = np.zeros(len(order) + 1, np.int32)
    ranks[order + 1] = np.arange(1, len(order) + 1)
    return ranks[objects]


def _split(labels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Numbers i32[H,W], from 1, of the objects of a region; see `separate`."""
    pieces = []
    for part in np.unique(labels[inside]):
        found = skimage.measure.label(inside & (labels == part), connectivity=2)
        areas = np.bincount(found.ravel())[1:]
        if areas.sum() >= _LEAST_PART * inside.sum():
            large = np.flatnonzero(areas >= _LEAST_PIECE * areas.max()) + 1
            pieces.append((found, large, areas[large - 1].sum()))
    counts = sorted(len(large) for _, large, _ in pieces)
    count = counts[(len(counts) - 1) // 2] if counts else 1
    if count == 1:
        return inside.astype(np.int32)
    found, large, _ = max((each for each in pieces if len(each[1]) == count),
                          key=lambda each: each[2])
    seeds = np.zeros(labels.shape, np.int32)
    for number, piece in enumerate(large, start=1):
        seeds[found == piece] = number
    return _grown(seeds, inside)


def _grown(seeds: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Seeds i32[H,W] grown at one speed over the pixels inside that they are connected with."""
    # A watershed on a flat landscape does so.
    return skimage.segmentation.watershed(
        np.zeros(seeds.shape), seeds, mask=inside, connectivity=_NEIGHBOURS)


def _nearest(objects: np.ndarray) -> np.ndarray:
    """The number of the object that is nearest to each pixel, i32[H,W]."""
    rows, columns = scipy.ndimage.distance_transform_edt(
        objects == 0, return_distances=False, return_indices=True)
    return objects[rows, columns]


def parts(part_responses: np.ndarray, labels: np.ndarray, objects: np.ndarray, *,
          power: float = 1.0) -> ObjectParts:
    """Parts of each object, from the responses that lie nearer to it than to any other object.

    A centre is the mean position weighted by the response (Eq. 1), or by its power.

    Args:
      part_responses: float[h,w,K+1]. R in [0, 1] at any size; channel 0, the background, is not
        used.
      labels: Integer [H,W]. 0 is background, k is the k-th part.
      objects: i32[H,W]. Objects of these labels; see `separate`.
      power: Exponent of the responses, above 0.

    Raises:
      ValueError: If the shapes do not fit.
    """
    responses = np.asarray(part_responses, np.float64)[..., 1:]
    if responses.ndim != 3 or np.shape(labels) != np.shape(objects):
        raise ValueError('`part_responses` must be of shape [h,w,K+1], and `objects` of the shape '
                         f'of `labels`; got {list(np.shape(part_responses))}, '
                         f'{list(np.shape(objects))} and {list(np.shape(labels))}.')
    num_objects, num_parts = int(objects.max()), responses.shape[-1]
    centers = np.zeros((num_objects, num_parts, 2))
    presence = np.zeros((num_objects, num_parts))
    areas = np.zeros((num_objects, num_parts), np.int64)
    if not num_objects:
        return ObjectParts(centers, presence, areas)
    size = responses.shape[:2]
    y, x = np.mgrid[:size[0], :size[1]]
    factors = np.array([labels.shape[1] / size[1], labels.shape[0] / size[0]])
    # The photo's pixel at the middle of each pixel of the responses.
    at = images.scale_points(np.stack([x, y], axis=-1), factors).round().astype(int)
    owner = _nearest(objects)[at[..., 1], at[..., 0]]
    for index in range(num_objects):
        own = responses * (owner == index + 1)[..., np.newaxis]
        presence[index] = own.max(axis=(0, 1))
        # Relative to its largest response, so that no power underflows; an empty part is spread
        # evenly over the object.
        weights = np.where(presence[index] > 0, own / np.maximum(presence[index], 1e-12),
                           (owner == index + 1)[..., np.newaxis]) ** power
        total = np.maximum(weights.sum(axis=(0, 1)), 1e-12)
        places = np.stack([np.tensordot(axis, weights, 2) / total for axis in (x, y)], axis=-1)
        centers[index] = images.scale_points(places, factors)
        areas[index] = np.bincount(
            labels[objects == index + 1], minlength=num_parts + 1)[1:num_parts + 1]
    return ObjectParts(centers, presence, areas)
