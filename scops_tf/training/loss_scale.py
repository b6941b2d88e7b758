"""The loss scale, which keeps float16 gradients within the range of float16."""
from __future__ import annotations

import tensorflow as tf

# START and GROWTH_STEPS are Keras' values. LEAST scales nothing. LARGEST makes 1 of the smallest
# positive float16, 2^-24.
START, LEAST, LARGEST = 2.0 ** 15, 1.0, 2.0 ** 24
GROWTH_STEPS = 2000


class LossScale(tf.Module):
    """Dynamic loss scale (Micikevicius et al., ICLR 2018), one for all optimizers of a run.

    The loss is multiplied by the scale before the backward pass, and the gradients are divided by
    it afterwards. If a gradient is not finite, the scale is halved and no variable may be updated.
    After `growth_steps` steps in a row with finite gradients it is doubled. All values are powers
    of two, so scaling does not round the gradients.

    Keras' `LossScaleOptimizer` is not used, since it holds one scale per optimizer. A step would
    then update some groups of variables and leave out others.

    Args:
      start: First value of the scale.
      growth_steps: Number of finite steps in a row that double the scale.

    Attributes:
      value: f32[] variable. The scale, from 1 to 2^24.
      finite_steps: i64[] variable. Number of finite steps in a row since the scale changed.
    """

    def __init__(self, *, start: float = START, growth_steps: int = GROWTH_STEPS) -> None:
        super().__init__(name='loss_scale')
        self._growth_steps = growth_steps
        self.value = tf.Variable(start, dtype=tf.float32, trainable=False, name='value')
        self.finite_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name='finite_steps')

    def update(self, finite: tf.Tensor) -> None:
        """Updates the scale after a step; called outside the replicas.

        Args:
          finite: bool[]. Whether all gradients of the step were finite.
        """
        steps = tf.where(finite, self.finite_steps + 1, 0)
        grows = steps >= self._growth_steps
        factor = tf.where(grows, 2.0, tf.where(finite, 1.0, 0.5))
        self.value.assign(tf.clip_by_value(self.value * factor, LEAST, LARGEST))
        self.finite_steps.assign(tf.where(grows, tf.zeros_like(steps), steps))
