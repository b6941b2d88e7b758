"""Transformed views of photos (§3.3), as pure functions of seeds."""
from __future__ import annotations

from typing import NamedTuple, Optional

import tensorflow as tf

from scops_tf import config as config_lib, geometry
from scops_tf.training import color_jitter, replicas, warp

# Mean colour of ImageNet, RGB, for the pixels of a view whose source lies outside the photo.
_MEAN_COLOR = (123.68 / 255, 116.779 / 255, 103.939 / 255)


class View(NamedTuple):
    """Transformed views I' = T_s(T_a(I)) f32[B,h,w,3] of photos I, and their spatial transforms."""

    images: tf.Tensor
    transform: warp.Transform


class Views:
    """Generator of views of photos of one size.

    Args:
      config: Configuration of the run; `Warp`, `ColorJitter` and `Run.image_size` are read.
    """

    def __init__(self, config: config_lib.Config) -> None:
        self._warp = warp.RandomWarp(config.warp)
        self._jitter = color_jitter.ColorJitter(config.color_jitter)
        self._image_size = config.run.image_size

    def draw(self, images: tf.Tensor, seed: tf.Tensor, size: Optional[geometry.Size] = None
             ) -> View:
        """Draws a view of each photo, as a pure function of the photos and the seed.

        Pixels whose source lies outside the photo have the mean colour of ImageNet.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1]. If replicas share a batch, the photos of one replica.
          seed: i32[2] or i64[2]. Seed of the draw.
          size: (h, w) of the views; None for that of the photos.
        """
        transform = self.transform(images.shape[0], seed)
        jitter_seed = tf.random.experimental.stateless_split(seed, 2)[1]
        jittered = self._jitter(images, replicas.own(
            lambda count: self._jitter.draw(jitter_seed, count), images.shape[0]))
        return View(
            transform.warp(jittered, fill=tf.constant(_MEAN_COLOR), size=size), transform)

    def transform(self, batch_size: int, seed: tf.Tensor) -> warp.Transform:
        """The transforms T_s of the views that `draw` makes of `batch_size` photos with `seed`."""
        warp_seed = tf.random.experimental.stateless_split(seed, 2)[0]
        return replicas.own(
            lambda count: self._warp.draw(warp_seed, count, self._image_size), batch_size)
