"""The layers of a functional network in the order of their computation."""
from __future__ import annotations

import collections
from typing import Any, List, NamedTuple, Optional

import tensorflow as tf


class Step(NamedTuple):
    """A layer and what it is computed from.

    Attributes:
      name: Name of the layer.
      layer: The layer.
      inputs: Names of the layers whose outputs are its inputs.
      norm: For a convolution: the batch norm that alone reads its output, or None.
      is_folded: Whether the layer is the `norm` of a convolution.
    """

    name: str
    layer: tf.keras.layers.Layer
    inputs: List[str]
    norm: Optional[tf.keras.layers.BatchNormalization] = None
    is_folded: bool = False


def steps(network: tf.keras.Model) -> List[Step]:
    """The layers of a network with one input, after that input. Each layer is used once."""
    layers = network.layers[1:]
    inputs = {layer.name: _names(network, layer.input) for layer in layers}
    uses = collections.Counter(
        [*output_names(network), *(name for names in inputs.values() for name in names)])
    convolutions = {layer.name for layer in layers if isinstance(layer, tf.keras.layers.Conv2D)}
    norms = {inputs[layer.name][0]: layer for layer in layers
             if isinstance(layer, tf.keras.layers.BatchNormalization)
             and inputs[layer.name][0] in convolutions and uses[inputs[layer.name][0]] == 1}
    folded = {norm.name for norm in norms.values()}
    return [Step(layer.name, layer, inputs[layer.name], norms.get(layer.name),
                 layer.name in folded)
            for layer in layers]


def output_names(network: tf.keras.Model) -> List[str]:
    """Names of the layers whose outputs are the network's."""
    return _names(network, network.outputs)


def _names(network: tf.keras.Model, tensors: Any) -> List[str]:
    names = {layer.output.ref(): layer.name for layer in network.layers}
    return [names[tensor.ref()] for tensor in tf.nest.flatten(tensors)]
