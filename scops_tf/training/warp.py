"""Random spatial transforms T_s (§3.3) of images, maps and points.

This is the only file that imports TensorFlow Addons (tfa). On TensorFlow later than 2.15, which
does not run it, `resampling` takes its place.

A transform is stored as the sampling map from the view to its source, in the frame of `geometry`:

    source(v) = M (v + d(v))

M is a projective matrix. d is a thin-plate spline that interpolates the displacements of a grid of
control points. Splines reproduce constants and linear maps, so v + d(v) is the spline through the
moved points. The frame does not depend on the resolution, so one transform serves an image and its
part logits. Rotations are rotations in pixels of the image, so M depends on the aspect ratio.
"""
from __future__ import annotations

import functools
from typing import Any, Callable, NamedTuple, Optional, Tuple
import warnings

import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib, geometry, stack
from scops_tf.training import resampling

if stack.is_current():
    _bilinear, _project, _spline = resampling.bilinear, resampling.project, resampling.spline
else:
    with warnings.catch_warnings():
        # It warns that its development has ended; `requirements.txt` pins the last release.
        warnings.filterwarnings('ignore', message=r'\s*TensorFlow Addons', category=UserWarning)
        import tensorflow_addons as tfa
    _bilinear = functools.partial(tfa.image.interpolate_bilinear, indexing='xy')
    _project = functools.partial(tfa.image.transform, interpolation='bilinear', fill_mode='nearest')
    _spline = functools.partial(tfa.image.interpolate_spline, order=2)

# Steps of the inversion of a spline. Each step multiplies the error by the Lipschitz constant of
# the displacement, typically 0.2 at the default jitter and 0.25 at the largest allowed one.
_INVERSION_STEPS = 8


class Transform(NamedTuple):
    """One spatial transform per batch member.

    The fields are plain tensors or arrays, so a transform may be stored, stacked and indexed like
    any nest of tensors.

    Attributes:
      matrix: f32[B,3,3]. M, from (x, y, 1) in the view to homogeneous coordinates in the source,
        both in the frame; its last entry is 1.
      displacements: f32[B,n,n,2]. d as (x, y) at n*n control points, which are spaced evenly from
        -1 to 1 in rows of y and columns of x. n = 0 for no spline.
    """

    matrix: tf.Tensor
    displacements: tf.Tensor

    def warp(self, maps: Any, *, fill: Any = 0.0, size: Optional[geometry.Size] = None
             ) -> tf.Tensor:
        """The transformed maps, sampled bilinearly at the source of each pixel.

        Gradients flow into the maps, not into the transform.

        Args:
          maps: float[B,H,W,C]. Maps of any resolution; height and width are at least 2.
          fill: Scalar or [C]. Value of the pixels whose source lies outside the maps.
          size: (h, w) of the result; None for that of the maps.

        Returns:
          f32[B,h,w,C].

        Raises:
          ValueError: If the size of the maps is unknown or a side is 1.
        """
        maps = tf.cast(maps, tf.float32)
        own_size = geometry.static_size('maps', maps)
        if min(own_size) < 2:
            raise ValueError(f'`maps` must be at least 2 pixels high and wide; got {own_size}.')
        size = size or own_size
        sample = self._sampled if self.displacements.shape[1] else self._projected
        return tf.where(self.valid_mask(size)[..., None] > 0, sample(maps, size),
                        tf.cast(fill, tf.float32))

    def _sampled(self, maps: tf.Tensor, size: geometry.Size) -> tf.Tensor:
        """The bilinear samples f32[B,h,w,C] of maps at the source of each pixel of `size`."""
        sources = tf.stop_gradient(self.source_points(_pixel_centers(size)))
        samples = _bilinear(
            maps, geometry.frame_to_pixels(sources, geometry.static_size('maps', maps)))
        return tf.reshape(samples, [tf.shape(maps)[0], *size, maps.shape[-1]])

    def _projected(self, maps: tf.Tensor, size: geometry.Size) -> tf.Tensor:
        """The same samples for a transform without a spline, by a faster operation."""
        transforms = self._pixel_transforms(size, geometry.static_size('maps', maps))

        # The gradient that TensorFlow registers for it is not that of bilinear sampling.
        @tf.custom_gradient
        def projected(maps: tf.Tensor) -> Tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                with tf.GradientTape() as tape:
                    tape.watch(maps)
                    samples = self._sampled(maps, size)
                return tape.gradient(samples, maps, output_gradients=upstream)

            return _project(maps, transforms, output_shape=size), gradient

        return projected(maps)

    def valid_mask(self, size: geometry.Size) -> tf.Tensor:
        """Mask f32[B,H,W]: 1 where the source of a view's pixel lies inside the image, else 0."""
        inside = geometry.is_inside(self.source_points(_pixel_centers(size)))
        return tf.cast(tf.reshape(inside, [-1, size[0], size[1]]), tf.float32)

    def source_points(self, points: Any) -> tf.Tensor:
        """The sampling map: source points of points in the view.

        Args:
          points: f32[B,N,2], or [1,N,2] for the same points of every view. (x, y) in the frame.

        Returns:
          f32[B,N,2]. (x, y) in the frame; beyond [-1, 1] if the source lies outside the image.
        """
        points = tf.cast(points, tf.float32)
        return _apply(self.matrix, points + self._displacement(points))

    def warp_points(self, points: Any) -> tf.Tensor:
        """The inverse of the sampling map: points in the view of points in the source.

        Args:
          points: f32[B,N,2]. (x, y) in the frame; gradients flow into them.

        Returns:
          f32[B,N,2]. (x, y) in the frame, exact within 1e-5 for the transforms of `RandomWarp`. A
          point may lie outside the view; see `geometry.is_inside`.
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
        return _spline(
            tf.repeat(_pixel_centers((count, count)), batch, axis=0),
            tf.reshape(self.displacements, [batch, count * count, 2]), points)

    def _pixel_transforms(self, size: geometry.Size, source_size: geometry.Size) -> tf.Tensor:
        """Matrix from pixels of views to pixels of sources, f32[B,8] as `resampling` has it."""
        to_pixels, to_source_pixels = (np.array([
            [(width - 1) / 2, 0, (width - 1) / 2], [0, (height - 1) / 2, (height - 1) / 2],
            [0, 0, 1]]) for height, width in (size, source_size))
        in_pixels = (to_source_pixels @ tf.cast(self.matrix, tf.float64)
                     @ np.linalg.inv(to_pixels))
        flat = tf.reshape(in_pixels / in_pixels[:, 2:, 2:], [-1, 9])
        return tf.cast(flat[:, :8], tf.float32)


def _pixel_centers(size: geometry.Size) -> tf.Tensor:
    """All pixel centres of a map of `size`, row by row, f32[1,H*W,2] in the frame."""
    return tf.reshape(geometry.coordinate_grid(size), [1, -1, 2])


def _apply(matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Points [B,N,2] moved by projective matrices [B,3,3]."""
    # Summed by hand, since GPUs may compute float32 matrix products in TensorFloat-32 (10 bits).
    columns = tf.unstack(tf.convert_to_tensor(matrix)[:, None], axis=-1)
    moved = points[..., :1] * columns[0] + points[..., 1:] * columns[1] + columns[2]
    # In view the divisor is at least 0.2. Points near or behind the horizon have smaller divisors;
    # the bound keeps them finite and out of view.
    return moved[..., :2] / tf.maximum(moved[..., 2:], 0.1)


