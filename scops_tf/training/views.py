"""Transformed views of photos (§3.3): drawn from seeds, as pure functions of them."""
from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.training import color_jitter, replicas, warp

# Mean colour of ImageNet, RGB: of the pixels of a view that come from outside the photo.
_MEAN_COLOR = (123.68 / 255, 116.779 / 255, 103.939 / 255)


class View(NamedTuple):
    """A transformed view I' = T_s(T_a(I)) of a batch, f32[B,H,W,3], and its spatial transform."""

    images: tf.Tensor
    transform: warp.Transform


class Views:
    """Draws views of photos of one size.

    Args:
      config: Of the run; `Warp`, `ColorJitter` and `Run.image_size` are read.
    """

    def __init__(self, config: config_lib.Config) -> None:
        self._warp = warp.RandomWarp(config.warp)
        self._jitter = color_jitter.ColorJitter(config.color_jitter)
        self._image_size = config.run.image_size

    def draw(self, images: tf.Tensor, seed: tf.Tensor) -> View:
        """A view of each photo; pixels from outside a photo take the mean colour of ImageNet.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1]. Where replicas share a batch, those of one.
          seed: i32[2]. The view is a pure function of it and of the photos.
        """
        transform = self.transform(images.shape[0], seed)
        jitter_seed = tf.random.experimental.stateless_split(seed, 2)[1]
        jittered = self._jitter(images, replicas.own(
            lambda count: self._jitter.draw(jitter_seed, count), images.shape[0]))
        return View(transform.warp(jittered, fill=tf.constant(_MEAN_COLOR)), transform)

    def transform(self, batch_size: int, seed: tf.Tensor) -> warp.Transform:
        """T_s of the views that `draw` makes of as many photos with the same seed."""
        warp_seed = tf.random.experimental.stateless_split(seed, 2)[0]
        return replicas.own(
            lambda count: self._warp.draw(warp_seed, count, self._image_size), batch_size)
