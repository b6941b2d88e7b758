#!/usr/bin/env python
r"""Writes a network of another library as a SavedModel of reference features; see docs/features.md.

    python scripts/convert_features.py --library=applications --network=ResNet50 \
        --layers=conv4_block6_out --licence=MIT --out=networks/resnet50

It runs in an environment with that library, a TensorFlow that the library needs, and nothing else
of scops_tf's requirements:

* applications: `tf.keras.applications`, `--network` is a function of it;
* kecam: `keras-cv-attention-models`, `--network` is such as beit.DINOv2_ViT_Small14;
* keras_hub: Keras Hub, `--network` is a preset such as dinov2_small.

Layers give maps [B,h,w,C] or tokens [B,n,C], whose first ones that are no patch of the photo are
left out. Preprocessing goes into the graph. The SavedModel is loaded again and compared with the
network before it gets its name.
"""
from __future__ import annotations

import importlib
import os
import pathlib
import sys
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from absl import flags
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import saved_features

from scops_tf import command, network_card

FLAGS = flags.FLAGS

# Mean and standard deviation of RGB in [0, 1].
_SCALES = {'torch': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 'tf': ((0.5,) * 3, (0.5,) * 3),
           'none': ((0.0,) * 3, (1.0,) * 3)}
# A transformer has at most so many tokens before its patches: of the class, and registers.
_MOST_PREFIX = 16

Size = Optional[Tuple[int, int]]
Preprocess = Callable[[Any], Any]


class Source(NamedTuple):
    """A network of a library.

    Attributes:
      model: Keras model with one input.
      preprocess: Function from RGB in [0, 1] to the input of the model.
    """

    model: Any
    preprocess: Preprocess


def _scaled(mean: Any, deviation: Any, unit: float = 1.0) -> Preprocess:
    """Function from RGB in [0, 1] to (unit * RGB - mean) / deviation."""
    mean, deviation = (np.asarray(value, np.float32) for value in (mean, deviation))
    return lambda images: (unit * images - mean) / deviation


def applications(name: str, weights: Optional[str], size: Size) -> Source:
    """A network of `tf.keras.applications`, for photos of any size."""
    import tensorflow as tf

    build = getattr(tf.keras.applications, name, None)
    if not callable(build):
        raise command.CommandError(f'`--network` must be a function of tf.keras.applications, such '
                                   f'as ResNet50; got {name!r}.')
    model = build(include_top=False, weights=weights,
                  input_shape=(*(size or (None, None)), 3))
    preprocess = importlib.import_module(build.__module__).preprocess_input
    return Source(model, lambda images: preprocess(255.0 * images))


def kecam(name: str, weights: Optional[str], size: Size) -> Source:
    """A network of keras-cv-attention-models without its classifier."""
    library = _library('keras_cv_attention_models', 'keras-cv-attention-models')
    build: Any = library
    for part in name.split('.'):
        build = getattr(build, part, None)
    if not callable(build):
        raise command.CommandError('`--network` must be a function of keras_cv_attention_models, '
                                   f'such as beit.DINOv2_ViT_Small14; got {name!r}.')
    given = {'input_shape': (*size, 3)} if size else {}
    model = build(num_classes=0, pretrained=weights, **given)
    scale = model.preprocess_input
    return Source(model, _scaled(scale.mean, scale.std, 255.0))


def keras_hub(name: str, weights: Optional[str], size: Size) -> Source:
    """A backbone of Keras Hub, by its preset."""
    library = _library('keras_hub', 'keras-hub')
    given = {'image_shape': (*size, 3)} if size else {}
    model = library.models.Backbone.from_preset(name, load_weights=weights is not None, **given)
    converter = library.layers.ImageConverter.from_preset(name)
    scale, offset = (np.asarray(1.0 * default if value is None else value, np.float32)
                     for value, default in ((converter.scale, 1), (converter.offset, 0)))
    return Source(model, lambda images: 255.0 * images * scale + offset)


LIBRARIES = {'applications': applications, 'kecam': kecam, 'keras_hub': keras_hub}


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise command.CommandError(f'`--library` must be installed in this environment; {package} '
                                   f'is not ({error}): pip install {package}.') from error


def tapped(model: Any, layers: Sequence[str]) -> Any:
    """The model with the outputs of layers, by their names.

    Raises:
      CommandError: If there is no such layer.
    """
    import tensorflow as tf

    known = [layer.name for layer in model.layers]
    wrong = [name for name in layers if name not in known]
    if wrong or not layers:
        raise command.CommandError('`--layers` must name layers of the network; there is no '
                                   f'{", ".join(wrong) or "layer"} among {", ".join(known)}.')
    return tf.keras.Model(model.inputs, [model.get_layer(name).output for name in layers])


