"""Laws of the guided filter, and of labels that follow the borders of a photo."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.serving import decoding, guided_filter, part_model as part_model_lib

_RANDOM = np.random.default_rng(0)


def _means(values: np.ndarray, radius: int) -> np.ndarray:
    """Means over windows of f64[H,W,...], cell by cell."""
    found = np.empty_like(values)
    for row, column in np.ndindex(*values.shape[:2]):
        found[row, column] = values[max(row - radius, 0):row + radius + 1,
                                    max(column - radius, 0):column + radius + 1].mean(axis=(0, 1))
    return found


def test_the_filter_is_that_of_the_paper():
    photo, maps = _RANDOM.random((9, 13, 3)), _RANDOM.random((9, 13, 2))
    mean_color, mean_map = _means(photo, 2), _means(maps, 2)
    covariance = _means(photo[..., :, None] * photo[..., None, :], 2) - (
        mean_color[..., :, None] * mean_color[..., None, :]) + 0.01 * np.eye(3)
    slopes = np.linalg.solve(covariance, _means(photo[..., None] * maps[..., None, :], 2)
                             - mean_color[..., None] * mean_map[..., None, :])
    offsets = mean_map - (slopes * mean_color[..., None]).sum(axis=-2)
    expected = (_means(slopes, 2) * photo[..., None]).sum(axis=-2) + _means(offsets, 2)
    found = guided_filter.filtered(
        tf.constant(maps[np.newaxis], tf.float32), tf.constant(photo[np.newaxis], tf.float32),
        radius=2, epsilon=0.01)
    np.testing.assert_allclose(found[0], expected, atol=2e-5)


def test_constants_and_sums_of_channels_stay():
    maps = _RANDOM.dirichlet(np.ones(3), (2, 6, 8)).astype(np.float32)
    maps = np.concatenate([maps, np.full((2, 6, 8, 1), 0.25, np.float32)], axis=-1)
    photos = _RANDOM.random((2, 30, 40, 3)).astype(np.float32)
    found = guided_filter.filtered(tf.constant(maps), tf.constant(photos), radius=1, epsilon=1e-3)
    assert found.shape == (2, 30, 40, 4)
    np.testing.assert_allclose(found[..., 3], 0.25, atol=1e-4)
    np.testing.assert_allclose(tf.reduce_sum(found[..., :3], axis=-1), 1, atol=1e-4)


def test_options_out_of_range_and_a_missing_photo_are_named():
    maps, photo = tf.zeros((1, 4, 5, 2)), tf.zeros((1, 8, 10, 3))
    with pytest.raises(ValueError, match='`radius` must be at least 1 and .* above 0; got 0'):
        guided_filter.filtered(maps, photo, radius=0, epsilon=1e-3)
    with pytest.raises(ValueError, match='`photos` must be given with `guided_radius`'):
        decoding.decode(maps, (8, 10), guided_radius=0.1)


class _Blob(tf.Module):
    """A part whose responses end far outside of the object, in no relation to its border."""

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        rows, columns = tf.meshgrid(tf.range(64.0), tf.range(96.0), indexing='ij')
        part = tf.exp(-((rows - 32) ** 2 + (columns - 48) ** 2) / 180)
        maps = tf.stack([1 - part, part], axis=-1)[tf.newaxis]
        return maps + tf.zeros_like(images[..., :1])


def test_labels_follow_the_border_of_the_object():
    photo = np.full((1, 128, 192, 3), 40, np.uint8)
    photo[0, 30:98, 60:132] = [200, 90, 60]
    truth = photo[0, ..., 0] == 200
    shares = {}
    for radius in (None, 0.1):
        model = part_model_lib.PartModel(
            _Blob(), num_parts=1, input_size=(64, 96), guided_radius=radius)
        labels = model.predict(photo)['labels'].numpy()[0] > 0
        shares[radius] = (labels & truth).sum() / (labels | truth).sum()
    assert shares[0.1] > shares[None] + 0.05
