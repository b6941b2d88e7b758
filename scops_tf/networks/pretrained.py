"""Networks of `tf.keras.applications`: seeded explicitly, rewired, given ImageNet weights."""
from __future__ import annotations

import contextlib
import os
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
    """Weights that cannot be had; the message names the ways out."""


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Networks built inside compute in 'float32', 'bfloat16' or 'float16'; variables in float32."""
    before = tf.keras.mixed_precision.global_policy()
    policies = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}
    tf.keras.mixed_precision.set_global_policy(policies[name])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def find_weights(network: str, weights: Optional[Union[str, os.PathLike]]) -> Optional[str]:
    """Where the weights of a network come from.

    Args:
      network: 'vgg19', 'resnet50' or 'resnet101'.
      weights: 'imagenet', the path of an .h5 file in the layout of `tf.keras.applications`
        (`include_top=False`), or None for random weights.

    Returns:
      A path, None, or 'imagenet' for Keras' download, where the folder named by the environment
      variable SCOPS_WEIGHTS_DIR has no `<network>_imagenet_notop.h5`.

    Raises:
      WeightsError: If `weights` is a path and there is no such file.
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
      network: As of `find_weights`.
      weights: As of `find_weights`. Whoever trains with None should be warned.
      seed: Of random weights.
      rewrite: Changes the Keras config of a layer, which has its 'name', in place. The weights must
        keep their shapes.

    Returns:
      f32[B,H,W,3], as of `preprocessing.preprocess`, to the features of the last layer.
      Computes in Keras' global precision policy.

    Raises:
      WeightsError: If weights cannot be downloaded, or a file is not one of this network's.
    """
    if network not in _APPLICATIONS:
        raise ValueError(
            f'`network` must be one of {", ".join(sorted(_APPLICATIONS))}; got {network!r}.')
    found = find_weights(network, weights)
    plain = _downloaded(network) if found == 'imagenet' else _plain(network, None)
    seeds = iter(np.random.default_rng(seed).integers(2**31 - 1, size=len(plain.layers)))

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        config = layer.get_config()
        # The original's precision is part of its config, as is its initialiser without a seed.
        config['dtype'] = tf.keras.mixed_precision.global_policy()
        if 'kernel_initializer' in config:
            config['kernel_initializer'] = tf.keras.initializers.GlorotUniform(
                seed=int(next(seeds)))
        rewrite(config)
        return type(layer).from_config(config)

    model = tf.keras.models.clone_model(plain, clone_function=clone)
    if found == 'imagenet':
        model.set_weights(plain.get_weights())
    elif found is not None:
        _load(model, network, found)
    return model


def _plain(network: str, weights: Optional[str]) -> tf.keras.Model:
    return _APPLICATIONS[network](
        include_top=False, weights=weights, input_shape=(None, None, 3))


def _downloaded(network: str) -> tf.keras.Model:
    try:
        return _plain(network, 'imagenet')
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        reason = str(error).split('\n')[0].rstrip('.')
        raise WeightsError(
            f'`weights` of {network} could not be downloaded ({reason}): connect to the network, '
            f'or set {WEIGHTS_DIR_VARIABLE} to a folder that holds {network}_imagenet_notop.h5.'
        ) from error


def _load(model: tf.keras.Model, network: str, path: str) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).split('\n')[0].rstrip('.')
        raise WeightsError(
            f'`weights` must be those of {network} in the layout of tf.keras.applications '
            f'(include_top=False); {path!r} is not ({reason}).') from error
