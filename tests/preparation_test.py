"""Laws of what is computed once before the first step."""
from __future__ import annotations

import itertools
import os

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from scops_tf import (
    config as config_lib,
    datasets,
    images as images_lib,
    preparation,
    pretrained,
    trainer as trainer_lib,
)
from scops_tf.datasets.records import Record

SIZE = (64, 96)
VIEWS = ["Segmenter.backbone='resnet50'", 'Segmenter.weights=None', "Segmenter.trained='head'",
         'Segmenter.num_views=3', 'Run.warmup_steps=0']


@pytest.fixture(scope='module')
def load(small):
    """The configuration `small` with other bindings on top."""
    return lambda *bindings: config_lib.load([], [*small, *bindings])


@pytest.fixture(scope='module')
def store(load):
    config = load()
    return preparation.open_store(config, datasets.load_for(config, None).train, 'unused')


@pytest.fixture(scope='module')
def trainer(load, store, tmp_path_factory) -> trainer_lib.Trainer:
    """A trainer with tap scales and a starting basis."""
    trainer = trainer_lib.Trainer(load())
    preparation.prepare(trainer, store, str(tmp_path_factory.mktemp('run')), fresh=True)
    return trainer


@pytest.fixture
def small_resnet(monkeypatch):
    """One convolution in the place of the ResNet."""

    def build(network, *, weights, seed, rewrite):
        images = tf.keras.Input((None, None, 3))
        convolution = tf.keras.layers.Conv2D(
            8, 3, 8, padding='same', kernel_initializer=tf.keras.initializers.HeNormal(seed))
        return tf.keras.Model(images, convolution(images))

    monkeypatch.setattr(pretrained, 'build', build)


def _first(prepared: preparation.Prepared, start: int, count: int) -> list:
    return [{name: value.numpy() for name, value in batch.items()}
            for batch in itertools.islice(prepared.batches(start), count)]


# Photos.


def test_saliency_maps_are_computed_once_for_all_runs_beside_each_other(load, tmp_path, caplog):
    photo = np.full((48, 80, 3), 200, np.uint8)
    photo[12:36, 20:60] = [200, 30, 20]
    images_lib.write_png(str(tmp_path / 'photo.png'), photo)
    (tmp_path / 'broken.png').write_bytes(b'no photo')
    records = [Record(name, str(tmp_path / f'{name}.png')) for name in ('photo', 'broken')]
    config = load("Data.saliency='rbd'")
    stores = [preparation.open_store(config, records, str(tmp_path / 'runs' / run))
              for run in ('first', 'second')]
    cache = tmp_path / 'runs' / 'saliency_cache'
    assert len(list(cache.rglob('*.png'))) == 1
    for store in stores:
        assert [record.name for record in store.records] == ['photo']
        assert [skipped.record.name for skipped in store.skipped] == ['broken']
        saliency = store.saliency(0)
        assert saliency.shape == SIZE
        assert saliency[24:40, 36:60].min() > saliency[:8].max() + 0.2
    without = preparation.open_store(config, records, str(tmp_path / 'other' / 'run'),
                                     with_saliency=False)
    assert without.saliency(0).min() == 1
    assert not (tmp_path / 'other').exists()


