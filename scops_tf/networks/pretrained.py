"""Networks of `tf.keras.applications` with explicit seeds, changed layers and ImageNet weights."""
from __future__ import annotations

import contextlib
import copy
import functools
import os
import tempfile
from typing import Any, Callable, Dict, Iterator, Optional, Union

import numpy as np
import tensorflow as tf

WEIGHTS_DIR_VARIABLE = 'SCOPS_WEIGHTS_DIR'
_APPLICATIONS = {
    'vgg19': tf.keras.applications.VGG19,
    'resnet50': tf.keras.applications.ResNet50,
    'resnet101': tf.keras.applications.ResNet101,
}


class WeightsError(OSError):
    """Weights that cannot be found or loaded; the message says what the user can do."""


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Context: networks built in it compute in 'float32', 'bfloat16' or 'float16'.

    Their variables are float32.
    """
    before = tf.keras.mixed_precision.global_policy()
    policies = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}
    tf.keras.mixed_precision.set_global_policy(policies[name])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def find_weights(network: str, weights: Optional[Union[str, os.PathLike]]) -> Optional[str]:
    """The source of a network's weights.

    Args:
      network: 'vgg19', 'resnet50' or 'resnet101'.
      weights: 'imagenet', the path of an .h5 file in the layout of `tf.keras.applications`
        (`include_top=False`), or None for random weights.

    Returns:
      A path; None; or 'imagenet' for Keras' download. For 'imagenet' the file
      `<network>_imagenet_notop.h5` comes first if the folder named by the environment variable
      SCOPS_WEIGHTS_DIR has it.

    Raises:
      WeightsError: If `weights` is a path without a file.
    """
    if weights is None:
        return None
    if weights != 'imagenet':
        path = os.path.expanduser(os.fspath(weights))
        if not os.path.isfile(path):
            raise WeightsError('`weights` must be \'imagenet\', None or the path of an .h5 file; '
                               f'there is no file {path!r}.')
        return path
    folder = os.path.expanduser(os.environ.get(WEIGHTS_DIR_VARIABLE, ''))
    path = os.path.join(folder, f'{network}_imagenet_notop.h5')
    return path if folder and os.path.isfile(path) else 'imagenet'


def build(network: str, *, weights: Optional[Union[str, os.PathLike]], seed: int,
          rewrite: Callable[[Dict[str, Any]], Any] = lambda config: None) -> tf.keras.Model:
    """A network without its classifier, for photos of any size.

    Args:
      network: 'vgg19', 'resnet50' or 'resnet101'.
      weights: See `find_weights`. A caller should warn the user about None.
      seed: Seed of random weights.
      rewrite: Function that changes the Keras config of a layer in place; the config holds the
        layer's 'name'. The weights must keep their shapes.

    Returns:
      Keras model from preprocessed photos f32[B,H,W,3] (see `preprocessing.preprocess`) to the
      features of the last layer. It computes in Keras' global precision policy.

    Raises:
      WeightsError: If the weights cannot be downloaded, or a file does not fit this network.
    """
    if network not in _APPLICATIONS:
        raise ValueError(
            f'`network` must be one of {", ".join(sorted(_APPLICATIONS))}; got {network!r}.')
    found = find_weights(network, weights)
    plain = _downloaded(network) if found == 'imagenet' else None
    config = plain.get_config() if plain else copy.deepcopy(_config(network))
    seeds = iter(np.random.default_rng(seed).integers(2**31 - 1, size=len(config['layers'])))
    for layer in config['layers']:
        own = layer['config']
        if layer['class_name'] == 'InputLayer':
            continue
        # The original's config holds its precision and an initializer without a seed.
        own['dtype'] = tf.keras.mixed_precision.global_policy().name
        if 'kernel_initializer' in own:
            own['kernel_initializer'] = tf.keras.initializers.serialize(
                tf.keras.initializers.GlorotUniform(seed=int(next(seeds))))
        rewrite(own)
    model = tf.keras.Model.from_config(config)
    if plain:
        model.set_weights(plain.get_weights())
    elif found is not None:
        _load(model, network, found)
    return model


@functools.lru_cache(maxsize=None)
def _config(network: str) -> Dict[str, Any]:
    """Keras' config of a network, which takes seconds; not to be changed."""
    with precision('float32'):
        return _plain(network, None).get_config()


def _plain(network: str, weights: Optional[str]) -> tf.keras.Model:
    return _APPLICATIONS[network](
        include_top=False, weights=weights, input_shape=(None, None, 3))


def _downloaded(network: str) -> tf.keras.Model:
    try:
        return _plain(network, 'imagenet')
    except Exception as error:  # Keras raises a bare Exception if a download fails.
        reason = str(error).split('\n')[0].rstrip('.')
        raise WeightsError(
            f'`weights` of {network} could not be downloaded ({reason}): connect to the network, '
            f'or set {WEIGHTS_DIR_VARIABLE} to a folder that holds {network}_imagenet_notop.h5.'
        ) from error


def _load(model: tf.keras.Model, network: str, path: str) -> None:
    """Loads weights in the layout of `tf.keras.applications`, whatever the name of their file."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Keras takes the layout from the name: its newer one from .weights.h5, a checkpoint's
            # from a name without .h5.
            link = os.path.join(folder, 'weights.h5')
            os.symlink(os.path.abspath(path), link)
            model.load_weights(link)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).split('\n')[0].rstrip('.')
        raise WeightsError(
            f'`weights` must be those of {network} in the layout of tf.keras.applications '
            f'(include_top=False); {path!r} is not ({reason}).') from error