class RandomWarp:
    """Generator of random spatial transforms.

    Args:
      settings: Kind and ranges of the transforms; see `config.Warp`.
    """

    def __init__(self, settings: config_lib.Warp) -> None:
        self._settings = settings

    def draw(self, seed: Any, batch_size: int, size: geometry.Size) -> Transform:
        """Draws one transform per batch member, as a pure function of the arguments.

        Args:
          seed: i32[2]. Seed of the draw.
          batch_size: Number of transforms.
          size: (height, width) of the images, for their aspect ratio. The transforms then fit any
            resolution.
        """
        settings = self._settings
        seeds = tf.random.experimental.stateless_split(seed, 6)

        def uniform(index: int, shape: Tuple[int, ...], low: float, high: float) -> tf.Tensor:
            return tf.random.stateless_uniform((batch_size, *shape), seeds[index], low, high)

        rotation = np.pi * settings.max_rotation / 180
        angle = uniform(0, (), -rotation, rotation)
        scale = uniform(1, (), *settings.inverse_scale)
        side = 2.0  # Side of the frame.
        shift = uniform(2, (2,), -side * settings.max_shift, side * settings.max_shift)
        cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
        aspect = (size[0] - 1) / (size[1] - 1)
        zero, one = tf.zeros([batch_size]), tf.ones([batch_size])
        matrix = tf.stack([
            tf.stack([cosine, -sine * aspect, shift[:, 0]], axis=-1),
            tf.stack([sine / aspect, cosine, shift[:, 1]], axis=-1),
            tf.stack([zero, zero, one], axis=-1)], axis=1)
        if settings.kind == 'projective':
            tilt = uniform(3, (2,), -settings.projective_jitter, settings.projective_jitter)
            # Multiplies by the matrix of v / (1 + c . v): an identity with c in its last row.
            matrix += matrix[:, :, 2:] * tf.pad(tilt, [[0, 0], [0, 1]])[:, None]
        if settings.mirror:
            is_mirrored = uniform(5, (), 0, 1) < settings.mirror
            # The view is mirrored before anything else, so its x changes its sign first.
            matrix *= tf.stack([tf.where(is_mirrored, -one, one), one, one], axis=-1)[:, None]
        count = settings.tps_points if settings.kind == 'tps' else 0
        return Transform(
            matrix, uniform(4, (count, count, 2), -settings.tps_jitter, settings.tps_jitter))