def patch_grid(num_tokens: int, size: Tuple[int, int]) -> Tuple[int, int]:
    """(h, w) of the patches that the last of a transformer's tokens stand for.

    Raises:
      CommandError: If no side of square patches leaves at most `_MOST_PREFIX` tokens before them.
    """
    for side in range(1, min(size) + 1):
        grid = (size[0] // side, size[1] // side)
        is_whole = size[0] % side == size[1] % side == 0
        if is_whole and 0 <= num_tokens - grid[0] * grid[1] <= _MOST_PREFIX:
            return grid
    raise command.CommandError(
        '`--layers` must give maps, or one token for each square patch of an `--image_size` that '
        f'has whole patches, and at most {_MOST_PREFIX} before them; got {num_tokens} tokens of '
        f'photos of {size[0]}x{size[1]}.')


def features_of(source: Source, layers: Sequence[str], size: Size) -> Any:
    """The function of the contract, a `tf.Module` with the signature `serve`.

    It also has the number of channels of each layer, `channels`.
    """
    import tensorflow as tf

    network = tapped(source.model, layers)

    def as_map(tap: Any) -> Any:
        tap = tf.cast(tap, tf.float32)
        if tap.shape.rank == 4:
            return tap
        if tap.shape.rank != 3 or size is None:
            raise command.CommandError(
                '`--layers` must give maps [B,h,w,C], or tokens [B,n,C] with an `--image_size`; '
                f'got {tap.shape}.')
        grid = patch_grid(tap.shape[1], size)
        return tf.reshape(tap[:, -grid[0] * grid[1]:], [-1, *grid, tap.shape[2]])

    def features(images: Any) -> Any:
        if size is not None:
            images = tf.image.resize(images, size, antialias=True)
            images = tf.ensure_shape(images, [None, *size, 3])
        images = source.preprocess(images)
        inputs = network.input
        found = network({next(iter(inputs)): images} if isinstance(inputs, dict) else images,
                        training=False)
        taps = [as_map(tap) for tap in tf.nest.flatten(found)]
        return {'features': saved_features.side_by_side(taps)}

    module = tf.Module()
    module.channels = [int(output.shape[-1]) for output in network.outputs]
    module.weights = [getattr(variable, 'value', variable) if not isinstance(
        variable, tf.Variable) else variable for variable in network.variables]
    module.serve = tf.function(features, autograph=False, input_signature=[
        tf.TensorSpec([None, None, None, 3], tf.float32, name='images')])
    return module


def convert(source: Source, layers: Sequence[str], out: str, *, name: str, licence: str,
            origin: str = '', size: Size = None, precision: str = 'float32'
            ) -> network_card.NetworkCard:
    """Writes a network's layers as a SavedModel with its card.

    Args:
      source: The network.
      layers: Names of its layers, whose channels lie side by side.
      out: Folder of the SavedModel, which must not be there.
      name: Name of the network for the card.
      licence: Licence of the weights.
      origin: Where the weights come from.
      size: (height, width) to which photos are resized in the graph; None for none.
      precision: That of the network, by which its SavedModel may differ.

    Raises:
      CommandError: If the layers cannot be used; see also `saved_features.write`.
      OSError: If the folder cannot be written.
    """
    module = features_of(source, layers, size)
    card = network_card.NetworkCard(
        name=name, layers=dict(zip(layers, module.channels)), stride=1, licence=licence,
        source=origin, image_size=size)
    return saved_features.write(module, out, card, precision=precision)


def size_of(words: Sequence[str]) -> Size:
    """The (height, width) of `--image_size`; None where it names none.

    Raises:
      CommandError: If these are not two whole numbers of at least 1.
    """
    if not words:
        return None
    if len(words) != 2 or not all(word.strip().isdecimal() and int(word) for word in words):
        raise command.CommandError('`--image_size` must be height,width in pixels, such as '
                                   f'224,224; got {",".join(words)!r}.')
    return int(words[0]), int(words[1])


def main(argv: List[str]) -> None:
    """Builds the network that the flags name, and converts it."""
    command.require_no_arguments(argv)
    saved_features.require_new(FLAGS.out)
    size = size_of(FLAGS.image_size)
    # The library has the Keras that it was made for, which may be Keras 3.
    os.environ.pop('TF_USE_LEGACY_KERAS', None)
    import tensorflow as tf

    if FLAGS.precision == 'bfloat16':
        tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')
    weights = None if FLAGS.weights == 'random' else FLAGS.weights
    source = LIBRARIES[FLAGS.library](FLAGS.network, weights, size)
    if FLAGS.preprocessing != 'own':
        source = source._replace(preprocess=_scaled(*_SCALES[FLAGS.preprocessing]))
    card = convert(source, FLAGS.layers, FLAGS.out, name=os.path.basename(FLAGS.network),
                   licence=FLAGS.licence, origin=f'{FLAGS.library}, {FLAGS.weights}',
                   size=size, precision=FLAGS.precision)
    print(saved_features.how_to_use(card, FLAGS.out))


if __name__ == '__main__':
    flags.DEFINE_enum('library', 'applications', sorted(LIBRARIES), 'Library of the network.')
    flags.DEFINE_string('network', None, 'Name of the network in the library.', required=True)
    flags.DEFINE_list('layers', None, 'Names of the layers that give the features.', required=True)
    flags.DEFINE_string('weights', 'imagenet', 'Weights: as the library names them, the path of a '
                        'file that it reads, or `random`.')
    flags.DEFINE_list('image_size', [], 'Height and width to which photos are resized in the '
                      'graph, as transformers need; none keeps their size.')
    flags.DEFINE_enum('preprocessing', 'own', ['own', *_SCALES], 'Range of the network\'s input: '
                      'the library\'s own; `torch`, ImageNet\'s mean and deviation, as of DINO and '
                      'DINOv2; `tf`, [-1, 1]; `none`, [0, 1].')
    flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16'], 'Arithmetic of the network.')
    flags.DEFINE_string('licence', None, 'Licence of the weights, for the card.', required=True)
    flags.DEFINE_string('out', None, 'New folder of the SavedModel.', required=True)
    command.run(main)
