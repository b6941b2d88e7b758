"""Laws of cached views."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import pretrained
from scops_tf.training import cached_views, preparation, trainer as trainer_lib

VIEWS = ["Segmenter.backbone='resnet50'", 'Segmenter.weights=None', "Segmenter.trained='head'",
         'Segmenter.num_views=3', 'Run.warmup_steps=0']


@pytest.fixture
def small_resnet(monkeypatch):
    """One convolution and a batch norm in the place of the ResNet."""

    def build(network, *, weights, seed, rewrite):
        images = tf.keras.Input((None, None, 3))
        convolution = tf.keras.layers.Conv2D(
            8, 3, 8, padding='same', kernel_initializer=tf.keras.initializers.HeNormal(seed))
        norm = tf.keras.layers.BatchNormalization(trainable=False)
        return tf.keras.Model(images, norm(convolution(images)))

    monkeypatch.setattr(pretrained, 'build', build)


def _first(prepared: preparation.Prepared, start: int, count: int) -> list:
    return [batch._replace(**{name: value.numpy() for name, value in batch._asdict().items()
                              if value is not None})
            for batch in itertools.islice(prepared.batches(start), count)]


def test_a_cached_view_is_the_view_of_its_transform(prepare, load, store, small_resnet, tmp_path):
    trainer = trainer_lib.Trainer(load(*VIEWS))
    prepared = prepare(trainer, store, tmp_path)
    for step, batch in enumerate(_first(prepared, 0, 3)):
        photos = tf.cast(batch.image, tf.float32) / 255
        np.testing.assert_allclose(batch.backbone_features,
                                   trainer.model.segmenter.backbone(photos), rtol=2e-3, atol=0.2)
        for index, photo in enumerate(batch.index):
            seed = tf.random.experimental.stateless_fold_in(
                tf.constant([trainer.config.run.seed, 2], tf.int32), int(photo))
            view = trainer.views.draw(tf.repeat(photos[index:index + 1], 3, axis=0), seed)
            which = [np.allclose(batch.view_matrix[index], matrix, atol=1e-5)
                     for matrix in view.transform.matrix.numpy()]
            assert sum(which) == 1, (step, photo)
            expected = trainer.model.segmenter.backbone(view.images)[which.index(True)]
            np.testing.assert_allclose(batch.view_features[index], expected, rtol=2e-3,
                                       atol=0.2)
        assert np.isfinite(trainer.train_step(batch._replace(**{
            name: tf.constant(value) for name, value in batch._asdict().items()
            if value is not None}))['loss/total'])
    assert trainer.train_step.experimental_get_tracing_count() == 1


def test_batches_from_a_step_on_are_those_of_a_run_never_stopped(
        prepare, load, store, small_resnet, tmp_path):
    config = load(*VIEWS)
    whole, continued = (
        prepare(trainer_lib.Trainer(config), store, tmp_path)
        for _ in range(2))
    batches = _first(whole, 0, 6)
    for batch, again in zip(batches[4:], _first(continued, 4, 2)):
        for name, value, same in zip(batch._fields, batch, again):
            np.testing.assert_array_equal(same, value, err_msg=name)
    # Photos come again with other views.
    drawn = {tuple(matrix.ravel()) for batch in batches for matrix in batch.view_matrix}
    assert len(drawn) > len(store)


def test_the_views_of_a_photo_take_turns_at_random():
    views = cached_views.DrawnViews(np.arange(12), num_views=3, seed=0)
    indices = np.array([2, 0])
    drawn = np.array([views(step, indices, slice(None)) for step in range(30)])
    assert [set(column) for column in drawn.T] == [{6, 7, 8}, {0, 1, 2}]
    np.testing.assert_array_equal(views(7, indices, slice(None)), drawn[7])
    # A replica has its part of the draw for the whole batch.
    np.testing.assert_array_equal(views(7, indices, slice(1, 2)), drawn[7][1:])
    others = cached_views.DrawnViews(np.arange(12), num_views=3, seed=1)
    assert any((others(step, indices, slice(None)) != drawn[step]).any() for step in range(30))


def test_views_of_reference_features_are_kept_under_all_that_they_depend_on(
        load, store, linear, tmp_path):
    def views(scales, *bindings) -> None:
        trainer = trainer_lib.Trainer(load(*linear, "Features.cache='disk'", *bindings))
        trainer.model.reference_features.tap_scales.assign(scales)
        found = cached_views.arrays(
            trainer.config, trainer.model, trainer.views, store, str(tmp_path))
        assert 'view_features' in found
        # Those of the photos are the reference features, which are cached already.
        assert 'backbone_features' not in found

    views([1.0, 1.0])
    kept = {path.name for path in tmp_path.iterdir()}
    views([1.0, 1.0])
    assert {path.name for path in tmp_path.iterdir()} == kept
    for number, (scales, *bindings) in enumerate([
            ([1.0, 2.0],), ([1.0, 1.0], 'Features.normalization=0.5'),
            ([1.0, 1.0], 'Features.layer_weights=(2.0, 1.0)')]):
        views(scales, *bindings)
        assert len(list(tmp_path.glob('*.npy'))) == number + 2


def test_a_backbone_of_other_weights_has_views_of_its_own(load, store, small_resnet, tmp_path):
    trainer = trainer_lib.Trainer(load(*VIEWS, "Features.cache='disk'"))

    def files() -> int:
        cached_views.arrays(trainer.config, trainer.model, trainer.views, store, str(tmp_path))
        return len(list(tmp_path.glob('*.npy')))

    assert files() == 2
    # As of a run that started from another one, or of a file of weights that was replaced.
    weights = trainer.model.segmenter.backbone_weights
    for number, name in enumerate(('kernel', 'moving_mean')):
        variable, = (each for each in weights if name in each.name)
        variable.assign_add(tf.ones_like(variable))
        assert files() == 2 * (number + 2)
    assert files() == 6
    # The head is no part of the backbone.
    trainer.model.segmenter.head.bias.assign_add(tf.ones(4))
    assert files() == 6
