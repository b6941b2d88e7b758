"""Laws of the diagnoses: silent on a healthy run, and true settings in every remedy."""
from __future__ import annotations

import ast
import dataclasses
import pathlib
import re

import numpy as np
import pytest

from scops_tf import config as config_lib
from scops_tf.training import diagnoses, findings
from scops_tf.training.measures import Measures

_DOCS = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'diagnosing.md'

# What the quick start measures after its training.
_HEALTHY = Measures(
    presence=np.array([0.91, 0.85, 0.82]), area=np.array([0.08, 0.09, 0.07]),
    margin=np.array([0.002, 0.001, 0.003]), salient=np.array([0.91, 0.92, 0.81]),
    likeness=np.array([[1, 0.22, 0.26], [0.22, 1, 0.54], [0.26, 0.54, 1]]),
    basis_likeness=np.array([[1, 0.37, 0.26], [0.37, 1, 0.28], [0.26, 0.28, 1]]),
    doubt=0.13, foreground=0.24, crowded=('a',), num_photos=32, in_sight=0.98, covered=0.81,
    pulls={'concentration': 0.5, 'equivariance': 0.22, 'center_equivariance': 0.23,
           'semantic_consistency': 0.67, 'orthonormal': 0.0}, clipped={'head': 0.3})


def _with(name, part, value):
    values = getattr(_HEALTHY, name).copy()
    values[part] = value
    return {name: values}


_BROKEN = {
    'all background': {'foreground': 0.004, 'presence': np.full(3, 0.01), 'doubt': 0.0},
    'dead part': _with('presence', 1, 0.05),
    'two parts are one': {'likeness': np.array([[1, 0.2, 0.9], [0.2, 1, 0.1], [0.9, 0.1, 1]])},
    'part on the background': _with('area', 2, 0.5),
    'saturated soft-max': {'doubt': 1e-4},
    'one loss rules': {'pulls': {**_HEALTHY.pulls, 'concentration': 90.0}},
    'every step is clipped': {'clipped': {'head': 1.0, 'basis': 0.1}},
    'views out of sight': {'in_sight': 0.3},
    'photos unlike the others': {'unlike': ('cat.jpg',)},
    'second objects': {'crowded': tuple('abcdefghijklmnop')},
}
_VARIANTS = {
    'two parts are one': {'basis_likeness': np.array(
        [[1, 0.99, 0.2], [0.99, 1, 0.1], [0.2, 0.1, 1]])},
    'part on the background': _with('salient', 0, 0.1),
    'views out of sight': {'covered': 0.2},
    'photos unlike the others': {'empty': ('cat.jpg', 'dog.jpg')},
}
_CASES = [*_BROKEN.items(), *_VARIANTS.items(),
          ('part on the background', _with('margin', 0, 0.6))]


def _configs():
    clipped = ['Optimizer.clip_norm=5.0']
    yield config_lib.load([], clipped)
    yield config_lib.load([], [*clipped, 'Data.saliency=None', 'Run.saliency_agreement=0',
                               "PartBasis.init='nmf'", 'Decode.center_window=None',
                               'Warp.max_shift=0.8', 'Warp.max_rotation=180.0'])
    yield config_lib.load([], [*clipped, "PartBasis.init='random'", "Optimizer.name='sgd'"])
    yield config_lib.load([], [*clipped, "Run.method='uld'", 'Run.warmup_steps=0'])


def _diagnose(config, **changes):
    pulls = {'concentration': 1.0, 'separation': 1.0, 'reconstruction': 1.0}
    healthy = _HEALTHY if config.run.method != 'uld' else dataclasses.replace(
        _HEALTHY, pulls=pulls, basis_likeness=None)
    if 'pulls' in changes and config.run.method == 'uld':
        changes = {'pulls': {**pulls, 'concentration': 90.0}}
    return diagnoses.diagnose(dataclasses.replace(healthy, **changes), config)


def test_a_healthy_run_and_one_that_was_not_measured_have_no_findings():
    for config in _configs():
        assert _diagnose(config) == []
        assert diagnoses.diagnose(Measures(), config) == []


@pytest.mark.parametrize('kind, changes', _CASES)
def test_a_broken_run_has_the_one_finding_that_is_right(kind, changes):
    config = next(_configs())
    found, = _diagnose(config, **changes)
    assert found.kind == kind
    # The fact has a number that was measured, or a name.
    assert re.search(r'\d|cat\.jpg', found.fact) and found.reason and found.remedies


def _applied(remedy, config) -> dict:
    """The settings after a remedy that says how far; empty for one that leaves it to the user."""
    value, how = config.settings[remedy.binding], remedy.how
    if remedy.move == findings.SET:
        return {remedy.binding: ast.literal_eval(how)}
    found = re.fullmatch(r'(by a factor of|by|to) ([\d.]+)(?: to \d+)?'
                         r'(?:, and `(Run.steps)` \(\d+\) to (\d+))?', how)
    if not found:
        return {}
    kind, number, other, other_value = found.groups()
    number, sign = type(value)(number), 1 if remedy.move == findings.RAISE else -1
    new = {'to': number, 'by': value + sign * number,
           'by a factor of': value * number if sign > 0 else value / number}[kind]
    assert (new > value) == (sign > 0) and new != value, remedy
    return {remedy.binding: new, **({other: int(other_value)} if other else {})}


