"""The part segmenter that is a linear map of the reference features (§3.1, §3.4)."""
from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import tensorflow as tf

from scops_tf.networks import part_segmenter, reference_features as features_lib


def window_of(share: float, size: Tuple[int, int]) -> int:
    """Side, in cells, of a window that covers a share of the shorter side of a map (height, width).

    The side is the nearest odd number, so that the window has a middle cell; 1 for a share of 0.
    """
    return 2 * round((share * min(size) - 1) / 2) + 1


class LinearHead(tf.keras.layers.Layer):
    """Linear map of each cell's features and, optionally, of their mean over a window around it.

    The mean tells places apart that look alike but have different surroundings: a left eye has the
    nose to its right. It resembles ParseNet's global context (Liu et al., 2015), but within a
    window. Cells beyond the map's border do not count in the mean. Both operations are linear, so
    the mean is computed on the logits, which have K + 1 channels instead of C.

    Args:
      num_outputs: K + 1.
      context: Side of the window in cells, odd; 1 for no window.
      seed: Seed of the kernels, which are drawn from N(0, 0.01).
    """

    def __init__(self, num_outputs: int, *, context: int = 1, seed: int = 0) -> None:
        super().__init__(name='head', dtype='float32')
        self.num_outputs, self.context = num_outputs, context
        self._seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes `kernel` f32[1,1,C,K+1], `bias` f32[K+1] and, for a window, `context_kernel`."""

        def kernel(name: str, seed: int) -> tf.Variable:
            return self.add_weight(
                name, (1, 1, input_shape[-1], self.num_outputs),
                initializer=tf.keras.initializers.RandomNormal(stddev=0.01, seed=seed))

        self.kernel = kernel('kernel', self._seed)
        self.bias = self.add_weight('bias', (self.num_outputs,), initializer='zeros')
        if self.context > 1:
            self.context_kernel = kernel('context_kernel', self._seed + 1)
        super().build(input_shape)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Part logits f32[B,h,w,K+1] of features float[B,h,w,C]."""
        if self.context == 1:
            return tf.nn.conv2d(features, self.kernel, 1, 'VALID') + self.bias
        kernels = tf.concat([self.kernel, self.context_kernel], axis=-1)
        own, around = tf.split(tf.nn.conv2d(features, kernels, 1, 'VALID'), 2, axis=-1)
        # avg_pool2d leaves cells beyond the border out of the mean.
        return own + tf.nn.avg_pool2d(around, self.context, 1, 'SAME') + self.bias


class LinearSegmenter(part_segmenter.PartSegmenter):
    """Part segmenter that is linear in the reference features V, which it may normalize further.

    It has some ten thousand weights, where a network has millions. On a few hundred photos a deeper
    or wider head learns the photos by heart; this one hardly does.

    Args:
      num_parts: K.
      reference_features: V, frozen.
      context: Side of the head's window; see `LinearHead`.
      normalization: Exponent in [0, 1] of a further normalization of each cell's vector of V, on
        top of V's own; see `ReferenceFeatures.normalize`.
      seed: Seed of the head.

    Attributes:
      head: The `LinearHead`, from V to part logits.

    Raises:
      ValueError: If `num_parts` is below 1.
    """

    reads_reference_features = True

    def __init__(self, num_parts: int, reference_features: features_lib.ReferenceFeatures, *,
                 context: int = 1, normalization: float = 0.0, seed: int = 0) -> None:
        super().__init__(num_parts, name='linear_segmenter')
        self._normalization = float(normalization)
        self.reference_features = reference_features
        self.head = LinearHead(num_parts + 1, context=context, seed=seed)
        self.head.build((None, None, None, reference_features.num_channels))

    def backbone(self, images: tf.Tensor, training: Optional[bool] = None) -> tf.Tensor:
        """The head's input f32[B,h,w,C] from photos f32[B,H,W,3], RGB in [0, 1].

        `training` makes no difference.
        """
        return self.of_features(self.reference_features(images))

    def of_features(self, features: tf.Tensor) -> tf.Tensor:
        """The head's input f32[B,h,w,C] from V f32[B,h,w,C]."""
        return self.reference_features.normalize(features, self._normalization)

    @property
    def network(self) -> Optional[tf.keras.Model]:
        """The network of the reference features; None for 'filters'."""
        return self.reference_features.network

    def logits_of(self, taps: Sequence[tf.Tensor]) -> tf.Tensor:
        """Part logits f32[B,h,w,K+1] from the outputs of `network`."""
        return self.head(self.of_features(self.reference_features.of_taps(taps)))

    @property
    def backbone_variables(self) -> List[tf.Variable]:
        """An empty list: the reference features are frozen."""
        return []

    def variables_beyond(self, frozen_stages: Sequence[str]) -> List[tf.Variable]:
        """An empty list, likewise."""
        return []

    @property
    def backbone_weights(self) -> Sequence[tf.Variable]:
        """The weights of the reference features."""
        return self.reference_features.weights

    def feature_shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the head's input for photos of `size` (height, width)."""
        return self.reference_features.shape(size)
