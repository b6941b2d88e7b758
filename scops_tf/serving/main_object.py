"""The main object of a photo, to which part centres are restricted if there are several objects."""
from __future__ import annotations

import math
from typing import Any, Tuple

import tensorflow as tf

from scops_tf import geometry

# Steps of the mean shift. After these, 3 of 200 photos of faces and none of 88 photos of birds have
# a centre more than a pixel (of 384) from its place after 200 steps.
_STEPS = 20
# Added to every response, so that an empty map has a middle; far smaller than a visible response.
_EPSILON = 1e-12


def window(part_responses: Any, *, size: float) -> tf.Tensor:
    """A Gaussian window on the main object, placed by a mean shift.

    SCOPS assumes one object per photo. If a second face looks over a shoulder, the mean position of
    a part (Eq. 1) lies between both faces. The window weights the responses to avoid this. It
    starts at the mean position of all parts together and then moves repeatedly to their mean
    position weighted by the window (mean shift; Comaniciu & Meer, PAMI 2002). It usually ends on
    the larger object.

    The window is round in pixels of the map. Its standard deviation is a share of the radius of a
    disc with the foreground's area.

    Args:
      part_responses: float[B,H,W,K]. At least 0; background removed.
      size: The standard deviation as a share of that radius, above 0.

    Returns:
      float[B,H,W,1]. In [0, 1], with 1 in the middle of the window. A photo without any response
      has the window in the middle of the map.

    Raises:
      ValueError: If `part_responses` is not of rank 4 or of unknown size, or `size` is not above 0.
    """
    part_responses = geometry.as_float(part_responses) + _EPSILON
    height, width = geometry.static_size('part_responses', part_responses)
    if size <= 0:
        raise ValueError(f'`size` must be above 0; got {size}.')
    foreground = tf.reduce_sum(part_responses, axis=-1)
    mass = tf.reduce_sum(foreground, axis=(1, 2))
    # At least 1 pixel: with almost no foreground the window would otherwise miss every pixel.
    deviation = tf.maximum(size * tf.sqrt(mass / math.pi), 1.0)[:, tf.newaxis]
    x, y = (tf.range(length, dtype=mass.dtype)[tf.newaxis] for length in (width, height))

    def moved(along_x: tf.Tensor, along_y: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
        """The window's factors [B,W], [B,H] moved to the mean of the map that they weight.

        Products of the map and vectors suffice, so no tensor of the map's size is made.
        """
        masses = (along_x * tf.linalg.matvec(foreground, along_y, transpose_a=True),
                  along_y * tf.linalg.matvec(foreground, along_x))
        means = (tf.reduce_sum(of_axis * places, axis=1, keepdims=True)
                 / tf.reduce_sum(of_axis, axis=1, keepdims=True)
                 for of_axis, places in zip(masses, (x, y)))
        return tuple(tf.exp(-tf.square((places - mean) / deviation) / 2)
                     for places, mean in zip((x, y), means))

    along_x, along_y = tf.ones_like(x), tf.ones_like(y)
    for _ in range(_STEPS + 1):
        along_x, along_y = moved(along_x, along_y)
    return (along_y[:, :, tf.newaxis] * along_x[:, tf.newaxis, :])[..., tf.newaxis]
