"""Laws of the plots."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.pictures import plots


def test_plots_stand_below_each_other_and_the_chosen_number_is_marked():
    panel = plots.Panel('agreement', [[50, 60], [70.0], [float('nan')]], low=0, high=100)
    one = plots.panels([2, 3, 4], [panel], label='parts')
    two = plots.panels([2, 3, 4], [panel, plots.Panel('gap', [[0.1], [0.1], [0.1]])], chosen=3)
    assert one.dtype == np.uint8 and one.shape[1:] == two.shape[1:] == (1440, 3)
    assert len(two) > 1.7 * len(one)
    orange = np.all(two == (213, 94, 0), axis=-1)
    assert orange.any() and not np.all(one == (213, 94, 0), axis=-1).any()
    # Below the second of three numbers.
    assert abs(np.argwhere(orange)[:, 1].mean() - (140 + 1440 - 48) / 2) < 20


def test_what_cannot_be_drawn_is_a_sentence():
    with pytest.raises(ValueError, match='at least one each; got 0 and 1'):
        plots.panels([], [plots.Panel('a', [])])
    with pytest.raises(ValueError, match='must have 2 entries'):
        plots.panels([2, 3], [plots.Panel('a', [[1.0]])])
