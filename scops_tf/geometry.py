"""Coordinates of the maps: the frame, part centres, spatial variance, corners-aligned up-sampling.

Points in the frame are (x, y), x to the right and y down. Each axis runs from -1 at the centre of
the first pixel to 1 at the centre of the last one; the single pixel of an axis of length 1 lies at
0. The frame does not depend on the resolution, so a point means the same on a photo, on its
features and on its part logits.
"""
from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

Size = Tuple[int, int]  # (height, width) in pixels.


def as_float(values: Any) -> tf.Tensor:
    """The values in at least single precision: float64 stays, everything else becomes float32.

    Soft-max, logarithms and sums over pixels lose too much in float16 and bfloat16.
    """
    values = tf.convert_to_tensor(values)
    return values if values.dtype == tf.float64 else tf.cast(values, tf.float32)


def require_shape(
    name: str, tensor: tf.Tensor, layout: str, shape: Sequence[Optional[int]]
) -> None:
    """Raises a ValueError that names the argument unless its static shape fits `shape`."""
    if not tensor.shape.is_compatible_with(shape):
        wanted = ', '.join('any' if side is None else str(side) for side in shape)
        raise ValueError(
            f'`{name}` must be {layout}, of shape ({wanted}) here; got {tensor.shape}.'
        )


def static_size(name: str, maps: tf.Tensor) -> Size:
    """(height, width) of maps [B,H,W,C], which must be known when a graph is traced."""
    require_shape(name, maps, '[B, H, W, C]', [None] * 4)
    if maps.shape.rank is None or None in maps.shape[1:].as_list():
        raise ValueError(
            f'`{name}` must have a height, width and channels known in advance; got the '
            f'shape {maps.shape}; batch images of one size.'
        )
    return maps.shape[1], maps.shape[2]


def axis_coordinates(length: int) -> np.ndarray:
    """Frame coordinates of the pixel centres along one axis, f64[length]."""
    return np.linspace(-1.0, 1.0, length) if length > 1 else np.zeros(length)


def coordinate_grid(size: Size) -> tf.Tensor:
    """Frame coordinates (x, y) of every pixel centre of a map of `size`, f32[H,W,2]."""
    x, y = np.meshgrid(axis_coordinates(size[1]), axis_coordinates(size[0]))
    return tf.constant(np.stack([x, y], axis=-1), tf.float32)


def _half_extent(points: Any, size: Size) -> np.ndarray:
    """Pixels per unit of the frame along x and y, in the precision of `points`."""
    dtype = getattr(points.dtype, 'as_numpy_dtype', points.dtype)
    return np.array([(size[1] - 1) / 2, (size[0] - 1) / 2], dtype)


def frame_to_pixels(points: Any, size: Size) -> Any:
    """Converts points in the frame to pixel coordinates (x, y) on a map of `size`.

    Args:
      points: float[...,2], an array or a tensor. (x, y) in the frame.
      size: (height, width) of the map in pixels.

    Returns:
      float[...,2], an array or a tensor as `points` is. (x, y) in pixels; the centre of the first
      pixel is (0, 0).
    """
    return (points + 1) * _half_extent(points, size)


def is_inside(points: tf.Tensor) -> tf.Tensor:
    """Whether points float[...,2] lie within the frame or on its border, bool[...].

    A tolerance, about 1e-3 pixels on a side of 256, absorbs float32 rounding at the border.
    """
    return tf.reduce_all(tf.abs(points) <= 1 + 1e-5, axis=-1)


