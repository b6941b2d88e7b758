"""The functions in plain TensorFlow, held to those of TensorFlow Addons where it runs."""
from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import stack
from scops_tf.training import resampling

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(2, 7, 11, 3)).astype(np.float32)
# Some of the points lie outside the maps, some on pixels, and some on the border.
POINTS = np.concatenate([RNG.uniform(-3, 13, (2, 40, 2)), np.tile([
    [[3.0, 2.0], [0.0, 0.0], [10.0, 6.0], [10.0, 2.5], [4.5, 6.0]]], (2, 1, 1))],
    axis=1).astype(np.float32)
TRANSFORMS = np.array([[1.1, 0.2, -1.0, -0.1, 0.9, 0.5, 0.01, -0.02],
                       [0.5, -0.4, 2.0, 0.3, 0.7, -1.0, 0.0, 0.0]], np.float32)
# Far enough from each other for float32 to solve for the weights.
CENTERS = (np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(9, 2)
           + RNG.uniform(-0.2, 0.2, (2, 9, 2))).astype(np.float32)
VALUES = RNG.uniform(-0.1, 0.1, (2, 9, 2)).astype(np.float32)
QUERIES = RNG.uniform(-1.2, 1.2, (2, 30, 2)).astype(np.float32)


@pytest.fixture(scope='module')
def addons():
    if stack.is_current():
        pytest.skip('TensorFlow Addons does not run on this TensorFlow.')
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message=r'\s*TensorFlow Addons', category=UserWarning)
        import tensorflow_addons as tfa
    return tfa.image


def _value_and_gradients(function, *arguments):
    arguments = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
        # Weights that differ, so that every gradient does.
        weights = tf.random.stateless_normal(value.shape, [1, 2])
        total = tf.reduce_sum(weights * value)
    return [value, *tape.gradient(total, arguments)]


def _assert_same(function, expected, *arguments):
    found = _value_and_gradients(function, *arguments)
    for one, other in zip(found, _value_and_gradients(expected, *arguments)):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_samples_between_pixels_are_those_of_addons(addons):
    _assert_same(resampling.bilinear,
                 lambda maps, points: addons.interpolate_bilinear(maps, points, indexing='xy'),
                 MAPS, POINTS)


def test_projected_maps_are_those_of_addons(addons):
    _assert_same(lambda maps: resampling.project(maps, TRANSFORMS, (8, 9)),
                 lambda maps: addons.transform(maps, TRANSFORMS, interpolation='bilinear',
                                               fill_mode='nearest', output_shape=(8, 9)), MAPS)


def test_splines_are_those_of_addons(addons):
    _assert_same(resampling.spline,
                 lambda *arguments: addons.interpolate_spline(*arguments, order=2),
                 CENTERS, VALUES, QUERIES)


def test_samples_are_the_weighted_means_of_four_pixels():
    found = resampling.bilinear(MAPS, POINTS).numpy()
    for sample, maps, points in zip(found, MAPS, POINTS):
        for value, (x, y) in zip(sample, np.clip(points, 0, [10, 6])):
            left, top = min(int(x), 9), min(int(y), 5)
            rows = [(left + 1 - x) * maps[row, left] + (x - left) * maps[row, left + 1]
                    for row in (top, top + 1)]
            np.testing.assert_allclose(
                value, (top + 1 - y) * rows[0] + (y - top) * rows[1], atol=1e-5)


def test_projected_maps_are_samples_at_the_projected_pixels():
    x, y = np.meshgrid(np.arange(9), np.arange(8))
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    matrices = np.concatenate([TRANSFORMS, np.ones((2, 1))], axis=1).reshape(2, 3, 3)
    points = pixels @ matrices.transpose(0, 2, 1)
    points = (points[..., :2] / points[..., 2:]).astype(np.float32)
    expected = tf.reshape(resampling.bilinear(MAPS, points), [2, 8, 9, 3])
    np.testing.assert_allclose(resampling.project(MAPS, TRANSFORMS, (8, 9)), expected, atol=1e-4)


def test_a_spline_passes_through_its_values_and_has_least_terms_for_linear_maps():
    np.testing.assert_allclose(resampling.spline(CENTERS, VALUES, CENTERS), VALUES, atol=1e-5)
    linear = CENTERS @ np.array([[1, 2], [-1, 0.5]], np.float32) + 3
    same = QUERIES[:1]  # The same points of every spline.
    np.testing.assert_allclose(
        resampling.spline(CENTERS, linear, same),
        np.tile(same @ np.array([[1, 2], [-1, 0.5]], np.float32) + 3, (2, 1, 1)), atol=1e-4)
