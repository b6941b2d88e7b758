"""Prediction of parts with an export."""
from __future__ import annotations

import json
import os
from typing import Any, Dict, NamedTuple

import numpy as np
import tensorflow as tf

from scops_tf.serving import saved_model


class PredictorError(ValueError):
    """An export or photos that cannot be used; the message is one sentence for the user."""


class Prediction(NamedTuple):
    """Parts of B photos of one size.

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
      export_dir: Folder written by `scops_tf.serving.saved_model.export`.

    Attributes:
      metadata: Description of the export: 'num_parts', 'input_size', 'background',
        'center_window', 'center_power' and, from a trained run, 'step', 'precision', 'tap_scales'
        and 'config'.

    Raises:
      PredictorError: If the folder holds no export or a damaged one.
    """

    def __init__(self, export_dir: str) -> None:
        if not saved_model.is_export(export_dir):
            raise PredictorError(
                '`--export_dir` must be a folder written by `python -m scops_tf.export`, which has '
                f'a file {saved_model.METADATA_FILE}; there is none in {export_dir!r}.')
        path = os.path.join(export_dir, saved_model.METADATA_FILE)
        try:
            with open(path, encoding='utf-8') as file:
                self.metadata: Dict[str, Any] = json.load(file)
            # Kept, since the signature's variables live only as long as the loaded object.
            self._loaded = tf.saved_model.load(export_dir)
            self._predict = self._loaded.signatures['serving_default']
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            reason = str(getattr(error, 'message', error)).split('\n')[0].rstrip('.')
            raise PredictorError(f'The export {export_dir!r} must be whole, but it is damaged '
                                 f'({reason}); export again.') from error

    @property
    def num_parts(self) -> int:
        """Number of parts K."""
        return self.metadata['num_parts']

    def predict(self, images: np.ndarray) -> Prediction:
        """Parts of photos of one size.

        Args:
          images: u8[B,H,W,3]. RGB.

        Raises:
          PredictorError: If `images` is of another type or rank.
        """
        images = np.asarray(images)
        if (images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3
                or 0 in images.shape):
            raise PredictorError('`images` must be uint8[B,H,W,3], RGB, none of them empty; got '
                                 f'{images.dtype}{list(images.shape)}.')
        outputs = self._predict(images=tf.constant(images))
        return Prediction(**{name: outputs[name].numpy() for name in Prediction._fields})
