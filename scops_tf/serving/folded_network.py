"""A convolutional network for inference, with batch norm folded into the convolutions."""
from __future__ import annotations

import functools
from typing import Callable, List, Optional, Tuple, Union

import numpy as np
import tensorflow as tf

from scops_tf.networks import layer_graph, winograd

PRECISIONS = ('float32', 'bfloat16', 'float16')
TARGETS = ('cpu', 'gpu')

# With at least so many channels, Winograd's algorithm saves a CPU more than its transforms cost.
_WINOGRAD_CHANNELS = 128

# Maps in float16 are held as a sixteenth, which is exact: with ReLU and pooling all maps of a
# network scale together. VGG19 comes to 26 000 on patterns of black and white, and float16 ends at
# 65 504.
_SHARES = {tf.float16: 1 / 16}
_SCALING = (tf.keras.activations.relu, tf.keras.activations.linear)


class FoldedNetwork(tf.Module):
    """A copy of a network as `pretrained.build` makes it; its variables are the folded weights.

    Args:
      network: Keras model with one input, of convolutions with or without batch norm, activations,
        max pooling, zero padding and sums. Later changes of its weights have no effect here.
      precision: 'float32' gives the network's outputs up to rounding. 'bfloat16' and 'float16' are
        for devices that multiply in them: the convolutions that `rounded` selects are computed in
        it, the others in float32.
      target: Device that the convolutions are arranged for. With 'cpu' and float32, wide ones use
        Winograd's algorithm, which is fast on any CPU. All others are plain ones.
      rounded: Prefixes of the names of convolutions.

    Raises:
      ValueError: If `precision` or `target` is unknown, or the network has a layer of another kind,
        or in float16 another activation than ReLU.
    """

    def __init__(self, network: tf.keras.Model, *, precision: str = 'float32',
                 target: str = 'cpu', rounded: Tuple[str, ...] = ()) -> None:
        super().__init__(name=network.name)
        if precision not in PRECISIONS:
            raise ValueError(
                f'`precision` must be one of {", ".join(PRECISIONS)}; got {precision!r}.')
        if target not in TARGETS:
            raise ValueError(f'`target` must be one of {", ".join(TARGETS)}; got {target!r}.')
        half_type = tf.as_dtype(precision)
        self.convolutions = []
        self._input, self._outputs = network.input_names[0], layer_graph.output_names(network)
        self._steps = []
        for step in layer_graph.steps(network):
            if half_type in _SHARES and getattr(
                    step.layer, 'activation', _SCALING[0]) not in _SCALING:
                raise ValueError('`network` must have no activation but ReLU in float16; got '
                                 f'{step.layer.activation.__name__}.')
            if isinstance(step.layer, tf.keras.layers.Conv2D):
                function = _Convolution(
                    step.layer, step.norm,
                    dtype=half_type if step.name.startswith(rounded) else tf.float32,
                    fast=target == 'cpu' and half_type == tf.float32)
                self.convolutions.append(function)
            else:
                function = tf.identity if step.is_folded else _function(step.layer)
            self._steps.append((step.name, function, step.inputs))

    def __call__(self, maps: tf.Tensor) -> Union[tf.Tensor, List[tf.Tensor]]:
        """The network's outputs in float32: a tensor, or a list if there are several."""
        found = {self._input: maps}
        for name, function, inputs in self._steps:
            found[name] = function(*(found[key] for key in inputs))
        outputs = [_as_type(found[name], tf.float32) for name in self._outputs]
        return outputs if len(outputs) > 1 else outputs[0]


class _Convolution(tf.Module):
    """A convolution with the batch norm that follows it, if any.

    Args:
      layer: Keras' convolution.
      norm: Keras' batch norm, or None.
      dtype: Type of the arithmetic and of the result.
      fast: Whether Winograd's algorithm may be used.
    """

    def __init__(self, layer: tf.keras.layers.Conv2D,
                 norm: Optional[tf.keras.layers.BatchNormalization], *, dtype: tf.DType, fast: bool
                 ) -> None:
        super().__init__(name=layer.name)
        kernel, bias = (weight.astype(np.float64) for weight in layer.get_weights())
        if norm is not None:
            gamma, beta, mean, variance = (
                weight.astype(np.float64) for weight in norm.get_weights())
            scale = gamma / np.sqrt(variance + norm.epsilon)
            kernel, bias = kernel * scale, (bias - mean) * scale + beta
        self._stride, self._dilation = layer.strides[0], layer.dilation_rate[0]
        self._padding = layer.padding.upper()
        self._activation = layer.activation
        self._winograd = (
            fast and kernel.shape[2] >= _WINOGRAD_CHANNELS and winograd.computes(layer))
        if self._winograd:
            kernel = winograd.transform_kernel(kernel)
        bias = bias * _SHARES.get(dtype, 1)
        self.kernel = tf.Variable(tf.cast(kernel, dtype), trainable=False, name='kernel')
        self.bias = tf.Variable(tf.cast(bias, dtype), trainable=False, name='bias')

    def __call__(self, maps: tf.Tensor) -> tf.Tensor:
        maps = _as_type(maps, self.kernel.dtype)
        if self._winograd:
            results = winograd.convolve(maps, self.kernel, dilation=self._dilation)
        else:
            results = tf.nn.conv2d(maps, self.kernel, self._stride, self._padding,
                                   dilations=self._dilation)
        return self._activation(tf.nn.bias_add(results, self.bias))


def _as_type(maps: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Maps in another type, as the share of themselves that this type holds."""
    share = _SHARES.get(dtype, 1) / _SHARES.get(maps.dtype, 1)
    if share < 1:
        maps *= share
    maps = tf.cast(maps, dtype)
    return maps * share if share > 1 else maps


def _function(layer: tf.keras.layers.Layer) -> Callable[..., tf.Tensor]:
    """The function of a layer without weights, in its input's precision.

    It holds no reference to the layer, which would keep all layers before it and their weights.
    """
    layers = tf.keras.layers
    if isinstance(layer, layers.Activation):
        return layer.activation
    if isinstance(layer, layers.Add):
        return lambda *maps: tf.add_n(maps)
    if isinstance(layer, layers.ZeroPadding2D):
        return functools.partial(tf.pad, paddings=[[0, 0], *layer.padding, [0, 0]])
    if isinstance(layer, layers.MaxPool2D):
        return functools.partial(tf.nn.max_pool2d, ksize=layer.pool_size, strides=layer.strides,
                                 padding=layer.padding.upper())
    raise ValueError('`network` must be of convolutions, batch norm, activations, pooling, padding '
                     f'and sums; got a {type(layer).__name__}.')
