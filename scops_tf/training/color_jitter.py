"""The appearance perturbation T_a (§3.3)."""
from __future__ import annotations

import contextlib
import io
from typing import Any, Callable, NamedTuple

import tensorflow as tf

from scops_tf import config as config_lib, stack


class ColorJitter:
    """The appearance perturbation T_a (§3.3): brightness, contrast, saturation, hue, in this order.

    A call is a pure function of the photos and the draws, and the draws are a pure function of the
    seed. Each photo has its own draws:

    * brightness: Every value is multiplied by U(1 - brightness, 1 + brightness).
    * contrast: The difference to the mean of the channel is multiplied by U(1 - contrast, 1 +
      contrast) (`keras_cv.layers.RandomContrast`; torchvision uses the photo's mean grey).
    * saturation: S of HSV is multiplied by U(1 - saturation, 1 + saturation)
      (`keras_cv.layers.RandomSaturation`; torchvision blends with the grey photo).
    * hue: H of HSV is turned by U(-hue, hue) of a full turn (`keras_cv.layers.RandomHue`).

    Args:
      settings: Ranges of the draws; see `config.ColorJitter`.
    """

    def __init__(self, settings: config_lib.ColorJitter) -> None:
        self._ranges = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        self._changes = plain_changes() if stack.is_current() else keras_cv_changes()

    def draw(self, seed: Any, batch_size: Any) -> tf.Tensor:
        """The four perturbations of each photo, f32[B,4], uniform in their ranges; seed: i32[2]."""
        draws = tf.random.stateless_uniform([4, batch_size], seed, -1.0, 1.0)
        return tf.transpose(draws) * tf.constant(self._ranges)

    def __call__(self, images: Any, draws: tf.Tensor) -> tf.Tensor:
        """The perturbed photos.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].
          draws: f32[B,4]. Result of `draw`.

        Returns:
          f32[B,H,W,3]. RGB in [0, 1].
        """
        images = tf.convert_to_tensor(images, tf.float32)
        brightness, contrast, saturation, hue = tf.unstack(draws, axis=1)
        # Brightness is computed here, since that of keras-cv adds an offset.
        images = tf.clip_by_value(images * (1.0 + brightness)[:, None, None, None], 0.0, 1.0)
        images = self._changes.contrast(images, contrast)
        images = self._changes.saturation(images, saturation)
        images = self._changes.hue(images, hue)
        return tf.clip_by_value(images, 0.0, 1.0)


class Changes(NamedTuple):
    """Three changes of photos f32[B,H,W,3], RGB in [0, 1], by draws f32[B]; see `ColorJitter`.

    Attributes:
      contrast: The factor of the contrast is 1 + draw.
      saturation: The factor of the saturation is 1 + draw.
      hue: The draw is a share of a full turn, from -1 to 1.
    """

    contrast: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    saturation: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    hue: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def keras_cv_changes() -> Changes:
    """The changes by keras-cv, which runs on Keras 2 as TensorFlow 2.15 brings it.

    The layers' own draws come from generators, with which a resumed run would see other photos. So
    only the layers' pixel operations are used.
    """
    # It names its backend on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        import keras_cv  # Its import takes seconds, and nothing else needs it.

    # Each layer makes a generator, although nothing is drawn from it. Without a seed it would be
    # the global one, which deterministic operations forbid.
    common = {'seed': 1, 'dtype': 'float32'}
    contrast = keras_cv.layers.RandomContrast(value_range=(0, 1), factor=0.5, **common)
    saturation = keras_cv.layers.RandomSaturation(factor=0.5, **common)
    hue = keras_cv.layers.RandomHue(factor=0.5, value_range=(0, 1), **common)
    return Changes(
        lambda images, draws: contrast.augment_images(images, (1.0 + draws)[:, None, None, None]),
        # RandomSaturation multiplies by t / (1 - t).
        lambda images, draws: saturation.augment_images(images, (1.0 + draws) / (2.0 + draws)),
        hue.augment_images)


def plain_changes() -> Changes:
    """The same changes in plain TensorFlow, for the releases on which keras-cv does not run."""

    def contrast(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        spread = (1.0 + draws)[:, None, None, None] * (images - mean)
        return tf.clip_by_value(mean + spread, 0.0, 1.0)

    def saturation(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(images), axis=-1)
        saturation = tf.clip_by_value(saturation * (1.0 + draws)[:, None, None], 0.0, 1.0)
        return tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))

    def hue(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(images), axis=-1)
        turned = tf.math.floormod(hue + draws[:, None, None], 1.0)
        return tf.image.hsv_to_rgb(tf.stack([turned, saturation, value], axis=-1))

    return Changes(contrast, saturation, hue)
