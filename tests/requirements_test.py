"""Holds requirements.txt, setup.py and constraints.txt to each other and to the imports."""
from __future__ import annotations

import ast
import importlib.util
import pathlib
import re
from typing import Dict, List

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PYTHONS = ('3.9.18', '3.10.13', '3.11.7')
_DISTRIBUTIONS = {'PIL': 'pillow', 'absl': 'absl-py', 'gin': 'gin-config', 'google': 'protobuf',
                  'pydensecrf': 'pydensecrf2', 'skimage': 'scikit-image', 'sklearn': 'scikit-learn'}


def _read(name: str) -> List[Requirement]:
    lines = (_ROOT / name).read_text(encoding='utf-8').splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def _extras() -> List[Requirement]:
    source = (_ROOT / 'setup.py').read_text(encoding='utf-8')
    return [Requirement(text) for text in re.findall(r"'([\w\[\]-]+(?:==|>=)[\d.]+)'", source)]


def _pins(python: str) -> Dict[str, Requirement]:
    """Constraints that hold on Linux with a version of Python, by name."""
    environment = {'python_full_version': python, 'python_version': python.rpartition('.')[0],
                   'sys_platform': 'linux', 'platform_python_implementation': 'CPython',
                   'implementation_name': 'cpython'}
    pins: Dict[str, Requirement] = {}
    for pin in _read('constraints.txt'):
        if pin.marker is None or pin.marker.evaluate(environment):
            name = canonicalize_name(pin.name)
            assert name not in pins, f'{name} has two constraints on Python {python}.'
            pins[name] = pin
    return pins


@pytest.mark.parametrize('python', _PYTHONS)
def test_every_requirement_is_constrained_to_one_version_in_its_range(python):
    pins = _pins(python)
    extras = _extras()
    assert {'tensorflow', 'pydensecrf2', 'pytest', 'pytest-xdist', 'ruff', 'uv'
            } == {extra.name for extra in extras}
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
