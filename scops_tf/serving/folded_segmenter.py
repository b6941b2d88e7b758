"""The segmenters for inference: their networks folded."""
from __future__ import annotations

import tensorflow as tf

from scops_tf.networks import part_segmenter, preprocessing
from scops_tf.serving import folded_network

# Names of convolutions begin so. Rounding earlier stages as well would move the parts' outlines by
# too much.
_ROUNDED = {
    'resnet50': ('conv5',),
    'resnet101': ('conv5',),
    'vgg19': ('block2', 'block3', 'block4', 'block5'),
}


def is_foldable(segmenter: part_segmenter.PartSegmenter) -> bool:
    """Whether the segmenter is on a network that `FoldedSegmenter` takes."""
    return segmenter.network is not None and segmenter.network.name in _ROUNDED


class FoldedSegmenter(tf.Module):
    """A segmenter on a ResNet or on VGG19, its network folded.

    Args:
      segmenter: A later change of its network's weights does not show here.
      precision: As of `folded_network.FoldedNetwork`. In 'bfloat16' labels stay the same on 99.9 %
        of the pixels.

    Raises:
      ValueError: If `precision` is unknown, or the segmenter is on another network.
    """

    def __init__(self, segmenter: part_segmenter.PartSegmenter, *, precision: str = 'float32'
                 ) -> None:
        super().__init__(name='segmenter')
        network = segmenter.network
        name = network.name if network else None
        if not is_foldable(segmenter):
            raise ValueError(
                f'`segmenter` must be on one of {", ".join(_ROUNDED)}; got one on {name!r}.')
        self._preprocessing = name
        self.network = folded_network.FoldedNetwork(
            network, precision=precision, rounded=_ROUNDED[name])
        folded = {variable.ref() for variable in network.variables}
        self._others = [variable for variable in segmenter.variables
                        if variable.ref() not in folded]
        self._logits_of = segmenter.logits_of

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Part logits f32[B,h,w,K+1] of photos f32[B,H,W,3], as of the segmenter."""
        maps = self.network(preprocessing.preprocess(images, self._preprocessing))
        return self._logits_of(maps)
