"""Segmenters for inference, with folded networks."""
from __future__ import annotations

import tensorflow as tf

from scops_tf.networks import part_segmenter, preprocessing
from scops_tf.serving import folded_network

# Prefixes of the convolutions that may be rounded to bfloat16. Rounding earlier stages too would
# move the outlines of the parts too much. float16 has three more bits: rounding all of the network
# to it moves them less than these stages in bfloat16 do.
ROUNDED = {
    'resnet50': ('conv5',),
    'resnet101': ('conv5',),
    'vgg19': ('block2', 'block3', 'block4', 'block5'),
}


def is_foldable(segmenter: part_segmenter.PartSegmenter) -> bool:
    """Whether `FoldedSegmenter` supports the segmenter's network."""
    return segmenter.network is not None and segmenter.network.name in ROUNDED


def fold(network: tf.keras.Model, precision: str, target: str = 'cpu'
         ) -> folded_network.FoldedNetwork:
    """A ResNet or VGG19 folded; `precision` and `target` are those of `FoldedSegmenter`."""
    return folded_network.FoldedNetwork(
        network, precision=precision, target=target,
        rounded=('',) if precision == 'float16' else ROUNDED[network.name])


class FoldedSegmenter(tf.Module):
    """A segmenter on a ResNet or VGG19 with a folded network.

    Args:
      segmenter: Segmenter to copy. Later changes of its network's weights have no effect here.
      precision: 'float32', 'bfloat16' or 'float16'; see `folded_network.FoldedNetwork`. With the
        latter two, labels stay the same on 99.9 % of the pixels.
      target: 'cpu' or 'gpu'; see `folded_network.FoldedNetwork`.

    Raises:
      ValueError: If `precision` or `target` is unknown, or the segmenter is on another network.
    """

    def __init__(self, segmenter: part_segmenter.PartSegmenter, *, precision: str = 'float32',
                 target: str = 'cpu') -> None:
        super().__init__(name='segmenter')
        network = segmenter.network
        name = network.name if network else None
        if not is_foldable(segmenter):
            raise ValueError(
                f'`segmenter` must be on one of {", ".join(ROUNDED)}; got one on {name!r}.')
        self._preprocessing = name
        self.network = fold(network, precision, target)
        folded = {variable.ref() for variable in network.variables}
        self._others = [variable for variable in segmenter.variables
                        if variable.ref() not in folded]
        self._logits_of = segmenter.logits_of

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """The segmenter's part logits f32[B,h,w,K+1] of photos f32[B,H,W,3], RGB in [0, 1]."""
        maps = self.network(preprocessing.preprocess(images, self._preprocessing))
        return self._logits_of(maps)
