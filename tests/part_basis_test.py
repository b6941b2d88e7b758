"""Laws of the part basis and of its start."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.features import factorization
from scops_tf.networks import part_basis
from scops_tf.training import starting_basis

RNG = np.random.default_rng(0)
# Three patterns of seven channels, none of them a mixture of the others.
PATTERNS = np.array([[3, 0, 1, 0, 0, 0.5, 0], [0, 2, 0, 0, 1, 0, 0.5], [0, 0, 0, 4, 0, 1, 1]])


def patchwork(num_photos: int = 6, height: int = 8, width: int = 12) -> np.ndarray:
    """i[N,h,w], which pattern is where: 0 covers half of a photo, 1 a third, 2 a sixth."""
    columns = np.repeat([0, 1, 2], [width // 2, width // 3, width // 6])
    return np.stack([np.tile(np.roll(columns, 3 * i), (height, 1)) for i in range(num_photos)])


def features_of(labels: np.ndarray, noise: float = 0.05) -> np.ndarray:
    strength = np.random.default_rng(1).uniform(0.7, 1.0, labels.shape)[..., None]
    noisy = PATTERNS[labels] * strength + noise * np.random.default_rng(2).normal(
        size=(*labels.shape, 7))
    return np.maximum(noisy, 0).astype(np.float32)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))
    return first @ second.T


def test_the_basis_is_the_positive_part_of_its_variable():
    basis = part_basis.PartBasis(3, 5, seed=2)
    assert np.min(basis.raw) > 0
    np.testing.assert_array_equal(basis(), basis.raw)
    basis.raw.assign(RNG.normal(size=(3, 5)))
    np.testing.assert_array_equal(basis(), np.maximum(basis.raw, 0))
    assert [id(v) for v in basis.trainable_variables] == [id(basis.raw)]


def test_the_start_of_the_variable_is_a_function_of_the_seed():
    first, same, other = (part_basis.PartBasis(3, 5, seed=seed).raw.numpy() for seed in (2, 2, 3))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize('method', ['nmf', 'kmeans'])
def test_patterns_of_the_photos_are_found_in_the_order_of_what_they_cover(method):
    labels = patchwork()
    basis = starting_basis.initial_basis(features_of(labels), None, 3, method=method)
    assert basis.shape == (3, 7) and basis.dtype == np.float32 and basis.min() > 0
    similarity = cosines(basis, PATTERNS)
    assert similarity.diagonal().min() > 0.98
    if method == 'kmeans':
        np.testing.assert_allclose(basis, 0.85 * PATTERNS, atol=0.1)


def test_responses_of_about_one_reconstruct_the_features():
    features = features_of(patchwork(), noise=0.0)
    basis = starting_basis.initial_basis(features, None, 3)
    activations = factorization.project(features, basis).numpy()
    np.testing.assert_allclose(activations @ basis, features, atol=0.05)
    assert 0.95 < np.quantile(activations, 0.99) < 1.1
    above = np.mean(activations > 1.0001, axis=(0, 1, 2))
    assert np.all(above <= 0.011)


@pytest.mark.parametrize('method', ['nmf', 'kmeans'])
def test_what_is_not_salient_has_no_part(method):
    labels = patchwork()
    saliency = (labels > 0).astype(np.float32)
    basis = starting_basis.initial_basis(features_of(labels), saliency, 2, method=method)
    assert cosines(basis, PATTERNS[1:]).diagonal().min() > 0.98


def test_nmf_sees_features_times_saliency():
    labels = patchwork()
    saliency = np.random.default_rng(3).uniform(0.1, 1, labels.shape).astype(np.float32)
    features = features_of(labels)
    masked = starting_basis.initial_basis(features * saliency[..., None], None, 3)
    np.testing.assert_allclose(
        starting_basis.initial_basis(features, saliency, 3), masked, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('method', starting_basis.METHODS)
def test_the_start_is_a_function_of_the_seed(method, monkeypatch):
    monkeypatch.setattr(starting_basis, '_MAX_ROWS', 100)  # So that pixels are drawn.
    features = features_of(patchwork(), noise=0.3)
    first, same, other = (starting_basis.initial_basis(features, None, 3, method=method, seed=seed)
                          for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.any(first != other)


@pytest.mark.parametrize('method', ['nmf', 'kmeans'])
def test_the_order_of_the_photos_does_not_change_the_order_of_the_parts(method):
    features = features_of(patchwork())
    first = starting_basis.initial_basis(features, None, 3, method=method)
    second = starting_basis.initial_basis(features[::-1].copy(), None, 3, method=method)
    np.testing.assert_allclose(first, second, atol=0.02)


def test_half_precision_and_memory_maps_will_do(tmp_path):
    features = features_of(patchwork())
    np.save(tmp_path / 'features.npy', features.astype(np.float16))
    mapped = np.load(tmp_path / 'features.npy', mmap_mode='r')
    basis = starting_basis.initial_basis(mapped, None, 3)
    np.testing.assert_allclose(basis, starting_basis.initial_basis(features, None, 3), atol=0.02)


def test_every_entry_of_the_start_has_a_gradient():
    features = features_of(patchwork(), noise=0.0)
    basis = part_basis.PartBasis(3, 7)
    basis.raw.assign(starting_basis.initial_basis(features, None, 3))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(basis())
    np.testing.assert_array_equal(tape.gradient(total, basis.raw), np.ones((3, 7)))


@pytest.mark.parametrize('arguments, law', [
    ({'method': 'pca'}, "`method` must be one of nmf, kmeans, random; got 'pca'"),
    ({'saliency': np.ones((6, 8, 11))}, '`saliency` must be of the shape'),
    ({'saliency': np.zeros((6, 8, 12))}, '`num_parts` must be at most .* salient pixels, 0; got 3'),
    ({'num_parts': 8}, '`num_parts` must be at most the number of channels, 7'),
    ({'features': np.full((6, 8, 12, 7), np.nan)}, '`features` must be finite'),
    ({'features': np.zeros((6, 8, 12, 7))}, '`features` must hold 3 different patterns')])
@pytest.mark.filterwarnings('ignore::sklearn.exceptions.ConvergenceWarning')
def test_a_start_beyond_the_laws_is_named(arguments, law):
    settings = {'features': features_of(patchwork()), 'saliency': None, 'num_parts': 3, **arguments}
    method = settings.pop('method', 'nmf')
    with pytest.raises(ValueError, match=law):
        starting_basis.initial_basis(**settings, method=method)


def test_a_basis_of_nothing_is_an_error():
    with pytest.raises(ValueError, match='must be at least 1; got 0 and 5'):
        part_basis.PartBasis(0, 5)
