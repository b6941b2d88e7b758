"""Laws of what is computed once before the first step."""
from __future__ import annotations

import functools
import gc
import itertools
import os
import weakref

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.features import factorization, photo_features
from scops_tf.saliency import agreement
from scops_tf.training import preparation, trainer as trainer_lib

SIZE = (64, 96)


@pytest.fixture(scope='module')
def trainer(prepare, load, store, tmp_path_factory) -> trainer_lib.Trainer:
    """A trainer with tap scales and a starting basis."""
    trainer = trainer_lib.Trainer(load())
    prepare(trainer, store, tmp_path_factory.mktemp('run'))
    return trainer


def _first(prepared: preparation.Prepared, start: int, count: int) -> list:
    return [batch._replace(**{name: value.numpy() for name, value in batch._asdict().items()
                              if value is not None})
            for batch in itertools.islice(prepared.batches(start), count)]


def test_tap_scales_are_the_rms_over_the_photos(trainer, store):
    photos = tf.constant(np.stack([store.image(index) for index in range(len(store))]))
    features = trainer.model.reference_features(tf.cast(photos, tf.float32) / 255).numpy()
    edges = np.cumsum([0, *trainer.model.reference_features._channels])
    for start, stop in zip(edges, edges[1:]):
        np.testing.assert_allclose(np.sqrt(np.mean(features[..., start:stop] ** 2)), 1, rtol=2e-3)


def test_the_starting_basis_explains_the_features_of_the_objects(trainer, store):
    basis = trainer.model.part_basis().numpy()
    assert basis.shape == (3, trainer.model.reference_features.num_channels) and basis.min() > 0
    photos = tf.constant(np.stack([store.image(index) for index in range(len(store))]))
    features = trainer.model.reference_features(tf.cast(photos, tf.float32) / 255).numpy()
    maps = photo_features.saliency_at(
        trainer.config, store, np.arange(len(store)), features.shape[1:3])
    masked = features * maps[..., np.newaxis]
    activations = factorization.project(masked, basis).numpy()
    assert np.sum((masked - activations @ basis) ** 2) < 0.5 * np.sum(masked ** 2)


def test_a_trainer_that_is_not_fresh_keeps_its_scales_and_its_basis(prepare, load, store, tmp_path):
    trainer = trainer_lib.Trainer(load('Run.warmup_steps=0'))
    basis = trainer.model.part_basis.raw.numpy()
    prepare(trainer, store, tmp_path, fresh=False)
    np.testing.assert_array_equal(trainer.model.part_basis.raw, basis)
    np.testing.assert_array_equal(trainer.model.reference_features.tap_scales, 1)


@pytest.mark.parametrize('cache', ['memory', 'disk', 'none'])
def test_all_places_of_the_cache_give_the_same_start(
        prepare, load, store, trainer, tmp_path, cache):
    other = trainer_lib.Trainer(load(f'Features.cache={cache!r}'))
    prepared = prepare(other, store, tmp_path)
    np.testing.assert_allclose(other.model.reference_features.tap_scales,
                               trainer.model.reference_features.tap_scales, rtol=1e-6)
    np.testing.assert_allclose(other.model.part_basis.raw, trainer.model.part_basis.raw, rtol=1e-3,
                               atol=1e-5)
    batch, = _first(prepared, 0, 1)
    assert (batch.reference_features is None) == (cache == 'none')
    assert batch.warmup_target is not None
    if cache != 'none':
        photos = tf.cast(batch.image, tf.float32) / 255
        np.testing.assert_allclose(batch.reference_features,
                                   other.model.reference_features.raw(photos), rtol=2e-3, atol=2e-3)
    assert os.path.isdir(tmp_path / 'cache') == (cache == 'disk')


@pytest.mark.parametrize('cache', ['memory', 'none'])
def test_photos_of_another_size_are_gone_before_the_teacher_reads_its_own(
        prepare, load, store, tmp_path, monkeypatch, cache):
    opened = []

    def at_reference_size(config, store, workdir):
        found = photo_features.open_store(config, store.records, workdir, with_saliency=False,
                                          image_size=config.reference_size)
        opened.append(weakref.ref(found))
        return found

    class Teacher:
        def start(self, model):
            model.reference_features.tap_scales.assign([2.0, 3.0])

        def targets(self, records, workdir, **settings):
            gc.collect()
            assert all(each() is None for each in opened)
            return np.zeros((len(records), 4, 6, 4), np.float16)

    monkeypatch.setattr(photo_features, 'at_reference_size', at_reference_size)
    monkeypatch.setattr(preparation.teacher_lib, 'load', lambda config, workdir: Teacher())
    trainer = trainer_lib.Trainer(load(
        'Features.image_size=(32, 48)', "Run.teacher='elsewhere'", f'Features.cache={cache!r}'))
    prepared = prepare(trainer, store, tmp_path)
    assert prepared.arrays['warmup_target'].shape == (len(store), 4, 6, 4)
    # Without a cache nobody reads them.
    assert len(opened) == (cache == 'memory')


