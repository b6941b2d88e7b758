"""Laws of the pieces of a file about many photos."""
from __future__ import annotations

import os
import re

import pytest

from scops_tf.labels import pieces


def test_a_piece_is_found_as_it_was_added_under_any_name(tmp_path):
    kept = pieces.Pieces(str(tmp_path))
    added = {'a': b'', 'deep/b': b'text', os.fsdecode(b'caf\xe9'): b'\x00\xff', 'c' * 250: b'long'}
    for name, content in added.items():
        kept.add(name, content)
    again = pieces.Pieces(str(tmp_path))
    assert {name: again.found(name) for name in added} == added and again.found('none') is None
    assert list(again.of(list(added))) == list(added.values())
    again.remove()
    assert kept.found('a') is None and not any(tmp_path.iterdir())


@pytest.mark.parametrize('damaged', [
    b'', b'short', None, 'first', 'last'], ids=['empty', 'short', 'cut', 'digest', 'content'])
def test_a_damaged_piece_is_none_and_is_told_where_it_is_needed(tmp_path, damaged):
    kept = pieces.Pieces(str(tmp_path))
    kept.add('a', b'whole')
    kept.add('b', b'some content')
    kept.add('c', b'whole')
    path = kept._path('b')
    whole = bytearray(open(path, 'rb').read())
    if damaged is None:
        whole = whole[:-1]
    elif isinstance(damaged, bytes):
        whole = damaged
    else:
        whole[{'first': 0, 'last': -1}[damaged]] ^= 1
    open(path, 'wb').write(whole)
    assert kept.found('b') is None and kept.found('c') == b'whole'
    read = kept.of(['a', 'b', 'c'])
    assert next(read) == b'whole'
    with pytest.raises(OSError, match=f"{re.escape(str(tmp_path))}.*whole piece.*'b'.*again"):
        next(read)
