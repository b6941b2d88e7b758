"""From part logits to part responses, labels and part centres (§3.1)."""
from __future__ import annotations

from typing import Any, Optional, Tuple

import tensorflow as tf

from scops_tf import geometry, images
from scops_tf.serving import main_object


def part_responses_from_logits(part_logits: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R: bilinear up-sampling of the logits, then soft-max over background and parts (§3.1).

    Args:
      part_logits: f32[B,h,w,K+1].
      size: (height, width) of the responses.

    Returns:
      f32[B,H,W,K+1]. In [0, 1], summing to 1 over channels; channel 0 is background.
    """
    return tf.nn.softmax(geometry.upsample(tf.cast(part_logits, tf.float32), size))


def normalized_responses(part_responses: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R̂: the parts, each divided by its largest response (§3.1), at another size.

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) that the maps are resized to, as photos are: pixels are cells that share
        the picture's borders.

    Returns:
      f32[B,H,W,K]. In [0, 1]; 0 everywhere for a part whose response is 0 everywhere.
    """
    return tf.image.resize(_normalized(part_responses[..., 1:]), size)


def _normalized(parts: tf.Tensor) -> tf.Tensor:
    """Parts f32[B,h,w,K], each divided by its largest response."""
    return tf.math.divide_no_nan(parts, tf.reduce_max(parts, axis=(1, 2), keepdims=True))


def decode(part_responses: tf.Tensor, size: Tuple[int, int], *, background: float = 0.1
           ) -> tf.Tensor:
    """Labels: the largest of the normalized parts and of a constant background (§3.1).

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) of the labels.
      background: Value of the background map, in [0, 1]; the paper's is 0.1.

    Returns:
      u8[B,H,W]. 0 is background, k the k-th part. Background wins ties, then the first part.
    """
    normalized = normalized_responses(part_responses, size)
    winner = tf.argmax(normalized, axis=-1, output_type=tf.int32) + 1
    is_part = tf.reduce_max(normalized, axis=-1) > background
    return tf.cast(tf.where(is_part, winner, 0), tf.uint8)


def part_centers(part_responses: tf.Tensor, size: Tuple[Any, Any], *,
                 window: Optional[float] = None, power: float = 1.0) -> tf.Tensor:
    """Where the parts are on photos that were squashed to the size of the responses.

    Without the options Eq. 1, the mean position under a part's response. Powers move it from the
    middle of all that a part might be to the middle of what it is for certain.

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) of the photos.
      window: `size` of `main_object.window`, which weighs the responses; None for none.
      power: That responses are raised to, above 0.

    Returns:
      f32[B,K,2]. (x, y) in pixels of the photo; its middle, or the window's, for a part whose
      response is 0 everywhere.
    """
    parts = part_responses[..., 1:]
    weights = _normalized(parts)
    if power != 1:
        # TensorFlow's own power takes four to five times as long on a CPU.
        weights = tf.exp(power * tf.math.log(weights))
    # Small against any response that can be seen; it only gives the empty map a centre.
    weights += 1e-12
    if window is not None:
        weights *= main_object.window(parts, size=window)
    input_size = parts.shape[1:3]
    centers = geometry.frame_to_pixels(geometry.part_centers(weights), input_size)
    return photo_points(centers, input_size, size)


def photo_points(points: Any, input_size: Tuple[Any, Any], size: Tuple[Any, Any]) -> Any:
    """Points on the network's input, squashed from a photo, as points on the photo.

    Args:
      points: float[...,2]. (x, y) in pixels of the input, the first pixel's centre at (0, 0).
      input_size: (height, width) of the input.
      size: (height, width) of the photo.

    Returns:
      float[...,2]. (x, y) in pixels of the photo.
    """
    factors = [size[1] / input_size[1], size[0] / input_size[0]]
    if tf.is_tensor(points):
        factors = tf.cast(tf.stack(factors), points.dtype)
    return images.scale_points(points, factors)
