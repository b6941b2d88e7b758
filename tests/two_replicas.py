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

from scops_tf import config as config_lib, datasets
from scops_tf.features import photo_features
from scops_tf.networks import pretrained
from scops_tf.training import (
    loss_scale,
    optimization,
    preparation,
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
    store = photo_features.open_store(config, datasets.load_for(config, None).train, 'unused')
    with tempfile.TemporaryDirectory() as workdir:
        prepared = preparation.prepare(
            config, trainer.model, trainer.views, store, workdir, fresh=True)
    batches = strategy.distribute_datasets_from_function(
        lambda context: prepared.batches(0, context))
    found = {'replicas': strategy.num_replicas_in_sync,
             'start/head': trainer.model.segmenter.head.kernel.numpy()}
    for number, batch in enumerate(itertools.islice(batches, config.run.steps)):
        warming_up = number < config.run.warmup_steps
        scalars = (trainer.warmup_step if warming_up else trainer.train_step)(batch)
        found.update((f'scalar/{number}/{name}', value) for name, value in scalars.items())
    # Outside the replicas, as the chief examines what it trains.
    pulls = trainer.gradient_norms(replicas.local(strategy, batch))
    found.update((f'pull/{name}', norm) for name, norm in pulls.items())
    found['traces'] = trainer.train_step.experimental_get_tracing_count()
    found['weights/basis'] = trainer.model.part_basis.raw
    found['weights/head'] = trainer.model.segmenter.head.kernel
    found['weights/bias'] = trainer.model.segmenter.head.bias
    for number, variable in enumerate(trainer.model.segmenter.backbone.variables):
        found[f'weights/backbone/{number}'] = variable
    return {name: getattr(value, 'numpy', lambda value=value: value)()
            for name, value in found.items()}


def _overflow(strategy: tf.distribute.Strategy) -> dict:
    """Three steps of two replicas, the second of which has the larger gradient in float16."""
    with strategy.scope():
        variable = tf.Variable([1.0])
        scale = loss_scale.LossScale()
        updates = optimization.Optimization(
            {'head': [variable]}, 100, loss_scale=scale, settings=config_lib.Optimizer(
                name='sgd', learning_rate=0.1, head_multiplier=1.0, basis_learning_rate=0.0,
                power=0.0, momentum=0.0, weight_decay=0.0, clip_norm=None))

    def of_replica():
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        with tf.GradientTape() as tape:
            factor = 1 + 2 * tf.cast(index, tf.float16)
            loss = tf.cast(tf.reduce_sum(factor * tf.cast(variable, tf.float16)), tf.float32)
        return updates.gradients(tape, loss, groups=['head'])

    @tf.function(autograph=False)
    def step():
        updates.schedule(tf.constant(0), groups=['head'])
        gradients, norms = strategy.run(of_replica)
        return updates.update(gradients, {
            name: strategy.experimental_local_results(norm)[0] for name, norm in norms.items()})

    found = {'scales': [], 'values': [], 'updates': []}
    for _ in range(3):
        found['scales'].append(step()['loss_scale'].numpy())
        found['values'].append([float(value[0]) for value in strategy.experimental_local_results(
            variable)])
        found['updates'].append(updates.optimizers['head'].iterations.numpy())
    return {f'overflow/{name}': values for name, values in found.items()}


def main(path: str, *bindings: str) -> None:
    """Trains twice."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    pretrained.build = _small_network
    config = config_lib.load([], bindings)
    found = {}
    for name in ('none', 'mirrored'):
        strategy = replicas.strategy(name)
        found.update((f'{name}/{key}', value) for key, value in _train(config, strategy).items())
    # By the same replicas: of two strategies in a process the collective operations would mix.
    found.update(_overflow(strategy))
    np.savez(path, **found)


if __name__ == '__main__':
    main(*sys.argv[1:])
