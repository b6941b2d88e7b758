"""Random spatial transforms T_s (§3.3), and how they move images, maps and points.

The only file that imports TensorFlow Addons (tfa).

A transform is kept as the sampling map from the view to its source, in the frame of `geometry`:

    source(v) = M (v + d(v))

M is a projective matrix and d a thin-plate spline through the displacements of a grid of control
points; splines reproduce constants and linear maps, so this is also the spline through the moved
points. The frame does not depend on resolution: one transform serves an image and its part logits.
A rotation is one in pixels of the image, so M holds its aspect ratio.
"""
from __future__ import annotations

from typing import Any, NamedTuple, Tuple
import warnings

import numpy as np
import tensorflow as tf

from scops_tf import geometry

with warnings.catch_warnings():
    # TensorFlow Addons is in its last release; `setup.py` pins it.
    warnings.filterwarnings('ignore', message=r'\s*TensorFlow Addons', category=UserWarning)
    import tensorflow_addons as tfa

KINDS = ('similarity', 'projective', 'tps')

# Steps of the inversion of a spline; each shrinks the error by the Lipschitz constant of the
# displacement, typically 0.05 at the default jitter and 0.25 at the largest one allowed.
_INVERSION_STEPS = 8


class Transform(NamedTuple):
    """One spatial transform per batch member.

    Plain tensors, or arrays: a transform may be stored, stacked and picked from as any nest of
    them.

    Attributes:
      matrix: f32[B,3,3]. M: from (x, y, 1) in the view to homogeneous coordinates in the source,
        both in the frame; its last entry is 1.
      displacements: f32[B,n,n,2]. d, as (x, y), at n*n control points, which lie evenly from -1 to
        1 in rows of y and columns of x; n = 0 for no spline.
    """

    matrix: tf.Tensor
    displacements: tf.Tensor

    def warp(self, maps: Any, *, fill: Any = 0.0) -> tf.Tensor:
        """The transformed maps: each pixel is read at its source, bilinearly.

        No gradient flows through: maps are warped to be inputs or targets, and the gradient that
        TensorFlow registers for projective transforms is not that of bilinear sampling.

        Args:
          maps: float[B,H,W,C]. Of any resolution, height and width at least 2.
          fill: Scalar or [C]. Value of the pixels whose source lies outside.

        Returns:
          f32[B,H,W,C].

        Raises:
          ValueError: If the maps are of unknown size or of a side of 1.
        """
        maps = tf.stop_gradient(tf.cast(maps, tf.float32))
        size = geometry.static_size('maps', maps)
        if min(size) < 2:
            raise ValueError(f'`maps` must be at least 2 pixels high and wide; got {size}.')
        if self.displacements.shape[1]:
            pixels = geometry.frame_to_pixels(self.source_points(_pixel_centers(size)), size)
            warped = tfa.image.interpolate_bilinear(maps, pixels, indexing='xy')
            warped = tf.reshape(warped, tf.shape(maps))
        else:
            warped = tfa.image.transform(maps, self._pixel_transforms(size),
                                         interpolation='bilinear', fill_mode='nearest')
        return tf.where(self.valid_mask(size)[..., None] > 0, warped, tf.cast(fill, tf.float32))

    def valid_mask(self, size: geometry.Size) -> tf.Tensor:
        """f32[B,H,W]. 1 where the source of a pixel of the view lies inside the image, else 0."""
        inside = geometry.is_inside(self.source_points(_pixel_centers(size)))
        return tf.cast(tf.reshape(inside, [-1, size[0], size[1]]), tf.float32)

    def source_points(self, points: Any) -> tf.Tensor:
        """Where points of the view come from, in the source: the sampling map.

        Args:
          points: f32[B,N,2], or [1,N,2] for the same points of every view. In the frame.

        Returns:
          f32[B,N,2]. In the frame; outside of [-1, 1] where the source lies outside of the image.
        """
        points = tf.cast(points, tf.float32)
        return _apply(self.matrix, points + self._displacement(points))

    def warp_points(self, points: Any) -> tf.Tensor:
        """Where points of the source go to in the view: the inverse of the sampling map.

        Args:
          points: f32[B,N,2]. In the frame; gradients flow into them.

        Returns:
          f32[B,N,2]. Within 1e-5 for a transform that `RandomWarp` draws. May lie out of view,
          which `geometry.is_inside` tells.
        """
        straight = _apply(tf.linalg.inv(self.matrix), tf.cast(points, tf.float32))
        if not self.displacements.shape[1]:
            return straight
        moved = straight
        for _ in range(_INVERSION_STEPS):
            moved = straight - self._displacement(moved)
        return moved

    def _displacement(self, points: tf.Tensor) -> tf.Tensor:
        count = self.displacements.shape[1]
        if not count:
            return tf.zeros_like(points)
        batch = tf.shape(self.displacements)[0]
        return tfa.image.interpolate_spline(
            tf.repeat(_pixel_centers((count, count)), batch, axis=0),
            tf.reshape(self.displacements, [batch, count * count, 2]), points, order=2)

    def _pixel_transforms(self, size: geometry.Size) -> tf.Tensor:
        """f32[B,8]. The matrix in pixels of maps of `size`, from view to source as tfa takes it."""
        half_x, half_y = (size[1] - 1) / 2, (size[0] - 1) / 2
        to_pixels = np.array([[half_x, 0, half_x], [0, half_y, half_y], [0, 0, 1]])
        in_pixels = to_pixels @ tf.cast(self.matrix, tf.float64) @ np.linalg.inv(to_pixels)
        flat = tf.reshape(in_pixels / in_pixels[:, 2:, 2:], [-1, 9])
        return tf.cast(flat[:, :8], tf.float32)


