"""Winograd's algorithm for 3x3 convolutions: tiles of 4x4 results from 36 products instead of 144.

This is F(4x4, 3x3) of Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR
2016). A tile of results is Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, where g is the kernel and d the 6x6 cells
that the tile depends on. Summed over input channels, the 36 products become 36 matrix products. A
dilated convolution is a plain convolution of each of dilation² interleaved maps.
"""
from __future__ import annotations

from typing import Tuple

import numpy as np
import tensorflow as tf

from scops_tf import geometry

_TILE, _WINDOW = 4, 6

# Points at which the algorithm evaluates polynomials, besides infinity. The customary points 0, ±1,
# ±2 give integer matrices, but four times the largest rounding error of these points.
_POINTS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)

# Negative even after the index of any cell is added; the sum of two such numbers fits 32 bits.
_OUTSIDE = -2**30


def _matrices() -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ, G and Bᵀ of F(4, 3), by Cook and Toom's construction."""
    powers = np.vander(_POINTS, _TILE, increasing=True)
    infinity = np.eye(_TILE)[-1:]
    a = np.concatenate([powers, infinity])
    g = np.concatenate([powers[:, :3], infinity[:, 1:]])
    b = np.zeros((_WINDOW, _WINDOW))
    for index, point in enumerate(_POINTS):
        others = np.delete(_POINTS, index)
        b[index, :-1] = np.poly(others)[::-1]
        g[index] /= np.prod(point - others)
    b[-1] = np.poly(_POINTS)[::-1]
    return a.T, g, b


_A_TRANSPOSED, _G, _B_TRANSPOSED = _matrices()


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """G g Gᵀ for every pair of channels, f32[36,C,D], from a kernel f32[3,3,C,D]."""
    if kernel.shape[:2] != (3, 3):
        raise ValueError(f'`kernel` must be [3, 3, C, D]; got {kernel.shape}.')
    transformed = np.einsum('ai,bj,ijcd->abcd', _G, _G, kernel.astype(np.float64))
    return transformed.reshape(_WINDOW**2, *kernel.shape[2:]).astype(np.float32)


def convolve(maps: tf.Tensor, transformed_kernel: tf.Tensor, *, dilation: int = 1) -> tf.Tensor:
    """3x3 convolution of stride 1, with zeros beyond the border.

    Sums are in another order than in `tf.nn.conv2d`. The difference is at most 1e-5 in float32,
    relative to the largest result.

    Args:
      maps: f32[B,H,W,C]. H, W and C must be known in advance.
      transformed_kernel: f32[36,C,D]. Result of `transform_kernel`.
      dilation: Dilation of the kernel, in cells.

    Returns:
      f32[B,H,W,D].
    """
    height, width = geometry.static_size('maps', maps)
    num_in, num_out = transformed_kernel.shape[1:]
    size = tf.shape(maps)[0]
    photo = tf.range(size)[:, None, None]
    rows, columns = _windows(height, dilation, width), _windows(width, dilation, 1)
    tiles = rows.shape[1], columns.shape[1]

    # Gathering is several times as fast as slicing. Cell 0 stands for all cells beyond the border.
    cells = tf.concat([tf.zeros([1, num_in]), tf.reshape(maps, [-1, num_in])], axis=0)
    seen = 1 + photo * (height * width) + rows[:, None, None, :, None] + columns[:, None, None, :]
    spectra = _transform(_B_TRANSPOSED, tf.gather(cells, tf.maximum(seen, 0)))
    products = tf.matmul(tf.reshape(spectra, [_WINDOW**2, -1, num_in]), transformed_kernel)
    results = tf.reshape(_transform(_A_TRANSPOSED, products), [-1, num_out])

    (row, down), (column, right) = _places(height, dilation), _places(width, dilation)
    tile = (photo * tiles[0] + row[:, None]) * tiles[1] + column
    place = down[:, None] * _TILE + right
    return tf.gather(results, place * (size * tiles[0] * tiles[1]) + tile)


def _windows(length: int, dilation: int, stride: int) -> np.ndarray:
    """Cells that each tile reads along an axis, times `stride`, or `_OUTSIDE`; i32[6,tiles]."""
    tiles = np.arange(-(-length // (_TILE * dilation)) * dilation)
    first = tiles // dilation * (_TILE * dilation) + tiles % dilation
    cells = first + dilation * (np.arange(_WINDOW)[:, None] - 1)
    return np.where((cells >= 0) & (cells < length), cells * stride, _OUTSIDE).astype(np.int32)


def _places(length: int, dilation: int) -> Tuple[np.ndarray, np.ndarray]:
    """Tile of each result along an axis, and its place within the tile: i32[length] each."""
    cells = np.arange(length, dtype=np.int32)
    return cells // (_TILE * dilation) * dilation + cells % dilation, cells // dilation % _TILE


def _transform(matrix: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """The matrix applied along both axes of windows [36, ...], as one matrix product [n, ...]."""
    both = tf.constant(np.kron(matrix, matrix), values.dtype)
    return tf.matmul(both, tf.reshape(values, [_WINDOW**2, -1]))
