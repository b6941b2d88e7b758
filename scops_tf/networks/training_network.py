"""Networks whose passes are cheaper: in time by other convolutions, in memory by recomputation."""
from __future__ import annotations

import functools
import re
from typing import Any, Dict, List, NamedTuple, Optional

import tensorflow as tf

from scops_tf.networks import layer_graph, pretrained, winograd

# With so many channels the gradient of a 1x1 kernel is faster as a matrix product in float32 too.
_WIDE = 512

# With fewer channels Winograd's algorithm gains little, and its windows of a batch of large maps
# take much memory.
_WINOGRAD_CHANNELS = 256

# With a larger excess of cells, Winograd's algorithm computes too many results in vain.
_MOST_EXCESS = 1.3

# The name of the last layer of a residual block in Keras' ResNets.
_END = re.compile(r'block\d+_out')


class TrainingNetwork(tf.keras.Model):
    """A functional network with a cheaper forward and backward pass.

    A frozen batch norm is folded into the convolution before it, so that neither pass has steps of
    its own for it. In half precision, and for many channels, the gradient of a 1x1 kernel is one
    matrix product, which is up to three times as fast on a CPU as the gradient of the convolution.
    In float32 on a CPU wide 3x3 convolutions use Winograd's algorithm, both ways. Values and
    gradients are those of the network itself up to rounding; variables and their names in a
    checkpoint are the same.

    Args:
      network: Functional network with one input. Its batch norms must be frozen.
      recompute: Whether the backward pass holds one block's activations in memory at a time, for a
        network with one output. Between the passes only the outputs of the blocks are kept (Chen et
        al., 2016, arXiv:1604.06174); the price is a second forward pass. A layer whose name
        contains `block<number>_out` ends a block; no other connection may lead from one block to
        another.
    """

    def __init__(self, network: tf.keras.Model, *, recompute: bool = False) -> None:
        # Variables are read in single precision, so that folding does not round.
        with pretrained.precision('float32'):
            super().__init__(network.input, network.output, name=network.name)
        blocks = _blocks(network) if recompute else [_Block(
            network.input_names[0], layer_graph.steps(network), layer_graph.output_names(network))]
        self._recompute = recompute
        # Keras would track layers in a list, and checkpoints would hold them twice.
        self._blocks = lambda: blocks

    def call(self, inputs: tf.Tensor, training: Optional[bool] = None, mask: Any = None
             ) -> Any:
        """Calls the network; see `tf.keras.Model.call`."""
        for block in self._blocks():
            inputs = (tf.recompute_grad(block.call) if self._recompute else block.call)(inputs)
        return inputs


class _Block(NamedTuple):
    """Consecutive layers of a network.

    Attributes:
      input: Name of the layer whose output is the input.
      steps: The layers.
      outputs: Names of the layers whose outputs are the output, a list if there are several.
    """

    input: str
    steps: List[layer_graph.Step]
    outputs: List[str]

    def call(self, maps: tf.Tensor) -> Any:
        found: Dict[str, tf.Tensor] = {self.input: maps}
        for step in self.steps:
            inputs = [found[name] for name in step.inputs]
            if isinstance(step.layer, tf.keras.layers.Conv2D):
                found[step.name] = _convolution(step, *inputs)
            elif step.is_folded:
                found[step.name] = inputs[0]
            else:
                found[step.name] = step.layer(inputs if len(inputs) > 1 else inputs[0])
        outputs = [found[name] for name in self.outputs]
        return outputs if len(outputs) > 1 else outputs[0]


def _blocks(network: tf.keras.Model) -> List[_Block]:
    blocks, first, current = [], network.input_names[0], []
    for step in layer_graph.steps(network):
        current.append(step)
        if _END.search(step.name):
            blocks.append(_Block(first, current, [step.name]))
            first, current = step.name, []
    return blocks + ([_Block(first, current, [current[-1].name])] if current else [])


def _convolution(step: layer_graph.Step, maps: tf.Tensor) -> tf.Tensor:
    """A convolution with the batch norm that follows it, if any."""
    layer, norm = step.layer, step.norm
    kernel, bias = layer.kernel, layer.bias if layer.use_bias else tf.zeros(layer.filters)
    if norm is not None:
        scale = tf.math.rsqrt(norm.moving_variance + norm.epsilon) * norm.gamma
        kernel, bias = kernel * scale, (bias - norm.moving_mean) * scale + norm.beta
    dtype = tf.as_dtype(layer.compute_dtype)
    maps, kernel, bias = (tf.cast(value, dtype) for value in (maps, kernel, bias))
    if layer.kernel_size == (1, 1) and (dtype.size < 4 or min(kernel.shape[2:]) >= _WIDE):
        read = maps[:, ::layer.strides[0], ::layer.strides[1]] if max(layer.strides) > 1 else maps
        results = _pointwise(read, kernel)
    elif _is_fast_by_winograd(layer, dtype, maps):
        results = winograd.convolution(maps, kernel, dilation=layer.dilation_rate[0])
    else:
        convolve = tf.nn.conv2d if _dilates(dtype) else tf.nn.convolution
        results = convolve(maps, kernel, layer.strides, layer.padding.upper(),
                           dilations=layer.dilation_rate)
    return layer.activation(tf.nn.bias_add(results, bias))


def _is_fast_by_winograd(layer: tf.keras.layers.Conv2D, dtype: tf.DType, maps: tf.Tensor) -> bool:
    """Whether Winograd's algorithm can compute a convolution, and does so faster."""
    return (dtype == tf.float32 and winograd.computes(layer)
            and maps.shape[3] >= _WINOGRAD_CHANNELS and None not in maps.shape[1:]
            and winograd.excess(maps.shape[1:3], layer.dilation_rate[0]) <= _MOST_EXCESS
            and not tf.config.list_physical_devices('GPU'))


@functools.lru_cache(maxsize=None)
def _dilates(dtype: tf.DType) -> bool:
    """Whether `tf.nn.conv2d` has a gradient with dilation on this device.

    It has none on a CPU without oneDNN. `tf.nn.convolution` rearranges the maps instead, which
    takes twice as long.
    """
    with tf.init_scope():
        maps = tf.zeros((1, 8, 8, 2), dtype)
        try:
            tf.raw_ops.Conv2DBackpropFilter(
                input=maps, filter_sizes=(3, 3, 2, 2), out_backprop=maps, strides=(1, 1, 1, 1),
                padding='SAME', dilations=(1, 2, 2, 1))
        except tf.errors.OpError:
            return False
    return True


@tf.custom_gradient
def _pointwise(maps: tf.Tensor, kernel: tf.Tensor) -> Any:
    """Convolution of maps [B,h,w,C] with a kernel [1,1,C,D]."""

    def gradients(upstream: tf.Tensor) -> Any:
        rows = [tf.reshape(value, [-1, value.shape[-1]]) for value in (maps, upstream)]
        return (tf.nn.conv2d(upstream, tf.transpose(kernel, [0, 1, 3, 2]), 1, 'SAME'),
                tf.matmul(*rows, transpose_a=True)[tf.newaxis, tf.newaxis])

    return tf.nn.conv2d(maps, kernel, 1, 'SAME'), gradients
