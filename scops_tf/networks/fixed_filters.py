"""Features from fixed filters, which need no weights: colour and texture at every place of a photo.

Responses are never negative. They tell parts of drawn or strongly patterned objects apart, but they
carry no knowledge of objects.
"""
from __future__ import annotations

from typing import Any, List

import numpy as np
import tensorflow as tf

STRIDE = 4
MIN_SIDE = 24  # The coarsest filters reach 24 pixels from their centre.
TAPS = ('color', 'texture')

_NUM_HUES = 8
_NUM_LEVELS = 3  # Octaves of texture.
_NUM_ORIENTATIONS = 4
NUM_CHANNELS = (_NUM_HUES + 3, _NUM_LEVELS * (_NUM_ORIENTATIONS + 3))

# Sigma of Gaussians in pixels of the photo: wide enough to bridge the gaps between dots or stripes.
_COLOR_SMOOTHING = 4.0
_TEXTURE_SMOOTHING = 5.0

_WAVELENGTH = 4.0  # Wavelength of the oriented filters, in pixels of their level.

# These factors bring coherence and blobs to about the magnitude of the oriented energies.
_COHERENCE_GAIN = 2.0
_BLOB_GAIN = 2.0


def taps(images: Any) -> List[tf.Tensor]:
    """Both kinds of responses, in the order of `TAPS`.

    Args:
      images: f32[B,H,W,3]. RGB in [0, 1]; at least `MIN_SIDE` pixels a side.

    Returns:
      f32[B,h,w,11], colour, and f32[B,h,w,21], texture, both at least 0. h and w are H and W over
      4, rounded up. Corners are aligned.

    Raises:
      ValueError: If the images are smaller than `MIN_SIDE`.
      tf.errors.InvalidArgumentError: If they are smaller and their size is known only when the
        graph runs.
    """
    images = tf.convert_to_tensor(images, tf.float32)
    law = f'`images` must have at least {MIN_SIDE} pixels a side.'
    if images.shape[1:3].is_fully_defined():
        size = np.array(images.shape[1:3])
        if size.min() < MIN_SIDE:
            raise ValueError(f'{law[:-1]}; got {tuple(size.tolist())}.')
    else:
        size = tf.shape(images)[1:3]
        with tf.control_dependencies([tf.debugging.assert_greater_equal(size, MIN_SIDE, law)]):
            size = tf.identity(size)
    cells = -(-size // STRIDE)
    return [tf.raw_ops.ResizeBilinear(images=maps, size=cells, align_corners=True)
            for maps in (color_shares(images), texture_energies(images, cells))]


def color_shares(images: tf.Tensor) -> tf.Tensor:
    """Shares of eight hues, of dark, of light and of grey in the surroundings of each pixel.

    Args:
      images: f32[B,H,W,3]. RGB in [0, 1].

    Returns:
      f32[B,H,W,11]. In [0, 1], summing to 1.
    """
    lightness, a, b = tf.unstack(_lab(images), axis=-1)
    chroma = tf.sqrt(tf.square(a) + tf.square(b))
    dark = 1.0 - _ramp(lightness, 20.0, 40.0)
    light = _ramp(lightness, 70.0, 90.0) * (1.0 - _ramp(chroma, 15.0, 35.0))
    rest = (1.0 - dark) * (1.0 - light)
    light *= 1.0 - dark
    colored = rest * _ramp(chroma, 10.0, 25.0)
    # A hue between two neighbouring ones is shared by both.
    turn = _NUM_HUES * tf.math.atan2(b, a) / (2.0 * np.pi)
    offset = turn[..., tf.newaxis] - tf.range(_NUM_HUES, dtype=tf.float32)
    distance = tf.abs(tf.math.floormod(offset + _NUM_HUES / 2, float(_NUM_HUES)) - _NUM_HUES / 2)
    hues = tf.nn.relu(1.0 - distance) * colored[..., tf.newaxis]
    shares = tf.concat([hues, tf.stack([dark, light, rest - colored], axis=-1)], axis=-1)
    return _blur(shares, _COLOR_SMOOTHING)


def texture_energies(images: tf.Tensor, size: Any) -> tf.Tensor:
    """Energies of stripes and blobs at three scales, averaged over their surroundings.

    The scales are octaves, with wavelengths of 4, 8 and 16 pixels. Each has seven channels:
      - the energies of four orientations: pairs of even and odd Gabor filters on lightness and on
        both opponent colours;
      - their coherence: the energy that is left when crossing orientations cancel each other, which
        stripes of any angle have;
      - light blobs and dark blobs: rectified differences of Gaussians of lightness.

    Args:
      images: f32[B,H,W,3]. RGB in [0, 1].
      size: i32[2]. (height, width) of the result.

    Returns:
      f32[B,h,w,21]. At least 0.
    """
    red, green, blue = tf.unstack(images, axis=-1)
    maps = tf.stack([(red + green + blue) / 3.0, (red - green) / 2.0,
                     (red + green - 2.0 * blue) / 4.0], axis=-1)
    # On the circle of double angles an orientation lies opposite to the one perpendicular to it.
    angles = 2.0 * np.pi * np.arange(_NUM_ORIENTATIONS) / _NUM_ORIENTATIONS
    circle = tf.constant(np.stack([np.cos(angles), np.sin(angles)], axis=-1), tf.float32)
    found = []
    for level in range(_NUM_LEVELS):
        if level:
            maps = _blur(maps, 1.0)[:, ::2, ::2]
        blobs = _blur(maps[..., :1], 1.0) - _blur(maps[..., :1], 1.6)
        local = _blur(
            tf.concat([_oriented_energies(maps), tf.nn.relu(blobs), tf.nn.relu(-blobs)], -1),
            _TEXTURE_SMOOTHING / 2**level)
        energies, blobs = local[..., :_NUM_ORIENTATIONS], local[..., _NUM_ORIENTATIONS:]
        coherence = tf.norm(tf.tensordot(energies, circle, 1), axis=-1, keepdims=True)
        maps_of_level = tf.concat([energies, _COHERENCE_GAIN * coherence, _BLOB_GAIN * blobs], -1)
        found.append(tf.raw_ops.ResizeBilinear(
            images=maps_of_level, size=size, align_corners=True))
    return tf.concat(found, -1)


def _ramp(values: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.clip_by_value((values - low) / (high - low), 0.0, 1.0)


def _lab(images: tf.Tensor) -> tf.Tensor:
    """CIELAB (D65) of sRGB in [0, 1]: lightness in [0, 100], a and b within about 100 of 0."""
    linear = tf.where(
        images <= 0.04045, images / 12.92, tf.pow((tf.maximum(images, 0.0) + 0.055) / 1.055, 2.4))
    # The matrix of IEC 61966-2-1, each row divided by the white point.
    to_xyz = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169],
                       [0.019334, 0.119193, 0.950227]]) / [[0.950456], [1.0], [1.088754]]
    xyz = tf.tensordot(linear, tf.constant(to_xyz.T, tf.float32), 1)
    curved = tf.where(
        xyz > 0.008856, tf.pow(tf.maximum(xyz, 1e-6), 1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = tf.unstack(curved, axis=-1)
    return tf.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def _filtered(maps: tf.Tensor, kernels: np.ndarray) -> tf.Tensor:
    """Correlation of each channel [B,H,W,C] with each kernel [h,w,n]: f32[B,H,W,C,n].

    Borders are mirrored.
    """
    height, width, num_kernels = kernels.shape
    batch_size, rows, columns = tf.unstack(tf.shape(maps)[:3])
    channels = maps.shape[-1]
    folded = tf.reshape(tf.transpose(maps, [0, 3, 1, 2]), [-1, rows, columns, 1])
    padded = tf.pad(
        folded, [[0, 0], [height // 2] * 2, [width // 2] * 2, [0, 0]], 'SYMMETRIC')
    found = tf.nn.conv2d(padded, tf.constant(kernels[:, :, np.newaxis], tf.float32), 1, 'VALID')
    found = tf.reshape(found, [batch_size, channels, rows, columns, num_kernels])
    return tf.transpose(found, [0, 2, 3, 1, 4])


def _blur(maps: tf.Tensor, sigma: float) -> tf.Tensor:
    """The maps [B,H,W,C] blurred by a Gaussian of `sigma` pixels."""
    radius = int(np.ceil(3.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return _filtered(_filtered(maps, kernel[:, None, None])[..., 0], kernel[None, :, None])[..., 0]


def _oriented_energies(maps: tf.Tensor) -> tf.Tensor:
    """Energies of pairs of Gabor filters: root of the sum of squares over phases and channels."""
    sigma = 0.56 * _WAVELENGTH  # A bandwidth of one octave.
    radius = int(np.ceil(2.5 * sigma))
    y, x = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    window = np.exp(-(x**2 + y**2) / (2.0 * sigma**2))
    window /= window.sum()
    energy = 0.0
    for phase in (np.cos, np.sin):
        kernels = []
        for angle in np.pi * np.arange(_NUM_ORIENTATIONS) / _NUM_ORIENTATIONS:
            wave = phase(2.0 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / _WAVELENGTH)
            kernels.append(window * (wave - np.sum(window * wave)))  # No response to constants.
        energy += tf.reduce_sum(tf.square(_filtered(maps, np.stack(kernels, -1))), axis=3)
    return tf.sqrt(energy)
