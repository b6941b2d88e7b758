"""Guided filter: maps that follow the borders of a photo, by box filters alone.

    K. He, J. Sun, X. Tang: Guided Image Filtering. PAMI 2013; and its fast form, K. He, J. Sun:
    Fast Guided Filter. arXiv 1505.00996, 2015.

In every window a map is fitted as a linear function of the photo's colours. The fits are computed
on a coarse grid, up-sampled, and applied to the colours of all pixels.
"""
from __future__ import annotations

from typing import Any, List

import tensorflow as tf

from scops_tf import geometry


def filtered(maps: Any, photos: Any, *, radius: int, epsilon: float) -> tf.Tensor:
    """Maps up-sampled to the size of the photos, whose borders they follow.

    A constant map stays as it is, and sums over channels do too, since the filter is linear.

    Args:
      maps: f32[B,h,w,C]. All sizes but B must be known in advance.
      photos: f32[B,H,W,3]. RGB in [0, 1]; the same.
      radius: Radius of the windows in cells of the maps, at least 1.
      epsilon: Variance of the colours, above 0. Windows of less contrast are smoothed.

    Returns:
      f32[B,H,W,C]. Values may leave the range of `maps` a little.

    Raises:
      ValueError: If `maps` is of unknown size, or an option is out of range.
    """
    if radius < 1 or epsilon <= 0:
        raise ValueError(f'`radius` must be at least 1 and `epsilon` above 0; got {radius} and '
                         f'{epsilon}.')
    grid = geometry.static_size('maps', maps)
    colors = tf.unstack(geometry.downsample(photos, grid)[..., tf.newaxis], axis=3)
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    means = _box(tf.concat([
        maps, *colors, *(colors[first] * colors[second] for first, second in pairs),
        *(color * maps for color in colors)], axis=-1), radius)
    sizes = [maps.shape[-1]] + [1] * (len(colors) + len(pairs)) + [maps.shape[-1]] * len(colors)
    mean_map, *means = tf.split(means, sizes, axis=-1)
    mean_colors, products, with_maps = means[:3], means[3:9], means[9:]
    covariances = [product - mean_colors[first] * mean_colors[second] + epsilon * (first == second)
                   for product, (first, second) in zip(products, pairs)]
    slopes = _solve(covariances, [product - color * mean_map
                                  for product, color in zip(with_maps, mean_colors)])
    offset = mean_map - tf.add_n([slope * color for slope, color in zip(slopes, mean_colors)])
    fits = tf.image.resize(
        _box(tf.concat([*slopes, offset], axis=-1), radius), geometry.static_size('photos', photos))
    *slopes, offset = tf.split(fits, 4, axis=-1)
    return offset + tf.add_n([slope * photos[..., channel:channel + 1]
                              for channel, slope in enumerate(slopes)])


def _solve(matrix: List[tf.Tensor], right: List[tf.Tensor]) -> List[tf.Tensor]:
    """Solutions of symmetric systems of three equations, by elimination.

    TensorFlow's own operation for it is in no other runtime.

    Args:
      matrix: The six entries [..., 1] of the upper half of the matrices, row by row; the matrices
        are positive definite.
      right: The three right sides [..., C].
    """
    xx, xy, xz, yy, yz, zz = matrix
    first, second, third = right
    down, far = xy / xx, xz / xx
    yy, yz, zz = yy - down * xy, yz - down * xz, zz - far * xz
    second, third = second - down * first, third - far * first
    below = yz / yy
    z = (third - below * second) / (zz - below * yz)
    y = (second - yz * z) / yy
    return [(first - xy * y - xz * z) / xx, y, z]


def _box(maps: tf.Tensor, radius: int) -> tf.Tensor:
    """Means over windows of 2 `radius` + 1 cells a side; cells beyond the border do not count."""
    side = 2 * radius + 1
    return tf.nn.avg_pool2d(tf.nn.avg_pool2d(maps, (side, 1), 1, 'SAME'), (1, side), 1, 'SAME')
