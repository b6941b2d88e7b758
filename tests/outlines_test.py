"""Laws of the outlines of parts as paths."""
import re

import numpy as np

from scops_tf.pages import outlines


def test_what_a_path_fills_is_the_mask_up_to_its_tolerance():
    generator = np.random.default_rng(0)
    ys, xs = np.mgrid[:50, :70]
    labels = np.zeros((50, 70), np.uint8)
    labels[(ys - 20) ** 2 + (xs - 30) ** 2 < 300] = 1
    labels[(ys - 20) ** 2 + (xs - 30) ** 2 < 60] = 0  # A hole.
    labels[40:50, 55:70] = 1  # Another piece, at the corner.
    labels[5:30, 52:60] = 3
    found = outlines.of_labels(labels)
    assert list(found) == [1, 3]
    assert all(re.fullmatch(outlines.PATTERN, text) for text in found.values())
    again = outlines.labels(found, labels.shape)
    for number in (1, 3):
        both = (labels == number) & (again == number)
        assert both.sum() / ((labels == number) | (again == number)).sum() > 0.95
    noise = generator.random((50, 70)) < 0.5
    assert re.fullmatch(outlines.PATTERN, outlines.path(noise))


def test_no_pixel_has_no_path_and_a_pixel_lies_where_it_is():
    assert outlines.path(np.zeros((4, 6), bool)) == '' and outlines.of_labels(
        np.zeros((4, 6), np.uint8)) == {}
    mask = np.zeros((4, 6), bool)
    mask[1, 2] = True
    points = np.array(re.findall(r'[\d.]+', outlines.path(mask)), float).reshape(-1, 2)
    assert points.mean(axis=0).tolist() == [2.5, 1.5]
