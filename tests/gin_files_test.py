"""Laws of the shipped gin files: which experiment each one is, and what its header says."""
from __future__ import annotations

import dataclasses
import pathlib
import re

import pytest

from scops_tf import config
from scops_tf.datasets import pascal

FOLDER = pathlib.Path(__file__).resolve().parent.parent / 'gin'
# Included by others or given after them; no experiments in themselves.
BASES = ('preset_fast', 'preset_plus', 'preset_resnet50', 'preset_paper', 'pascal')
EXPERIMENTS = sorted(path.stem for path in FOLDER.glob('*.gin') if path.stem not in BASES)
CATEGORIES = {'horse': 'horse', 'cow': 'cow', 'sheep': 'sheep', 'aero': 'aeroplane', 'bus': 'bus',
              'car': 'car', 'motor': 'motorbike'}
NO_EQUIVARIANCE = {'losses.equivariance': 0.0, 'losses.center_equivariance': 0.0}
ABLATIONS = {
    'only_sc': {'losses.concentration': 0.0, **NO_EQUIVARIANCE},
    'no_sc': {'losses.semantic_consistency': 0.0, 'losses.orthonormal': 0.0},
    'no_con': {'losses.concentration': 0.0},
    'no_eqv': NO_EQUIVARIANCE,
    'no_saliency': {'data.saliency': None},
}


def load(name: str) -> config.Config:
    return config.load([str(FOLDER / f'{name}.gin')])


def differences(name: str, base: str) -> dict:
    """{'section.field': value} of what `name` sets otherwise than `base`."""
    ours, theirs = (dataclasses.asdict(load(each)) for each in (name, base))
    del ours['operative']
    return {f'{section}.{field}': value for section, fields in ours.items()
            for field, value in fields.items() if value != theirs[section][field]}


def test_there_is_a_file_for_every_row_of_the_paper():
    assert set(EXPERIMENTS) >= {'celeba_k4', 'celeba_k8', 'aflw_k8', 'cub', *(
        f'pascal_{short}' for short in CATEGORIES), *(f'celeba_k8_{name}' for name in ABLATIONS)}
    assert set(CATEGORIES.values()) == set(pascal.CATEGORIES)


@pytest.mark.parametrize('name', ABLATIONS)
def test_an_ablation_changes_nothing_but_what_it_leaves_out(name):
    assert differences(f'celeba_k8_{name}', 'celeba_k8') == ABLATIONS[name]


@pytest.mark.parametrize('short', CATEGORIES)
def test_categories_of_pascal_differ_in_the_category_alone(short):
    assert differences(f'pascal_{short}', 'pascal') == {'data.category': CATEGORIES[short]}
    assert load(f'pascal_{short}').run.num_parts == 4


def test_aflw_starts_from_the_run_on_celeba_with_its_parts():
    tuned = load('aflw_k8')
    assert tuned.run.init_from == config.workdir_for(['gin/celeba_k8.gin'])
    assert set(differences('aflw_k8', 'celeba_k8')) == {
        'data.dataset', 'run.init_from', 'run.steps', 'checkpoint.every'}


def test_loss_weights_are_the_same_mean_over_parts_whatever_their_number():
    for name in ('celeba_k4', 'celeba_k8'):
        loaded = load(name)
        parts, losses = loaded.run.num_parts, loaded.losses
        assert losses.equivariance * (parts + 1) == pytest.approx(1.0, rel=0.01)
        assert losses.center_equivariance * 2 * parts == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_the_command_of_a_header_is_of_its_own_file(name):
    header = (FOLDER / f'{name}.gin').read_text(encoding='utf-8')
    commands = re.findall(r'--gin_file=(\S+)', header)
    assert commands == [f'gin/{name}.gin'] or name == 'quickstart' and not commands
