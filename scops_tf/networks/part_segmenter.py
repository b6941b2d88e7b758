"""What every part segmenter is (§3.1): a backbone, and a head that maps its features to logits."""
from __future__ import annotations

from typing import Any, List, Optional, Tuple

import tensorflow as tf


class PartSegmenter(tf.keras.Model):
    """Photos to part logits; the interface of `segmenter.Segmenter` and `LinearSegmenter`.

    An implementation sets `head` and defines `backbone`, `network`, `logits_of` and
    `feature_shape`.

    Attributes:
      num_parts: K.
      head: Layer from the backbone's features to part logits f32[B,h,w,K+1]; channel 0 is
        background.
      reads_reference_features: Whether the backbone is the frozen reference features themselves,
        so that their cache serves for both.

    Raises:
      ValueError: If `num_parts` is below 1.
    """

    reads_reference_features = False

    def __init__(self, num_parts: int, *, name: str) -> None:
        # Photos are not to be rounded to half precision before their preprocessing.
        super().__init__(name=name, autocast=False)
        if num_parts < 1:
            raise ValueError(f'`num_parts` must be at least 1; got {num_parts}.')
        self.num_parts = num_parts

    def call(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        """Part logits.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].
          training: Makes no difference.

        Returns:
          f32[B,h,w,K+1]. The first and last cells stand for the first and last pixels: up-sample
          with the corners aligned.
        """
        return self.head(self.backbone(images, training=training))

    @property
    def network(self) -> Optional[tf.keras.Model]:
        """The network of convolutions inside the backbone, without preprocessing; None without."""
        raise NotImplementedError

    def logits_of(self, outputs: Any) -> tf.Tensor:
        """Part logits of the outputs of `network`."""
        raise NotImplementedError

    def feature_shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the backbone's features of photos of `size` (height, width)."""
        raise NotImplementedError

    def of_features(self, features: tf.Tensor) -> tf.Tensor:
        """Reference features V [B,h,w,C] as this segmenter can tell them apart."""
        return features

    @property
    def backbone_variables(self) -> List[tf.Variable]:
        """Trained variables of the backbone."""
        raise NotImplementedError

    @property
    def head_variables(self) -> List[tf.Variable]:
        """Trained variables of the head."""
        return self.head.trainable_variables
