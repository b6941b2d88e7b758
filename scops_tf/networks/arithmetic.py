"""How fast this machine trains convolutions in a precision."""
from __future__ import annotations

import time

from absl import logging
import tensorflow as tf

# Below it the two may be equal, and the clock decides.
_SLOW = 1.5


def slowdown(precision: str) -> float:
    """How many times as long the gradient of a kernel takes in a precision as in float32.

    Args:
      precision: 'float32', 'bfloat16' or 'float16'.
    """
    return _seconds(tf.as_dtype(precision)) / _seconds(tf.float32)


def warn_if_slow(setting: str, precision: str) -> None:
    """Warns if a precision below float32 costs time on this CPU, where it is to save some.

    Args:
      setting: Name of the setting, for the message.
      precision: Its value.
    """
    if precision == 'float32' or tf.config.list_physical_devices('GPU'):
        return
    found = slowdown(precision)
    if found > _SLOW:
        logging.warning('`%s` is %r, in which gradients of convolutions take this machine %.0f '
                        'times as long as in float32: leave it out here.',
                        setting, precision, found)


def _seconds(dtype: tf.DType) -> float:
    """Least time, of a few, that the gradient of a 3x3 kernel takes."""
    maps = tf.cast(tf.fill((2, 16, 16, 128), 0.5), dtype)
    times = []
    for _ in range(4):  # The first one includes what is set up once.
        start = time.perf_counter()
        tf.raw_ops.Conv2DBackpropFilter(
            input=maps, filter_sizes=(3, 3, 128, 128), out_backprop=maps, strides=(1, 1, 1, 1),
            padding='SAME').numpy()
        times.append(time.perf_counter() - start)
    return min(times)
