"""Laws of the reference features that the methods of an evaluation share."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.features import photo_features, run_features
from scops_tf.networks import model


@pytest.fixture(scope='module')
def network(load):
    network = model.reference_features(load('Features.normalization=0.75'))
    network.tap_scales.assign([0.5, 2.0])
    return network


class _Compute:
    """The raw features of photos that are not kept, and the number of these photos so far."""

    def __init__(self, network) -> None:
        self.network, self.count = network, 0

    def __call__(self, photos: tf.Tensor) -> tf.Tensor:
        self.count += len(photos)
        return self.network.raw(photos)


def _features_of(store, network) -> np.ndarray:
    photos = np.stack([store.image(index) for index in range(len(store))])
    return network(tf.constant(photos / np.float32(255))).numpy()


def test_features_are_the_networks_whether_they_are_kept_or_not(load, network, store, tmp_path):
    expected, indices = _features_of(store, network), np.array([4, 0, 5])
    for train, computed in ((store, 0), (None, 3)):
        compute = _Compute(network)
        features = run_features.RunFeatures(load(), network, compute, train, str(tmp_path))
        found = features.of(store, indices)
        assert found.dtype == tf.float32 and compute.count == computed
        # What is kept is rounded to float16.
        np.testing.assert_allclose(found, expected[indices], rtol=2e-3, atol=2e-3)


def test_photos_are_seen_at_the_size_of_the_features(load, network, store, tmp_path):
    config = load('Run.image_size=(32, 48)', 'Features.image_size=(64, 96)')
    small = photo_features.open_store(config, store.records, str(tmp_path))
    expected = _features_of(store, network)
    for train in (small, None):
        features = run_features.RunFeatures(
            config, network, _Compute(network), train, str(tmp_path))
        np.testing.assert_allclose(
            features.of(small, np.array([1, 3])), expected[[1, 3]], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize('has_cache', [False, True])
def test_of_many_training_photos_a_sample_is_kept_or_all_that_the_run_has_cached(
        load, network, store, tmp_path, monkeypatch, has_cache):
    monkeypatch.setattr(photo_features, '_NUM_SPREAD', 3)
    config = load("Features.cache='disk'")
    if has_cache:
        photo_features.reference_features(config, network, store, str(tmp_path / 'cache'))
    compute = _Compute(network)
    features = run_features.RunFeatures(config, network, compute, store, str(tmp_path))
    expected, everyone = _features_of(store, network), np.arange(len(store))
    np.testing.assert_allclose(features.of(store, everyone), expected, rtol=2e-3, atol=2e-3)
    assert compute.count == (0 if has_cache else 3)
    sample, chosen = features.training_sample()
    assert chosen.tolist() == [0, 2, 5] and sample.shape == (3, *expected.shape[1:])
    for place, index in enumerate(chosen):
        np.testing.assert_allclose(sample[place], expected[index], rtol=2e-3, atol=2e-3)


def test_a_cache_of_another_precision_or_of_other_features_is_not_read(
        load, network, store, tmp_path):
    config = load("Features.cache='disk'")
    photo_features.reference_features(config, network, store, str(tmp_path))
    assert photo_features.cached_features(config, network, store, str(tmp_path)) is not None
    for section, change in (('run', {'precision': 'bfloat16'}),
                            ('features', {'layer_weights': (1.0, 2.0)})):
        other = dataclasses.replace(config, **{
            section: dataclasses.replace(getattr(config, section), **change)})
        assert photo_features.cached_features(other, network, store, str(tmp_path)) is None
    assert photo_features.cached_features(
        config, network, store, str(tmp_path / 'nowhere')) is None
