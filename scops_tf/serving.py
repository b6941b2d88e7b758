"""The served graph: photos of any size in, part labels, responses, centres and presence out."""
from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict, Optional, Tuple

import tensorflow as tf

from scops_tf import files, geometry, main_object

METADATA_FILE = 'scops_tf.json'


class ExportError(ValueError):
    """A folder that cannot be exported to; the message is one sentence for the user."""


def part_responses_from_logits(part_logits: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R: bilinear up-sampling of the logits, then soft-max over background and parts (§3.1).

    Args:
      part_logits: f32[B,h,w,K+1].
      size: (height, width) of the responses.

    Returns:
      f32[B,H,W,K+1]. In [0, 1], summing to 1 over channels; channel 0 is background.
    """
    return tf.nn.softmax(geometry.upsample(tf.cast(part_logits, tf.float32), size))


def normalised_responses(part_responses: tf.Tensor, size: Tuple[int, int]) -> tf.Tensor:
    """R̂: the parts, each divided by its largest response (§3.1), at another size.

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) that the maps are resized to, as photos are: pixels are cells that share
        the picture's borders.

    Returns:
      f32[B,H,W,K]. In [0, 1]; 0 everywhere for a part whose response is 0 everywhere.
    """
    return tf.image.resize(_normalised(part_responses[..., 1:]), size)


def _normalised(parts: tf.Tensor) -> tf.Tensor:
    """Parts f32[B,h,w,K], each divided by its largest response."""
    return tf.math.divide_no_nan(parts, tf.reduce_max(parts, axis=(1, 2), keepdims=True))


def decode(part_responses: tf.Tensor, size: Tuple[int, int], *, background: float = 0.1
           ) -> tf.Tensor:
    """Labels: the largest of the normalised parts and of a constant background (§3.1).

    Args:
      part_responses: f32[B,h,w,K+1]. Channel 0, the network's own background, is not used.
      size: (height, width) of the labels.
      background: Value of the background map, in [0, 1]; the paper's is 0.1.

    Returns:
      u8[B,H,W]. 0 is background, k the k-th part. Background wins ties, then the first part.
    """
    normalised = normalised_responses(part_responses, size)
    winner = tf.argmax(normalised, axis=-1, output_type=tf.int32) + 1
    is_part = tf.reduce_max(normalised, axis=-1) > background
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
    weights = _normalised(parts)
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
    """Part responses of a segmenter at the size of the photos it is given.

    Args:
      segmenter: From photos f32[B,H,W,3] to part logits f32[B,h,w,K+1]; has `variables`.
    """

    def __init__(self, segmenter: tf.Module) -> None:
        super().__init__()
        # An export holds what is an attribute here: of a Keras model, only the weights, without the
        # functions of all its layers.
        self._weights = list(segmenter.variables)
        self._part_logits = lambda images: segmenter(images)

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """f32[B,H,W,3] RGB in [0, 1] -> f32[B,H,W,K+1]."""
        size = (tf.shape(images)[1], tf.shape(images)[2])
        return part_responses_from_logits(self._part_logits(images), size)


class PartModel(tf.Module):
    """What is exported: any network with `part_responses`, the photos' resizing and the decoding.

    Args:
      network: Has `part_responses(images f32[B,H,W,3]) -> f32[B,h,w,K+1]`.
      num_parts: K.
      input_size: (height, width) that photos are squashed to for the network.
      background: As of `decode`.
      center_window: `window` of `part_centers`.
      center_power: Its `power`.
    """

    def __init__(self, network: tf.Module, *, num_parts: int, input_size: Tuple[int, int],
                 background: float = 0.1, center_window: Optional[float] = None,
                 center_power: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.num_parts = num_parts
        self.input_size = tuple(input_size)
        self.background = background
        self.center_window = center_window
        self.center_power = center_power

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name='images')])
    def predict(self, images: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of photos of one size.

        Args:
          images: u8[B,H,W,3]. RGB, any H and W.

        Returns:
          labels: u8[B,H,W]. 0 is background, 1..K parts.
          part_responses: f32[B,h,w,K+1]. At the network's input size (h, w), in [0, 1], summing to
            1; channel 0 is background.
          part_centers: f32[B,K,2]. (x, y) in pixels of the photo; as of `part_centers`.
          presence: f32[B,K]. Largest response of the part, in [0, 1].
        """
        shape = tf.shape(images)
        size = (shape[1], shape[2])
        pixels = tf.cast(images, tf.float32) / 255.0
        pixels = tf.image.resize(pixels, self.input_size, antialias=True)
        pixels = tf.ensure_shape(pixels, [None, *self.input_size, 3])
        responses = tf.cast(self.network.part_responses(pixels), tf.float32)
        responses = geometry.upsample(responses, self.input_size)
        responses = tf.ensure_shape(responses, [None, *self.input_size, self.num_parts + 1])
        return {
            'labels': decode(responses, size, background=self.background),
            'part_responses': responses,
            'part_centers': part_centers(
                responses, size, window=self.center_window, power=self.center_power),
            'presence': tf.reduce_max(responses[..., 1:], axis=(1, 2)),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='encoded')])
    def predict_encoded(self, encoded: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of encoded photos of one size; the outputs are those of `predict`.

        Args:
          encoded: string[B]. JPEG, PNG, BMP or GIF (first frame). EXIF rotation is not applied, as
            TensorFlow has no operation for it, and transparency is dropped.
        """
        size = tf.shape(_decode_image(encoded[0]))

        def decoded(data: tf.Tensor) -> tf.Tensor:
            image = _decode_image(data)
            message = ('Photos of one request must all have one size; send those of other sizes '
                       'one by one. Got [height, width, 3]:')
            check = tf.debugging.Assert(
                tf.reduce_all(tf.shape(image) == size), [message, size, 'and', tf.shape(image)])
            with tf.control_dependencies([check]):
                return tf.identity(image)

        return self.predict(tf.map_fn(
            decoded, encoded, fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8)))


def _decode_image(data: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def export(model: PartModel, folder: str, *, metadata: Dict[str, Any]) -> None:
    """Writes the model as a SavedModel, which takes the place of an older one once it is complete.

    Signatures: `serving_default` (`images`) and `encoded` (`encoded`), with the outputs of
    `PartModel.predict`.

    Args:
      model: To be written.
      folder: Of the SavedModel. Empty, absent, or an older export, which is replaced.
      metadata: JSON values for `scops_tf.json`; the number of parts, the input size, the
        background and the window and power of the centres are added.

    Raises:
      ExportError: If the folder holds something else.
      OSError: If the folder cannot be written; an older export is untouched.
    """
    folder = os.path.abspath(folder)
    if os.path.isdir(folder) and os.listdir(folder) and not is_export(folder):
        raise ExportError(f'The folder of an export must be empty, or be an older export; {folder} '
                          'holds something else: give another one.')
    temporary, replaced = f'{folder}.{os.getpid()}.tmp', f'{folder}.{os.getpid()}.old'
    described = {**metadata, 'num_parts': model.num_parts, 'input_size': list(model.input_size),
                 'background': model.background, 'center_window': model.center_window,
                 'center_power': model.center_power}
    try:
        os.makedirs(temporary)
        tf.saved_model.save(model, temporary, signatures={
            'serving_default': model.predict, 'encoded': model.predict_encoded})
        files.write(os.path.join(temporary, METADATA_FILE),
                    json.dumps(described, indent=2, sort_keys=True).encode())
        if os.path.isdir(folder):
            os.replace(folder, replaced)
        try:
            os.replace(temporary, folder)
        except OSError:
            if os.path.isdir(replaced):
                os.replace(replaced, folder)
            raise
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, 'strerror', None) or getattr(error, 'message', None) or str(error)
        raise OSError(f'The export must be written to {folder}, which fails ({reason}); free disk '
                      'space or make the folder writable, and export again.') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def is_export(folder: str) -> bool:
    """Whether a folder holds what `export` writes."""
    return os.path.isfile(os.path.join(folder, METADATA_FILE))
