"""Group normalization without a mask."""
from __future__ import annotations

from typing import Any

import tensorflow as tf


class GroupNorm(tf.keras.layers.GroupNormalization):
    """Keras' layer for maps [B,h,w,C] without a mask, in fewer operations.

    Keras weighs every cell by a mask, which is all ones if none is given. Values and variables are
    the same up to rounding (Wu & He, ECCV 2018, Eq. 2 to 7).
    """

    def call(self, inputs: tf.Tensor, mask: Any = None) -> tf.Tensor:
        """Normalized maps float[B,h,w,C].

        Raises:
          ValueError: If there is a mask.
        """
        if mask is not None:
            raise ValueError('`mask` must be None, since all cells count alike.')
        groups = [self.groups, inputs.shape[-1] // self.groups]
        cells = tf.reshape(inputs, [tf.shape(inputs)[0], -1, *groups])
        mean, variance = tf.nn.moments(cells, [1, 3], keepdims=True)
        gamma, beta = (tf.reshape(value, groups) for value in (self.gamma, self.beta))
        normalized = tf.nn.batch_normalization(cells, mean, variance, beta, gamma, self.epsilon)
        return tf.reshape(normalized, tf.shape(inputs))
