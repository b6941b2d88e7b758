"""The part segmenter (§3.1): DeepLab-v2 on a ResNet at output stride 8, or on a small network."""
from __future__ import annotations

import functools
import os
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow as tf

from scops_tf.networks import part_segmenter, preprocessing, pretrained, recomputation

# Of the head's four convolutions, in cells of the feature map (DeepLab-v2's large field of view).
DILATIONS = (6, 12, 18, 24)

RESNETS = ('resnet50', 'resnet101')
# Of the ResNets, as in the names of Keras' layers.
STAGES = ('conv1', 'conv2', 'conv3', 'conv4', 'conv5')

# Of the last two stages of the ResNets: stride 1, and 3x3 convolutions with holes instead.
_STAGE_DILATIONS = {'conv4': 2, 'conv5': 4}


class Preprocessing(tf.keras.layers.Layer):
    """RGB in [0, 1] to what the backbone is fed, in float32 whatever its precision."""

    def __init__(self, network: str) -> None:
        super().__init__(dtype='float32', name='preprocessing')
        self._network = network

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """See `preprocessing.preprocess`."""
        return preprocessing.preprocess(images, self._network)


def part_logits(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, *,
                dilations: Tuple[int, ...]) -> tf.Tensor:
    """Sum of dilated 3x3 convolutions, zeros beyond the border, and a bias.

    Computed as one matrix product of the features with the taps of all kernels, whose results are
    shifted and added: the same sums in another order, many times faster on a CPU than dilated
    convolutions.

    Args:
      features: float[B,h,w,C].
      kernel: float[num dilations,3,3,C,D], of the features' precision.
      bias: float[D].
      dilations: In cells, one convolution each.

    Returns:
      f32[B,h,w,D].
    """
    centers, others = tf.reduce_sum(kernel[:, 1, 1], axis=0), []
    offsets = [(0, 0)]
    for index, dilation in enumerate(dilations):
        for row, column in np.argwhere(np.ones((3, 3))):
            if (row, column) != (1, 1):
                others.append(kernel[index, row, column])
                offsets.append((dilation * (row - 1), dilation * (column - 1)))
    taps = tf.concat([centers, *others], axis=-1)
    products = tf.cast(tf.einsum('bhwc,ck->bhwk', features, taps), tf.float32)
    height, width = tf.shape(products)[1], tf.shape(products)[2]
    shifted = []
    for (down, right), product in zip(offsets, tf.split(products, len(offsets), axis=-1)):
        padded = tf.pad(product, [[0, 0], _padding(down), _padding(right), [0, 0]])
        top, left = max(down, 0), max(right, 0)
        shifted.append(padded[:, top:top + height, left:left + width])
    logits = tf.add_n(shifted) + tf.cast(bias, tf.float32)
    return tf.ensure_shape(logits, [*features.shape[:3], kernel.shape[-1]])


def _padding(offset: int) -> List[int]:
    """Zeros before and after an axis that is read at `offset`."""
    return [max(-offset, 0), max(offset, 0)]


