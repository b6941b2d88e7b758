"""Prediction of parts with an export."""
from __future__ import annotations

import copy
import json
import os
import re
from typing import Any, Dict, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from scops_tf import files
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.serving import decoding, saved_model


class PredictorError(ValueError):
    """An export or photos that cannot be used; the message is one sentence for the user."""


class Prediction(NamedTuple):
    """Parts of B photos of one size; merges and drops are done.

    Attributes:
      labels: u8[B,H,W]. 0 is background, 1..K are the parts.
      part_responses: f32[B,h,w,K+1]. R at the network's input size, in [0, 1]; channel 0 is
        background.
      part_centers: f32[B,K,2]. (x, y) in pixels of the photo.
      presence: f32[B,K]. Largest response of each part, in [0, 1].
    """

    labels: np.ndarray
    part_responses: np.ndarray
    part_centers: np.ndarray
    presence: np.ndarray


class Predictor:
    """An exported part segmenter.

    Args:
      export_dir: Folder written by `scops_tf.serving.saved_model.export`, whose newest version is
        taken, or a single version.
      named: Whether the names, merges and drops of `parts.json` in that folder, or else beside the
        SavedModel, hold. Without them, what the graph merges and drops has no names.

    Attributes:
      folder: Folder of the SavedModel.
      parts: Names and colours of the parts.
      graph_parts: Those of the graph, with what it merges and drops.
      metadata: Description of the export: 'num_parts', 'input_size', 'background',
        'guided_radius', 'guided_epsilon', 'center_window', 'center_power' and, from a trained run,
        'step', 'precision', 'tap_scales' and 'config'.

    Raises:
      PredictorError: If the folder holds no export or a damaged one.
      PartNamesError: If `parts.json` is damaged, of another model, or shows apart what the graph
        merges.
    """

    def __init__(self, export_dir: str, *, named: bool = True) -> None:
        self.folder = saved_model.newest(export_dir)
        if self.folder is None:
            raise PredictorError(
                '`--export_dir` must be a folder written by `python -m scops_tf.export`, which has '
                f'numbered folders with a file {saved_model.METADATA_FILE}; there is none in '
                f'{export_dir!r}.')
        path = os.path.join(self.folder, saved_model.METADATA_FILE)
        try:
            self.metadata: Dict[str, Any] = json.loads(files.read(path))
            _require_schema(self.metadata)
            # Kept, since the signature's variables live only as long as the loaded object.
            self._loaded = tf.saved_model.load(self.folder)
            self._predict = self._loaded.signatures['serving_default']
            _require_outputs(self._predict, self.num_parts)
        except Exception as error:  # Damaged data raises many kinds of errors.
            raise PredictorError(
                f'The export {self.folder!r} must be whole, but it is damaged '
                f'({_reason(error)}); export again.') from error
        self.graph_parts = parts_file.load_or_unnamed(self.folder, self.num_parts)
        self.parts = self.graph_parts if named else self.graph_parts.without_names()
        later = parts_file.load(export_dir, num_parts=self.num_parts) if named else None
        if later:
            later.require_as_merged(self.graph_parts, f'the export {self.folder}')
            self.parts = later

    @property
    def signatures(self) -> Dict[str, Any]:
        """The functions that the export serves, by name; they live as long as this object."""
        return dict(self._loaded.signatures)

    @property
    def num_parts(self) -> int:
        """Number of parts K."""
        return self.metadata['num_parts']

    def with_parts(self, parts: PartNames) -> Predictor:
        """The same export, loaded once, with other names, merges and drops."""
        other = copy.copy(self)
        other.parts = parts
        return other

    def predict(self, images: np.ndarray) -> Prediction:
        """Parts of photos of one size.

        Args:
          images: u8[B,H,W,3]. RGB.

        Raises:
          PredictorError: If `images` is of another type or rank, or TensorFlow fails, as for want
            of memory.
        """
        return self._merged(self.unmerged(images))

    def unmerged(self, images: np.ndarray) -> Prediction:
        """As `predict`, with the parts of the graph, without the merges and drops of `parts`."""
        images = np.asarray(images)
        if (images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3
                or 0 in images.shape):
            raise PredictorError('`images` must be uint8[B,H,W,3], RGB, none of them empty; got '
                                 f'{images.dtype}{list(images.shape)}.')
        try:
            outputs = self._predict(images=tf.constant(images))
        except tf.errors.OpError as error:
            raise PredictorError(f'Photos of the shape {list(images.shape)} cannot be predicted '
                                 f'({_reason(error)}); give smaller photos, or fewer at a time, '
                                 'or export again.') from error
        return Prediction(**{name: outputs[name].numpy() for name in Prediction._fields})

    def decoded(self, part_responses: np.ndarray, images: np.ndarray, *,
                background: Optional[float] = None) -> Prediction:
        """Parts of photos from responses of the export, such as means over the frames of a video.

        Labels are made as in the graph. Where the graph merges parts they may differ a little,
        since it merges labels, and `part_responses` are merged already.

        Args:
          part_responses: f32[B,h,w,K+1]. Responses of the parts of the graph; see `unmerged`.
          images: u8[B,H,W,3]. The photos, RGB, whose borders the labels follow as in the graph.
          background: Value of the background map in [0, 1]; None for that of the export.
        """
        responses, size = tf.constant(part_responses, tf.float32), images.shape[1:3]
        radius = self.metadata.get('guided_radius')
        labels = decoding.decode(
            responses, size,
            background=self.metadata['background'] if background is None else background,
            photos=None if radius is None else decoding.guides(images, responses),
            guided_radius=radius, guided_epsilon=self.metadata.get('guided_epsilon', 1e-4))
        centers = decoding.part_centers(
            responses, size, window=self.metadata.get('center_window'),
            power=self.metadata.get('center_power', 1.0))
        return self._merged(Prediction(
            labels.numpy(), responses.numpy(), centers.numpy(),
            tf.reduce_max(responses[..., 1:], axis=(1, 2)).numpy()))

    def _merged(self, found: Prediction) -> Prediction:
        if not self.parts.changes_labels:
            return found
        # Without effect where the graph has merged them already.
        return Prediction(**decoding.merged_outputs(
            found._asdict(), self.parts.lookup, window=self.metadata.get('center_window'),
            power=self.metadata.get('center_power', 1.0)))


