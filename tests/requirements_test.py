"""Holds the lists of packages to each other, to the imports and to what is installed."""
from __future__ import annotations

import ast
import email.message
import importlib.util
import pathlib
import re
import subprocess
import sys
from typing import Dict, List

import licenses
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PYTHONS = ('3.9.18', '3.10.13', '3.11.7')
_DISTRIBUTIONS = {'PIL': 'pillow', 'absl': 'absl-py', 'gin': 'gin-config', 'google': 'protobuf',
                  'pydensecrf': 'pydensecrf2', 'skimage': 'scikit-image', 'sklearn': 'scikit-learn'}


def _read(name: str) -> List[Requirement]:
    text = re.sub(r' \\\n +--hash=\S+', '', (_ROOT / name).read_text(encoding='utf-8'))
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith('#')]


def _extras() -> List[Requirement]:
    source = (_ROOT / 'setup.py').read_text(encoding='utf-8')
    return [Requirement(text) for text in re.findall(r"'([\w\[\]-]+(?:==|>=)[\d.]+)'", source)]


def _pins(python: str, of: str = 'constraints.txt') -> Dict[str, Requirement]:
    """Constraints that hold on Linux with a version of Python, by name."""
    environment = {'python_full_version': python, 'python_version': python.rpartition('.')[0],
                   'sys_platform': 'linux', 'platform_python_implementation': 'CPython',
                   'implementation_name': 'cpython'}
    pins: Dict[str, Requirement] = {}
    for pin in _read(of):
        if pin.marker is None or pin.marker.evaluate(environment):
            name = canonicalize_name(pin.name)
            assert name not in pins, f'{name} has two constraints on Python {python}.'
            pins[name] = pin
    return pins


@pytest.mark.parametrize('python', _PYTHONS)
def test_every_requirement_is_constrained_to_one_version_in_its_range(python):
    pins = _pins(python)
    extras = _extras()
    assert {'tensorflow', 'pydensecrf2', 'pillow-heif', 'pycocotools', 'pytest', 'pytest-xdist',
            'ruff', 'uv'} == {extra.name for extra in extras}
    for requirement in _read('requirements.txt') + extras:
        specifier = str(pins[canonicalize_name(requirement.name)].specifier)
        assert specifier.startswith('=='), specifier
        assert requirement.specifier.contains(specifier[2:]), (requirement, specifier)


def test_every_library_imported_is_a_requirement():
    required = {canonicalize_name(requirement.name)
                for requirement in _read('requirements.txt') + _extras()}
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


@pytest.mark.parametrize('python', _PYTHONS)
def test_what_is_locked_is_what_is_constrained(python):
    locked, pins = _pins(python, 'requirements.lock'), _pins(python)
    assert {canonicalize_name(requirement.name) for requirement in _read('requirements.txt')
            } <= set(locked)
    assert {name: pin.specifier for name, pin in locked.items()} == {
        name: pins[name].specifier for name in locked}


def test_every_locked_package_has_hashes_and_no_place():
    text = (_ROOT / 'requirements.lock').read_text(encoding='utf-8')
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
    done = subprocess.run([sys.executable, '-m', 'pip', 'check'], capture_output=True, text=True,
                          timeout=60)
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
    found = [package.name for package in licenses.closure(_read('requirements.txt'))]
    assert {'tensorflow', 'pillow', 'werkzeug'} <= set(found)  # TensorBoard needs the last.
    assert not {'pytest', 'ruff'} & set(found)
    assert found == sorted(found)
