"""Laws of the arguments of the table of naming."""
from __future__ import annotations

import naming_table
import pytest

from scops_tf import command


def test_one_photo_at_least_is_left_to_be_scored():
    assert naming_table.counts_of(['1', ' 11'], 12) == [1, 11]
    for words in (['a'], ['1', '12'], ['0'], ['-1'], ['1.5'], []):
        with pytest.raises(command.CommandError, match='`--counts` must be whole .* from 1 to 11'):
            naming_table.counts_of(words, 12)
