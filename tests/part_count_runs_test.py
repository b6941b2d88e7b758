"""Laws of the runs behind a choice of the number of parts."""
from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
from PIL import Image
import pytest

from scops_tf import config as config_lib
from scops_tf.datasets.lists import DatasetError
from scops_tf.evaluation import part_count_runs

pytestmark = pytest.mark.usefixtures('eager')


@pytest.fixture
def choice(load, trained_run, tmp_path, monkeypatch):
    """A choice among three parts with two seeds, whose trainings copy the same trained run."""
    made = []

    def train(config, workdir):
        made.append(os.path.basename(workdir))
        shutil.copytree(trained_run / 'checkpoints', os.path.join(workdir, 'checkpoints'))
        config_lib.save(config, workdir)
        return True

    monkeypatch.setattr(part_count_runs.loop, 'train', train)
    found = part_count_runs.Choice(
        lambda num_parts, seed, shared: load(
            f'Run.num_parts={num_parts}', f'Run.seed={seed}', *shared),
        str(tmp_path), counts=[3], num_seeds=2, max_photos=4)
    return found, made


def test_runs_are_made_once_and_share_their_features(choice, tmp_path, monkeypatch):
    found, made = choice
    assert found.make() and made == ['k03_seed0', 'k03_seed1']
    assert found.make() and len(made) == 2
    result = found.result()
    found.write(result)
    # Two copies of one run agree in everything.
    count, = result['counts']
    assert count['agreements'] == [100.0] and len(count['kept']) == len(count['dead']) == 2
    assert result['photos'] == 4 and result['advice']['num_parts'] == 3
    assert len(list((tmp_path / 'cache').glob('*.npy'))) == 1
    assert not (tmp_path / 'k03_seed0' / 'cache').exists()

    written = json.loads((tmp_path / 'choose_k.json').read_text())
    assert written['advice']['doubt'] == 'open' and written['counts'][0]['num_parts'] == 3
    assert np.asarray(Image.open(tmp_path / 'choose_k.png')).ndim == 3
    text = part_count_runs.text(result)
    assert 'Take 3 parts (open).' in text and '100.0 (100.0 to 100.0)' in text

    # The labels are kept, and no network is needed for them again.
    monkeypatch.setattr(found, '_part_maps', None)
    assert found.result() == result


def test_labels_are_made_again_for_other_settings_of_theirs(choice, load, monkeypatch):
    found, _ = choice
    assert found.make() and found.result()
    asked, part_maps = [], found._part_maps
    monkeypatch.setattr(found, '_part_maps',
                        lambda *given: asked.append(given) or part_maps(*given))
    found._configs[3, 1] = load('Run.num_parts=3', 'Run.seed=1', 'Decode.background=0.4')
    found.result()
    assert len(asked) == 1


def test_a_run_that_collapses_counts_as_dead_whatever_it_had_before(choice, monkeypatch):
    found, made = choice
    train = part_count_runs.loop.train

    def collapse(config, workdir):
        train(dataclasses.replace(config, run=dataclasses.replace(config.run, steps=40)), workdir)
        raise part_count_runs.loop.CollapseError('All pixels are background.')

    monkeypatch.setattr(part_count_runs.loop, 'train', collapse)
    longer = {key: dataclasses.replace(config, run=dataclasses.replace(
        config.run, steps=config.run.steps + 1)) for key, config in found._configs.items()}
    monkeypatch.setattr(found, '_configs', longer)
    assert found.make() and made == ['k03_seed0', 'k03_seed1']
    count, = found.result()['counts']
    assert count['dead'] == [3, 3] and count['agreements'] == [0.0] and count['kept'] == [0.0, 0.0]


def test_runs_of_different_photos_are_not_compared(choice, tmp_path):
    found, _ = choice
    assert found.make()
    for seed, text in enumerate(('photo\na.png\n', 'photo\nb.png\n')):
        (tmp_path / f'k03_seed{seed}' / 'photos.csv').write_text(text)
    with pytest.raises(part_count_runs.ChoiceError, match='k03_seed1.photos.csv differ'):
        found._require_same_photos()
    with pytest.raises(DatasetError, match='must stay as they were'):
        found.result()


def test_a_run_of_another_configuration_is_refused(choice, load, tmp_path):
    found, _ = choice
    config_lib.save(load('Run.num_parts=5'), str(tmp_path / 'k03_seed0'))
    with pytest.raises(config_lib.ConfigError, match='must be continued with'):
        found.make()


def test_numbers_of_parts_are_a_range_or_a_list(run_command):
    for text, sentence in (('2-4', 'a range such as 2:12'), ('4:2', 'ascending'),
                           ('0:3', r'lie in [1, 64]'), ('2:2000000000', 'lie in [1, 64]')):
        done = run_command('choose_k', '--gin_file=quickstart', f'--parts={text}')
        assert done.returncode == 1 and sentence in done.stderr, text
        assert done.stderr.count('\n') == 1
