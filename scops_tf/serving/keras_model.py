"""Runs and exports as Keras models, to be put into other networks, trained further and saved."""
from __future__ import annotations

import os
from typing import Callable, List, Sequence, Tuple

import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.labels import parts_file
from scops_tf.networks import checkpoints, model as model_lib
from scops_tf.serving import part_model as part_model_lib, saved_model, trained_model


class LoadError(ValueError):
    """A folder that holds no model; the message is one sentence for the user."""


class PartResponses(tf.keras.layers.Layer):
    """The part responses of a trained model.

    Args:
      respond: Function from photos f32[B,H,W,3] to part responses f32[B,h,w,K+1].
      trained: Its variables that are trained where the layer is trainable.
      frozen: Its other variables.
    """

    def __init__(self, respond: Callable[[tf.Tensor], tf.Tensor], trained: Sequence[tf.Variable],
                 frozen: Sequence[tf.Variable]) -> None:
        super().__init__(name='part_responses', dtype='float32')
        self._respond = respond
        # Keras tracks these, in what it saves too.
        self.trained = list(trained)
        self.frozen = _Frozen(frozen)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Part responses f32[B,h,w,K+1] of photos f32[B,H,W,3], RGB in [0, 1]."""
        return self._respond(images)


class _Frozen(tf.Module):
    """Variables that are not trained, whatever they say themselves: those of frozen layers may."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        super().__init__()
        self._frozen = list(variables)

    @property
    def trainable_variables(self) -> Tuple[tf.Variable, ...]:
        """None."""
        return ()

    @property
    def non_trainable_variables(self) -> Tuple[tf.Variable, ...]:
        """All of them."""
        return tuple(self._frozen)


def load(folder: str) -> tf.keras.Model:
    """The trained model of a run, or an export, as a Keras model.

    Its input is photos f32[B,H,W,3], RGB in [0, 1], of any size; its output the part responses
    f32[B,h,w,K+1] at the size that the network was trained for, with merges and drops done. They
    are in [0, 1] and sum to 1; channel 0 is background. `model.save(folder)`, in TensorFlow's
    format, keeps all of it.

    Of a run's latest checkpoint the variables are trainable that the run trained: those of the
    head, and of the backbone unless it is frozen. Of an export, whose network is folded, those of
    the head are. No gradient passes reference features, so none reaches the photos where the
    segmenter is a head on these.

    Args:
      folder: Folder of a run, of its exports, or of one export.

    Raises:
      LoadError: If it is none of these, or an export that cannot be loaded.
      ConfigError: If the run is of another version.
      CheckpointError: If the run has no whole checkpoint.
    """
    folder = os.fspath(folder)
    if os.path.isfile(os.path.join(folder, config_lib.RUN_FILE)):
        if checkpoints.find(folder) is not None or not _exports(folder):
            return _of_run(folder)
        folder = os.path.join(folder, 'export')  # Of a baseline, which has no checkpoint.
    exported = saved_model.newest(folder)
    if exported is None:
        raise LoadError('`folder` must be that of a run, which has a file '
                        f'{config_lib.RUN_FILE}, or of an export; there is neither in {folder!r}.')
    return _of_export(exported)


def _exports(folder: str) -> bool:
    return saved_model.newest(os.path.join(folder, 'export')) is not None


def _of_run(folder: str) -> tf.keras.Model:
    config = config_lib.load_run(folder)
    parts = parts_file.load_or_unnamed(folder, config.run.num_parts)
    model = model_lib.Model(config, precision='float32', is_restored=True)
    model.restore(checkpoints.require(folder, 'folder', step=config.evaluation.step))
    served = trained_model.as_part_model(
        config, part_model_lib.SegmenterResponses(model.segmenter), parts)
    trained = [variable for group in model.trained_variables.values() for variable in group]
    return _model(lambda images: served.part_responses(images), trained, model.segmenter.variables)


def _of_export(folder: str) -> tf.keras.Model:
    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:  # Damaged data raises many kinds of errors.
        reason = str(error).strip().split('\n')[0].rstrip('.')
        raise LoadError(f'The export {folder!r} must be whole, but cannot be loaded ({reason}); '
                        'export again.') from error
    if not hasattr(loaded, 'part_responses'):
        raise LoadError(f'The export {folder!r} must be of this version of scops_tf, since earlier '
                        'ones take photos as bytes only; export again, or load the run.')
    trained: List[tf.Variable] = list(getattr(loaded.network, 'trained', ()))
    return _model(lambda images: loaded.part_responses(images), trained,
                  loaded.signatures['serving_default'].variables)


def _model(respond: Callable[[tf.Tensor], tf.Tensor], trained: Sequence[tf.Variable],
           variables: Sequence[tf.Variable]) -> tf.keras.Model:
    # `respond` must hold its object, which a bound function does not, and variables need.
    taught = {variable.ref() for variable in trained}
    frozen = [variable for variable in variables if variable.ref() not in taught]
    photos = tf.keras.Input((None, None, 3), name='images')
    return tf.keras.Model(photos, PartResponses(respond, trained, frozen)(photos), name='parts')
