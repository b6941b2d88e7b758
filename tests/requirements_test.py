"""Holds the lists of packages to each other, to the imports and to what is installed."""
from __future__ import annotations

import ast
import email.message
import importlib.util
import os
import pathlib
import re
import runpy
import subprocess
import sys
from typing import Dict, List, NamedTuple
from unittest import mock

import licenses
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import pytest
import setuptools

from scops_tf import command

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_STACKS = {'2.15': ('constraints.txt', 'requirements.lock'),
           'current': ('constraints-current.txt', 'requirements-current.lock')}
_PYTHONS = [('3.9.18', '2.15'), ('3.10.13', '2.15'), ('3.11.7', '2.15'), ('3.11.7', 'current'),
            ('3.12.1', 'current'), ('3.13.0', 'current')]
_DISTRIBUTIONS = {'PIL': 'pillow', 'absl': 'absl-py', 'gin': 'gin-config', 'google': 'protobuf',
                  'pydensecrf': 'pydensecrf2', 'apache_beam': 'apache-beam',
                  'imageio_ffmpeg': 'imageio-ffmpeg', 'yaml': 'pyyaml',
                  'skimage': 'scikit-image', 'sklearn': 'scikit-learn'}
# Of extras that are no part of the one resolve.
_APART = {'apache-beam', 'axe-selenium-python', 'gradio', 'selenium', 'starlette'}


def _read(name: str) -> List[Requirement]:
    text = re.sub(r' \\\n +--hash=\S+', '', (_ROOT / name).read_text(encoding='utf-8'))
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith('#')]


class Declared(NamedTuple):
    """What setup.py declares.

    Attributes:
      required: The packages that scops_tf needs.
      extra: The packages of all extras.
    """

    required: List[Requirement]
    extra: List[Requirement]


def _declared(stack: str) -> Declared:
    """What setup.py declares for a stack."""
    with mock.patch.object(setuptools, 'setup') as setup, mock.patch.dict(
            os.environ, SCOPS_STACK=stack):
        runpy.run_path(str(_ROOT / 'setup.py'))
    given = setup.call_args.kwargs
    return Declared(*([Requirement(line) for line in lines] for lines in (
        given['install_requires'], sum(given['extras_require'].values(), []))))


def _holding(requirements: List[Requirement], python: str) -> List[Requirement]:
    """The requirements that hold on Linux with a version of Python."""
    environment = {'python_full_version': python, 'python_version': python.rpartition('.')[0],
                   'sys_platform': 'linux', 'platform_python_implementation': 'CPython',
                   'implementation_name': 'cpython'}
    return [each for each in requirements
            if each.marker is None or each.marker.evaluate(environment)]


def _pins(python: str, of: str) -> Dict[str, Requirement]:
    """Constraints that hold with a version of Python, by name."""
    pins: Dict[str, Requirement] = {}
    for pin in _holding(_read(of), python):
        name = canonicalize_name(pin.name)
        assert name not in pins, f'{name} has two constraints on Python {python}.'
        pins[name] = pin
    return pins


@pytest.mark.parametrize('python, stack', _PYTHONS)
def test_every_requirement_is_constrained_to_one_version_in_its_range(python, stack):
    constraints, lock = _STACKS[stack]
    pins, locked = _pins(python, constraints), _pins(python, lock)
    declared = _declared(stack)
    required = _holding(declared.required, python)
    extras = _holding(declared.extra, python)
    assert {'tensorflow', 'pydensecrf2', 'pillow-heif', 'imageio-ffmpeg', 'pycocotools', 'pytest',
            'pytest-xdist', 'ruff', 'uv', *_APART} == {extra.name for extra in extras} - {
                'cython', 'onnx', 'onnxruntime', 'tf2onnx'}
    assert not _APART & set(pins)
    for requirement in required + [extra for extra in extras if extra.name not in _APART]:
        specifier = str(pins[canonicalize_name(requirement.name)].specifier)
        assert specifier.startswith('=='), specifier
        assert requirement.specifier.contains(specifier[2:]), (requirement, specifier)
    # What is locked is what is constrained.
    assert {canonicalize_name(requirement.name) for requirement in required} <= set(locked)
    assert {name: pin.specifier for name, pin in locked.items()} == {
        name: pins[name].specifier for name in locked}


@pytest.mark.parametrize('python, stack', _PYTHONS + [('3.12.1', ''), ('3.11.7', '')])
def test_the_libraries_of_tensorflow_2_15_are_required_by_its_stack_alone(python, stack):
    required = {each.name: each for each in _holding(_declared(stack).required, python)}
    is_current = stack == 'current' or python.startswith('3.12')
    assert ('tf-keras' in required) == is_current
    for name in ('keras-cv', 'tensorflow-addons'):
        assert (name in required) != is_current
    assert required['tensorflow'].specifier.contains('2.15.1') != is_current


