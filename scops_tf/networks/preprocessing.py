"""Preprocessing: from RGB in [0, 1] to the range and channel order that each network expects."""
from __future__ import annotations

from typing import Any

import tensorflow as tf

# Mean colour of ImageNet, BGR in [0, 255], as Keras subtracts it for its 'caffe' networks.
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def preprocess(images: Any, network: str) -> tf.Tensor:
    """The input of a network, from photos.

    Args:
      images: f32[B,H,W,3]. RGB in [0, 1].
      network: 'vgg19', 'resnet50', 'resnet101' or 'tiny'.

    Returns:
      f32[B,H,W,3]. RGB in [-1, 1] for 'tiny'. For the others BGR in [0, 255] minus ImageNet's mean,
      as in `tf.keras.applications`.
    """
    images = tf.cast(images, tf.float32)
    if network == 'tiny':
        return 2.0 * images - 1.0
    if network in ('vgg19', 'resnet50', 'resnet101'):
        return 255.0 * images[..., ::-1] - tf.constant(_CAFFE_MEAN_BGR)
    raise ValueError(f'`network` must be vgg19, resnet50, resnet101 or tiny; got {network!r}.')
