"""Laws of non-negative factors and of the activations of fixed ones."""
from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from sklearn import decomposition
import tensorflow as tf

from scops_tf.features import factorization

FACTORS = np.array([[3, 0, 1, 0, 0, 0.5, 0], [0, 2, 0, 0, 1, 0, 0.5], [0, 0, 0, 4, 0, 1, 1]])


def _planted(shape=(400,), shares=(0.2, 0.5, 0.3)) -> np.ndarray:
    """f32[*shape,7]. Places of one factor each, of different strengths, with a little noise."""
    generator = np.random.default_rng(0)
    which = generator.choice(3, shape, p=shares)
    features = FACTORS[which] * generator.uniform(0.6, 1, (*shape, 1))
    return (features + 0.02 * generator.random(features.shape)).astype(np.float32)


def _matched(factors: np.ndarray) -> list:
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    cosines = unit @ (FACTORS / np.linalg.norm(FACTORS, axis=1, keepdims=True)).T
    assert cosines.max(axis=1).min() > 0.99
    return cosines.argmax(axis=1).tolist()


def test_planted_factors_are_found_in_the_order_of_what_they_explain():
    for shares in ((0.2, 0.5, 0.3), (0.6, 0.1, 0.3)):
        rows = _planted(shares=shares)
        which = (rows @ FACTORS.T / np.linalg.norm(FACTORS, axis=1)).argmax(axis=1)
        explained = [rows[which == index].sum() for index in range(3)]
        factors = factorization.factorize(rows, 3).factors
        assert factors.dtype == np.float32 and factors.min() >= 0
        assert _matched(factors) == np.argsort(explained)[::-1].tolist()


@pytest.mark.parametrize('quantile', [0.9, 0.99])
def test_a_factor_is_scaled_by_the_quantile_of_its_activations(quantile):
    rows = _planted()
    found = factorization.factorize(rows, 3, quantile=quantile)
    np.testing.assert_allclose(np.quantile(found.activations, quantile, axis=0), 1, rtol=1e-5)


def test_factors_and_their_activations_belong_together():
    rows = _planted()
    found = factorization.factorize(rows, 3)
    assert found.activations.dtype == np.float32 and found.activations.min() >= 0
    np.testing.assert_allclose(found.activations @ found.factors, rows, atol=0.05)
    np.testing.assert_allclose(
        factorization.project(rows, found.factors).numpy(), found.activations, atol=0.02)


def test_a_factor_that_is_rarer_than_the_quantile_is_scaled_by_its_largest_activation():
    rows = np.zeros((50, 7), np.float32)
    rows[:3] = FACTORS[0]
    rows[1] *= 0.5
    factors = factorization.factorize(rows, 1, quantile=0.5).factors
    np.testing.assert_allclose(factors[0], FACTORS[0], atol=1e-4)


def test_the_same_seed_gives_the_same_factors_to_the_bit():
    rows = np.random.default_rng(1).random((60, 9)).astype(np.float32)
    np.testing.assert_array_equal(
        *(factorization.factorize(rows, 4, seed=2).factors for _ in range(2)))


@pytest.mark.parametrize('shape, num_factors, law', [
    ((5, 7), 6, r'`num_factors` must lie in \[1, 5\], .* vectors, 5, .* got 6'),
    ((9, 7), 8, r'`num_factors` must lie in \[1, 7\], .* channels, 7; got 8')])
def test_more_factors_than_vectors_or_channels_are_refused(shape, num_factors, law):
    with pytest.raises(ValueError, match=law):
        factorization.factorize(np.ones(shape, np.float32), num_factors)


def test_what_is_negative_is_refused():
    with pytest.raises(ValueError, match='`rows` must be at least 0; the least is -0.5'):
        factorization.factorize(np.full((9, 7), -0.5, np.float32), 2)


@pytest.mark.parametrize('correlation', [0.0, 0.3])
@pytest.mark.parametrize('num_factors', [1, 5])
def test_projection_is_the_non_negative_least_squares_solution(num_factors, correlation):
    rng = np.random.default_rng(num_factors)
    common = correlation * rng.random(30)
    factors = (common + (1 - correlation) * rng.random((num_factors, 30))).astype(np.float32)
    features = rng.random((2, 3, 5, 30)).astype(np.float32)
    found = factorization.project(tf.constant(features), factors).numpy()
    expected = np.array([optimize.nnls(factors.T.astype(np.float64), vector)[0]
                         for vector in features.reshape(-1, 30)]).reshape(2, 3, 5, num_factors)
    assert found.min() >= 0 and (num_factors == 1 or (expected == 0).any())
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_projection_agrees_with_scikit_learn_to_1e_4():
    features = _planted((2, 7, 11))
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    model = decomposition.NMF(3, init='nndsvda', max_iter=2000, tol=1e-10, random_state=0)
    model.fit(flat)
    expected = model.transform(flat).reshape(*features.shape[:3], 3)
    found = factorization.project(features, model.components_.astype(np.float32)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_a_factor_of_zeros_and_equal_factors_have_finite_activations():
    factors = np.zeros((3, 6), np.float32)
    factors[1:, 2] = 1
    features = np.zeros((1, 2, 3, 6), np.float32)
    features[..., 2] = 4
    found = factorization.project(features, factors).numpy()
    np.testing.assert_array_equal(found[..., 0], 0)
    np.testing.assert_allclose(found.sum(axis=-1), 4, rtol=1e-5)
