"""Laws of a table of scores."""
import numpy as np
import pytest

from scops_tf.pages.score_table import ScoreTable

_COLUMNS = [('error', 'lower'), ('NMI', 'higher'), ('size', '')]


def test_the_best_of_every_column_with_a_direction_is_marked():
    table = ScoreTable('CUB', {}, _COLUMNS, [
        ('ours', [14.25, 20.5, 3]), ('DFF', [14.75, 30.25, 2]), ('none', [26.5, None, np.nan])])
    assert table.cells() == [
        ('ours', [('14.25', True), ('20.50', False), ('3.00', False)]),
        ('DFF', [('14.75', False), ('30.25', True), ('2.00', False)]),
        ('none', [('26.50', False), ('\u2013', False), ('\u2013', False)])]


def test_trivial_rows_are_apart_and_still_compared():
    table = ScoreTable('CUB', {}, _COLUMNS, [
        ('ours', [14.25, 20.5, 3]), ('mid-point', [9.5, None, None])], trivial=['mid-point'])
    assert [name for name, _ in table.methods] == ['ours']
    assert table.methods[0][1][0] == ('14.25', False)
    assert table.baselines == [
        ('mid-point', [('9.50', True), ('\u2013', False), ('\u2013', False)])]


def test_a_row_with_a_value_too_few_is_refused():
    with pytest.raises(ValueError, match='`rows`.*3 values'):
        ScoreTable('CUB', {}, _COLUMNS, [('ours', [])]).cells()
