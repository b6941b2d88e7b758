"""Networks that compute activations again in the backward pass instead of keeping them."""
from __future__ import annotations

import re
from typing import Any, Optional

import tensorflow as tf

# Of the last layer of a residual block, as Keras' ResNets have it.
_END = re.compile(r'block\d+_out')


class Recomputed(tf.keras.Model):
    """A functional network of blocks, of which a backward pass has one in memory at a time.

    Between the passes only the blocks' outputs are kept (Chen et al., 2016, arXiv:1604.06174), at
    the price of another forward pass. Values, gradients, variables and their places in a checkpoint
    are those of the network itself.

    Args:
      network: With one input and one output. Layers named `..block<number>_out` end its blocks;
        nothing else may lead from one block to another.
    """

    def __init__(self, network: tf.keras.Model) -> None:
        super().__init__(network.input, network.output, name=network.name)
        ends = [layer.output for layer in network.layers if _END.search(layer.name)]
        if not ends or ends[-1] is not network.output:
            ends.append(network.output)
        blocks = [tf.keras.Model(first, last) for first, last in zip([network.input, *ends], ends)]
        # Hidden from Keras, which would list the blocks in checkpoints beside their layers.
        self._blocks = lambda: blocks

    def call(self, inputs: tf.Tensor, training: Optional[bool] = None, mask: Any = None
             ) -> tf.Tensor:
        """As the network's own."""
        for block in self._blocks():
            def outputs(maps: tf.Tensor, block: tf.keras.Model = block) -> tf.Tensor:
                return block(maps, training=training)

            inputs = tf.recompute_grad(outputs)(inputs)
        return inputs
