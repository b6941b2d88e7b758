"""What each network is fed: from RGB in [0, 1] to its own range and order of channels."""
from __future__ import annotations

from typing import Any

import tensorflow as tf

# Mean colour of ImageNet that Keras' 'caffe' networks are trained with: BGR, of 255.
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def preprocess(images: Any, network: str) -> tf.Tensor:
    """What a network is fed.

    Args:
      images: f32[B,H,W,3]. RGB in [0, 1].
      network: 'vgg19', 'resnet50', 'resnet101': BGR of 255 less ImageNet's mean, as
        `tf.keras.applications` feeds them. 'tiny': RGB in [-1, 1].

    Returns:
      f32[B,H,W,3].
    """
    images = tf.cast(images, tf.float32)
    if network == 'tiny':
        return 2.0 * images - 1.0
    if network in ('vgg19', 'resnet50', 'resnet101'):
        return 255.0 * images[..., ::-1] - tf.constant(_CAFFE_MEAN_BGR)
    raise ValueError(f'`network` must be vgg19, resnet50, resnet101 or tiny; got {network!r}.')
