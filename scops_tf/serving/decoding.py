"""Decoding of part logits into part responses, labels and part centres (§3.1)."""
from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from scops_tf import geometry, images
from scops_tf.serving import guided_filter, main_object

# Largest number of values of part maps at the size of photos, 32 MiB, that are held at a time.
_MAX_NUMBERS = 2 ** 23
# Cells along the shorter side of the grid on which the guided filter fits the photo.
_GUIDED_SIDE = 64


def part_responses_from_logits(part_logits: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R: soft-max of the up-sampled part logits over background and parts (§3.1).

    Up-sampling is bilinear with the corners aligned.

    Args:
      part_logits: f32[B,h,w,K+1].
      size: (height, width) of the responses.

    Returns:
      f32[B,H,W,K+1]. In [0, 1]; channels sum to 1, and channel 0 is background.
    """
    return tf.nn.softmax(geometry.upsample(tf.cast(part_logits, tf.float32), size))


def merged_responses(part_responses: tf.Tensor, lookup: Sequence[int]) -> tf.Tensor:
    """Responses of merged parts: the sum of the responses of the parts that they consist of.

    Args:
      part_responses: f32[B,h,w,K+1].
      lookup: Number of the merged part that each channel belongs to, [K+1]; 0 for the background,
        to which dropped parts belong too. See `labels.part_names.PartNames.lookup`.

    Returns:
      f32[B,h,w,K+1]. Channels still sum to 1; those of numbers that are no longer in use are 0.
    """
    return tf.tensordot(part_responses, tf.one_hot(lookup, len(lookup)), axes=1)


def normalized_responses(part_responses: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R̂: each part divided by its largest response (§3.1), then resized.

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) to which the maps are resized in the way of photos: the borders of both
        sizes are aligned.

    Returns:
      f32[B,H,W,K]. In [0, 1]; 0 everywhere for a part whose response is 0 everywhere.
    """
    return tf.image.resize(_normalized(part_responses[..., 1:]), size)


def _normalized(parts: tf.Tensor) -> tf.Tensor:
    """Parts f32[B,h,w,K], each divided by its largest response."""
    return tf.math.divide_no_nan(parts, tf.reduce_max(parts, axis=(1, 2), keepdims=True))


def decode(part_responses: tf.Tensor, size: Tuple[int, int], *, background: float = 0.1,
           photos: Optional[tf.Tensor] = None, guided_radius: Optional[float] = None,
           guided_epsilon: float = 1e-4) -> tf.Tensor:
    """Labels: the largest of the normalized part responses and a constant background (§3.1).

    Labels of large photos are decoded in strips, so that the memory beside the labels does not grow
    with the photo times the parts.

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) of the labels.
      background: Value of the background map, in [0, 1]; the paper's is 0.1.
      photos: f32[B,h',w',3]. RGB in [0, 1]; needed with `guided_radius` alone.
      guided_radius: Labels follow the borders of the photos. The maps that are compared, the
        background's too, are divided by their sum and pass a guided filter, whose windows have this
        radius as a share of the shorter side. None for no filter.
      guided_epsilon: Argument `epsilon` of `guided_filter.filtered`.

    Returns:
      u8[B,H,W]. 0 is background, k is the k-th part. In a tie background wins, then the first part.
    """
    normalized = _normalized(part_responses[..., 1:])
    if guided_radius is not None:
        if photos is None:
            raise ValueError('`photos` must be given with `guided_radius`; got None.')
        normalized, background = _guided_margins(
            normalized, photos, background, guided_radius, guided_epsilon), 0.0
    if normalized.shape[1:3].as_list() == [tf.get_static_value(side) for side in size]:
        return _labels(normalized, background)  # Photos of the maps' own size, known in advance.
    shape = tf.shape(normalized)
    # Of a row of all maps; none is in an empty batch.
    numbers = tf.maximum(shape[0] * shape[3] * size[1], 1)

    def whole() -> tf.Tensor:
        return _labels(tf.image.resize(normalized, size), background)

    def in_strips() -> tf.Tensor:
        return _decoded_in_strips(normalized, size, tf.maximum(_MAX_NUMBERS // numbers, 1),
                                  background)

    # One photo of 108 megapixels with 32 parts would have maps of 13 GB.
    return tf.cond(size[0] <= _MAX_NUMBERS // numbers, whole, in_strips)


def guides(images: Any, part_responses: tf.Tensor) -> tf.Tensor:
    """Photos for `decode`, as the graph of an export sees them.

    Args:
      images: u8[B,H,W,3]. RGB.
      part_responses: f32[B,h,w,K+1]. Of these photos, at the network's input size.

    Returns:
      f32[B,h,w,3]. RGB in [0, 1].
    """
    return tf.image.resize(images / np.float32(255), part_responses.shape[1:3], antialias=True)


def _guided_margins(normalized: tf.Tensor, photos: tf.Tensor, background: float, radius: float,
                    epsilon: float) -> tf.Tensor:
    """How far each part's share, filtered, is above the background's: f32[B,h',w',K].

    A filter of the parts alone would spread a part until it falls below the low background map.
    Shares of part and background cross at one half, and a filter keeps that border in its place.
    """
    size = geometry.static_size('part_responses', normalized)
    scale = min(1.0, _GUIDED_SIDE / min(size))
    grid = tuple(max(1, round(side * scale)) for side in size)
    maps = tf.pad(geometry.downsample(normalized, grid), [[0, 0]] * 3 + [[1, 0]],
                  constant_values=background)
    maps = tf.math.divide_no_nan(maps, tf.reduce_sum(maps, axis=-1, keepdims=True))
    shares = guided_filter.filtered(
        maps, photos, radius=max(1, round(radius * min(grid))), epsilon=epsilon)
    return shares[..., 1:] - shares[..., :1]


def _labels(normalized: tf.Tensor, background: float) -> tf.Tensor:
    winner = tf.argmax(normalized, axis=-1, output_type=tf.int32) + 1
    is_part = tf.reduce_max(normalized, axis=-1) > background
    return tf.cast(tf.where(is_part, winner, 0), tf.uint8)


def _decoded_in_strips(normalized: tf.Tensor, size: Tuple[Any, Any], strip: tf.Tensor,
                       background: float) -> tf.Tensor:
    """Labels u8[B,H,W] of maps f32[B,h,w,K], of `strip` rows at a time.

    The arithmetic is that of `tf.image.resize`, so the labels are those of all rows at once: first
    along the rows, which that function does itself, then between two of them.
    """
    height = tf.shape(normalized)[1]
    scale = tf.cast(height, tf.float32) / tf.cast(size[0], tf.float32)

    def labels_of(first: tf.Tensor) -> tf.Tensor:
        rows = tf.range(first, tf.minimum(first + strip, size[0]))
        place = (tf.cast(rows, tf.float32) + 0.5) * scale - 0.5
        above = tf.maximum(tf.cast(tf.floor(place), tf.int32), 0)
        below = tf.minimum(tf.cast(tf.math.ceil(place), tf.int32), height - 1)
        used = normalized[:, above[0]:below[-1] + 1]
        wide = tf.image.resize(used, (tf.shape(used)[1], size[1]))
        upper = tf.gather(wide, above - above[0], axis=1)
        lower = tf.gather(wide, below - above[0], axis=1)
        share = (place - tf.floor(place))[:, tf.newaxis, tf.newaxis]
        # Rows come first, so that strips can be joined.
        return tf.transpose(_labels(upper + (lower - upper) * share, background), (1, 0, 2))

    count = -(-size[0] // strip)
    _, strips = tf.while_loop(
        lambda number, _: number < count,
        lambda number, found: (number + 1, found.write(number, labels_of(number * strip))),
        (0, tf.TensorArray(tf.uint8, size=count, infer_shape=False,
                           element_shape=(None, normalized.shape[0], None))),
        parallel_iterations=1)
    return tf.transpose(strips.concat(), (1, 0, 2))


def part_centers(part_responses: tf.Tensor, size: Tuple[Any, Any], *,
                 window: Optional[float] = None, power: float = 1.0) -> tf.Tensor:
    """Part centres on photos that were resized to the size of the responses.

    By default this is Eq. 1, the mean position weighted by the part's response. A power above 1
    moves it towards the pixels that certainly show the part.

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) of the photos before resizing.
      window: Size of the window around the main object that weights the responses; see
        `main_object.window`. None for no window.
      power: Exponent of the responses, above 0.

    Returns:
      f32[B,K,2]. (x, y) in pixels of the photo. A part whose response is 0 everywhere has the
      middle of the photo, or of the window.
    """
    parts = part_responses[..., 1:]
    weights = _normalized(parts)
    if power != 1:
        # TensorFlow's own power takes four to five times as long on a CPU.
        weights = tf.exp(power * tf.math.log(weights))
    # Far smaller than any visible response; it only gives an empty map a centre.
    weights += 1e-12
    if window is not None:
        weights *= main_object.window(parts, size=window)
    input_size = parts.shape[1:3]
    centers = geometry.frame_to_pixels(geometry.part_centers(weights), input_size)
    return photo_points(centers, input_size, size)


def merged_outputs(outputs: Dict[str, Any], lookup: Sequence[int], *,
                   window: Optional[float] = None, power: float = 1.0) -> Dict[str, Any]:
    """Outputs of `PartModel.predict` with parts that are merged and dropped.

    Labels become those of the merged parts, so a merged part covers what its parts covered, and a
    dropped one is background. Responses are sums, and centres and presence follow from them. Done
    twice, it is the same as done once.

    Args:
      outputs: Arrays or tensors.
      lookup: See `merged_responses`.
      window: See `part_centers`.
      power: See `part_centers`.

    Returns:
      The same outputs, as arrays.
    """
    labels = np.asarray(lookup, np.uint8)[np.asarray(outputs['labels'])]
    responses = merged_responses(tf.constant(np.asarray(outputs['part_responses'])), lookup)
    return {**outputs, 'labels': labels, 'part_responses': responses.numpy(),
            'part_centers': part_centers(
                responses, labels.shape[1:], window=window, power=power).numpy(),
            'presence': tf.reduce_max(responses[..., 1:], axis=(1, 2)).numpy()}


def photo_points(points: Any, input_size: Tuple[Any, Any], size: Tuple[Any, Any]) -> Any:
    """Converts points on the network's input to points on the photo it was resized from.

    Args:
      points: float[...,2]. (x, y) in pixels of the input; the first pixel's centre is (0, 0).
      input_size: (height, width) of the input.
      size: (height, width) of the photo.

    Returns:
      float[...,2]. (x, y) in pixels of the photo.
    """
    factors = [size[1] / input_size[1], size[0] / input_size[0]]
    if tf.is_tensor(points):
        factors = tf.cast(tf.stack(factors), points.dtype)
    return images.scale_points(points, factors)
