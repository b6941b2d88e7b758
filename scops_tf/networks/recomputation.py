"""Networks that recompute activations in the backward pass instead of keeping them."""
from __future__ import annotations

import re
from typing import Any, Optional

import tensorflow as tf

# The name of the last layer of a residual block in Keras' ResNets.
_END = re.compile(r'block\d+_out')


class Recomputed(tf.keras.Model):
    """A functional network whose backward pass holds one block's activations in memory at a time.

    Between the passes only the outputs of the blocks are kept (Chen et al., 2016,
    arXiv:1604.06174); the price is a second forward pass. Values, gradients, variables and their
    names in a checkpoint are those of the network itself.

    Args:
      network: Functional network with one input and one output. A layer whose name contains
        `block<number>_out` ends a block; no other connection may lead from one block to another.
    """

    def __init__(self, network: tf.keras.Model) -> None:
        super().__init__(network.input, network.output, name=network.name)
        ends = [layer.output for layer in network.layers if _END.search(layer.name)]
        if not ends or ends[-1] is not network.output:
            ends.append(network.output)
        blocks = [tf.keras.Model(first, last) for first, last in zip([network.input, *ends], ends)]
        # Keras would track blocks in a list, and checkpoints would hold them beside their layers.
        self._blocks = lambda: blocks

    def call(self, inputs: tf.Tensor, training: Optional[bool] = None, mask: Any = None
             ) -> tf.Tensor:
        """Calls the network block by block; see `tf.keras.Model.call`."""
        for block in self._blocks():
            def outputs(maps: tf.Tensor, block: tf.keras.Model = block) -> tf.Tensor:
                return block(maps, training=training)

            inputs = tf.recompute_grad(outputs)(inputs)
        return inputs
