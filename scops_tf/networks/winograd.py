"""Winograd's algorithm for 3x3 convolutions: tiles of 4x4 results from 36 products instead of 144.

This is F(4x4, 3x3) of Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR
2016). A tile of results is Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, where g is the kernel and d the 6x6 cells
that the tile depends on. Summed over input channels, the 36 products become 36 matrix products. A
dilated convolution is a plain convolution of each of dilation² interleaved maps.

The gradients of a convolution have as few products. That of the maps is a convolution with the
kernel turned by 180°. That of the kernel is Gᵀ [Σ (A u Aᵀ) ⊙ (Bᵀ d B)] G, summed over the tiles,
where u is the gradient of a tile of results.
"""
from __future__ import annotations

from typing import Any, Tuple

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


def computes(layer: tf.keras.layers.Conv2D) -> bool:
    """Whether a layer is a 3x3 convolution of stride 1 with zeros beyond the border."""
    return (layer.kernel_size == (3, 3) and layer.strides == (1, 1) and layer.padding == 'same'
            and layer.dilation_rate[0] == layer.dilation_rate[1])


def excess(size: geometry.Size, dilation: int = 1) -> float:
    """Cells of all tiles over those of a map of `size` (height, width), at least 1.

    Tiles at the border reach beyond the map, unless its sides are multiples of 4 times `dilation`.
    """
    height, width = (_TILE * _num_tiles(length, dilation) for length in size)
    return height * width / (size[0] * size[1])


def convolution(maps: tf.Tensor, kernel: tf.Tensor, *, dilation: int = 1) -> tf.Tensor:
    """3x3 convolution of stride 1, with zeros beyond the border, for trained kernels.

    Its gradients are by the same algorithm, with differences of the same size; see `convolve`.

    Args:
      maps: f32[B,H,W,C]. H, W and C must be known in advance.
      kernel: f32[3,3,C,D].
      dilation: Dilation of the kernel, in cells.

    Returns:
      f32[B,H,W,D].
    """

    @tf.custom_gradient
    def differentiable(maps: tf.Tensor, kernel: tf.Tensor) -> Any:

        def gradients(upstream: tf.Tensor) -> Any:
            turned = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
            return (convolve(upstream, _spectra_of_kernel(turned), dilation=dilation),
                    _kernel_gradient(maps, upstream, dilation))

        return convolve(maps, _spectra_of_kernel(kernel), dilation=dilation), gradients

    return differentiable(maps, kernel)


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
    products = tf.matmul(_spectra(_B_TRANSPOSED, maps, dilation), transformed_kernel)
    results = tf.reshape(_transform(_A_TRANSPOSED, products), [-1, num_out])

    rows, columns = _num_tiles(height, dilation), _num_tiles(width, dilation)
    (row, down), (column, right) = _places(height, dilation), _places(width, dilation)
    tile = (tf.range(size)[:, None, None] * rows + row[:, None]) * columns + column
    place = down[:, None] * _TILE + right
    return tf.gather(results, place * (size * rows * columns) + tile)


def _kernel_gradient(maps: tf.Tensor, upstream: tf.Tensor, dilation: int) -> tf.Tensor:
    """Gradient f32[3,3,C,D] of a kernel from maps [B,H,W,C] and the results' gradient [B,H,W,D]."""
    products = tf.matmul(_spectra(_B_TRANSPOSED, maps, dilation),
                         _spectra(_A_TRANSPOSED.T, upstream, dilation), transpose_a=True)
    return tf.reshape(_transform(_G.T, products), [3, 3, maps.shape[3], upstream.shape[3]])


def _spectra_of_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """`transform_kernel` in a graph."""
    return tf.reshape(_transform(_G, kernel), [_WINDOW**2, *kernel.shape[2:]])


def _spectra(matrix: np.ndarray, maps: tf.Tensor, dilation: int) -> tf.Tensor:
    """The windows of all tiles, transformed by a matrix: f32[36,tiles,C] of maps [B,H,W,C].

    Args:
      matrix: [6,n]. Bᵀ, for windows of the 6 cells that a tile depends on, or A, for those of its 4
        results.
      maps: Maps of known height, width and channels.
      dilation: Dilation of the kernel, in cells.
    """
    height, width, channels = maps.shape[1:]
    # Gathering is several times as fast as slicing. Cell 0 stands for all cells beyond the border.
    cells = tf.concat([tf.zeros([1, channels]), tf.reshape(maps, [-1, channels])], axis=0)
    rows = _windows(height, dilation, width, matrix.shape[1])
    columns = _windows(width, dilation, 1, matrix.shape[1])
    photo = tf.range(tf.shape(maps)[0])[:, None, None]
    seen = 1 + photo * (height * width) + rows[:, None, None, :, None] + columns[:, None, None, :]
    windows = tf.gather(cells, tf.maximum(seen, 0))
    return tf.reshape(_transform(matrix, windows), [_WINDOW**2, -1, channels])


def _num_tiles(length: int, dilation: int) -> int:
    """Number of tiles along an axis."""
    return -(-length // (_TILE * dilation)) * dilation


def _windows(length: int, dilation: int, stride: int, window: int) -> np.ndarray:
    """Cells of each tile's window along an axis, times `stride`, or `_OUTSIDE`: i32[window,tiles].

    A window of 4 has the cells of the tile's results; one of 6 begins a cell before them.
    """
    tiles = np.arange(_num_tiles(length, dilation))
    first = tiles // dilation * (_TILE * dilation) + tiles % dilation
    before = (window - _TILE) // 2
    cells = first + dilation * (np.arange(window)[:, None] - before)
    return np.where((cells >= 0) & (cells < length), cells * stride, _OUTSIDE).astype(np.int32)


def _places(length: int, dilation: int) -> Tuple[np.ndarray, np.ndarray]:
    """Tile of each result along an axis, and its place within the tile: i32[length] each."""
    cells = np.arange(length, dtype=np.int32)
    return cells // (_TILE * dilation) * dilation + cells % dilation, cells // dilation % _TILE


def _transform(matrix: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """A matrix [m,n] along both axes of windows [n·n, ...], as one matrix product [m·m, ...]."""
    both = tf.constant(np.kron(matrix, matrix), values.dtype)
    return tf.matmul(both, tf.reshape(values, [matrix.shape[1]**2, -1]))
