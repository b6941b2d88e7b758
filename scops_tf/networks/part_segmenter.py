"""The interface of part segmenters (§3.1): a backbone, and a head from its features to logits."""
from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import tensorflow as tf


class PartSegmenter(tf.keras.Model):
    """Network from photos to part logits; base class of `Segmenter` and `LinearSegmenter`.

    A subclass sets `head` and defines `backbone`, `network`, `logits_of`, `backbone_variables`,
    `variables_beyond`, `backbone_weights` and `feature_shape`.

    Attributes:
      num_parts: K.
      head: Layer from the backbone's features to part logits f32[B,h,w,K+1]; channel 0 is
        background.
      reads_reference_features: Whether the backbone is the frozen reference features themselves,
        so that one cache serves both.

    Raises:
      ValueError: If `num_parts` is below 1.
    """

    reads_reference_features = False

    def __init__(self, num_parts: int, *, name: str) -> None:
        # With autocast, photos would be rounded to half precision before their preprocessing.
        super().__init__(name=name, autocast=False)
        if num_parts < 1:
            raise ValueError(f'`num_parts` must be at least 1; got {num_parts}.')
        self.num_parts = num_parts

    def call(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        """Part logits of photos.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].
          training: Keras' flag, which makes no difference.

        Returns:
          f32[B,h,w,K+1]. The first and last cells stand for the first and last pixels, so
          up-sampling must align the corners.
        """
        return self.head(self.backbone(images, training=training))

    @property
    def network(self) -> Optional[tf.keras.Model]:
        """The convolutional network inside the backbone, without preprocessing; None if none."""
        raise NotImplementedError

    def logits_of(self, outputs: Any) -> tf.Tensor:
        """Part logits f32[B,h,w,K+1] from the outputs of `network`."""
        raise NotImplementedError

    def feature_shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the backbone's features for photos of `size` (height, width)."""
        raise NotImplementedError

    def of_features(self, features: tf.Tensor) -> tf.Tensor:
        """Reference features V [B,h,w,C] under this segmenter's normalization, if it has one."""
        return features

    @property
    def backbone_variables(self) -> List[tf.Variable]:
        """Trained variables of the backbone."""
        raise NotImplementedError

    def variables_beyond(self, frozen_stages: Sequence[str]) -> List[tf.Variable]:
        """Variables of the backbone that are trained in a segmenter with these stages frozen.

        They are in the order of `backbone_variables` of that segmenter.
        """
        raise NotImplementedError

    @property
    def backbone_weights(self) -> Sequence[tf.Variable]:
        """All variables of the backbone, frozen ones too; without tap scales and a SavedModel's."""
        raise NotImplementedError

    @property
    def head_variables(self) -> List[tf.Variable]:
        """Trained variables of the head."""
        return self.head.trainable_variables