def _with_settings(config, values):
    """The configuration with other settings, which obey its laws."""
    sections = {}
    for name, section in vars(config).items():
        own = {binding.split('.')[1]: value for binding, value in values.items()
               if binding.split('.')[0] == type(section).__name__}
        sections[name] = dataclasses.replace(section, **own)
    return dataclasses.replace(config, **sections)


_SETTINGS = {
    'no warm-up': ['Run.warmup_steps=0'],
    'a long warm-up': ['Run.warmup_steps=360', 'Run.steps=420'],
    'from another run': ["Run.init_from='runs/a'", 'Run.warmup_steps=360', 'Run.steps=420'],
    'taught': ["Run.teacher='runs/a'"],
    'taught by a recipe': ["Run.teacher='gin/presets/plus.gin'", 'Run.num_parts=2'],
    'a random start': ["PartBasis.init='random'", "Run.init_from='runs/a'"],
    'sgd': ["Optimizer.name='sgd'"],
    'adamw without decay': ["Optimizer.name='adamw'", 'Optimizer.weight_decay=0.0'],
    'weights of 0': [f'Losses.{name}=0.0' for name in (
        'concentration', 'semantic_consistency', 'orthonormal')],
    'a fixed basis': ['Optimizer.basis_learning_rate=0.0'],
    'agreed nine times': ['Run.saliency_agreement=9'],
    'agreed ten times': ['Run.saliency_agreement=10'],
    'one part': ['Run.num_parts=1'],
    'most parts': ['Run.num_parts=64'],
    'large objects': ['Warp.inverse_scale=(0.15, 0.2)'],
    'small objects': ['Warp.inverse_scale=(2.0, 3.0)'],
    'small warps': ['Warp.inverse_scale=(0.7, 1.3)', 'Warp.max_shift=0.0', 'Warp.max_rotation=0.0'],
    'uld': ["Run.method='uld'", 'Run.warmup_steps=0', 'Uld.concentration=0.0'],
}


@pytest.mark.parametrize('name', _SETTINGS)
def test_every_remedy_changes_something_and_is_no_setting_that_is_refused(name):
    config = config_lib.load([], ['Optimizer.clip_norm=5.0', *_SETTINGS[name]])
    run = config.run
    for kind, changes in [*_CASES, ('dead part', {'presence': np.full(3, 0.1)})]:
        for found in _diagnose(config, **changes):
            assert found.first(config) and found.lines(config), kind
            for remedy in found.remedies:
                values = _applied(remedy, config)
                assert not values or _with_settings(config, values) != config
                others = {'PartBasis.init'} if run.init_from or run.teacher else set()
                others |= {'Run.warmup_steps'} if run.init_from else set()
                others |= {'Run.num_parts'} if run.init_from or run.teacher == 'runs/a' else set()
                others |= {'Optimizer.weight_decay'} if config.optimizer.name == 'adam' else set()
                assert remedy.binding not in others, (kind, remedy)


@pytest.mark.parametrize('kind, changes', _CASES)
def test_remedies_name_settings_that_there_are_and_that_may_be_moved_so(kind, changes):
    headings = re.findall(r'^## (.+)$', _DOCS.read_text(encoding='utf-8'), re.MULTILINE)
    for config in _configs():
        for found in _diagnose(config, **changes):
            assert found.section in headings
            for remedy in found.remedies:
                value = config.settings[remedy.binding]
                assert remedy.move in (findings.RAISE, findings.LOWER, findings.SET)
                if remedy.move == findings.SET:
                    assert repr(value) != remedy.how
                    config_lib.load([], [f'{remedy.binding}={remedy.how}'])
                else:
                    assert isinstance(value, (int, float)) and not isinstance(value, bool)
                assert f'`{remedy.binding}` ({value!r})' in remedy.text(config)
                if config.run.method == 'uld':
                    assert not remedy.binding.startswith(('Losses.', 'PartBasis.'))
            lines = found.lines(config)
            assert lines[0] == found.fact and len(lines) >= 3 + len(found.remedies)


def test_each_diagnosis_has_its_section_in_the_docs():
    text = _DOCS.read_text(encoding='utf-8')
    config = next(_configs())
    for kind, changes in _BROKEN.items():
        assert f'`{kind}`' in text.split(f'## {_diagnose(config, **changes)[0].section}')[1].split(
            '\n## ')[0], kind


def test_a_loss_of_weight_0_rules_nothing():
    config = config_lib.load([], [
        f'Losses.{name}=0.0' for name in ('equivariance', 'center_equivariance',
                                          'semantic_consistency', 'orthonormal')])
    pulls = dict.fromkeys(_HEALTHY.pulls, 0.0)
    assert _diagnose(config, pulls={**pulls, 'concentration': 1.0}) == []


def test_dead_parts_are_one_finding_and_are_not_twins():
    config = next(_configs())
    found, = _diagnose(config, presence=np.array([0.9, 0.1, 0.2]),
                       basis_likeness=np.array([[1, 0.99, 0.99], [0.99, 1, 0.99], [0.99, 0.99, 1]]))
    assert found.fact.startswith('Part 2, 3 responds nowhere') and '0.10, 0.20' in found.fact
