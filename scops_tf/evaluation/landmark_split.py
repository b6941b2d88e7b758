"""Part centres and landmarks of images: checks, and conversion to the frame of a protocol."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scops_tf.evaluation.contingency import MetricError

# No image is as large in any frame, nor is an object or the distance of two eyes as small, so other
# numbers are damaged. Within these bounds all scores are finite.
MAX_COORDINATE = 1e6
MIN_LENGTH = 1e-6


class Split(NamedTuple):
    """Part centres and annotations of the images that a regression is fitted or tested on.

    Points are (x, y) or (y, x), in one order and one frame in all arrays.

    Attributes:
      centers: f[N,K,2]. Part centres; NaN if a part has no centre.
      landmarks: f[N,L,2]. Landmarks. Coordinates of invisible ones are ignored.
      visible: bool[N,L]. Whether each landmark can be seen; None if all can.
      boxes: f[N,4]. Boxes (x, y, width, height), or (y, x, height, width) for points (y, x); or
        None.
      classes: int[N]. Category of each image, or None.
    """

    centers: np.ndarray
    landmarks: np.ndarray
    visible: np.ndarray | None = None
    boxes: np.ndarray | None = None
    classes: np.ndarray | None = None


def checked(split: Split, name: str) -> Split:
    """The split in float64, with `visible` filled in.

    Raises:
      MetricError: If a field has a wrong shape, type or value. Coordinates must lie in
        [-MAX_COORDINATE, MAX_COORDINATE], and sides of boxes in [MIN_LENGTH, MAX_COORDINATE].
    """
    def is_far(points: np.ndarray) -> np.ndarray:
        return ~(np.abs(points) <= MAX_COORDINATE)

    def numbers(field: str, shape: tuple[int | None, ...], kinds: str = 'fiu') -> np.ndarray:
        array = np.asarray(getattr(split, field))
        fits = array.ndim == len(shape) and array.size and all(
            want in (None, got) for want, got in zip(shape, array.shape))
        if not fits or array.dtype.kind not in kinds:
            wanted = ', '.join('any' if want is None else str(want) for want in shape)
            kind = 'booleans' if kinds == 'b' else 'whole numbers' if kinds == 'iu' else 'numbers'
            raise MetricError(f'`{field}` of the {name} images must be {kind} of shape [{wanted}], '
                              f'not empty; got {array.dtype}{list(array.shape)}.')
        return array.astype(np.float64) if kinds == 'fiu' else array

    centers = numbers('centers', (None, None, 2))
    landmarks = numbers('landmarks', (len(centers), None, 2))
    visible = (np.ones(landmarks.shape[:2], bool) if split.visible is None
               else numbers('visible', landmarks.shape[:2], 'b'))
    boxes = None if split.boxes is None else numbers('boxes', (len(centers), 4))
    classes = None if split.classes is None else numbers('classes', (len(centers),), 'iu')
    if not visible.any():
        raise MetricError(f'`visible` must be true for at least one landmark of the {name} images; '
                          'got none.')
    for field, bad in (('centers', (is_far(centers) & ~np.isnan(centers)).any((1, 2))),
                       ('landmarks', (visible & is_far(landmarks).any(2)).any(1)),
                       ('boxes', np.zeros(1, bool) if boxes is None else
                        (is_far(boxes) | (boxes < (-np.inf, -np.inf, MIN_LENGTH, MIN_LENGTH))
                         ).any(1))):
        if bad.any():
            law = {'centers': f'must be at most {MAX_COORDINATE:.0f} from the origin, or NaN',
                   'landmarks': f'must be at most {MAX_COORDINATE:.0f} from the origin where '
                                'visible',
                   'boxes': f'must be at most {MAX_COORDINATE:.0f} from the origin, and their '
                            f'sides from {MIN_LENGTH:.6f} to {MAX_COORDINATE:.0f}'}[field]
            raise MetricError(f'`{field}` of the {name} images {law}; those of image '
                              f'{np.flatnonzero(bad)[0]} are not.')
    return Split(centers, landmarks, visible, boxes, classes)


class Frame(NamedTuple):
    """A split in the frame of a protocol's regression.

    Attributes:
      inputs: f64[N,2K]. Part centres.
      targets: f64[N,L,2]. Landmarks; invisible ones are 0.
      visible: bool[N,L]. Whether each landmark can be seen.
      unit: f64[N]. Length that errors are divided by; NaN for an image that is not scored.
    """

    inputs: np.ndarray
    targets: np.ndarray
    visible: np.ndarray
    unit: np.ndarray

    def errors(self, predicted: np.ndarray) -> np.ndarray:
        """Errors f64[N,L] of predicted landmarks f64[N,L,2], in per cent; NaN if not scored."""
        distances = np.linalg.norm(predicted - self.targets, axis=2) / self.unit[:, None]
        return np.where(self.visible, 100.0 * distances, np.nan)


def framed(split: Split, protocol: str, eyes: tuple[int, int], name: str) -> Frame:
    """Converts a split to the frame of a protocol.

    Args:
      split: Result of `checked`.
      protocol: One of `landmark_regression.PROTOCOLS`.
      eyes: Numbers of the two eyes; see `landmark_regression.regress`.
      name: Name of the split in error messages.

    Raises:
      MetricError: If the protocol needs boxes or eyes that are missing, or the two eyes of an image
        coincide.
    """
    centers, visible = split.centers, split.visible
    landmarks = np.where(visible[..., None], split.landmarks, 0.0)
    unit = np.ones(len(centers))
    if protocol == 'cub':
        if split.boxes is None:
            raise MetricError(f'`boxes` of the {name} images must be given for the protocol '
                              '\'cub\'; got none.')
        corner, side = split.boxes[:, None, :2], split.boxes[:, None, 2:]
        centers, landmarks = (centers - corner) / side, (landmarks - corner) / side
    else:
        first, second = eyes
        if first == second or not all(0 <= eye < landmarks.shape[1] for eye in eyes):
            raise MetricError(f'`eyes` must be two of the landmarks 0 to {landmarks.shape[1] - 1}; '
                              f'got {first} and {second}.')
        known = visible[:, first] & visible[:, second]
        distance = np.linalg.norm(landmarks[:, first] - landmarks[:, second], axis=1)
        if (distance[known] < MIN_LENGTH).any():
            at = np.flatnonzero(known & (distance < MIN_LENGTH))[0]
            raise MetricError(f'`landmarks` of the {name} images must have two eyes at different '
                              f'places, at least {MIN_LENGTH:.6f} apart; image {at} has '
                              f'both at {landmarks[at, first].tolist()}.')
        unit = np.where(known, distance, np.nan)
        if protocol == 'huang':
            scale = np.where(known, distance, 1.0)[:, None, None]
            centers, landmarks = centers / scale, landmarks / scale
            visible, unit = visible & known[:, None], np.where(known, 1.0, np.nan)
    return Frame(centers.reshape(len(centers), -1), landmarks, visible, unit)
