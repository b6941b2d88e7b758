"""Laws of the colours of the parts."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.pictures import palette as palette_lib


@pytest.mark.parametrize('num_parts', [1, 4, 8, 12, 16])
def test_colors_of_parts_can_be_told_apart_by_colour_blind_eyes_too(num_parts):
    colors = palette_lib.palette(num_parts)
    distances = palette_lib.color_distances(colors, colors)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 15


def test_a_part_has_the_same_colour_whatever_the_number_of_parts():
    every = palette_lib.palette(255)
    assert every.shape == (256, 3) and every.dtype == np.uint8
    assert len(np.unique(every, axis=0)) == 256
    for num_parts in (0, 3, 7, 8, 64):
        np.testing.assert_array_equal(palette_lib.palette(num_parts), every[:num_parts + 1])


@pytest.mark.parametrize('num_parts', [-1, 256])
def test_a_palette_of_labels_that_no_byte_holds_is_refused(num_parts):
    with pytest.raises(ValueError, match='`num_parts`'):
        palette_lib.palette(num_parts)
