"""Frozen reference features V (§3.4): taps of VGG19, of fixed filters, or of a SavedModel."""
from __future__ import annotations

import os
from typing import Any, Callable, Iterable, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow as tf

from scops_tf import network_card
from scops_tf.networks import (
    fixed_filters,
    preprocessing,
    pretrained,
    saved_network,
    training_network,
)

NETWORKS = ('vgg19', 'filters', 'saved_model')


class ReferenceFeatures(tf.Module):
    """Non-negative features of a frozen network; each tap is scaled to a set RMS over the photos.

    Raw features differ by orders of magnitude between layers: relu5_2 of VGG19 has about 8 times
    the RMS of relu5_4, so it would be 98 % of a mean square. A loss weight would then have another
    meaning with every network. So each tap is divided by its RMS, which is measured once, and
    multiplied by its weight.

    Args:
      network: 'vgg19'; 'filters' (see `fixed_filters`), for drawn pictures and for machines without
        pretrained weights; or 'saved_model' (see `saved_network`), for any other network.
      weights: Weights of VGG19; see `pretrained.find_weights`. Only 'vgg19' reads them.
      layers: Keras' names of the layers of VGG19 that are tapped, in the order of the channels.
        'filters' always has `fixed_filters.TAPS`, and a SavedModel the layers in its card.
      layer_weights: Positive RMS that each tap is scaled to. For a SavedModel equal ones hold for
        any number of taps.
      normalization: Exponent in [0, 1] of the norm that the vector of a cell is divided by. 0
        leaves the lengths as they are; 1 leaves directions only. Lengths tell a head from a body,
        but also a sharp photo from a dim one.
      image_size: (height, width) to which photos are resized for the network; None for their own
        size.
      path: Folder of the SavedModel.
      sha256: Hash that the SavedModel must have; None for any.
      rectifier: Way to make the features of the SavedModel non-negative; see `SavedNetwork`.

    Attributes:
      tap_scales: f32[taps]. Measured RMS of each raw tap, not trained; 1 before it is measured.
      num_channels: C, the number of channels of all taps together.

    Raises:
      ValueError: If `network` or a layer is unknown, or there is not one positive weight per tap.
      NetworkError: See `network_card.require` and `SavedNetwork`.
      WeightsError: See `pretrained.build`.
    """

    def __init__(self, network: str = 'vgg19', *,
                 weights: Optional[Union[str, os.PathLike]] = 'imagenet',
                 layers: Sequence[str] = ('block5_conv2', 'block5_conv4'),
                 layer_weights: Sequence[float] = (1.0, 1.0), normalization: float = 0.0,
                 image_size: Optional[Tuple[int, int]] = None, path: str = '',
                 sha256: Optional[str] = None, rectifier: str = 'relu') -> None:
        super().__init__(name='reference_features')
        if network not in NETWORKS:
            raise ValueError(f'`network` must be one of {", ".join(NETWORKS)}; got {network!r}.')
        self._model = self._saved = None
        if network == 'saved_model':
            self._saved = saved_network.SavedNetwork(
                path, network_card.require(path, sha256), rectifier=rectifier)
            names, self._channels = self._saved.names, self._saved.channels
        elif network == 'filters':
            names, self._channels = fixed_filters.TAPS, fixed_filters.NUM_CHANNELS
        else:
            names = tuple(layers)
            self._model = _tapped(weights, names)
            self._channels = tuple(int(output.shape[-1]) for output in self._model.outputs)
        given = tuple(float(weight) for weight in layer_weights)
        if network == 'saved_model' and len(set(given)) == 1:
            given = given[:1] * len(names)
        if len(given) != len(names) or min(given) <= 0:
            raise ValueError('`layer_weights` must hold one positive weight per tap '
                             f'({", ".join(names)}); got {given}.')
        self._layer_weights = given
        self._normalization = float(normalization)
        self._image_size = image_size
        self.tap_scales = tf.Variable(tf.ones(len(names)), trainable=False, name='tap_scales')

    @property
    def network(self) -> Optional[tf.keras.Model]:
        """VGG19 from preprocessed photos to the taps; None for other networks."""
        return self._model

    @property
    def card(self) -> Optional[network_card.NetworkCard]:
        """What the SavedModel is; None for other networks."""
        return self._saved and self._saved.card

    @property
    def weights(self) -> Sequence[tf.Variable]:
        """Variables that raw features depend on; none of a SavedModel, which its card tells."""
        return [] if self._model is None else self._model.variables

    @property
    def num_channels(self) -> int:
        """C, the number of channels of all taps together."""
        return sum(self._channels)

    @property
    def usual_length(self) -> float:
        """Norm l of a cell's vector of V if each of its taps has its RMS `layer_weights`."""
        return float(np.sqrt(np.dot(np.square(self._layer_weights), self._channels)))

    def raw(self, images: Any) -> tf.Tensor:
        """Raw features, which are cached and not scaled yet.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].

        Returns:
          f32[B,h,w,C]. At least 0; the taps side by side, each up-sampled to the finest one with
          the corners aligned. No gradient flows.
        """
        images = tf.convert_to_tensor(images, tf.float32)
        found = self._traced(images.shape[1:3])(images)
        return tf.ensure_shape(found, [images.shape[0], *found.shape[1:]])

    def _traced(self, size: Sequence[Optional[int]]) -> Callable[[tf.Tensor], tf.Tensor]:
        """`raw` for photos of a size (height, width); one trace serves batches of any number."""
        return self._raw.get_concrete_function(tf.TensorSpec((None, *size, 3), tf.float32))

    @tf.function(autograph=False)
    def _raw(self, images: tf.Tensor) -> tf.Tensor:
        return self.raw_through(self._model, images)

    def raw_through(self, network: Optional[Callable[[tf.Tensor], Any]], images: Any) -> tf.Tensor:
        """`raw` with a copy of `network` in its place, such as a folded one."""
        if self._image_size not in (None, tuple(images.shape[1:3])):
            images = tf.image.resize(images, self._image_size, antialias=True)
        if network is not None:
            taps = network(preprocessing.preprocess(images, self._model.name))
        else:
            taps = (self._saved or fixed_filters).taps(images)
        return tf.stop_gradient(_side_by_side(taps))

    def scale(self, raw: Any) -> tf.Tensor:
        """V of raw features [...,C]: each tap over its RMS and times its weight, then normalized.

        With `normalization` p a vector v becomes v (l / |v|)^p, where l is `usual_length`. A vector
        of length l stays as it is, and zeros stay zeros.

        Returns:
          f32[...,C].
        """
        factors = tf.constant(self._layer_weights) / self.tap_scales
        scaled = tf.cast(raw, tf.float32) * tf.repeat(factors, self._channels)
        return self.normalize(scaled, self._normalization)

    def normalize(self, vectors: tf.Tensor, exponent: float) -> tf.Tensor:
        """Vectors v f32[...,C] as v (l / |v|)^p, with `exponent` p in [0, 1]; see `scale`."""
        if exponent == 0:
            return vectors
        length = tf.norm(vectors, axis=-1, keepdims=True)
        usual = np.float32(self.usual_length)
        return vectors * tf.math.divide_no_nan(usual, length) ** exponent

    def __call__(self, images: Any) -> tf.Tensor:
        """V of photos.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].

        Returns:
          f32[B,h,w,C]. At least 0, scaled. No gradient flows.
        """
        return tf.stop_gradient(self.scale(self.raw(images)))

    def of_taps(self, taps: Sequence[tf.Tensor]) -> tf.Tensor:
        """V, f32[B,h,w,C], from the outputs of `network`."""
        return self.scale(_side_by_side(taps))

    def shape(self, size: Tuple[int, int]) -> Tuple[int, int, int]:
        """(h, w, C) of the features for photos of `size` (height, width); nothing is computed."""
        return tuple(self._traced(size).output_shapes[1:])

    def measure_scales(self, batches: Iterable[Any]) -> None:
        """Assigns `tap_scales`: the RMS of each tap over all cells and photos.

        Args:
          batches: Raw features float[B,h,w,C], as `raw` gives them; iterated once.

        Raises:
          ValueError: If there is no batch, or a tap is 0 everywhere or not finite.
        """
        sums, count = np.zeros(self.num_channels), 0
        for batch in batches:
            rows = np.asarray(batch, np.float32).reshape(-1, self.num_channels)
            sums += np.square(rows).sum(axis=0, dtype=np.float64)
            count += len(rows)
        edges = np.cumsum((0,) + self._channels)
        rms = np.sqrt([sums[start:stop].sum() / max(count * (stop - start), 1)
                       for start, stop in zip(edges, edges[1:])])
        if not np.all(np.isfinite(rms) & (rms > 0)):
            raise ValueError('The photos must show something in all layers of the reference '
                             'features, but the mean squares of their features have the roots '
                             f'{", ".join(f"{each:g}" for each in rms)}: look at the photos, which '
                             'are black or of one colour, or at the weights of the network.')
        self.tap_scales.assign(rms)


