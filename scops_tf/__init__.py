"""Self-supervised co-part segmentation (SCOPS, Hung et al., CVPR 2019) in TensorFlow."""
from __future__ import annotations

from typing import Any

from scops_tf import stack

__version__ = '0.1.0'

stack.choose_keras()
stack.choose_onednn()


def load(folder: Any) -> Any:
    """The trained model of a run, or an export, as a Keras model from photos to part responses.

    See `scops_tf.serving.keras_model.load`. This call imports TensorFlow; the package does not.
    """
    from scops_tf.serving import keras_model

    return keras_model.load(folder)