def _distributions(
    part_responses: Any, epsilon: float
) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Distributions R / z of the parts along x [B,W,K] and y [B,H,K], and the coordinates x and y.

    A centre or variance along x needs only the sum of each column, one along y only the sum of each
    row. This is far less work than with full maps, and no large numbers are subtracted.
    """
    part_responses = as_float(part_responses)
    height, width = static_size('part_responses', part_responses)
    if epsilon < 0:
        raise ValueError(f'`epsilon` must be at least 0; got {epsilon}.')
    along_x = tf.reduce_sum(part_responses, axis=1) + epsilon * height
    along_y = tf.reduce_sum(part_responses, axis=2) + epsilon * width
    mass = tf.reduce_sum(along_x, axis=1, keepdims=True)
    x = tf.constant(axis_coordinates(width)[:, None], part_responses.dtype)
    y = tf.constant(axis_coordinates(height)[:, None], part_responses.dtype)
    return tf.math.divide_no_nan(along_x, mass), tf.math.divide_no_nan(along_y, mass), x, y


def part_centers(part_responses: Any, *, epsilon: float = 0.0) -> tf.Tensor:
    """Part centres (Eq. 1): mean position of the pixels, weighted by R + epsilon.

    Args:
      part_responses: float[B,H,W,K]. R, at least 0; background removed.
      epsilon: Constant added to every pixel before normalizing, at least 0.

    Returns:
      float[B,K,2]. (x, y) in the frame; (0, 0) for a uniform map, and for a map of zeros.

    Raises:
      ValueError: If `part_responses` is not of rank 4 or of unknown size, or `epsilon` is negative.
    """
    along_x, along_y, x, y = _distributions(part_responses, epsilon)
    return tf.stack(
        [tf.reduce_sum(along_x * x, axis=1), tf.reduce_sum(along_y * y, axis=1)], axis=-1
    )


def spatial_variance(part_responses: Any, *, epsilon: float = 0.0) -> tf.Tensor:
    """Spatial variance of each part (inner sum of Eq. 2): mean squared distance to the part centre.

    Args:
      part_responses: float[B,H,W,K]. R, at least 0; background removed.
      epsilon: Constant added to every pixel before normalizing, at least 0. The centre has it too.

    Returns:
      float[B,K]. Squared units of the frame, x and y summed; 0 for a map of zeros without
      `epsilon`.

    Raises:
      ValueError: See `part_centers`.
    """
    along_x, along_y, x, y = _distributions(part_responses, epsilon)
    center_x = tf.reduce_sum(along_x * x, axis=1, keepdims=True)
    center_y = tf.reduce_sum(along_y * y, axis=1, keepdims=True)
    return (tf.reduce_sum(along_x * tf.square(x - center_x), axis=1)
            + tf.reduce_sum(along_y * tf.square(y - center_y), axis=1))


def interpolation_matrix(num_inputs: int, num_outputs: int) -> np.ndarray:
    """Matrix f64[num_outputs,num_inputs] of linear interpolation of an axis, its ends aligned."""
    if num_outputs == 1:
        positions = np.zeros(1)  # `ResizeBilinear` takes the first pixel too.
    else:
        positions = np.arange(num_outputs) * ((num_inputs - 1) / (num_outputs - 1))
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(num_inputs)))


def upsample(maps: Any, size: Size) -> tf.Tensor:
    """Bilinear resizing with the corners aligned, which keeps the frame of `maps`.

    Args:
      maps: float[B,h,w,C].
      size: (H, W) of the result.

    Returns:
      float[B,H,W,C]. float64 for float64, else float32.
    """
    maps = as_float(maps)
    if maps.dtype != tf.float64:
        return tf.raw_ops.ResizeBilinear(images=maps, size=size, align_corners=True)
    return upsample_by_products(maps, size)  # The operation always computes in float32.


def upsample_by_products(maps: Any, size: Size) -> tf.Tensor:
    """Does what `upsample` does, for maps of known size, by two matrix products.

    For few channels it is about as fast as `upsample`, and its gradient is several times as fast.
    """
    maps = as_float(maps)
    height, width = static_size('maps', maps)
    return _resample(
        maps, interpolation_matrix(height, size[0]), interpolation_matrix(width, size[1]))


def downsample(maps: Any, size: Size) -> tf.Tensor:
    """Does what `tf.image.resize` with `antialias` does, for maps of known size, by products.

    The operation behind it is TensorFlow's alone, and matrix products are in every runtime.

    Args:
      maps: f32[B,h,w,C].
      size: (H, W) of the result, numbers.

    Returns:
      f32[B,H,W,C]. `maps` themselves where they have that size.
    """
    maps = as_float(maps)
    own = static_size('maps', maps)
    if own == tuple(size):
        return maps
    # A saved gradient of our own would be warned of wherever an export with it is loaded.
    return _products(maps, *map(_antialiasing_matrix, own, size))


def _antialiasing_matrix(num_inputs: int, num_outputs: int) -> np.ndarray:
    """Matrix f32[num_outputs,num_inputs] of antialiased resizing of an axis."""
    with tf.init_scope():  # The numbers are needed while a graph is made.
        units = tf.eye(num_inputs)[tf.newaxis, ..., tf.newaxis]
        return tf.image.resize(units, (num_outputs, num_inputs), antialias=True).numpy()[0, ..., 0]


def _resample(maps: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
    """Maps [B,h,w,C] resampled to [B,H,W,C] by matrices [H,h] and [W,w].

    Gradients flow to the maps alone.
    """

    @tf.custom_gradient
    def resample(maps: tf.Tensor) -> Tuple[tf.Tensor, Any]:
        # Gradients of the matrices would need memory of the size of all maps.
        return (_products(maps, rows, columns),
                lambda upstream: _resample(upstream, rows.T, columns.T))

    return resample(maps)


def _products(maps: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
    height, width, channels = maps.shape[1:]
    taller = tf.matmul(tf.constant(rows, maps.dtype),
                       tf.reshape(maps, [-1, height, width * channels]))
    wider = tf.matmul(tf.constant(columns, maps.dtype),
                      tf.reshape(taller, [-1, width, channels]))
    return tf.reshape(wider, [-1, len(rows), len(columns), channels])
