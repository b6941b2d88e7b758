"""The part segmenter (§3.1): DeepLab-v2 on a ResNet at output stride 8, or on a small network."""
from __future__ import annotations

import functools
import os
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow as tf

from scops_tf.networks import (
    group_norm,
    part_segmenter,
    preprocessing,
    pretrained,
    training_network,
)

# Dilations of the head's four convolutions, in cells (the large field of view of DeepLab-v2).
DILATIONS = (6, 12, 18, 24)

RESNETS = ('resnet50', 'resnet101')
# Of the ResNets, as in the names of Keras' layers.
STAGES = ('conv1', 'conv2', 'conv3', 'conv4', 'conv5')
# Those that are not trained, by `Segmenter.trained`; with 'head' no variable of the backbone is.
FROZEN_STAGES = {'last_stages': STAGES[:3], 'all': (), 'head': ()}

# Dilations of the 3x3 convolutions in the last two stages of the ResNets, in place of strides.
_STAGE_DILATIONS = {'conv4': 2, 'conv5': 4}


class Preprocessing(tf.keras.layers.Layer):
    """From RGB in [0, 1] to the backbone's input, in float32 whatever the backbone's precision."""

    def __init__(self, network: str) -> None:
        super().__init__(dtype='float32', name='preprocessing')
        self._network = network

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """The input of the network; see `preprocessing.preprocess`."""
        return preprocessing.preprocess(images, self._network)


def part_logits(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, *,
                dilations: Tuple[int, ...]) -> tf.Tensor:
    """Sum of dilated 3x3 convolutions and a bias, with zeros beyond the border.

    One matrix product multiplies the features with the taps of all kernels; its results are shifted
    and added. These are the same sums in another order, many times faster on a CPU than dilated
    convolutions.

    Args:
      features: float[B,h,w,C].
      kernel: float[num dilations,3,3,C,D], in the features' precision.
      bias: float[D].
      dilations: Dilation of each convolution, in cells.

    Returns:
      f32[B,h,w,D].
    """
    cells = tf.unstack(tf.reshape(kernel, [9 * len(dilations), *kernel.shape[3:]]))
    taps, offsets = [tf.reduce_sum(kernel[:, 1, 1], axis=0)], [(0, 0)]
    for index, dilation in enumerate(dilations):
        for row, column in np.argwhere(np.ones((3, 3))):
            if (row, column) != (1, 1):
                taps.append(cells[9 * index + 3 * row + column])
                offsets.append((dilation * (row - 1), dilation * (column - 1)))
    taps = tf.concat(taps, axis=-1)
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
    """Numbers of zeros before and after an axis that is read at `offset`."""
    return [max(-offset, 0), max(offset, 0)]


