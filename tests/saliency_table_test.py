"""Laws of the files of the table of saliency maps."""
from __future__ import annotations

import json

import numpy as np
import saliency_table


def test_the_files_have_the_name_that_is_given_with_its_dots(tmp_path, monkeypatch):
    monkeypatch.setattr(saliency_table, 'markdown', lambda result: 'table')
    older = tmp_path / 'saliency.md'
    older.write_text('older')
    saliency_table.write(
        str(tmp_path / 'saliency.v2'), {'mae': float('nan')}, np.zeros((3, 5, 3), np.uint8))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'saliency.md', 'saliency.v2.json', 'saliency.v2.md', 'saliency.v2.png']
    assert older.read_text() == 'older'
    assert json.loads((tmp_path / 'saliency.v2.json').read_text()) == {'mae': None}
