"""Laws of what is drawn on photos."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.pictures import drawing
from scops_tf.pictures.palette import palette

HEIGHT, WIDTH = 96, 128


def _photo(height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _two_parts(height=HEIGHT, width=WIDTH):
    labels = np.zeros((height, width), np.uint8)
    labels[height // 4:3 * height // 4, width // 4:width // 2] = 1
    labels[height // 4:3 * height // 4, width // 2:3 * width // 4] = 2
    return labels


def test_boundaries_are_the_pixels_of_parts_beside_another_label():
    labels = _two_parts()
    expected = np.zeros_like(labels, bool)
    for y in range(1, HEIGHT - 1):
        for x in range(1, WIDTH - 1):
            neighbors = labels[[y - 1, y + 1, y, y], [x, x, x - 1, x + 1]]
            expected[y, x] = labels[y, x] > 0 and np.any(neighbors != labels[y, x])
    found = drawing.boundaries(labels)
    np.testing.assert_array_equal(found, expected)
    assert found[HEIGHT // 2, WIDTH // 2 - 1] and found[HEIGHT // 2, WIDTH // 2]


def test_a_part_at_the_border_of_the_picture_has_no_boundary_there():
    assert not drawing.boundaries(np.ones((5, 7), np.uint8)).any()


def test_thick_boundaries_grow_inwards_only():
    labels = np.zeros((20, 31), np.uint8)
    labels[4:16, 5:25] = 3
    found = drawing.boundaries(labels, thickness=3)
    expected = labels > 0
    expected[7:13, 8:22] = False
    np.testing.assert_array_equal(found, expected)


def test_an_overlay_leaves_the_background_and_its_input_as_they_are():
    image, labels = _photo(), _two_parts()
    before = image.copy()
    picture = drawing.overlay(image, labels)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(picture[labels == 0], image[labels == 0])
    np.testing.assert_array_equal(picture[drawing.boundaries(labels)],
                                  palette(2)[labels[drawing.boundaries(labels)]])


def test_the_tint_is_the_mean_of_photo_and_colour_weighted_by_alpha():
    image, labels = _photo(), _two_parts()
    picture = drawing.overlay(image, labels, alpha=0.25, outlined=False)
    expected = np.rint(0.75 * image + 0.25 * palette(2)[labels])
    np.testing.assert_array_equal(picture[labels > 0], expected[labels > 0])
    np.testing.assert_array_equal(drawing.overlay(image, labels, alpha=0, outlined=False),
                                  image)


def test_an_overlay_of_labels_of_another_size_is_refused():
    with pytest.raises(ValueError, match="image's size"):
        drawing.overlay(_photo(), _two_parts().T)


def test_heat_maps_are_black_at_0_and_of_the_parts_colour_at_1():
    responses = np.zeros((4, 6, 3))
    responses[1, 2, 1], responses[3, 5, 1] = 1, 7
    maps = drawing.response_heatmaps(responses)
    assert maps.shape == (3, 4, 6, 3) and maps.dtype == np.uint8
    assert maps.any(axis=-1).sum() == 2
    np.testing.assert_array_equal(maps[1, 1, 2], palette(3)[2])
    np.testing.assert_array_equal(maps[1, 3, 5], palette(3)[2])


@pytest.mark.parametrize('height,width', [(HEIGHT, WIDTH), (700, 900)])
def test_a_dot_lies_on_its_centre_in_the_parts_colour(height, width):
    image = np.full((height, width, 3), 40, np.uint8)
    centers = np.array([[width // 4, height // 4], [width - 41, height - 33], [width // 2, 50]])
    picture = drawing.draw_centers(image, centers)
    for part, (x, y) in enumerate(centers, start=1):
        around = picture[int(y) - 5:int(y) + 6, int(x) - 5:int(x) + 6]
        assert np.any(np.all(around == palette(3)[part], axis=-1))
    alone = drawing.draw_centers(image, centers[:1])
    ys, xs = np.nonzero(np.any(alone != image, axis=-1))
    np.testing.assert_allclose([xs.min() + xs.max(), ys.min() + ys.max()], 2 * centers[0], atol=1)


def test_parts_that_are_absent_or_have_no_centre_are_not_drawn():
    image, centers = _photo(), np.array([[30.0, 20.0], [70.0, 60.0], [np.nan, 0.0]])
    only_first = drawing.draw_centers(image, centers[:1])
    for presence in (np.array([0.9, 0.1, 0.9]), np.array([True, False, True])):
        np.testing.assert_array_equal(drawing.draw_centers(image, centers, presence),
                                      only_first)
    with pytest.raises(ValueError, match='`presence`'):
        drawing.draw_centers(image, centers, np.ones(2))


def test_a_dot_may_lie_outside_the_picture():
    image = _photo()
    picture = drawing.draw_centers(image,
                                         np.array([[-500.0, 20.0], [WIDTH - 1.0, HEIGHT + 2.0]]))
    assert picture.shape == image.shape
    changed = np.any(picture != image, axis=-1)
    assert changed.any() and not changed[:HEIGHT // 2].any()
