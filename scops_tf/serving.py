"""The served graph: photos of any size in, part labels, responses, centres and presence out."""
from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict, Tuple

import tensorflow as tf

from scops_tf import geometry

METADATA_FILE = 'scops_tf.json'


def part_responses_from_logits(part_logits: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R: bilinear up-sampling of the logits, then soft-max over background and parts (§3.1).

    Args:
      part_logits: f32[B,h,w,K+1].
      size: (height, width) of the responses.

    Returns:
      f32[B,H,W,K+1]. In [0, 1], summing to 1 over channels; channel 0 is background.
    """
    return tf.nn.softmax(geometry.upsample(tf.cast(part_logits, tf.float32), size))


def decode(part_responses: tf.Tensor, size: Tuple[int, int], *, background: float = 0.1) -> tf.Tensor:
    """Labels: the parts, each divided by its largest response, against a constant background (§3.1).

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) of the labels; the normalised maps are resized to it, as photos are: pixels are
        cells that share the picture's borders.
      background: Value of the background map, in [0, 1]; the paper's is 0.1.

    Returns:
      u8[B,H,W]. 0 is background, k the k-th part; background wins ties.
    """
    parts = part_responses[..., 1:]
    normalised = tf.math.divide_no_nan(parts, tf.reduce_max(parts, axis=(1, 2), keepdims=True))
    normalised = tf.image.resize(normalised, size)
    largest = tf.reduce_max(normalised, axis=-1)
    winner = tf.argmax(normalised, axis=-1, output_type=tf.int32) + 1
    return tf.cast(tf.where(largest > background, winner, 0), tf.uint8)


def photo_points(points: Any, input_size: Tuple[Any, Any], size: Tuple[Any, Any]) -> Any:
    """Points on the network's input, squashed from a photo, as points on the photo.

    Squashing lays both pictures' borders on each other, so it is pixels' borders that scale.

    Args:
      points: float[...,2]. (x, y) in pixels of the input, the first pixel's centre at (0, 0).
      input_size: (height, width) of the input.
      size: (height, width) of the photo.

    Returns:
      float[...,2]. (x, y) in pixels of the photo.
    """
    scale = [size[1] / input_size[1], size[0] / input_size[0]]
    if tf.is_tensor(points):
        scale = tf.cast(tf.stack(scale), points.dtype)
    return (points + 0.5) * scale - 0.5


class SegmenterResponses(tf.Module):
    """Part responses of a segmenter at the size of the photos it is given."""

    def __init__(self, segmenter: tf.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """f32[B,H,W,3] RGB in [0, 1] -> f32[B,H,W,K+1]."""
        size = (tf.shape(images)[1], tf.shape(images)[2])
        return part_responses_from_logits(self.segmenter(images, training=False), size)


class PartModel(tf.Module):
    """What is exported: any network with `part_responses`, the photos' resizing and the decoding.

    Args:
      network: Has `part_responses(images f32[B,H,W,3]) -> f32[B,h,w,K+1]`.
      num_parts: K.
      input_size: (height, width) that photos are squashed to for the network.
      background: As of `decode`.
    """

    def __init__(self, network: tf.Module, *, num_parts: int, input_size: Tuple[int, int],
                 background: float = 0.1) -> None:
        super().__init__()
        self.network = network
        self.num_parts = num_parts
        self.input_size = tuple(input_size)
        self.background = background

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name='images')])
    def predict(self, images: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of photos of one size.

        Args:
          images: u8[B,H,W,3]. RGB, any H and W.

        Returns:
          labels: u8[B,H,W]. 0 is background, 1..K parts.
          part_responses: f32[B,h,w,K+1]. At the network's input size (h, w), in [0, 1]; 0 is background.
          part_centers: f32[B,K,2]. (x, y) in pixels of the photo; the photo's middle for a part whose
            response is 0 everywhere.
          presence: f32[B,K]. Largest response of the part, in [0, 1].
        """
        shape = tf.shape(images)
        size = (shape[1], shape[2])
        pixels = tf.cast(images, tf.float32) / 255.0
        pixels = tf.image.resize(pixels, self.input_size, antialias=True)
        pixels = tf.ensure_shape(pixels, [None, *self.input_size, 3])
        responses = geometry.upsample(tf.cast(self.network.part_responses(pixels), tf.float32), self.input_size)
        responses = tf.ensure_shape(responses, [None, *self.input_size, self.num_parts + 1])
        parts = responses[..., 1:]
        # Small against any response that can be seen; it only gives the empty map a centre.
        centers = geometry.part_centers(parts, epsilon=1e-12)
        return {
            'labels': decode(responses, size, background=self.background),
            'part_responses': responses,
            'part_centers': photo_points(geometry.frame_to_pixels(centers, self.input_size), self.input_size, size),
            'presence': tf.reduce_max(parts, axis=(1, 2)),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='encoded')])
    def predict_encoded(self, encoded: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of JPEG, PNG, BMP or GIF files (first frame), all of one size; else as `predict`."""
        shapes = tf.map_fn(lambda data: tf.shape(_decode_image(data)), encoded,
                           fn_output_signature=tf.TensorSpec([3], tf.int32))
        check = tf.debugging.Assert(
            tf.reduce_all(shapes == shapes[:1]),
            ['Photos of one request must all have one size; send photos of other sizes one by one. Got', shapes],
            summarize=64)
        with tf.control_dependencies([check]):
            encoded = tf.identity(encoded)
        images = tf.map_fn(_decode_image, encoded,
                           fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
        return self.predict(images)


def _decode_image(data: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.io.decode_image(data, channels=3, expand_animations=False), [None, None, 3])


def export(model: PartModel, folder: str, *, metadata: Dict[str, Any]) -> None:
    """Writes the model as a SavedModel, replacing an older one only when the new one is complete.

    Signatures: `serving_default` (`images`) and `encoded` (`encoded`), outputs as of `PartModel.predict`.

    Args:
      model: To be written.
      folder: Of the SavedModel.
      metadata: JSON values for `scops_tf.json`; the number of parts, the input size and the background
        are added.

    Raises:
      OSError: If the folder cannot be written.
    """
    folder = os.path.normpath(folder)
    temporary, replaced = f'{folder}.{os.getpid()}.tmp', f'{folder}.{os.getpid()}.old'
    os.makedirs(os.path.dirname(folder) or '.', exist_ok=True)
    try:
        tf.saved_model.save(model, temporary, signatures={
            'serving_default': model.predict, 'encoded': model.predict_encoded})
        described = {**metadata, 'num_parts': model.num_parts, 'input_size': list(model.input_size),
                     'background': model.background}
        with open(os.path.join(temporary, METADATA_FILE), 'w', encoding='utf-8') as file:
            json.dump(described, file, indent=2, sort_keys=True)
        if os.path.isdir(folder):
            os.replace(folder, replaced)
        os.replace(temporary, folder)
    except tf.errors.OpError as error:
        raise OSError(f'The export could not be written to {folder!r}: {error.message}; free disk space or '
                      'make the folder writable, and export again.') from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
