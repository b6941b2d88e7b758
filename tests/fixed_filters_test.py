"""Laws of the colour and texture filters."""
from __future__ import annotations

import numpy as np
import pytest
from skimage import color
import tensorflow as tf

from scops_tf.networks import fixed_filters

RNG = np.random.default_rng(0)


def plain(rgb, size=(40, 64)) -> np.ndarray:
    return np.broadcast_to(np.float32(rgb), (1, *size, 3))


def stripes(angle: float, wavelength: float, size=(64, 88)) -> np.ndarray:
    y, x = np.mgrid[:size[0], :size[1]]
    phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
    return np.repeat(0.5 + 0.4 * np.sin(phase)[None, ..., None], 3, -1).astype(np.float32)


def dots(value: float, size=(64, 88)) -> np.ndarray:
    y, x = np.mgrid[:size[0], :size[1]]
    inside = (y % 8 - 4) ** 2 + (x % 8 - 4) ** 2 <= 4
    return np.repeat(np.where(inside, value, 0.5)[None, ..., None], 3, -1).astype(np.float32)


def inner(maps) -> np.ndarray:
    """Mean over the middle, away from borders."""
    return np.asarray(maps)[0, 4:-4, 4:-4].mean((0, 1))


@pytest.mark.parametrize('size, expected', [((24, 40), (6, 10)), ((33, 49), (9, 13))])
def test_responses_are_at_stride_4_rounded_up_and_never_negative(size, expected):
    images = RNG.uniform(size=(2, *size, 3)).astype(np.float32)
    any_size = tf.function(fixed_filters.taps,
                           input_signature=[tf.TensorSpec([None, None, None, 3])])
    for found in (fixed_filters.taps(images), any_size(images)):
        assert [tap.shape for tap in found] == [
            (2, *expected, channels) for channels in fixed_filters.NUM_CHANNELS]
        assert all(np.min(tap) >= 0 and np.all(np.isfinite(tap)) for tap in found)


def test_sizes_known_to_a_graph_are_known_of_its_responses():
    graph = tf.function(fixed_filters.taps).get_concrete_function(tf.TensorSpec([2, 33, 49, 3]))
    assert [tap.shape.as_list() for tap in graph.outputs] == [
        [2, 9, 13, channels] for channels in fixed_filters.NUM_CHANNELS]


def test_lab_is_that_of_scikit_image():
    images = RNG.uniform(size=(1, 9, 14, 3)).astype(np.float32)
    np.testing.assert_allclose(fixed_filters._lab(tf.constant(images)), color.rgb2lab(images),
                               atol=0.01)


def test_color_shares_sum_to_one():
    images = RNG.uniform(size=(2, 40, 56, 3)).astype(np.float32)
    np.testing.assert_allclose(tf.reduce_sum(fixed_filters.color_shares(images), -1), 1, atol=1e-5)


def test_black_grey_and_white_have_no_hue():
    for rgb, channel in (((0, 0, 0), 8), ((1, 1, 1), 9), ((0.5, 0.5, 0.5), 10)):
        expected = np.eye(11)[channel]
        np.testing.assert_allclose(inner(fixed_filters.taps(plain(rgb))[0]), expected, atol=1e-3)


def test_hues_are_told_apart_and_turn_around_the_circle():
    shares = []
    for rgb in ((0.9, 0.1, 0.1), (0.8, 0.7, 0.1), (0.1, 0.8, 0.2), (0.1, 0.6, 0.7), (0.2, 0.3, 0.9),
                (0.8, 0.2, 0.8)):
        found = inner(fixed_filters.taps(plain(rgb))[0])
        assert found[:8].sum() > 0.95
        shares.append(found / np.linalg.norm(found))
    similarity = np.stack(shares) @ np.stack(shares).T
    assert np.max(similarity - np.eye(6)) < 0.85
    assert np.all(np.diff([share[:8].argmax() for share in shares[:5]]) > 0)


def test_a_plain_photo_has_no_texture():
    assert np.max(fixed_filters.taps(plain((0.7, 0.3, 0.2)))[1]) < 1e-4


def test_stripes_answer_at_their_octave_and_orientation():
    for level, wavelength in enumerate((4, 8, 16)):
        for orientation in range(4):
            found = inner(fixed_filters.taps(stripes(np.pi * orientation / 4, wavelength))[1])
            energies = found.reshape(3, 7)[:, :4]
            assert np.unravel_index(energies.argmax(), (3, 4)) == (level, orientation)


def test_stripes_are_coherent_at_any_angle_and_dots_are_not():
    # Between two of the four orientations it is least.
    angles = np.pi * np.arange(8) / 8
    found = [inner(fixed_filters.taps(stripes(angle, 8))[1])[11] for angle in angles]
    assert min(found) > 0.5 * max(found)
    assert inner(fixed_filters.taps(dots(1.0))[1])[11] < 0.5 * min(found)


def test_light_dots_and_dark_dots_are_told_apart():
    # Centre and surround of the finest level, light and dark.
    light, dark = (inner(fixed_filters.taps(dots(value))[1])[5:7] for value in (1.0, 0.0))
    np.testing.assert_allclose(light, dark[::-1], rtol=1e-3)
    maps = [fixed_filters._blur(tf.constant(dots(1.0)[..., :1]), sigma) for sigma in (1.0, 1.6)]
    assert np.max(maps[0] - maps[1]) > 2 * np.max(maps[1] - maps[0])


def test_a_mirrored_photo_has_mirrored_responses():
    images = RNG.uniform(size=(1, 41, 57, 3)).astype(np.float32)
    colors, textures = fixed_filters.taps(images)
    mirrored_colors, mirrored_textures = fixed_filters.taps(images[:, :, ::-1])
    np.testing.assert_allclose(mirrored_colors[:, :, ::-1], colors, atol=1e-5)
    # Mirroring exchanges the two diagonals.
    order = [0, 3, 2, 1, 4, 5, 6]
    mirrored = np.asarray(mirrored_textures)[:, :, ::-1].reshape(1, 11, 15, 3, 7)[..., order]
    np.testing.assert_allclose(mirrored.reshape(textures.shape), textures, atol=1e-5)


def test_photos_that_are_too_small_are_named():
    with pytest.raises(ValueError, match=r'must have at least 24 pixels a side; got \(23, 40\)'):
        fixed_filters.taps(np.zeros((1, 23, 40, 3), np.float32))
    any_size = tf.function(fixed_filters.taps,
                           input_signature=[tf.TensorSpec([None, None, None, 3])])
    with pytest.raises(tf.errors.InvalidArgumentError, match='`images` must have at least 24'):
        any_size(np.zeros((1, 23, 40, 3), np.float32))
