"""Exponential moving averages of trained variables, which are served in their place."""
from __future__ import annotations

from typing import List, Sequence

import tensorflow as tf


class Averages(tf.Module):
    """Averages of variables over the steps of a training.

    Step t moves every average towards its variable by 1 - min(decay, (1 + t) / (10 + t)), so that
    the first steps, which are far from the rest, are soon forgotten.

    Args:
      variables: The variables that are averaged.
      decay: The decay of the average, in (0, 1).

    Attributes:
      values: The averages, in the order of the variables. They start as the variables are.
    """

    def __init__(self, variables: Sequence[tf.Variable], *, decay: float) -> None:
        super().__init__(name='averages')
        self._variables, self._decay = list(variables), decay
        self.values: List[tf.Variable] = [
            tf.Variable(tf.cast(variable, tf.float32), trainable=False) for variable in variables]

    def start(self) -> None:
        """Sets the averages to the variables, as after a restored start."""
        for value, variable in zip(self.values, self._variables):
            value.assign(variable)

    def update(self, step: tf.Tensor) -> None:
        """Takes the variables into the averages; `step` i64[] counts the steps before."""
        count = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + count) / (10.0 + count))
        for value, variable in zip(self.values, self._variables):
            value.assign(decay * value + (1.0 - decay) * tf.cast(variable, tf.float32))

    def exchange(self) -> None:
        """Exchanges the averages and the variables of single precision; twice changes no bit."""
        for value, variable in zip(self.values, self._variables):
            average = tf.identity(value)
            value.assign(variable)
            variable.assign(average)

    def apply(self) -> None:
        """Sets the variables to their averages."""
        for value, variable in zip(self.values, self._variables):
            variable.assign(value)
