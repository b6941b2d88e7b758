"""Laws of images side by side."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.pictures import sheets
from scops_tf.pictures.palette import palette


def _photo(height=96, width=128, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_an_image_keeps_its_proportions_in_a_cell():
    for height, width in ((60, 90), (900, 300), (7, 500)):
        shown, factor = sheets.fit(_photo(height, width), (120, 160))
        assert shown.shape[0] == 120 or shown.shape[1] == 160
        assert shown.shape[0] <= 120 and shown.shape[1] <= 160
        assert abs(shown.shape[0] - height * factor) <= 1
        assert abs(shown.shape[1] - width * factor) <= 1


def test_a_sheet_shows_every_image_whole_and_in_its_place():
    colors = palette(5)[1:]
    rows = [[np.full((30, 40, 3), colors[0]), np.full((40, 20, 3), colors[1])],
            [np.full((60, 80, 3), colors[2]), np.full((10, 20, 3), colors[3]),
             np.full((300, 400, 3), colors[4])]]
    picture = sheets.sheet(rows, cell_size=(60, 80), column_captions=['first', 'x' * 200],
                           row_captions=['some row'])
    places = []
    for color in colors:
        ys, xs = np.nonzero(np.all(picture == color, axis=-1))
        places.append((ys.min(), ys.max(), xs.min(), xs.max()))
    sizes = [(bottom - top + 1, right - left + 1) for top, bottom, left, right in places]
    assert sizes == [(60, 80), (60, 30), (60, 80), (40, 80), (60, 80)]
    assert places[0][3] < places[1][2] and places[2][3] < places[3][2] < places[3][3] < places[4][2]
    assert places[1][1] < places[2][0]
    with pytest.raises(ValueError, match='at least one image'):
        sheets.sheet([[]])
    with pytest.raises(ValueError, match='`row_captions`'):
        sheets.sheet([[_photo()]], row_captions=['a', 'b'])
