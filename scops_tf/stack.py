"""Which of the two stacks of libraries is installed, Keras 2 on both, and oneDNN on any CPU.

The one stack is TensorFlow 2.15, which brings Keras 2, with TensorFlow Addons and keras-cv. The
other, the current one, is any later TensorFlow. It brings Keras 3, takes Keras 2 from the package
tf-keras, and runs neither of the two libraries. Our networks, checkpoints and exports are of
Keras 2. So `choose_keras`, which the import of `scops_tf` calls, asks TensorFlow for it.
"""
from __future__ import annotations

from importlib import metadata
import os
import platform
from typing import Any

# TensorFlow reads it when `tf.keras` is first used. Child processes inherit it.
_VARIABLE = 'TF_USE_LEGACY_KERAS'
# TensorFlow reads it when it is imported.
_ONEDNN = 'TF_ENABLE_ONEDNN_OPTS'


def is_current() -> bool:
    """Whether TensorFlow is later than 2.15, by the Keras that is installed beside it.

    TensorFlow itself is not imported, since many modules run without it.
    """
    try:
        version = metadata.version('keras')
    except metadata.PackageNotFoundError:
        return False  # Nor is there a TensorFlow, which would need it.
    return int(version.partition('.')[0]) >= 3


def choose_keras() -> None:
    """Lets `tf.keras` be Keras 2, if it has not been used before."""
    if is_current():
        os.environ[_VARIABLE] = '1'


def choose_onednn() -> None:
    """Lets TensorFlow compute by oneDNN on x86, unless the user has chosen.

    By itself TensorFlow does so only where the CPU has instructions for neural networks. Without
    them, on AVX2, networks are faster by it too, and convolutions with holes have gradients.
    """
    if platform.machine().lower() in ('x86_64', 'amd64'):
        os.environ.setdefault(_ONEDNN, '1')


def check_keras(keras: Any) -> None:
    """Checks that `tf.keras` is Keras 2.

    Args:
      keras: The module `tf.keras`.

    Raises:
      ImportError: If it is Keras 3, or Keras 2 is not installed.
    """
    try:
        has_keras_2 = not keras.Model.__module__.startswith('keras.src.models')
    except ImportError as error:
        raise ImportError('`tf.keras` must be Keras 2, which is not installed; install the package '
                          'tf-keras in the version of TensorFlow.') from error
    if not has_keras_2:
        raise ImportError('`tf.keras` must be Keras 2, and is Keras 3, since it was used before '
                          'scops_tf was imported; import scops_tf first, or set '
                          f'{_VARIABLE}=1.')