def _side_by_side(taps: Union[tf.Tensor, Sequence[tf.Tensor]]) -> tf.Tensor:
    """Taps float[B,?,?,?] in one tensor f32[B,h,w,C], each up-sampled to the finest one."""
    taps = [tf.cast(tap, tf.float32) for tap in tf.nest.flatten(taps)]
    if any(not tap.shape[1:3].is_fully_defined() for tap in taps):
        size = tf.reduce_max([tf.shape(tap)[1:3] for tap in taps], axis=0)
    else:
        size = np.max([tap.shape[1:3] for tap in taps], axis=0)
    return tf.concat([tf.raw_ops.ResizeBilinear(images=tap, size=size, align_corners=True)
                      for tap in taps], axis=-1)


def _tapped(weights: Optional[Union[str, os.PathLike]], layers: Sequence[str]) -> tf.keras.Model:
    """Frozen VGG19 whose outputs are the given layers."""
    network = pretrained.build('vgg19', weights=weights, seed=0)
    known = [layer.name for layer in network.layers[1:]]
    for name in layers:
        if name not in known or layers.count(name) > 1:
            raise ValueError(f'`layers` must name different layers of VGG19 ({", ".join(known)}); '
                             f'got {tuple(layers)}.')
    model = training_network.TrainingNetwork(tf.keras.Model(
        network.input, [network.get_layer(name).output for name in layers], name='vgg19'))
    model.trainable = False
    return model