def _pixel_centers(size: geometry.Size) -> tf.Tensor:
    """f32[1,H*W,2]. Every pixel centre of a map of `size`, row by row."""
    return tf.reshape(geometry.coordinate_grid(size), [1, -1, 2])


def _apply(matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Projective matrices [B,3,3] applied to points [B,N,2]."""
    # Summed by hand: GPUs may take matrix products of float32 in TensorFloat-32, of 10 bits.
    columns = tf.unstack(tf.convert_to_tensor(matrix)[:, None], axis=-1)
    moved = points[..., :1] * columns[0] + points[..., 1:] * columns[1] + columns[2]
    # It is divided by at least 0.2 in view; points near or behind the horizon, which would be
    # divided by less, stay finite and out of view.
    return moved[..., :2] / tf.maximum(moved[..., 2:], 0.1)


class RandomWarp:
    """Draws spatial transforms; the defaults are the ranges of the authors' released configuration.

    Args:
      kind: 'similarity': rotation, scale and shift; 'projective': that after a random tilt; 'tps':
        that after a thin-plate spline.
      max_rotation: Degrees, at most 180; rotation is uniform in +-max_rotation, in pixels of the
        image.
      inverse_scale: (low, high) of the uniform factor from the view to its source: 0.5 shows
        objects twice as large.
      max_shift: Share of the width and of the height; the shift is uniform in +- that along each.
      projective_jitter: c_x and c_y of the tilt v / (1 + c . v) are uniform in +- this, v in the
        frame: the scale at an edge differs by this share from that in the centre. At most 0.4.
        Ours: the paper gives no range.
      tps_jitter: Each coordinate of each control point moves uniformly in +- this, in units of the
        frame. At most a tenth of the distance between control points, so that the spline cannot
        fold.
      tps_points: Control points along each axis, at least 2.

    Raises:
      ValueError: If a range breaks its law.
    """

    def __init__(self, kind: str = 'similarity', *, max_rotation: float = 60.0,
                 inverse_scale: Tuple[float, float] = (0.5, 1 / 0.7), max_shift: float = 0.05,
                 projective_jitter: float = 0.1, tps_jitter: float = 0.01,
                 tps_points: int = 5) -> None:
        _require(kind in KINDS, 'kind', f'be one of {KINDS}', kind)
        _require(0 <= max_rotation <= 180, 'max_rotation', 'lie in [0, 180]', max_rotation)
        _require(0 < inverse_scale[0] <= inverse_scale[1], 'inverse_scale',
                 'be (low, high) with 0 < low <= high', inverse_scale)
        _require(0 <= max_shift <= 1, 'max_shift', 'lie in [0, 1]', max_shift)
        _require(0 <= projective_jitter <= 0.4, 'projective_jitter',
                 'lie in [0, 0.4], for the horizon to stay out of view', projective_jitter)
        _require(tps_points >= 2, 'tps_points', 'be at least 2', tps_points)
        largest = 0.2 / (tps_points - 1)
        _require(0 <= tps_jitter <= largest, 'tps_jitter',
                 f'lie in [0, {largest:.3g}], a tenth of the distance of {tps_points} control '
                 'points on an axis, for the spline not to fold', tps_jitter)
        self.kind = kind
        self.max_rotation = max_rotation
        self.inverse_scale = inverse_scale
        self.max_shift = max_shift
        self.projective_jitter = projective_jitter
        self.tps_jitter = tps_jitter
        self.tps_points = tps_points

    def draw(self, seed: Any, batch_size: int, size: geometry.Size) -> Transform:
        """One transform per batch member, a pure function of the arguments.

        Args:
          seed: i32[2].
          batch_size: Number of transforms.
          size: (height, width) of the images, for their aspect ratio; the transform then fits any
            resolution.
        """
        seeds = tf.random.experimental.stateless_split(seed, 5)

        def uniform(index: int, shape: Tuple[int, ...], low: float, high: float) -> tf.Tensor:
            return tf.random.stateless_uniform((batch_size, *shape), seeds[index], low, high)

        angle = uniform(0, (), -np.pi * self.max_rotation / 180, np.pi * self.max_rotation / 180)
        scale = uniform(1, (), *self.inverse_scale)
        side = 2.0  # Of the frame.
        shift = uniform(2, (2,), -side * self.max_shift, side * self.max_shift)
        cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
        aspect = (size[0] - 1) / (size[1] - 1)
        zero, one = tf.zeros([batch_size]), tf.ones([batch_size])
        matrix = tf.stack([
            tf.stack([cosine, -sine * aspect, shift[:, 0]], axis=-1),
            tf.stack([sine / aspect, cosine, shift[:, 1]], axis=-1),
            tf.stack([zero, zero, one], axis=-1)], axis=1)
        if self.kind == 'projective':
            tilt = uniform(3, (2,), -self.projective_jitter, self.projective_jitter)
            # Times the matrix of v / (1 + c . v), which is the identity but for c in its last row.
            matrix += matrix[:, :, 2:] * tf.pad(tilt, [[0, 0], [0, 1]])[:, None]
        count = self.tps_points if self.kind == 'tps' else 0
        return Transform(matrix, uniform(4, (count, count, 2), -self.tps_jitter, self.tps_jitter))


def _require(holds: bool, name: str, law: str, value: Any) -> None:
    if not holds:
        raise ValueError(f'`{name}` must {law}; got {value!r}.')
