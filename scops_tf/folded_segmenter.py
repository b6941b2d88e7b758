"""The segmenter for inference: batch norm within the convolutions, functions instead of layers."""
from __future__ import annotations

import numpy as np
import tensorflow as tf

from scops_tf import images as images_lib, segmenter as segmenter_lib, winograd

PRECISIONS = ('float32', 'bfloat16')

# Rounding earlier stages as well would move the parts' outlines by too much.
_ROUNDED_STAGE = 'conv5'

# From so many channels on, Winograd's transforms cost a CPU less than the products that they save.
_WINOGRAD_CHANNELS = 256


class FoldedSegmenter(tf.Module):
    """A segmenter on a ResNet, its folded weights being all of its variables.

    Args:
      segmenter: On a ResNet; a later change of its weights does not show here.
      precision: 'float32': the segmenter's logits up to rounding, with Winograd's algorithm for the
        dilated convolutions, for CPUs of any kind. 'bfloat16': the last stage, three fifths of the
        arithmetic, in bfloat16, for devices that multiply in it; labels stay the same on 99.9 % of
        the pixels.

    Raises:
      ValueError: If `precision` is unknown, or the backbone has no batch norm.
    """

    def __init__(self, segmenter: segmenter_lib.Segmenter, *, precision: str = 'float32') -> None:
        super().__init__(name='segmenter')
        if precision not in PRECISIONS:
            raise ValueError(
                f'`precision` must be one of {", ".join(PRECISIONS)}; got {precision!r}.')
        if segmenter.backbone_name not in segmenter_lib.RESNETS:
            raise ValueError('`segmenter` must be on a ResNet, whose batch norm can be folded; got '
                             f'one on {segmenter.backbone_name!r}.')
        self._preprocessing = segmenter.backbone_name
        network = segmenter.backbone.get_layer(segmenter.backbone_name)
        names = [layer.name[:-len('_conv')] for layer in network.layers
                 if layer.name.endswith('_conv')]
        self.convolutions = {
            name: _Convolution(
                network.get_layer(f'{name}_conv'), network.get_layer(f'{name}_bn'),
                dtype=tf.as_dtype(precision if name.startswith(_ROUNDED_STAGE) else 'float32'),
                fast=precision == 'float32')
            for name in names}
        # 'conv2_block1' and so on, in order.
        self._blocks = list(dict.fromkeys(name.rsplit('_', 1)[0] for name in names if '_' in name))
        self.head_kernel = tf.Variable(segmenter.head.kernel, trainable=False, name='head/kernel')
        self.head_bias = tf.Variable(segmenter.head.bias, trainable=False, name='head/bias')
        self._head_dilations = segmenter.head.dilations

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Part logits f32[B,h,w,K+1] of photos f32[B,H,W,3], as `segmenter.Segmenter`."""
        maps = self.convolutions['conv1'](images_lib.preprocess(images, self._preprocessing))
        maps = tf.nn.relu(maps)
        maps = tf.nn.max_pool2d(tf.pad(maps, _around(1)), 3, 2, 'VALID')
        for block in self._blocks:
            maps = self._residual(block, maps)
        return segmenter_lib.part_logits(
            tf.cast(maps, tf.float32), self.head_kernel, self.head_bias,
            dilations=self._head_dilations)

    def _residual(self, block: str, maps: tf.Tensor) -> tf.Tensor:
        projection = self.convolutions.get(f'{block}_0')
        inner = maps
        for index in (1, 2, 3):
            inner = self.convolutions[f'{block}_{index}'](inner)
            inner = tf.nn.relu(inner) if index < 3 else inner
        shortcut = tf.cast(maps, inner.dtype) if projection is None else projection(maps)
        return tf.nn.relu(inner + shortcut)


class _Convolution(tf.Module):
    """A convolution, zeros beyond the border, with the batch norm that follows it.

    Args:
      convolution, norm: Keras layers of the ResNet.
      dtype: Of the arithmetic and of the result.
      fast: Whether Winograd's algorithm may be used.
    """

    def __init__(self, convolution: tf.keras.layers.Conv2D,
                 norm: tf.keras.layers.BatchNormalization, *, dtype: tf.DType, fast: bool) -> None:
        super().__init__(name=convolution.name)
        kernel, bias = (weight.astype(np.float64) for weight in convolution.get_weights())
        gamma, beta, mean, variance = (weight.astype(np.float64) for weight in norm.get_weights())
        scale = gamma / np.sqrt(variance + norm.epsilon)
        kernel, bias = kernel * scale, (bias - mean) * scale + beta
        self._stride, self._dilation = convolution.strides[0], convolution.dilation_rate[0]
        self._padding = _around(self._dilation * (kernel.shape[0] // 2))
        self._winograd = (fast and kernel.shape[0] == 3 and self._stride == 1
                          and kernel.shape[2] >= _WINOGRAD_CHANNELS)
        if self._winograd:
            kernel = winograd.transform_kernel(kernel)
        self.kernel = tf.Variable(tf.cast(kernel, dtype), trainable=False, name='kernel')
        self.bias = tf.Variable(tf.cast(bias, dtype), trainable=False, name='bias')

    def __call__(self, maps: tf.Tensor) -> tf.Tensor:
        maps = tf.cast(maps, self.kernel.dtype)
        if self._winograd:
            results = winograd.convolve(maps, self.kernel, dilation=self._dilation)
        else:
            results = tf.nn.conv2d(maps, self.kernel, self._stride, self._padding,
                                   dilations=self._dilation)
        return tf.nn.bias_add(results, self.bias)


def _around(cells: int) -> list:
    """Zeros around the maps, as `tf.pad` and `tf.nn.conv2d` take them."""
    return [[0, 0], [cells, cells], [cells, cells], [0, 0]]
