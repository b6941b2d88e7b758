"""Runs the code of the notebook for one's own photos, with a training that the tests share."""
from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from scops_tf import config, datasets

_PATH = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'notebooks' / 'own_photos.ipynb'


@pytest.fixture(scope='module')
def cells():
    return json.loads(_PATH.read_text(encoding='utf-8'))['cells']


def test_the_notebook_is_kept_without_what_it_printed(cells):
    assert {cell['cell_type'] for cell in cells} == {'markdown', 'code'}
    assert all(cell['outputs'] == [] and cell['execution_count'] is None
               for cell in cells if cell['cell_type'] == 'code')
    identities = [cell['id'] for cell in cells]
    assert len(set(identities)) == len(identities)


def test_its_code_leads_from_photos_to_named_labels(
        cells, trained_run, run_command, tmp_path, monkeypatch):
    started = []

    def run(arguments, **_):
        name, *own = arguments[2:]
        started.append(name.partition('.')[2])
        if started[-1] != 'train':
            return run_command(started[-1], *own, cwd=tmp_path)
        # The training itself is that of all tests; its arguments must find the photos.
        given = [each.partition('=')[::2] for each in own]
        found = config.load([value for flag, value in given if flag == '--gin_file'],
                            [value for flag, value in given if flag == '--gin_param'])
        assert len(datasets.load_for(found, None).train) == 4
        shutil.copytree(trained_run, dict(given)['--workdir'])
        return subprocess.CompletedProcess(arguments, 0, 'trained', '')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, 'run', run)
    namespace = {}
    for index, cell in enumerate(cell for cell in cells if cell['cell_type'] == 'code'):
        exec(compile(''.join(cell['source']), f'cell {index}', 'exec'), namespace)  # As Jupyter.
        if index == 0:
            namespace['NUM_DRAWN'] = 4
    assert started == ['train', 'export', 'predict', 'name', 'predict']
    assert [category['name'] for category in namespace['labels']['categories']] == [
        'head', 'body', 'part 3']
    assert len(namespace['labels']['images']) == 4
    assert len(os.listdir(tmp_path / 'parts' / 'labelme')) == 4
