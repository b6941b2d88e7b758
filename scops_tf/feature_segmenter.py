"""The part segmenter that reads the reference features: one linear map of them (§3.1, §3.4)."""
from __future__ import annotations

from typing import List, Optional, Tuple

import tensorflow as tf

from scops_tf import features as features_lib


class FeatureSegmenter(tf.Module):
    """Photos to part logits, linear in the reference features V.

    A few ten thousand weights instead of a network's millions: on some hundred photos a deeper or
    wider head learns the photos by heart, this one hardly.

    Args:
      num_parts: K.
      reference_features: V, frozen.
      seed: Of the head's kernel, N(0, 0.01).

    Attributes:
      head: 1x1 convolution from V to part logits f32[B,h,w,K+1]; channel 0 is background.

    Raises:
      ValueError: If `num_parts` is below 1.
    """

    def __init__(self, num_parts: int, reference_features: features_lib.ReferenceFeatures, *,
                 seed: int = 0) -> None:
        super().__init__(name='feature_segmenter')
        if num_parts < 1:
            raise ValueError(f'`num_parts` must be at least 1; got {num_parts}.')
        self.reference_features = reference_features
        self.head = tf.keras.layers.Conv2D(
            num_parts + 1, 1, dtype='float32', name='head',
            kernel_initializer=tf.keras.initializers.RandomNormal(stddev=0.01, seed=seed))
        self.head.build((None, None, None, reference_features.num_channels))

    def backbone(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        """V f32[B,h,w,C] of photos f32[B,H,W,3], RGB in [0, 1]; `training` makes no difference."""
        return self.reference_features(images)

    def __call__(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        """Part logits.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].
          training: Makes no difference.

        Returns:
          f32[B,h,w,K+1]. The first and last cells stand for the first and last pixels: up-sample
          with the corners aligned.
        """
        return self.head(self.backbone(images))

    @property
    def backbone_variables(self) -> List[tf.Variable]:
        """None: the reference features are frozen."""
        return []

    @property
    def head_variables(self) -> List[tf.Variable]:
        """Trained variables of the head."""
        return self.head.trainable_variables

    def feature_shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the features of photos of `size` (height, width)."""
        return self.reference_features.shape(size)
