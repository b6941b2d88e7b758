"""The part basis W (§3.4): one non-negative row per part."""
from __future__ import annotations

import tensorflow as tf


class PartBasis(tf.Module):
    """The part basis W = relu(raw); being non-negative, its parts cannot cancel each other.

    Args:
      num_parts: K.
      num_channels: C of the reference features.
      seed: Seed of the start of `raw`, drawn as |N(0, 1)|.

    Attributes:
      raw: f32[K,C]. The trained variable.
    """

    def __init__(self, num_parts: int, num_channels: int, *, seed: int = 0) -> None:
        super().__init__(name='part_basis')
        if num_parts < 1 or num_channels < 1:
            raise ValueError('`num_parts` and `num_channels` must be at least 1; got '
                             f'{num_parts} and {num_channels}.')
        start = tf.abs(tf.random.stateless_normal([num_parts, num_channels], [seed, 0]))
        self.raw = tf.Variable(start, name='part_basis')

    def __call__(self) -> tf.Tensor:
        """W, f32[K,C], at least 0."""
        return tf.nn.relu(self.raw)