class PartHead(tf.keras.layers.Layer):
    """The layer of `part_logits`.

    Args:
      num_outputs: Channels of the result.
      seed: Of the kernels, N(0, 0.01) as in DeepLab-v2.
      dilations: One convolution each.
    """

    def __init__(self, num_outputs: int, *, seed: int,
                 dilations: Tuple[int, ...] = DILATIONS) -> None:
        super().__init__(name='head')
        self.num_outputs = num_outputs
        self.dilations = tuple(dilations)
        self._seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes `kernel` f32[num dilations,3,3,C,num_outputs] and `bias` f32[num_outputs]."""
        self.kernel = self.add_weight(
            'kernel', (len(self.dilations), 3, 3, input_shape[-1], self.num_outputs),
            initializer=tf.keras.initializers.RandomNormal(stddev=0.01, seed=self._seed))
        self.bias = self.add_weight('bias', (self.num_outputs,), initializer='zeros')
        super().build(input_shape)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """float[B,h,w,C] -> f32[B,h,w,num_outputs]."""
        return part_logits(features, self.kernel, self.bias, dilations=self.dilations)


class Segmenter(part_segmenter.PartSegmenter):
    """DeepLab-v2 on a ResNet, or a small network in its place.

    Args:
      num_parts: K.
      backbone: 'resnet50' or 'resnet101' (output stride 8; batch norm stays at inference
        statistics, its scale and offset are not trained), or 'tiny' (output stride 4, learned from
        scratch).
      weights: Of a ResNet: 'imagenet', the path of an .h5 file, or None; see
        `pretrained.find_weights`. 'tiny' has none and does not read it.
      seed: Of the variables that start at random.
      recompute: Whether the backbone computes its activations again in the backward pass, block by
        block, instead of keeping them.
      frozen_stages: Stages of a ResNet that are not trained, out of `STAGES`. They must be its
        first ones for the backward pass to end before them.

    Attributes:
      backbone_name: As given as `backbone`.
      backbone: Keras model from f32[B,H,W,3], RGB in [0, 1], to features [B,h,w,C]; h and w are H
        and W over the output stride, rounded up. In Keras' precision policy at construction.
      head: As of `PartSegmenter`.

    Raises:
      ValueError: If `num_parts` or `backbone` breaks its law.
      WeightsError: As `pretrained.build`.
    """

    def __init__(self, num_parts: int, *, backbone: str = 'resnet50',
                 weights: Optional[Union[str, os.PathLike]] = 'imagenet', seed: int = 0,
                 recompute: bool = False, frozen_stages: Sequence[str] = ()) -> None:
        super().__init__(num_parts, name='segmenter')
        if backbone not in (*RESNETS, 'tiny'):
            raise ValueError(
                f'`backbone` must be resnet50, resnet101 or tiny; got {backbone!r}.')
        self.backbone_name = backbone
        seeds = [int(number) for number in np.random.default_rng(seed).integers(2**31 - 1, size=2)]
        network = (tiny(seed=seeds[0]) if backbone == 'tiny' else
                   pretrained.build(backbone, weights=weights, seed=seeds[0],
                                    rewrite=functools.partial(_atrous, tuple(frozen_stages))))
        if recompute:
            network = recomputation.Recomputed(network)
        photos = tf.keras.Input((None, None, 3), dtype='float32')
        self.backbone = tf.keras.Model(
            photos, network(Preprocessing(backbone)(photos)), name='backbone')
        self.head = PartHead(num_parts + 1, seed=seeds[1])
        self.head.build(self.backbone.output_shape)
        self.build((None, None, None, 3))

    @property
    def network(self) -> tf.keras.Model:
        """The backbone without its preprocessing, by the name of which it is preprocessed for."""
        return self.backbone.get_layer(self.backbone_name)

    def logits_of(self, features: tf.Tensor) -> tf.Tensor:
        """Part logits of the output of `network`."""
        return self.head(features)

    @property
    def backbone_variables(self) -> List[tf.Variable]:
        """Trained variables of the backbone."""
        return self.backbone.trainable_variables

    def feature_shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the backbone's features of photos of `size` (height, width)."""
        return tuple(self.backbone.compute_output_shape((1, *size, 3))[1:])


def _atrous(frozen_stages: Tuple[str, ...], config: Dict[str, Any]) -> None:
    """Takes the strides out of the last two stages and puts holes into their 3x3 kernels."""
    stage = config['name'].split('_')[0]
    if stage in _STAGE_DILATIONS:
        # Keras has the stride on the first convolutions of a stage, 1x1 both.
        if re.fullmatch(r'conv\d_block1_[01]_conv', config['name']):
            config['strides'] = (1, 1)
        if config.get('kernel_size') == (3, 3):
            config['dilation_rate'] = (_STAGE_DILATIONS[stage],) * 2
    if config['name'].startswith(frozen_stages):
        config['trainable'] = False
    if config['name'].endswith('_bn'):
        config['trainable'] = False  # In Keras: inference statistics as well.


def tiny(*, seed: int, channels: Tuple[int, int, int] = (32, 64, 64)) -> tf.keras.Model:
    """A small network for tests and drawn pictures, to be learned from scratch.

    Args:
      seed: Of its variables.
      channels: At stride 2, at stride 4, and of the features; multiples of 8.

    Returns:
      Keras model from f32[B,H,W,3] to features [B,h,w,C] at stride 4. Photos do not mix.
    """
    layers = tf.keras.layers
    seeds = enumerate(np.random.default_rng(seed).integers(2**31 - 1, size=5))

    def convolution(maps: Any, filters: int, *, stride: int = 1, dilation: int = 1) -> Any:
        number, own_seed = next(seeds)
        # Padding of one's own: Keras' puts the first cell on the second pixel where sides are even.
        maps = layers.Conv2D(
            filters, 3, strides=stride, dilation_rate=dilation, use_bias=False,
            kernel_initializer=tf.keras.initializers.HeNormal(seed=int(own_seed))
        )(layers.ZeroPadding2D(dilation)(maps))
        return layers.ReLU(name=f'block{number}_out')(layers.GroupNormalization(8)(maps))

    photos = tf.keras.Input((None, None, 3))
    maps = convolution(photos, channels[0], stride=2)
    maps = convolution(maps, channels[1], stride=2)
    for dilation in (1, 2, 1):
        maps = convolution(maps, channels[2], dilation=dilation)
    return tf.keras.Model(photos, maps, name='tiny')