def test_warm_up_targets_are_responses_inside_the_saliency_maps(trainer, store):
    read = photo_features.reader(trainer.model.reference_features, store)
    maps_of = functools.partial(photo_features.saliency_at, trainer.config, store)
    targets = preparation.warmup_targets(
        trainer.config, trainer.model, store, read, maps_of).astype(np.float32)
    size = trainer.model.reference_features.shape(SIZE)[:2]
    assert targets.shape == (len(store), *size, 4)
    np.testing.assert_allclose(targets.sum(axis=-1), 1, atol=2e-3)
    assert targets.min() >= 0
    maps = photo_features.saliency_at(trainer.config, store, np.arange(len(store)), size)
    np.testing.assert_array_equal(targets[maps == 0][:, 1:], 0)
    assert targets[maps == 1][:, 1:].sum(axis=-1).mean() > 0.5


@pytest.fixture(scope='module')
def agreeing(prepare, load, store, linear, tmp_path_factory):
    """A trainer whose basis is of centroids, whose saliency agrees, and what it is given."""
    trainer = trainer_lib.Trainer(load(*linear, 'Segmenter.normalization=0.5'))
    prepared = prepare(trainer, store, tmp_path_factory.mktemp('run'))
    return trainer, prepared


def test_agreed_saliency_is_of_the_photos_of_a_batch_at_the_size_of_the_features(
        prepare, agreeing, trainer, store, tmp_path):
    config, prepared = agreeing[0].config, agreeing[1]
    maps = prepared.arrays['saliency']
    size = agreeing[0].model.reference_features.shape(SIZE)[:2]
    assert maps.dtype == np.float16 and maps.shape == (len(store), *size)
    own = photo_features.saliency_at(config, store, np.arange(len(store)), size)
    features = agreeing[0].model.segmenter.of_features(
        agreeing[0].model.reference_features.scale(prepared.arrays['reference_features']))
    expected = agreement.agree(features.numpy(), own, num_rounds=2)
    np.testing.assert_allclose(maps, expected, atol=0.02)
    for batch in _first(prepared, 0, 2):
        np.testing.assert_array_equal(batch.saliency, maps[batch.index])
    chosen = np.array([4, 1])
    np.testing.assert_array_equal(prepared.photos(chosen).saliency, maps[chosen])
    batch, = _first(prepare(trainer, store, tmp_path, fresh=False), 0, 1)
    assert batch.saliency.shape[1:] == SIZE


def test_warm_up_targets_of_centroids_are_their_shares_of_the_agreed_saliency(agreeing, store):
    trainer, prepared = agreeing
    targets = prepared.arrays['warmup_target'].astype(np.float32)
    agreed = prepared.arrays['saliency'].astype(np.float32)
    np.testing.assert_allclose(targets.sum(axis=-1), 1, atol=2e-3)
    np.testing.assert_allclose(targets[..., 0], 1 - agreed, atol=2e-3)
    features = trainer.model.reference_features.scale(prepared.arrays['reference_features']).numpy()
    distances = np.linalg.norm(
        features[..., np.newaxis, :] - trainer.model.part_basis().numpy(), axis=-1)
    nearest, second = np.sort(distances, axis=-1)[..., :2].transpose(3, 0, 1, 2)
    clear = (agreed > 0.1) & (second > 1.1 * nearest)
    assert clear.mean() > 0.05
    np.testing.assert_array_equal(targets[clear][:, 1:].argmax(axis=-1),
                                  distances[clear].argmin(axis=-1))


def test_a_resumed_warm_up_has_the_same_targets(prepare, load, store, linear, tmp_path):
    trainer = trainer_lib.Trainer(load(*linear))
    prepared = prepare(trainer, store, tmp_path)
    trainer.save(trainer.manager(str(tmp_path)))
    resumed = trainer_lib.Trainer(load(*linear))
    assert resumed.restore(str(tmp_path))
    again = prepare(resumed, store, tmp_path, fresh=False)
    np.testing.assert_array_equal(again.arrays['warmup_target'], prepared.arrays['warmup_target'])


def test_without_saliency_the_shares_of_centroids_are_everywhere(prepare, load, store, tmp_path):
    trainer = trainer_lib.Trainer(load('Data.saliency=None', "PartBasis.init='kmeans'"))
    prepared = prepare(trainer, store, tmp_path)
    targets = prepared.arrays['warmup_target']
    np.testing.assert_allclose(targets[..., 0], 0, atol=2e-3)
