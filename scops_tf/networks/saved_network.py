"""A SavedModel of any library as the network of the reference features."""
from __future__ import annotations

import functools
from typing import Any, List, Tuple

from absl import logging
import tensorflow as tf

from scops_tf import network_card

# How negative values become features that a non-negative part basis can explain.
RECTIFIERS = {
    'relu': tf.nn.relu,
    # Concatenated ReLU (Shang et al., 2016): nothing is lost, and there are twice the channels.
    'crelu': lambda tap: tf.concat([tf.nn.relu(tap), tf.nn.relu(-tap)], axis=-1),
}
# Caches hold features in float16.
_LARGEST = tf.float16.max


class SavedNetwork(tf.Module):
    """The frozen network in a SavedModel that keeps `network_card.CONTRACT`.

    It computes in its own precision. Its variables are in checkpoints and in exports, so that an
    export needs nothing else.

    Args:
      path: Folder of the SavedModel.
      card: Its card.
      rectifier: 'relu' sets negative values to 0, as the paper does; 'crelu' makes the positive and
        the negative values channels of their own.

    Attributes:
      card: The card.
      channels: Number of channels of each tap after the rectifier.

    Raises:
      NetworkError: If it cannot be loaded, or its signature is not that of the contract.
      ValueError: If `rectifier` is unknown.
    """

    def __init__(self, path: str, card: network_card.NetworkCard, *, rectifier: str = 'relu'
                 ) -> None:
        super().__init__(name='saved_network')
        if rectifier not in RECTIFIERS:
            raise ValueError(f'`rectifier` must be one of {", ".join(RECTIFIERS)}; got '
                             f'{rectifier!r}.')
        self.card, self._path, self._rectifier = card, path, rectifier
        try:
            loaded = tf.saved_model.load(path)
        except Exception as error:  # Damaged data raises many kinds of errors.
            reason = str(error).strip().split('\n')[0].rstrip('.')
            raise network_card.NetworkError(path, f'cannot be loaded ({reason[:200]})') from error
        self._require_signature(loaded)
        signature = loaded.signatures[network_card.SIGNATURE]
        self._size = tuple(signature.structured_input_signature[1]['images'].shape[1:3])
        self._variables = list(signature.variables)
        self._call = lambda images: signature(images=images)['features']
        # What the graph refers to lives as long as the loaded object, whose functions are no part
        # of an export.
        self._loaded = lambda: loaded
        # By the size of the photos, each of which is checked once.
        self._grid = functools.lru_cache(maxsize=None)(self._checked)

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of the taps."""
        return tuple(self.card.layers)

    @property
    def channels(self) -> Tuple[int, ...]:
        """Number of channels of each tap."""
        times = 2 if self._rectifier == 'crelu' else 1
        return tuple(times * channels for channels in self.card.layers.values())

    def taps(self, images: tf.Tensor) -> List[tf.Tensor]:
        """Taps f32[B,h,w,c], at least 0, of photos f32[B,H,W,3], RGB in [0, 1].

        Raises:
          NetworkError: If the features of photos of this size break the contract.
        """
        images, grid = tf.convert_to_tensor(images, tf.float32), (None, None)
        if images.shape[1:3].is_fully_defined():
            # Losses need sizes that are known before the graph runs, and not every graph tells.
            with tf.init_scope():
                grid = self._grid(tuple(images.shape[1:3]))
        features = tf.ensure_shape(
            self._call(images), [images.shape[0], *grid, None])
        taps = tf.split(features, list(self.card.layers.values()), axis=-1)
        return [RECTIFIERS[self._rectifier](tap) for tap in taps]

    def _checked(self, size: Tuple[int, int]) -> Tuple[int, int]:
        """(h, w) of the features of photos of `size`, by a photo of noise."""
        fail = network_card.NetworkError
        if any(own not in (None, side) for own, side in zip(self._size, size)):
            raise fail(self._path, f'takes photos of {_text(self._size)} alone, and these have '
                       f'{_text(size)}', 'set `Run.image_size`, or `Features.image_size` where the '
                       'segmenter is a ResNet')
        photo = tf.random.stateless_uniform((1, *size, 3), seed=(0, 0))
        try:
            features = self._call(photo)
        except tf.errors.OpError as error:
            reason = error.message.strip().split('\n')[0].rstrip('.')
            raise fail(self._path, f'fails on a photo of {_text(size)} ({reason[:200]})') from error
        grid = tuple(features.shape[1:3])
        if not tf.reduce_all(tf.math.is_finite(features)):
            raise fail(self._path, 'gives values that are not finite for a photo of noise')
        largest = float(tf.reduce_max(tf.abs(features)))
        if largest > _LARGEST:
            raise fail(self._path, f'gives values up to {largest:g} for a photo of noise, which '
                       f'float16 does not hold (at most {_LARGEST:g})')
        seen = self.card.image_size or size
        if not all(abs(cells - side / self.card.stride) <= 1 for cells, side in zip(grid, seen)):
            raise fail(self._path, f'gives {_text(grid)} cells for {_text(seen)} pixels, which is '
                       f'not the stride {self.card.stride} of its {network_card.FILE}')
        share = float(tf.reduce_mean(tf.cast(features < 0, tf.float32)))
        if share:
            logging.info('%.0f %% of the features of %s are negative on noise; '
                         '`Features.rectifier` is %r.', 100 * share, self._path, self._rectifier)
        return grid

    def _require_signature(self, loaded: Any) -> None:
        """Refuses a SavedModel whose signature is not that of the contract."""
        fail = network_card.NetworkError
        signature = loaded.signatures.get(network_card.SIGNATURE)
        if signature is None:
            raise fail(self._path, 'has the signatures '
                       f'{", ".join(sorted(loaded.signatures)) or "none"}')
        inputs = signature.structured_input_signature[1]
        outputs = signature.structured_outputs
        if set(inputs) != {'images'} or 'features' not in outputs:
            raise fail(self._path, f'takes {", ".join(sorted(inputs))} and gives '
                       f'{", ".join(sorted(outputs))}')
        images, features = inputs['images'], outputs['features']
        if (images.dtype, features.dtype) != (tf.float32, tf.float32):
            raise fail(self._path, f'has images {images.dtype.name} and features '
                       f'{features.dtype.name}')
        if images.shape.rank != 4 or features.shape.rank != 4:
            raise fail(self._path, f'has images of the shape {images.shape} and features of '
                       f'{features.shape}')
        channels = sum(self.card.layers.values())
        if images.shape[0] is not None or images.shape[3] != 3:
            raise fail(self._path, f'has images of the shape {images.shape}, where B must be any '
                       'number and the last side 3')
        if features.shape[3] != channels:
            raise fail(self._path, f'has {features.shape[3]} channels, and {channels} in its '
                       f'{network_card.FILE}')


def _text(size: Tuple[Any, ...]) -> str:
    return 'x'.join('any' if side is None else str(side) for side in size)
