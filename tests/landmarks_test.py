"""Laws of the maths of landmarks in ULD."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import geometry
from scops_tf.training import landmarks, losses

SIZE = (7, 11)
WIDTH = 0.3


def _points(seed: int = 0, count: int = 4, batch: int = 2) -> np.ndarray:
    return np.random.default_rng([seed, 3]).uniform(-0.8, 0.8, (batch, count, 2))


def _slope(function, values: np.ndarray, direction: np.ndarray, step: float = 1e-5) -> float:
    """The derivative of a function along a direction, by central differences in float64."""
    return float(function(values + step * direction) - function(values - step * direction)) / (
        2 * step)


def _assert_gradient(function, values: np.ndarray) -> None:
    direction = np.random.default_rng(5).normal(size=values.shape)
    watched = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = function(watched)
    gradient = tape.gradient(value, watched)
    slope = _slope(function, values, direction)
    assert abs(slope) > 1e-6
    np.testing.assert_allclose(tf.reduce_sum(gradient * direction), slope, rtol=1e-6)


# Separation.


@pytest.mark.parametrize('count', [2, 3, 8])
def test_landmarks_at_one_place_have_the_separation_loss_one(count):
    same = np.tile(_points(count=1), (1, count, 1))
    np.testing.assert_allclose(landmarks.separation_loss(same, width=0.16), 1, rtol=1e-12)


def test_two_landmarks_one_width_apart_have_the_value_of_the_equation():
    pair = np.array([[[-0.1, 0.2], [-0.1, 0.2 + WIDTH]]])
    np.testing.assert_allclose(
        landmarks.separation_loss(pair, width=WIDTH), np.exp(-0.5), rtol=1e-12)


def test_separation_falls_towards_zero_as_landmarks_move_apart():
    values = [float(landmarks.separation_loss(scale * _points(), width=0.16))
              for scale in (0.1, 0.3, 1.0, 3.0, 30.0)]
    assert all(1 > one > other >= 0 for one, other in zip(values, values[1:]))
    assert values[-1] < 1e-12


def test_separation_depends_on_neither_order_nor_place_nor_copies_of_the_batch():
    points = _points()
    expected = landmarks.separation_loss(points, width=WIDTH)
    for other in (points[:, ::-1], points + [0.4, -1.3], np.concatenate([points, points])):
        np.testing.assert_allclose(
            landmarks.separation_loss(other, width=WIDTH), expected, rtol=1e-10)


def test_separation_is_that_of_the_plain_sum_over_pairs():
    points, total = _points(), 0.0
    for photo in points:
        for one in range(4):
            for other in range(4):
                if one != other:
                    distance = np.sum((photo[one] - photo[other]) ** 2)
                    total += np.exp(-distance / (2 * WIDTH ** 2))
    # The factor to the sum of Zhang et al.
    np.testing.assert_allclose(
        landmarks.separation_loss(points, width=WIDTH) * 4 * 3 * 2, total, rtol=1e-12)


def test_a_step_along_the_gradient_of_separation_drives_landmarks_apart():
    _assert_gradient(lambda points: landmarks.separation_loss(points, width=WIDTH), _points())
    near = tf.constant([[[0.0, 0.0], [0.1, 0.05]]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(near)
        loss = landmarks.separation_loss(near, width=WIDTH)
    moved = near - 0.01 * tape.gradient(loss, near)
    assert np.linalg.norm(moved[0, 0] - moved[0, 1]) > np.linalg.norm(near[0, 0] - near[0, 1])


def test_a_single_landmark_is_separate_and_has_a_gradient():
    point = tf.constant(_points(count=1))
    with tf.GradientTape() as tape:
        tape.watch(point)
        loss = landmarks.separation_loss(point, width=WIDTH)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(tape.gradient(loss, point), np.zeros((2, 1, 2)))


# Equivariance and concentration, which ULD has in common with SCOPS.


def test_landmarks_that_are_moved_exactly_are_equivariant():
    points = _points().astype(np.float32)
    turned = points @ np.array([[0, 1], [-1, 0]], np.float32)
    visible = np.ones((2, 4), bool)
    np.testing.assert_array_equal(losses.center_equivariance_loss(turned, turned, visible), 0)
    assert losses.center_equivariance_loss(points, turned, visible) > 0.1


def test_concentration_is_the_entropy_of_an_isotropic_gaussian_up_to_its_factor():
    sigma = 0.08
    maps = landmarks.gaussian_maps(np.zeros((1, 1, 2)), (201, 251), width=sigma)
    # Zhang et al.: 2 pi e sigma^2 of a landmark.
    np.testing.assert_allclose(
        np.pi * np.e * losses.concentration_loss(maps, epsilon=0.0),
        2 * np.pi * np.e * sigma ** 2, rtol=1e-6)


# Gaussian maps.


def test_a_map_is_one_at_its_landmark_and_falls_by_the_width():
    grid = geometry.coordinate_grid(SIZE).numpy().astype(np.float64)
    points = np.stack([grid[2, 7], grid[0, 0]])[None]
    maps = landmarks.gaussian_maps(points, SIZE, width=WIDTH).numpy()
    assert maps.shape == (1, *SIZE, 2) and maps.min() > 0
    np.testing.assert_allclose([maps[0, 2, 7, 0], maps[0, 0, 0, 1]], 1, rtol=1e-6)
    for index in range(2):
        assert np.argmax(maps[..., index]) == (2 * SIZE[1] + 7, 0)[index]
        expected = np.exp(-np.sum((grid - points[0, index]) ** 2, axis=-1) / (2 * WIDTH ** 2))
        np.testing.assert_allclose(maps[0, ..., index], expected, rtol=1e-5)


def test_the_centre_of_a_narrow_map_is_its_landmark():
    points = _points() * 0.5
    maps = landmarks.gaussian_maps(points, (60, 90), width=0.1)
    np.testing.assert_allclose(geometry.part_centers(maps), points, atol=1e-3)


def test_the_gradient_of_the_maps_is_that_of_finite_differences():
    weights = np.random.default_rng(1).normal(size=(2, *SIZE, 4))
    _assert_gradient(lambda points: tf.reduce_sum(
        weights * landmarks.gaussian_maps(points, SIZE, width=WIDTH)), _points())


# Local features.


def test_local_features_are_means_under_the_maps_with_that_of_the_photo_first():
    features = np.random.default_rng(2).normal(size=(2, *SIZE, 5))
    maps = landmarks.gaussian_maps(_points(), SIZE, width=WIDTH).numpy()
    found = landmarks.local_features(features, maps)
    assert found.shape == (2, 5, 5)
    np.testing.assert_allclose(found[:, 0], features.mean(axis=(1, 2)), rtol=1e-10)
    np.testing.assert_allclose(found[1, 3], np.average(
        features[1].reshape(-1, 5), axis=0, weights=maps[1, ..., 2].ravel()), rtol=1e-10)


def test_features_that_are_the_same_everywhere_are_every_landmark_s():
    features = np.broadcast_to(np.array([2.0, -1.0]), (2, *SIZE, 2))
    maps = landmarks.gaussian_maps(_points(), SIZE, width=WIDTH)
    np.testing.assert_allclose(
        landmarks.local_features(features, maps), np.tile([2.0, -1.0], (2, 5, 1)), rtol=1e-10)


def test_local_features_of_half_precision_are_added_in_single_precision():
    features = tf.cast(np.full((1, 40, 60, 1), 100.0), tf.float16)
    found = landmarks.local_features(features, tf.ones((1, 40, 60, 1)))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, 100.0)


# Reconstruction.


def test_a_photo_that_is_its_own_reconstruction_costs_nothing_and_its_negative_one():
    photo = np.random.default_rng(0).integers(0, 2, (2, *SIZE, 3)).astype(np.float64)
    np.testing.assert_array_equal(landmarks.reconstruction_loss(photo, photo), 0)
    np.testing.assert_array_equal(landmarks.reconstruction_loss(1 - photo, photo), 1)


def test_reconstruction_has_a_gradient_into_the_reconstruction_alone():
    photo, other = (tf.constant(np.random.default_rng(seed).random((2, *SIZE, 3)))
                    for seed in range(2))
    with tf.GradientTape() as tape:
        tape.watch([photo, other])
        loss = landmarks.reconstruction_loss(other, photo)
    to_photo, to_other = tape.gradient(loss, [photo, other])
    assert to_photo is None
    np.testing.assert_allclose(to_other, 2 * (other - photo) / tf.size(photo, tf.float64))


# What is refused.


@pytest.mark.parametrize('call, match', [
    (lambda: landmarks.separation_loss(np.zeros((2, 3)), width=1.0), r'`landmarks` must be \[B, K'),
    (lambda: landmarks.separation_loss(_points(), width=0.0), '`width` must be positive; got 0.0'),
    (lambda: landmarks.gaussian_maps(_points(), SIZE, width=-1.0), '`width` must be positive'),
    (lambda: landmarks.local_features(np.zeros((1, 4, 5, 2)), np.zeros((1, 5, 4, 3))),
     '`maps` must be'),
    (lambda: landmarks.reconstruction_loss(np.zeros((1, 4, 5, 3)), np.zeros((1, 5, 4, 3))),
     '`images` must be')])
def test_what_does_not_fit_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
