"""Trains on one and on two replicas, on the CPU, and saves what both report and end with.

A process of its own, since devices are to be set up before TensorFlow computes anything:
`python two_replicas.py <file to write>.npz <gin bindings>`. Steps are those of the warm-up first.
"""
from __future__ import annotations

import itertools
import sys
import tempfile

import numpy as np
import tensorflow as tf

from scops_tf import (
    collection,
    config as config_lib,
    datasets,
    preparation,
    pretrained,
    replicas,
    trainer as trainer_lib,
)


def _small_network(network, *, weights, seed, rewrite) -> tf.keras.Model:
    """A convolution in the place of the ResNet."""
    images = tf.keras.Input((None, None, 3))
    convolution = tf.keras.layers.Conv2D(
        8, 3, 8, padding='same', kernel_initializer=tf.keras.initializers.HeNormal(seed))
    return tf.keras.Model(images, convolution(images))


def _train(config: config_lib.Config, strategy: tf.distribute.Strategy) -> dict:
    with strategy.scope():
        trainer = trainer_lib.Trainer(config)
    store = collection.open_store(config, datasets.load_for(config, None).train, 'unused')
    with tempfile.TemporaryDirectory() as workdir:
        prepared = preparation.prepare(trainer, store, workdir, fresh=True)
    batches = strategy.distribute_datasets_from_function(
        lambda context: prepared.batches(0, context))
    found = {'replicas': strategy.num_replicas_in_sync,
             'start/head': trainer.segmenter.head.kernel.numpy()}
    for number, batch in enumerate(itertools.islice(batches, config.run.steps)):
        warming_up = number < config.run.warmup_steps
        scalars = (trainer.warmup_step if warming_up else trainer.train_step)(batch)
        found.update((f'scalar/{number}/{name}', value) for name, value in scalars.items())
    found['traces'] = trainer.train_step.experimental_get_tracing_count()
    found['weights/basis'] = trainer.part_basis.raw
    found['weights/head'] = trainer.segmenter.head.kernel
    found['weights/bias'] = trainer.segmenter.head.bias
    for number, variable in enumerate(trainer.segmenter.backbone.variables):
        found[f'weights/backbone/{number}'] = variable
    return {name: getattr(value, 'numpy', lambda value=value: value)()
            for name, value in found.items()}


def main(path: str, *bindings: str) -> None:
    """Trains twice."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    pretrained.build = _small_network
    config = config_lib.load([], bindings)
    found = {}
    for name in ('none', 'mirrored'):
        found.update((f'{name}/{key}', value)
                     for key, value in _train(config, replicas.strategy(name)).items())
    np.savez(path, **found)


if __name__ == '__main__':
    main(*sys.argv[1:])
