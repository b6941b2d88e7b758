"""The factor that keeps gradients in float16 within what it can hold."""
from __future__ import annotations

import tensorflow as tf

# As of Keras. Between the least one, where nothing is scaled, and the largest, a float16 has moved
# from one end of its range to the other.
START, LEAST, LARGEST = 2.0 ** 15, 1.0, 2.0 ** 24
GROWTH_STEPS = 2000


class LossScale(tf.Module):
    """Dynamic loss scale (Micikevicius et al., ICLR 2018), one for all optimisers of a run.

    The loss is multiplied by it before the backward pass, and the gradients are divided by it
    afterwards. It is halved by gradients that are not finite, in which case no variable may be
    updated, and doubled by a number of steps in a row without any. All of its values are powers of
    two, so it changes no gradient that float16 holds.

    Keras' `LossScaleOptimizer` holds a scale for each optimiser, so that one group of variables
    would be updated in steps that another leaves out; its state is not to be had apart from it.

    Args:
      start: First value.
      growth_steps: Steps in a row that double it.

    Attributes:
      value: f32[] variable, from 1 to 2^24.
      finite_steps: i64[] variable. Steps in a row since it changed.
    """

    def __init__(self, *, start: float = START, growth_steps: int = GROWTH_STEPS) -> None:
        super().__init__(name='loss_scale')
        self._growth_steps = growth_steps
        self.value = tf.Variable(start, dtype=tf.float32, trainable=False, name='value')
        self.finite_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name='finite_steps')

    def update(self, finite: tf.Tensor) -> None:
        """Follows a step; called outside of the replicas.

        Args:
          finite: bool[]. Whether all of its gradients were.
        """
        steps = tf.where(finite, self.finite_steps + 1, 0)
        grows = steps >= self._growth_steps
        factor = tf.where(grows, 2.0, tf.where(finite, 1.0, 0.5))
        self.value.assign(tf.clip_by_value(self.value * factor, LEAST, LARGEST))
        self.finite_steps.assign(tf.where(grows, tf.zeros_like(steps), steps))
