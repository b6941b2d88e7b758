"""The served graph: from photos of any size to part labels, responses, centres and presence."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import tensorflow as tf

from scops_tf import geometry
from scops_tf.serving import decoding

_IMAGES = [tf.TensorSpec([None, None, None, 3], tf.uint8, name='images')]
_FLOATS = [tf.TensorSpec([None, None, None, 3], tf.float32, name='images')]
_ENCODED = [tf.TensorSpec([None], tf.string, name='encoded')]
# How files of JPEG, PNG, BMP and GIF begin, as TensorFlow tells them apart.
_BEGINNINGS = (b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'BM', b'GIF8')
# Number of pixels of a photo, some 200 MB in float32.
_LARGE_PHOTO = 2 ** 24


class SegmenterResponses(tf.Module):
    """Part responses of a segmenter at the size of its input photos.

    Args:
      segmenter: Module from photos f32[B,H,W,3] to part logits f32[B,h,w,K+1].
      trained: Variables of the segmenter that may be trained further, by who loads an export.

    Attributes:
      part_logits: The segmenter as a function.
      trained: Those variables.
    """

    def __init__(self, segmenter: tf.Module, trained: Sequence[tf.Variable] = ()) -> None:
        super().__init__()
        self.trained = list(trained)
        # An export holds the attributes of this object. The weights alone suffice; a Keras model as
        # an attribute would add the functions of all its layers.
        self._weights = list(segmenter.variables)
        self.part_logits = lambda images: segmenter(images)

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """Part responses f32[B,H,W,K+1] to photos f32[B,H,W,3], RGB in [0, 1]."""
        return decoding.part_responses_from_logits(
            self.part_logits(images), geometry.static_size('images', images))


class PartModel(tf.Module):
    """The exported model: resizing of the photos, a network with `part_responses`, and decoding.

    Args:
      network: Module with a method `part_responses(images f32[B,H,W,3]) -> f32[B,h,w,K+1]`. What it
        has as `trained` may be trained further; see `SegmenterResponses`.
      num_parts: K.
      input_size: (height, width) to which photos are resized for the network.
      background: Value of the background map; see `decoding.decode`.
      center_window: Argument `window` of `decoding.part_centers`.
      center_power: Argument `power` of `decoding.part_centers`.
      guided_radius: See `decoding.decode`.
      guided_epsilon: See `decoding.decode`.
      lookup: Parts that are merged and dropped: the label that is shown for each label of the
        network, [K+1]. None for all parts as they are.
    """

    def __init__(self, network: tf.Module, *, num_parts: int, input_size: Tuple[int, int],
                 background: float = 0.1, center_window: Optional[float] = None,
                 center_power: float = 1.0, guided_radius: Optional[float] = None,
                 guided_epsilon: float = 1e-4, lookup: Optional[Sequence[int]] = None) -> None:
        super().__init__()
        self.network = network
        self.num_parts = num_parts
        self.input_size = tuple(input_size)
        self.background = background
        self.center_window = center_window
        self.center_power = center_power
        self.guided_radius = guided_radius
        self.guided_epsilon = guided_epsilon
        self.lookup = None if lookup is None else tuple(int(label) for label in lookup)
        # One graph of the network for all functions that an export holds.
        self.respond = tf.function(
            lambda pixels: self.network.part_responses(pixels), autograph=False,
            input_signature=[tf.TensorSpec([None, *self.input_size, 3], tf.float32)])

    @property
    def signatures(self) -> Dict[str, Any]:
        """The functions that an export serves, by name."""
        return {'serving_default': self.predict, 'labels': self.predict_labels,
                'encoded': self.predict_encoded, 'encoded_labels': self.predict_encoded_labels}

    @tf.function(autograph=False, input_signature=_IMAGES)
    def predict(self, images: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of photos of one size.

        Args:
          images: u8[B,H,W,3]. RGB, any H and W.

        Returns:
          labels: u8[B,H,W]. 0 is background, 1..K are the parts.
          part_responses: f32[B,h,w,K+1]. R at the network's input size (h, w), in [0, 1]; channels
            sum to 1, and channel 0 is background.
          part_centers: f32[B,K,2]. (x, y) in pixels of the photo; see `decoding.part_centers`.
          presence: f32[B,K]. Largest response of each part, in [0, 1].

        Raises:
          InvalidArgumentError: If there is no photo or no pixel.
        """
        shape = tf.shape(images)
        images = _checked(images, tf.reduce_all(shape > 0), [
            '`images` must hold at least one photo of at least one pixel; got [photos, height, '
            'width, 3]:', shape])
        size = (shape[1], shape[2])
        # A large photo is resized as bytes, since it would take eight times its memory in float32.
        # Both ways agree up to rounding.
        pixels = tf.cond(
            size[0] * size[1] > _LARGE_PHOTO,
            lambda: tf.image.resize(images, self.input_size, antialias=True) / 255.0,
            lambda: tf.image.resize(tf.cast(images, tf.float32) / 255.0, self.input_size,
                                    antialias=True))
        return self.of_resized(pixels, size)

    @tf.function(autograph=False, input_signature=_FLOATS)
    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """The responses of `predict`, for a graph in which the model is a part.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1], any H and W.

        Returns:
          f32[B,h,w,K+1]. As `predict` gives them. Gradients flow as in the network.
        """
        pixels = tf.image.resize(images, self.input_size, antialias=True)
        responses = self._at_input_size(self.respond(
            tf.ensure_shape(pixels, [None, *self.input_size, 3])))
        return responses if self.lookup is None else decoding.merged_responses(
            responses, self.lookup)

    def _at_input_size(self, part_responses: tf.Tensor) -> tf.Tensor:
        responses = tf.cast(part_responses, tf.float32)
        if responses.shape[1:3] != self.input_size:
            responses = geometry.upsample(responses, self.input_size)
        return tf.ensure_shape(responses, [None, *self.input_size, self.num_parts + 1])

    def of_resized(self, pixels: tf.Tensor, size: Optional[Tuple[Any, Any]] = None
                   ) -> Dict[str, tf.Tensor]:
        """The outputs of `predict` for photos that were resized to the network's input size.

        Args:
          pixels: f32[B,h,w,3]. RGB in [0, 1].
          size: (height, width) of the photos before; None for (h, w), for which labels and centres
            are then.
        """
        pixels = tf.ensure_shape(pixels, [None, *self.input_size, 3])
        return self.decoded(self.respond(pixels), size or self.input_size, pixels)

    def decoded(self, part_responses: tf.Tensor, size: Tuple[Any, Any],
                pixels: Optional[tf.Tensor] = None) -> Dict[str, tf.Tensor]:
        """The outputs of `predict` from the network's part responses.

        Args:
          part_responses: float[B,h,w,K+1] at any size (h, w).
          size: (height, width) of the photos.
          pixels: f32[B,h,w,3]. The resized photos, RGB in [0, 1], whose borders the labels follow
            where `guided_radius` is set. None for labels that do not.
        """
        responses = self._at_input_size(part_responses)
        labels = decoding.decode(
            responses, size, background=self.background, photos=pixels,
            guided_radius=None if pixels is None else self.guided_radius,
            guided_epsilon=self.guided_epsilon)
        if self.lookup is not None:
            # A merged part covers what its parts covered, and a dropped part is background. The
            # labels of merged responses would differ, since each part is divided by its largest.
            labels = tf.gather(tf.constant(self.lookup, tf.uint8), tf.cast(labels, tf.int32))
            responses = decoding.merged_responses(responses, self.lookup)
        return {
            'labels': labels,
            'part_responses': responses,
            'part_centers': decoding.part_centers(
                responses, size, window=self.center_window, power=self.center_power),
            'presence': tf.reduce_max(responses[..., 1:], axis=(1, 2)),
        }

    @tf.function(autograph=False, input_signature=_IMAGES)
    def predict_labels(self, images: tf.Tensor) -> Dict[str, tf.Tensor]:
        """The labels of `predict` alone, which are a small share of what it returns."""
        return {'labels': self.predict(images)['labels']}

    @tf.function(autograph=False, input_signature=_ENCODED)
    def predict_encoded(self, encoded: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of encoded photos of one size; the outputs are those of `predict`.

        Args:
          encoded: string[B]. JPEG, PNG, BMP or GIF (first frame). EXIF rotation is not applied,
            since TensorFlow has no operation for it, and transparency is dropped.

        Raises:
          InvalidArgumentError: If there is no photo, one is damaged or of another format, or their
            sizes differ.
        """
        encoded = _checked(encoded, tf.size(encoded) > 0,
                           ['`encoded` must hold at least one photo; it holds none.'])
        size = tf.shape(_decode_image(encoded[0]))

        def decoded(data: tf.Tensor) -> tf.Tensor:
            image = _decode_image(data)
            return _checked(image, tf.reduce_all(tf.shape(image) == size), [
                'Photos of one request must all have one size; send those of other sizes one by '
                'one. Got [height, width, 3]:', size, 'and', tf.shape(image)])

        return self.predict(tf.map_fn(
            decoded, encoded, fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8)))

    @tf.function(autograph=False, input_signature=_ENCODED)
    def predict_encoded_labels(self, encoded: tf.Tensor) -> Dict[str, tf.Tensor]:
        """The labels of `predict_encoded` alone."""
        return {'labels': self.predict_encoded(encoded)['labels']}


def _decode_image(data: tf.Tensor) -> tf.Tensor:
    """Pixels u8[H,W,3] of a photo."""
    begins = [tf.strings.substr(data, 0, len(beginning)) == beginning
              for beginning in _BEGINNINGS]
    data = _checked(data, tf.reduce_any(begins), [
        '`encoded` must hold the bytes of JPEG, PNG, BMP or GIF files; of another kind is a photo '
        'of this number of bytes:', tf.strings.length(data)])
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def _checked(tensor: tf.Tensor, holds: tf.Tensor, message: List[Any]) -> tf.Tensor:
    """The tensor, or an InvalidArgumentError with texts and i32 tensors where a law is broken."""
    with tf.control_dependencies([tf.debugging.Assert(holds, message, summarize=4)]):
        return tf.identity(tensor)
