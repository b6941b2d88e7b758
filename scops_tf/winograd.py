"""Winograd's algorithm for 3x3 convolutions: tiles of 4x4 results from 36 products instead of 144.

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), F(4x4, 3x3): a tile
of results is Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A of the kernel g and of the 6x6 cells d that it sees. Summed
over input channels, the 36 products are 36 matrix products. A dilated convolution is one on each of
dilation² interleaved maps.
"""
from __future__ import annotations

import numpy as np
import tensorflow as tf

from scops_tf import geometry

_TILE, _WINDOW = 4, 6

_B_TRANSPOSED = np.array([[4, 0, -5, 0, 1, 0],
                          [0, -4, -4, 1, 1, 0],
                          [0, 4, -4, -1, 1, 0],
                          [0, -2, -1, 2, 1, 0],
                          [0, 2, -1, -2, 1, 0],
                          [0, 4, 0, -5, 0, 1]], np.float64)
_G = np.array([[1 / 4, 0, 0],
               [-1 / 6, -1 / 6, -1 / 6],
               [-1 / 6, 1 / 6, -1 / 6],
               [1 / 24, 1 / 12, 1 / 6],
               [1 / 24, -1 / 12, 1 / 6],
               [0, 0, 1]], np.float64)
_A_TRANSPOSED = np.array([[1, 1, 1, 1, 1, 0],
                          [0, 1, -1, 2, -2, 0],
                          [0, 1, 1, 4, 4, 0],
                          [0, 1, -1, 8, -8, 1]], np.float64)


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """G g Gᵀ of every pair of channels: f32[3,3,C,D] -> f32[36,C,D]."""
    if kernel.shape[:2] != (3, 3):
        raise ValueError(f'`kernel` must be [3, 3, C, D]; got {kernel.shape}.')
    transformed = np.einsum('ai,bj,ijcd->abcd', _G, _G, kernel.astype(np.float64))
    return transformed.reshape(_WINDOW**2, *kernel.shape[2:]).astype(np.float32)


def convolve(maps: tf.Tensor, transformed_kernel: tf.Tensor, *, dilation: int = 1) -> tf.Tensor:
    """3x3 convolution of stride 1, zeros beyond the border.

    Within 1e-5 of `tf.nn.conv2d` in float32, relative to the largest result: the transforms weigh
    cells by up to 8, and sums are in another order.

    Args:
      maps: f32[B,H,W,C]. H, W and C must be known in advance.
      transformed_kernel: f32[36,C,D], of `transform_kernel`.
      dilation: Of the kernel, in cells.

    Returns:
      f32[B,H,W,D].
    """
    height, width = geometry.static_size('maps', maps)
    num_in, num_out = transformed_kernel.shape[1:]
    block = _TILE * dilation
    rows, columns = -(-height // block), -(-width // block)
    # One block more than there are tiles, as the last tile sees two cells beyond itself.
    padded = tf.pad(maps, [[0, 0], [dilation, (rows + 1) * block - height - dilation],
                           [dilation, (columns + 1) * block - width - dilation], [0, 0]])
    cells = tf.reshape(
        padded, [-1, rows + 1, _TILE, dilation, columns + 1, _TILE, dilation, num_in])
    windows = []
    for y, x in np.ndindex(_WINDOW, _WINDOW):
        (down, row), (right, column) = divmod(y, _TILE), divmod(x, _TILE)
        windows.append(cells[:, down:down + rows, row, :, right:right + columns, column])
    spectra = _transform(_B_TRANSPOSED, tf.stack(windows))
    products = tf.matmul(tf.reshape(spectra, [_WINDOW**2, -1, num_in]), transformed_kernel)
    tiles = tf.reshape(_transform(_A_TRANSPOSED, products),
                       [_TILE, _TILE, -1, rows, dilation, columns, dilation, num_out])
    results = tf.reshape(tf.transpose(tiles, [2, 3, 0, 4, 5, 1, 6, 7]),
                         [-1, rows * block, columns * block, num_out])
    return results[:, :height, :width]


def _transform(matrix: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """The matrix applied along both axes of windows [36, ...], as one product: [n, anything]."""
    both = tf.constant(np.kron(matrix, matrix), values.dtype)
    return tf.matmul(both, tf.reshape(values, [_WINDOW**2, -1]))
