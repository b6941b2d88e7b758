"""Laws of the legend."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.pictures import legend


def test_a_legend_shows_each_colour_and_breaks_into_rows_where_it_is_full():
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    entries = list(zip(colors, ('head', 'left wing', 'tail')))
    wide, narrow = legend.legend(entries, 400), legend.legend(entries, 130)
    assert wide.shape[1] == 400 and narrow.shape[1] == 130 and len(narrow) > 1.5 * len(wide)
    for picture in (wide, narrow):
        for color in colors:
            assert np.count_nonzero(np.all(picture == color, axis=-1)) > 100
    assert not np.array_equal(wide, legend.legend(list(zip(colors, ('head', 'wing', 'tail'))), 400))


def test_a_name_that_is_too_long_is_cut_and_what_cannot_be_drawn_is_refused():
    assert legend.legend([((1, 2, 3), 'x' * 100)], 64).shape[1] == 64
    with pytest.raises(ValueError, match='at least one part'):
        legend.legend([], 100)