def test_an_unreadable_photo_stops_the_run_where_asked_to(load, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no photo')
    Image.new('RGB', (80, 48)).save(tmp_path / 'photo.png')
    records = [Record(name, str(tmp_path / f'{name}.png')) for name in ('photo', 'broken')]
    with pytest.raises(images_lib.ImageError, match='broken.png'):
        preparation.open_store(load("Data.on_bad_file='stop'", "Data.saliency='rbd'"), records,
                               str(tmp_path / 'run'))


# Features and the starting basis.


def test_tap_scales_are_the_rms_over_the_photos(trainer, store):
    photos = tf.constant(np.stack([store.image(index) for index in range(len(store))]))
    features = trainer.reference_features(tf.cast(photos, tf.float32) / 255).numpy()
    edges = np.cumsum([0, *trainer.reference_features._channels])
    for start, stop in zip(edges, edges[1:]):
        np.testing.assert_allclose(np.sqrt(np.mean(features[..., start:stop] ** 2)), 1, rtol=2e-3)


def test_the_starting_basis_explains_the_features_of_the_objects(trainer, store):
    basis = trainer.part_basis().numpy()
    assert basis.shape == (3, trainer.reference_features.num_channels) and basis.min() > 0
    photos = tf.constant(np.stack([store.image(index) for index in range(len(store))]))
    features = trainer.reference_features(tf.cast(photos, tf.float32) / 255).numpy()
    maps = preparation.saliency_at(
        trainer.config, store, np.arange(len(store)), features.shape[1:3])
    masked = features * maps[..., np.newaxis]
    activations = preparation.part_basis.project(masked, basis)
    assert np.sum((masked - activations @ basis) ** 2) < 0.5 * np.sum(masked ** 2)


def test_a_trainer_that_is_not_fresh_keeps_its_scales_and_its_basis(load, store, tmp_path):
    trainer = trainer_lib.Trainer(load('Run.warmup_steps=0'))
    basis = trainer.part_basis.raw.numpy()
    preparation.prepare(trainer, store, str(tmp_path), fresh=False)
    np.testing.assert_array_equal(trainer.part_basis.raw, basis)
    np.testing.assert_array_equal(trainer.reference_features.tap_scales, 1)


@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_all_places_of_the_cache_give_the_same_start(load, store, trainer, tmp_path, cache):
    other = trainer_lib.Trainer(load(f'Features.cache={cache!r}'))
    prepared = preparation.prepare(other, store, str(tmp_path), fresh=True)
    np.testing.assert_allclose(other.reference_features.tap_scales,
                               trainer.reference_features.tap_scales, rtol=1e-6)
    np.testing.assert_allclose(other.part_basis.raw, trainer.part_basis.raw, rtol=1e-3, atol=1e-5)
    batch, = _first(prepared, 0, 1)
    assert ('reference_features' in batch) == (cache != 'none')
    assert 'warmup_target' in batch
    if cache != 'none':
        photos = tf.cast(batch['image'], tf.float32) / 255
        np.testing.assert_allclose(batch['reference_features'],
                                   other.reference_features.raw(photos), rtol=2e-3, atol=2e-3)
    assert os.path.isdir(tmp_path / 'cache') == (cache == 'disk')


def test_a_cache_larger_than_its_limit_goes_to_the_disk_and_then_is_an_error(
        load, store, trainer, tmp_path):

    def features(**settings):
        config = load(*(f'Features.{name}={value!r}' for name, value in settings.items()))
        return preparation.reference_features(
            config, trainer.reference_features, store, str(tmp_path))

    size = features().nbytes / 2**30
    features(cache_limit_gib=1.01 * size)
    assert not list(tmp_path.iterdir())
    features(cache_limit_gib=0.99 * size)
    assert [path.suffix for path in tmp_path.iterdir()] == ['.npy']
    with pytest.raises(ValueError, match='`Features.cache_limit_gib` must be at least a tenth'):
        features(cache_limit_gib=0.09 * size)


def test_a_cache_is_found_by_photos_and_settings(store):
    first = preparation.fingerprint(store, layers=('a',))
    assert preparation.fingerprint(store, layers=('a',)) == first
    assert preparation.fingerprint(store, layers=('b',)) != first


def test_the_sample_is_spread_over_all_photos(monkeypatch):
    np.testing.assert_array_equal(preparation.sample(3), [0, 1, 2])
    chosen = preparation.sample(10_000)
    assert len(chosen) == 2000 and chosen[0] == 0 and chosen[-1] == 9999
    assert np.diff(chosen).max() <= 6


# Warm-up.


def test_warm_up_targets_are_responses_inside_the_saliency_maps(trainer, store):
    read = preparation._reader(trainer.config, trainer.reference_features, store)
    targets = preparation.warmup_targets(trainer, store, read).astype(np.float32)
    size = trainer.reference_features.shape(SIZE)[:2]
    assert targets.shape == (len(store), *size, 4)
    np.testing.assert_allclose(targets.sum(axis=-1), 1, atol=2e-3)
    assert targets.min() >= 0
    maps = preparation.saliency_at(trainer.config, store, np.arange(len(store)), size)
    np.testing.assert_array_equal(targets[maps == 0][:, 1:], 0)
    assert targets[maps == 1][:, 1:].sum(axis=-1).mean() > 0.5


# Cached views.


def test_a_cached_view_is_the_view_of_its_transform(load, store, small_resnet, tmp_path):
    trainer = trainer_lib.Trainer(load(*VIEWS))
    prepared = preparation.prepare(trainer, store, str(tmp_path), fresh=True)
    for step, batch in enumerate(_first(prepared, 0, 3)):
        photos = tf.cast(batch['image'], tf.float32) / 255
        np.testing.assert_allclose(batch['backbone_features'],
                                   trainer.segmenter.backbone(photos), rtol=2e-3, atol=0.2)
        for index, photo in enumerate(batch['index']):
            seed = tf.random.experimental.stateless_fold_in(
                tf.constant([trainer.config.run.seed, 2], tf.int32), int(photo))
            view = trainer.view(tf.repeat(photos[index:index + 1], 3, axis=0), seed)
            which = [np.allclose(batch['view_matrix'][index], matrix, atol=1e-5)
                     for matrix in view.transform.matrix.numpy()]
            assert sum(which) == 1, (step, photo)
            expected = trainer.segmenter.backbone(view.images)[which.index(True)]
            np.testing.assert_allclose(batch['view_features'][index], expected, rtol=2e-3,
                                       atol=0.2)
        assert np.isfinite(trainer.train_step(
            {name: tf.constant(value) for name, value in batch.items()})['loss/total'])
    assert trainer.train_step.experimental_get_tracing_count() == 1


def test_batches_from_a_step_on_are_those_of_a_run_never_stopped(
        load, store, small_resnet, tmp_path):
    config = load(*VIEWS)
    whole, continued = (
        preparation.prepare(trainer_lib.Trainer(config), store, str(tmp_path), fresh=True)
        for _ in range(2))
    batches = _first(whole, 0, 6)
    for batch, again in zip(batches[4:], _first(continued, 4, 2)):
        assert batch.keys() == again.keys()
        for name, value in batch.items():
            np.testing.assert_array_equal(again[name], value, err_msg=name)
    # Photos come again with other views.
    drawn = {tuple(matrix.ravel()) for batch in batches for matrix in batch['view_matrix']}
    assert len(drawn) > len(store)


def test_the_views_of_a_photo_take_turns_at_random():
    views = preparation._DrawnViews(np.arange(12), num_views=3, seed=0)
    indices = np.array([2, 0])
    drawn = np.array([views(step, indices) for step in range(30)])
    assert [set(column) for column in drawn.T] == [{6, 7, 8}, {0, 1, 2}]
    np.testing.assert_array_equal(views(7, indices), drawn[7])
    others = preparation._DrawnViews(np.arange(12), num_views=3, seed=1)
    assert any((others(step, indices) != drawn[step]).any() for step in range(30))
