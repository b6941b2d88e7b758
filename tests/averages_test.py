"""Laws of the moving averages that are served in the place of the trained variables."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets.batches import Batch
from scops_tf.networks import averages, checkpoints, model as model_lib, pretrained
from scops_tf.training import trainer as trainer_lib

SIZE = (64, 96)


def _batch() -> Batch:
    generator = np.random.default_rng(0)
    return Batch(tf.constant([0, 1], tf.int64),
                 tf.constant(generator.integers(0, 256, (2, *SIZE, 3)), tf.uint8),
                 tf.constant(generator.random((2, *SIZE)), tf.float32))


def test_an_average_forgets_its_start_and_follows_by_its_decay():
    variable = tf.Variable([1.0, -2.0])
    kept = averages.Averages([variable], decay=0.9)
    expected = np.array([1.0, -2.0])
    for step in range(200):
        variable.assign([float(step), 5.0])
        kept.update(tf.constant(step, tf.int64))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * np.array([step, 5.0])
    np.testing.assert_allclose(kept.values[0], expected, rtol=1e-5)
    kept.apply()
    np.testing.assert_array_equal(variable, kept.values[0])


def test_averages_and_variables_that_are_exchanged_twice_are_the_same_to_the_bit(load):
    model = model_lib.Model(load('Optimizer.average=0.5'))
    kernel = model.segmenter.head.kernel
    kernel.assign_add(tf.random.stateless_uniform(kernel.shape, [0, 1]))
    trained = kernel.numpy()
    average = next(value for value in model.averages.values if value.shape == kernel.shape)
    before = average.numpy()
    with model.as_served():
        np.testing.assert_array_equal(kernel, before)
        assert np.abs(before - trained).max() > 0
    np.testing.assert_array_equal(kernel, trained)
    np.testing.assert_array_equal(average, before)


def test_without_averages_what_is_served_is_what_is_trained(load):
    model = model_lib.Model(load())
    before = model.segmenter.head.kernel.numpy()
    with model.as_served():
        np.testing.assert_array_equal(model.segmenter.head.kernel, before)


def test_an_average_of_half_precision_is_kept_in_single():
    kept = averages.Averages([tf.Variable([1.0, 2.0], dtype=tf.bfloat16)], decay=0.99)
    assert kept.values[0].dtype == tf.float32


def test_training_goes_on_from_the_variables_and_what_is_served_are_their_averages(
        small, tmp_path):
    config = config_lib.load([], [*small, 'Optimizer.average=0.5'])
    trainer = trainer_lib.Trainer(config)
    for _ in range(3):
        trainer.train_step(_batch())
    trainer.save(trainer.manager(str(tmp_path)))
    path = checkpoints.find(str(tmp_path))

    again = trainer_lib.Trainer(config)
    assert again.restore(str(tmp_path))
    served = model_lib.Model(config, is_restored=True)
    assert served.restore(path) == 3
    kernel = trainer.model.segmenter.head.kernel
    np.testing.assert_array_equal(again.model.segmenter.head.kernel, kernel)
    average = next(value for value in trainer.model.averages.values
                   if value.shape == kernel.shape)
    np.testing.assert_array_equal(served.segmenter.head.kernel, average)
    assert np.abs(average - kernel).max() > 0


def test_a_run_may_start_without_averages_from_one_with_them(small, tmp_path):
    trainer = trainer_lib.Trainer(config_lib.load([], [*small, 'Optimizer.average=0.5']))
    trainer.train_step(_batch())
    trainer.save(trainer.manager(str(tmp_path)))
    model = model_lib.Model(config_lib.load([], small))
    model.restore(checkpoints.find(str(tmp_path)))
    for value, variable in zip(trainer.model.averages.values, [
            *model.segmenter.backbone_variables, *model.segmenter.head_variables]):
        np.testing.assert_array_equal(value, variable)


@pytest.fixture
def staged(monkeypatch):
    """Two stages of one kernel each, of the same shape, in the place of the ResNet."""

    def build(network, *, weights, seed, rewrite):
        layers = tf.keras.layers
        maps = images = tf.keras.Input((None, None, 3))
        for name, kind in (('conv1_conv', layers.Conv2D), ('conv3_conv', layers.Conv2D),
                           ('conv4_conv', layers.Conv2D), ('conv4_bn', layers.BatchNormalization)):
            config = {'name': name, **({'filters': 3, 'kernel_size': 1, 'strides': 1}
                                       if kind is layers.Conv2D else {})}
            rewrite(config)
            maps = kind.from_config(config)(maps)
        return tf.keras.Model(images, maps, name=network)

    monkeypatch.setattr(pretrained, 'build', build)


@pytest.mark.parametrize('source', ['last_stages', 'all', 'head'])
def test_a_run_may_start_from_the_averages_of_one_that_trains_other_layers(
        load, staged, tmp_path, source):
    def build(trained, average):
        return model_lib.Model(load(
            "Segmenter.backbone='resnet50'", 'Segmenter.weights=None',
            f'Segmenter.trained={trained!r}', f'Optimizer.average={average}'))

    first = build(source, 0.5)
    for number, value in enumerate(first.averages.values):
        value.assign(tf.fill(value.shape, 10.0 + number))
    path = first.checkpoint(tf.Variable(3, dtype=tf.int64)).save(str(tmp_path / 'ckpt'))
    first.averages.apply()
    expected = {variable.name: variable.numpy() for variable in first.segmenter.variables}
    assert len(expected) == 3 * 2 + 4 + 2
    for trained, average in (('last_stages', 0.5), ('all', 0.0), ('head', 0.9)):
        model = build(trained, average)
        assert model.restore(path, trained=source) == 3
        for variable in model.segmenter.variables:
            np.testing.assert_array_equal(variable, expected[variable.name], variable.name)
        if average:
            with model.as_served():  # The averages start there too.
                for variable in model.segmenter.variables:
                    np.testing.assert_array_equal(variable, expected[variable.name])


def test_a_run_may_start_with_averages_from_one_without(small, trained_run):
    config = config_lib.load([], [*small, 'Optimizer.average=0.5'])
    model = model_lib.Model(config)
    model.restore(checkpoints.find(str(trained_run)))
    for value, variable in zip(model.averages.values, [
            *model.segmenter.backbone_variables, *model.segmenter.head_variables]):
        np.testing.assert_array_equal(value, variable)
