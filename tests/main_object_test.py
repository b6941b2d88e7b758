"""Laws of the main object's window and of part centres under it."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import geometry
from scops_tf.serving import decoding, main_object

SIZE = (40, 60)
WINDOW = 0.5


def _blobs(*blobs, size=SIZE, num_parts=2) -> np.ndarray:
    """f64[1,H,W,K]. Gaussians (part, x, y, deviation), in pixels."""
    maps = np.zeros((1, *size, num_parts))
    rows, columns = np.mgrid[:size[0], :size[1]]
    for part, x, y, deviation in blobs:
        maps[0, ..., part] = np.maximum(maps[0, ..., part], np.exp(
            -((columns - x) ** 2 + (rows - y) ** 2) / (2 * deviation ** 2)))
    return maps


def _centers(maps, window=WINDOW, size=SIZE) -> np.ndarray:
    """float[B,K,2]. In pixels."""
    responses = np.concatenate([np.zeros_like(maps[..., :1]), maps], axis=-1)
    return decoding.part_centers(responses, size, window=window).numpy()


def _object(x, y, scale=1.0):
    """Two parts beside each other."""
    return (0, x - 4 * scale, y, 3 * scale), (1, x + 4 * scale, y, 3 * scale)


def test_a_second_smaller_object_hardly_moves_the_centers():
    alone = _centers(_blobs(*_object(15, 20)))
    beside = _blobs(*_object(15, 20), *_object(48, 20, 0.6))
    np.testing.assert_allclose(_centers(beside), alone, atol=0.5)
    # What the law is worth: the plain centres are dragged away.
    plain = geometry.frame_to_pixels(geometry.part_centers(beside).numpy(), SIZE)
    assert np.all(plain[..., 0] - alone[..., 0] > 5)


def test_a_wide_window_is_one_everywhere_and_gives_the_plain_centers():
    maps = _blobs(*_object(20, 12), (1, 50, 30, 2))
    window = main_object.window(maps, size=1e4)
    np.testing.assert_allclose(window, np.ones((1, *SIZE, 1)), atol=1e-5)
    plain = geometry.frame_to_pixels(geometry.part_centers(maps).numpy(), SIZE)
    np.testing.assert_allclose(_centers(maps, window=1e4), plain, atol=1e-4)


def test_the_window_is_round_and_a_share_of_the_foreground_s_radius():
    maps = np.zeros((1, *SIZE, 2))
    rows, columns = np.mgrid[:SIZE[0], :SIZE[1]]
    squares = (columns - 30) ** 2 + (rows - 20) ** 2
    maps[0, ..., 1] = squares <= 10 ** 2
    window = main_object.window(maps, size=WINDOW).numpy()[0, ..., 0]
    np.testing.assert_allclose(window, np.exp(-squares / (2 * (WINDOW * 10) ** 2)), atol=0.01)


def test_one_symmetric_object_keeps_its_middle():
    centers = _centers(_blobs(*_object(30.0, 19.0)))
    np.testing.assert_allclose(centers.mean(axis=1), [[30.0, 19.0]], atol=1e-3)
    assert centers[0, 0, 0] < 30 < centers[0, 1, 0]


def test_moving_the_photo_moves_the_centers():
    maps = _blobs(*_object(20, 15), (0, 28, 18, 2))
    moved = _blobs(*_object(29, 19), (0, 37, 22, 2))
    np.testing.assert_allclose(_centers(moved), _centers(maps) + [9, 4], atol=0.02)


def test_the_scale_of_all_responses_together_changes_the_window_alone():
    """The foreground's area sets the window's size, its shape the place."""
    maps = _blobs(*_object(20, 15))
    np.testing.assert_allclose(_centers(0.25 * maps, window=2 * WINDOW), _centers(maps), atol=1e-3)


def test_photos_do_not_see_each_other():
    first, second = _blobs(*_object(15, 20), *_object(48, 20, 0.6)), _blobs(*_object(40, 10))
    np.testing.assert_allclose(
        _centers(np.concatenate([first, second])),
        np.concatenate([_centers(first), _centers(second)]), atol=1e-9)


def test_an_empty_photo_has_its_centers_in_the_middle():
    maps = np.zeros((1, *SIZE, 3), np.float32)
    middle = (np.array(SIZE[::-1]) - 1) / 2
    np.testing.assert_allclose(_centers(maps), np.tile(middle, (1, 3, 1)), atol=1e-3)


def test_a_part_far_from_the_object_gets_the_middle_of_the_window():
    maps = _blobs((0, 10, 10, 6), (1, 58, 38, 0.3))
    np.testing.assert_allclose(_centers(maps, window=0.2)[0, 1], [10, 10], atol=0.5)


@pytest.mark.parametrize('window', [0, -1.0])
def test_a_window_must_be_above_zero(window):
    with pytest.raises(ValueError, match='`size` must be above 0'):
        main_object.window(tf.zeros((1, 4, 6, 2)), size=window)


def test_maps_must_be_of_rank_4():
    with pytest.raises(ValueError, match='`part_responses`'):
        main_object.window(tf.zeros((4, 6, 2)), size=WINDOW)