def _reason(error: Exception) -> str:
    """The line of an error that tells the reason.

    TensorFlow's errors of a graph begin with a line that says no more than that, and a list of
    places in its own sources.
    """
    message = str(getattr(error, 'message', None) or error)
    found = re.search(r"^Node: '.*'\n(?:.* root error\(s\) found\.\n\s*\(0\) )?(.*)", message,
                      re.MULTILINE)
    line = (found.group(1) if found else message).strip().split('\n')[0].rstrip('.')
    return line or type(error).__name__


def _require_schema(metadata: Any) -> None:
    """Refuses a description of an export that lacks a value or has one of another kind."""
    if not isinstance(metadata, dict):
        raise ValueError(f'{saved_model.METADATA_FILE} is no JSON object')

    def is_number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    size = metadata.get('input_size')
    laws = {
        'num_parts': isinstance(metadata.get('num_parts'), int) and metadata['num_parts'] >= 1,
        'input_size': isinstance(size, list) and len(size) == 2 and all(
            isinstance(side, int) and side >= 1 for side in size),
        'background': is_number(metadata.get('background')),
        # Exports of earlier versions have none of these.
        'guided_radius': metadata.get('guided_radius') is None or is_number(
            metadata['guided_radius']),
        'guided_epsilon': is_number(metadata.get('guided_epsilon', 1e-4)),
        'center_window': metadata.get('center_window') is None or is_number(
            metadata['center_window']),
        'center_power': is_number(metadata.get('center_power', 1.0)),
        'config': isinstance(metadata.get('config', ''), str)}
    wrong = [name for name, holds in laws.items() if not holds]
    if wrong:
        raise ValueError(f'{saved_model.METADATA_FILE} has no valid {wrong[0]!r}, but '
                         f'{str(metadata.get(wrong[0]))[:60]!r}')


def _require_outputs(signature: Any, num_parts: int) -> None:
    """Refuses a signature without the outputs of a `Prediction`, or of another number of parts."""
    lacking = [name for name in Prediction._fields if name not in signature.structured_outputs]
    if lacking:
        raise ValueError(f'its signature has no output {lacking[0]!r}')
    found = signature.structured_outputs['presence'].shape[-1]
    if found not in (None, num_parts):
        raise ValueError(f'its signature has {found} parts and its description {num_parts}')