def test_every_library_imported_is_a_requirement():
    required = {canonicalize_name(requirement.name)
                for requirements in _declared('') for requirement in requirements}
    for path in (_ROOT / 'scops_tf').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for library in {name.split('.')[0] for name in names} - {'scops_tf'}:
                distribution = canonicalize_name(_DISTRIBUTIONS.get(library, library))
                assert distribution in required or _is_of_python(library), (
                    f'{path}:{node.lineno} imports {library}, which is no requirement.')


def _is_of_python(library: str) -> bool:
    spec = importlib.util.find_spec(library)
    return spec is not None and 'site-packages' not in (spec.origin or 'site-packages')


@pytest.mark.parametrize('lock', [lock for _, lock in _STACKS.values()])
def test_every_locked_package_has_hashes_and_no_place(lock):
    text = (_ROOT / lock).read_text(encoding='utf-8')
    entries = re.split(r'\n(?=\S)', text.rstrip('\n'))
    for entry in entries:
        if not entry.startswith('#'):
            first, *hashes = entry.split(' \\\n')
            assert re.fullmatch(r'[\w.-]+==[\w.]+( ; .*)?', first), first
            assert hashes, first
            for each in hashes:
                assert re.fullmatch(r' +--hash=sha256:[0-9a-f]{64}', each), first
    assert '://' not in text


def test_the_installed_packages_agree_with_each_other():
    # Without this folder on the path, which may hold what was built for another environment.
    done = subprocess.run([sys.executable, '-I', '-m', 'pip', 'check'], capture_output=True,
                          text=True, timeout=60, cwd='/')
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_licence_is_its_expression_or_classifier_or_text():
    metadata = email.message.Message()
    assert licenses.licence_of(metadata) == licenses.NOT_STATED
    metadata['License'] = 'Free as air\nand more words'
    assert licenses.licence_of(metadata) == 'Free as air'
    metadata['Classifier'] = 'Topic :: Games'
    metadata['Classifier'] = 'License :: OSI Approved :: MIT License'
    assert licenses.licence_of(metadata) == 'MIT License'
    metadata['License-Expression'] = 'MPL-2.0 AND MIT'
    assert licenses.licence_of(metadata) == 'MPL-2.0 AND MIT'


def test_copyleft_licences_and_missing_ones_are_named():
    packages = [licenses.Package('a', '1', 'MIT'), licenses.Package('b', '2', 'LGPLv3+'),
                licenses.Package('c', '3', licenses.NOT_STATED),
                licenses.Package('d', '4', 'Simplified BSD'),
                licenses.Package('e', '5', 'Mozilla Public License 2.0 (MPL 2.0)')]
    text = licenses.report(packages)
    assert '| d | 4 | Simplified BSD |' in text
    assert 'Copyleft: b (LGPLv3+), e (Mozilla Public License 2.0 (MPL 2.0)).' in text
    assert 'Without a licence in their metadata: c.' in text


def test_the_licences_are_of_what_is_required_and_of_what_that_requires():
    found = [package.name for package in licenses.closure(licenses.required())]
    assert {'tensorflow', 'pillow', 'werkzeug'} <= set(found)  # TensorBoard needs the last.
    assert not {'pytest', 'ruff'} & set(found)
    assert found == sorted(found)


def test_an_extra_that_there_is_not_is_named(monkeypatch):
    metadata = email.message.Message()
    for name in ('heif', 'crf'):
        metadata['Provides-Extra'] = name
    monkeypatch.setattr(licenses.importlib.metadata, 'metadata', lambda name: metadata)
    assert licenses.of_extras([]) == []
    assert [str(each) for each in licenses.of_extras(['crf', 'heif'])] == ['scops_tf[crf,heif]']
    with pytest.raises(command.CommandError, match="`--extras` must be out of crf, heif; got 'no'"):
        licenses.of_extras(['crf', 'no'])


def test_the_constraints_are_resolved_for_all_extras_but_those_that_are_left_out():
    makefile = (_ROOT / 'Makefile').read_text(encoding='utf-8')
    resolved = re.search(r'^EXTRAS = .*--extra ,(.*)\)$', makefile, re.MULTILINE).group(1)
    setup = (_ROOT / 'setup.py').read_text(encoding='utf-8').split('extras_require=')[1]
    extras = re.findall(r"^ +'(\w+)': ", setup, re.MULTILINE)
    assert {*resolved.split(), 'beam', 'browser', 'demo'} == set(extras)
