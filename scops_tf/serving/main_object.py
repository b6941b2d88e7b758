"""The object that part centres are of, where a photo shows several or parts spill beside it."""
from __future__ import annotations

import math
from typing import Any, Tuple

import tensorflow as tf

from scops_tf import geometry

# Of the mean shift. Of 200 photos of faces three then still have a centre more than a pixel of 384
# from where 200 steps take it, and of 88 birds none.
_STEPS = 20
# Added to every response, for an empty map to have a middle; small against any that can be seen.
_EPSILON = 1e-12


def window(part_responses: Any, *, size: float) -> tf.Tensor:
    """A Gaussian on the main object, put there by a mean shift.

    SCOPS takes each photo for one of one object. Where a second face looks over a shoulder, the
    mean position under a part's response (Eq. 1) lies between both. So responses are weighed by a
    Gaussian that starts in the middle of all parts together and moves to their mean position under
    itself until it stands still (mean shift; Comaniciu & Meer, PAMI 2002): it ends on the larger
    object.

    The window is round in pixels of the map; its standard deviation is a share of the radius of a
    disc as large as the foreground.

    Args:
      part_responses: float[B,H,W,K]. At least 0; background removed.
      size: That share, above 0.

    Returns:
      float[B,H,W,1]. In [0, 1], 1 in the window's middle, which is the map's for a photo without
      any response.

    Raises:
      ValueError: If `part_responses` is not of rank 4 or of unknown size, or `size` is not above 0.
    """
    part_responses = geometry.as_float(part_responses) + _EPSILON
    height, width = geometry.static_size('part_responses', part_responses)
    if size <= 0:
        raise ValueError(f'`size` must be above 0; got {size}.')
    foreground = tf.reduce_sum(part_responses, axis=-1)
    mass = tf.reduce_sum(foreground, axis=(1, 2))
    # Of 1 pixel at least, or a window on next to nothing would hold none.
    deviation = tf.maximum(size * tf.sqrt(mass / math.pi), 1.0)[:, tf.newaxis]
    x, y = (tf.range(length, dtype=mass.dtype)[tf.newaxis] for length in (width, height))

    def moved(along_x: tf.Tensor, along_y: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
        """The window [B,W], [B,H], a factor per axis, on the mean of the one given times the map.

        As products of the map and vectors: nothing of the map's size is made.
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