class PartHead(tf.keras.layers.Layer):
    """Layer that computes `part_logits`.

    Args:
      num_outputs: Number of channels of the result.
      seed: Seed of the kernels, which are drawn from N(0, 0.01) as in DeepLab-v2.
      dilations: Dilation of each convolution, in cells.
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
        """Part logits f32[B,h,w,num_outputs] of features float[B,h,w,C]."""
        return part_logits(features, self.kernel, self.bias, dilations=self.dilations)


class Segmenter(part_segmenter.PartSegmenter):
    """DeepLab-v2 on a ResNet, or a small network in its place.

    Args:
      num_parts: K.
      backbone: 'resnet50' or 'resnet101' (output stride 8; batch norm keeps its inference
        statistics, and its scale and offset are not trained), or 'tiny' (output stride 4, trained
        from scratch).
      weights: Weights of a ResNet: 'imagenet', the path of an .h5 file, or None; see
        `pretrained.find_weights`. 'tiny' ignores them.
      seed: Seed of the variables that start at random.
      recompute: Whether the backbone recomputes its activations in the backward pass, block by
        block, instead of keeping them.
      frozen_stages: Stages of a ResNet that are not trained, out of `STAGES`. They must be its
        first ones for the backward pass to end before them.

    Attributes:
      backbone_name: The argument `backbone`.
      backbone: Keras model from f32[B,H,W,3], RGB in [0, 1], to features [B,h,w,C]. h and w are H
        and W over the output stride, rounded up. It computes in Keras' precision policy at
        construction.
      head: The `PartHead`, from the backbone's features to part logits.

    Raises:
      ValueError: If `num_parts` is below 1 or `backbone` is unknown.
      WeightsError: See `pretrained.build`.
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
        network = training_network.TrainingNetwork(network, recompute=recompute)
        photos = tf.keras.Input((None, None, 3), dtype='float32')
        self.backbone = tf.keras.Model(
            photos, network(Preprocessing(backbone)(photos)), name='backbone')
        self.head = PartHead(num_parts + 1, seed=seeds[1])
        self.head.build(self.backbone.output_shape)

    @property
    def network(self) -> tf.keras.Model:
        """The backbone without its preprocessing."""
        return self.backbone.get_layer(self.backbone_name)

    def logits_of(self, features: tf.Tensor) -> tf.Tensor:
        """Part logits f32[B,h,w,K+1] from the output of `network`."""
        return self.head(features)

    @property
    def backbone_variables(self) -> List[tf.Variable]:
        """Trained variables of the backbone."""
        return self.backbone.trainable_variables

    def variables_beyond(self, frozen_stages: Sequence[str]) -> List[tf.Variable]:
        """See `PartSegmenter.variables_beyond`."""
        return [variable for layer in self.network.layers
                if not _is_frozen(layer.name, tuple(frozen_stages)) for variable in layer.weights]

    @property
    def backbone_weights(self) -> List[tf.Variable]:
        """All variables of the backbone, frozen ones and statistics too."""
        return self.backbone.variables

    def feature_shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the backbone's features for photos of `size` (height, width)."""
        return tuple(self.backbone.compute_output_shape((1, *size, 3))[1:])


def _atrous(frozen_stages: Tuple[str, ...], config: Dict[str, Any]) -> None:
    """Dilates the last two stages in place of their strides, and freezes what is not trained."""
    stage = config['name'].split('_')[0]
    if stage in _STAGE_DILATIONS:
        # Keras puts the stride on the first two convolutions of a stage, both 1x1.
        if re.fullmatch(r'conv\d_block1_[01]_conv', config['name']):
            config['strides'] = (1, 1)
        if config.get('kernel_size') == (3, 3):
            config['dilation_rate'] = (_STAGE_DILATIONS[stage],) * 2
    if _is_frozen(config['name'], frozen_stages):
        config['trainable'] = False  # In Keras this fixes the statistics of a batch norm too.


def _is_frozen(layer: str, stages: Tuple[str, ...]) -> bool:
    """Whether a layer is not trained where these stages are frozen; no batch norm ever is."""
    return layer.startswith(stages) or layer.endswith('_bn')


def tiny(*, seed: int, channels: Tuple[int, int, int] = (32, 64, 64)) -> tf.keras.Model:
    """A small network for tests and drawn pictures, which is trained from scratch.

    Args:
      seed: Seed of its variables.
      channels: Numbers of channels at stride 2, at stride 4 and of the features; multiples of 8.

    Returns:
      Keras model from f32[B,H,W,3] to features [B,h,w,C] at stride 4. The features of a photo do
      not depend on the other photos of the batch.
    """
    layers = tf.keras.layers
    seeds = enumerate(np.random.default_rng(seed).integers(2**31 - 1, size=5))

    def convolution(maps: Any, filters: int, *, stride: int = 1, dilation: int = 1) -> Any:
        number, own_seed = next(seeds)
        # Keras' own padding would centre the first cell on the second pixel if sides are even.
        maps = layers.Conv2D(
            filters, 3, strides=stride, dilation_rate=dilation, use_bias=False,
            kernel_initializer=tf.keras.initializers.HeNormal(seed=int(own_seed))
        )(layers.ZeroPadding2D(dilation)(maps))
        return layers.ReLU(name=f'block{number}_out')(group_norm.GroupNorm(8)(maps))

    photos = tf.keras.Input((None, None, 3))
    maps = convolution(photos, channels[0], stride=2)
    maps = convolution(maps, channels[1], stride=2)
    for dilation in (1, 2, 1):
        maps = convolution(maps, channels[2], dilation=dilation)
    return tf.keras.Model(photos, maps, name='tiny')
