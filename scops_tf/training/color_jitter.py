"""The appearance perturbation T_a (§3.3)."""
from __future__ import annotations

import contextlib
import io
from typing import Any

import tensorflow as tf

from scops_tf import config as config_lib


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
        # It names its backend on standard output.
        with contextlib.redirect_stdout(io.StringIO()):
            import keras_cv  # Its import takes seconds, and nothing else needs it.

        # Each layer makes a generator, although nothing is drawn from it. Without a seed it would
        # be the global one, which deterministic operations forbid.
        common = {'seed': 1, 'dtype': 'float32'}
        self._ranges = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        self._contrast = keras_cv.layers.RandomContrast(value_range=(0, 1), factor=0.5, **common)
        self._saturation = keras_cv.layers.RandomSaturation(factor=0.5, **common)
        self._hue = keras_cv.layers.RandomHue(factor=0.5, value_range=(0, 1), **common)

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
        # The layers' own draws come from generators, with which a resumed run would see other
        # photos. So only the layers' pixel operations are used. Brightness is computed here, since
        # their brightness adds an offset.
        images = tf.clip_by_value(images * (1.0 + brightness)[:, None, None, None], 0.0, 1.0)
        images = self._contrast.augment_images(images, (1.0 + contrast)[:, None, None, None])
        # RandomSaturation multiplies by t / (1 - t).
        images = self._saturation.augment_images(images, (1.0 + saturation) / (2.0 + saturation))
        images = self._hue.augment_images(images, hue)
        return tf.clip_by_value(images, 0.0, 1.0)
