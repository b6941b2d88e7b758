"""The decoder of ULD: from landmarks and their local features to the photo.

After Zhang et al. (CVPR 2018, "Unsupervised discovery of object landmarks as structural
representations"), smaller: where they have an hourglass network, it has three strides and skip
connections by addition.
"""
from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import tensorflow as tf

from scops_tf.networks import group_norm

# Numbers of channels at strides 1, 2, 4 and 8; multiples of 8, for the normalization.
_CHANNELS = (32, 64, 64, 64)


class LandmarkDecoder(tf.keras.Model):
    """Network from Gaussian maps of landmarks and their local features to a photo, in float32.

    Each landmark's local feature becomes a descriptor of few channels by a linear map of its own
    and a leaky ReLU, and is spread over the photo by the landmark's map. Zhang et al. have two
    linear maps in a row there, which are one.

    Args:
      num_landmarks: K.
      num_features: C, the number of channels of a local feature.
      size: (H, W) of the photo.
      num_descriptors: Number of channels of a descriptor.
      seed: Seed of the variables.
    """

    def __init__(self, num_landmarks: int, num_features: int, size: Tuple[int, int], *,
                 num_descriptors: int, seed: int) -> None:
        super().__init__(name='landmark_decoder', dtype='float32')
        seeds = np.random.default_rng(seed).integers(2**31 - 1, size=9).tolist()
        self.projections = self.add_weight(
            'projections', (num_landmarks + 1, num_features, num_descriptors),
            initializer=tf.keras.initializers.RandomNormal(
                stddev=num_features ** -0.5, seed=seeds[0]))
        self.network = _hourglass(num_landmarks + 1 + num_descriptors, size, seeds[1:])
        self.built = True

    def call(self, inputs: Tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """The photo, RGB in [0, 1].

        Args:
          inputs: Gaussian maps f32[B,H,W,K] in [0, 1], and local features f32[B,K+1,C] with the
            background's in row 0.

        Returns:
          f32[B,H,W,3].
        """
        maps, features = inputs
        # The background has the map 1, and the maps share each pixel, as in Zhang et al.
        shares = tf.concat([tf.ones_like(maps[..., :1]), maps], axis=-1)
        shares /= tf.reduce_sum(shares, axis=-1, keepdims=True)
        descriptors = tf.nn.leaky_relu(tf.einsum('bkc,kcd->bkd', features, self.projections))
        spread = tf.einsum('bhwk,bkd->bhwd', shares, descriptors)
        return self.network(tf.concat([shares, spread], axis=-1))


def _hourglass(num_inputs: int, size: Tuple[int, int], seeds: Any) -> tf.keras.Model:
    """Network from f32[B,H,W,num_inputs] to colours f32[B,H,W,3] in [0, 1]."""
    layers = tf.keras.layers
    seeds = iter(seeds)

    def convolution(maps: Any, filters: int, *, stride: int = 1) -> Any:
        maps = layers.Conv2D(
            filters, 3, strides=stride, padding='same', use_bias=False,
            kernel_initializer=tf.keras.initializers.HeNormal(seed=next(seeds)))(maps)
        return layers.ReLU()(group_norm.GroupNorm(8)(maps))

    inputs = tf.keras.Input((*size, num_inputs))
    stages = [convolution(inputs, _CHANNELS[0])]
    for channels in _CHANNELS[1:]:
        stages.append(convolution(stages[-1], channels, stride=2))
    maps = stages.pop()
    for stage in reversed(stages):
        maps = layers.Resizing(*stage.shape[1:3])(convolution(maps, stage.shape[-1]))
        maps = layers.Add()([maps, stage])
    colors = layers.Conv2D(3, 3, padding='same', activation='sigmoid',
                           kernel_initializer=tf.keras.initializers.GlorotUniform(
                               seed=next(seeds)))(maps)
    return tf.keras.Model(inputs, colors, name='hourglass')
