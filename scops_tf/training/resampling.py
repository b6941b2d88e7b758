"""Maps sampled between their pixels, and thin-plate splines, in plain TensorFlow.

These are the three functions of TensorFlow Addons that `warp` needs, for the releases of TensorFlow
on which TensorFlow Addons does not run. Values and gradients are the same.
"""
from __future__ import annotations

from typing import Tuple

import tensorflow as tf

# Least squared distance in a logarithm, which it keeps finite.
_LEAST_SQUARE = 1e-10


def bilinear(maps: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Maps at points, bilinearly between the four pixels around each.

    A point outside the maps has the value at the nearest point of their border. Gradients flow into
    maps and points.

    Args:
      maps: f32[B,H,W,C]. Height and width are known and at least 2.
      points: f32[B,N,2]. (x, y) in pixels.

    Returns:
      f32[B,N,C].
    """
    height, width = maps.shape[1:3]
    last = tf.constant([width - 2, height - 2], tf.float32)
    corner = tf.clip_by_value(tf.floor(points), 0.0, last)
    # On a pixel itself the derivative by the point is 0, as that of TensorFlow Addons.
    along_x, along_y = tf.split(
        tf.minimum(tf.maximum(0.0, points - corner), 1.0), 2, axis=-1)
    x, y = tf.unstack(tf.cast(corner, tf.int32), axis=-1)
    pixels = tf.reshape(maps, [-1, height * width, maps.shape[3]])

    def row(y: tf.Tensor) -> tf.Tensor:
        left, right = (tf.gather(pixels, y * width + column, batch_dims=1)
                       for column in (x, x + 1))
        return left + along_x * (right - left)

    upper, lower = row(y), row(y + 1)
    return upper + along_y * (lower - upper)


def project(maps: tf.Tensor, transforms: tf.Tensor, output_shape: Tuple[int, int]) -> tf.Tensor:
    """Maps at the projected pixels of a view, as `bilinear` gives them.

    Args:
      maps: f32[B,H,W,C].
      transforms: f32[B,8]. Rows of the matrix from pixels (x, y, 1) of the view to those of the
        maps, without its last entry, which is 1.
      output_shape: (h, w) of the view.

    Returns:
      f32[B,h,w,C]. The gradient that TensorFlow has registered is not that of these values.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=maps, transforms=transforms, output_shape=output_shape, fill_value=0.0,
        interpolation='BILINEAR', fill_mode='NEAREST')


def spline(centers: tf.Tensor, values: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Thin-plate splines through values at centres, at points; gradients flow into all three.

    Among the functions that take these values at the centres, it is the one that bends least:
    f(p) = sum_i w_i phi(|p - c_i|) + a linear map of (x, y, 1), with phi(r) = r^2 log r, and
    weights w that are orthogonal to all linear maps.

    Args:
      centers: f32[B,n,2]. (x, y); not all on a line.
      values: f32[B,n,k].
      points: f32[B,N,2], or [1,N,2] for the same points of every spline.

    Returns:
      f32[B,N,k].
    """
    own = _terms(centers, centers)
    linear = own[..., -3:]
    orthogonal = tf.pad(tf.linalg.matrix_transpose(linear), [[0, 0], [0, 0], [0, 3]])
    weights = tf.linalg.solve(tf.concat([own, orthogonal], axis=1),
                              tf.pad(values, [[0, 0], [0, 3], [0, 0]]))
    return tf.matmul(_terms(points, centers), weights)


def _terms(points: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """What a spline of n centres is a combination of, f32[B,N,n+3]: each phi, then x, y and 1."""
    difference = points[:, :, None] - centers[:, None]
    square = tf.reduce_sum(tf.square(difference), axis=-1)
    # r^2 log r, of the square of r.
    bent = 0.5 * square * tf.math.log(tf.maximum(square, _LEAST_SQUARE))
    linear = tf.concat([points, tf.ones_like(points[..., :1])], axis=-1)
    shape = tf.concat([tf.shape(bent)[:2], [3]], axis=0)
    return tf.concat([bent, tf.broadcast_to(linear, shape)], axis=-1)
