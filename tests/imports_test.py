"""Holds the imports of the package to the table of modules in CONTRIBUTING.md."""
from __future__ import annotations

import ast
import functools
import pathlib
import re
from typing import Dict, Iterator, List, NamedTuple, Set

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGE = _ROOT / 'scops_tf'
_SOURCES = sorted(path for path in _PACKAGE.rglob('*.py') if path.parent != _PACKAGE
                  or path.name != '__init__.py')


class Row(NamedTuple):
    """A module of the table, or a folder: what it may import of ours, and if it is NumPy only."""

    may_import: Set[str]
    numpy_only: bool


class Import(NamedTuple):
    """One imported name.

    Attributes:
      library: First part of the name.
      unit: Module or folder right below scops_tf, if it is one of ours.
      ours: All of the name below scops_tf, if it is one of ours.
      lazy: Whether it is imported inside a function.
      line: Its line.
    """

    library: str
    unit: str
    ours: str
    lazy: bool
    line: int


def _read_table() -> Dict[str, Row]:
    """Rows of the table by module name, in order; commands have none: they import anything."""
    rows: Dict[str, Row] = {}
    for line in (_ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if not line.startswith('| `') or len(cells) != 3 or cells[2].startswith('anything'):
            continue
        row = Row(set(re.findall(r'`(\w+)`', cells[2])), 'NumPy only' in cells[2])
        rows.update((name, row) for name in re.findall(r'`([\w/]+?)(?:\.py|/)`', cells[0]))
    return rows


_TABLE = _read_table()


def _name(path: pathlib.Path) -> str:
    """Name of the row: the module's own if it has one, else that of the folder it lies in."""
    module = path.relative_to(_PACKAGE).with_suffix('')
    return str(module) if str(module) in _TABLE else module.parts[0]


@functools.lru_cache(maxsize=None)
def _tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding='utf-8'))


def _is_command(path: pathlib.Path) -> bool:
    return path.stem == '__main__' or any(
        isinstance(node, ast.If) and '__name__' in ast.dump(node.test) for node in _tree(path).body)


def _imports(path: pathlib.Path) -> List[Import]:
    return list(_imports_below(_tree(path), path, lazy=False))


def _imports_below(node: ast.AST, path: pathlib.Path, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            assert child.level == 0, f'{path}:{child.lineno}: import by the absolute name.'
            names = [f'{child.module}.{alias.name}' for alias in child.names]
        elif isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        else:
            names = []
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports_below(child, path, lazy=lazy or is_function)
        for name in names:
            library, _, ours = name.partition('.')
            if library != 'scops_tf' or ours.startswith('__'):
                ours = ''
            yield Import(library, ours.split('.')[0], ours, lazy, child.lineno)


def _label(path: pathlib.Path) -> str:
    return str(path.relative_to(_ROOT))


@pytest.mark.parametrize('path', _SOURCES, ids=_label)
def test_a_module_imports_only_what_the_table_lets_it(path):
    name = _name(path)
    if _is_command(path):
        return
    assert name in _TABLE, (
        f'{_label(path)} is not in the table of modules in CONTRIBUTING.md; give it a row: its one '
        'job, and what it may import.')
    for found in _imports(path):
        assert found.unit in _TABLE[name].may_import | {'', name.split('/')[0]}, (
            f'{_label(path)}:{found.line} imports {found.unit}; the table in CONTRIBUTING.md '
            f'lets {name} import {sorted(_TABLE[name].may_import) or "nothing of ours"}.')


@pytest.mark.parametrize('path', _SOURCES, ids=_label)
def test_nobody_imports_a_command(path):
    commands = ['.'.join(other.relative_to(_PACKAGE).with_suffix('').parts)
                for other in _SOURCES if _is_command(other)]
    for found in _imports(path):
        assert not any(f'{found.ours}.'.startswith(f'{command}.') for command in commands), (
            f'{_label(path)}:{found.line} imports {found.ours}.')


def test_the_table_goes_downward():
    above: Set[str] = set()
    for name, row in _TABLE.items():
        assert row.may_import <= above, f'{name} may import {row.may_import - above}, not above it.'
        above.add(name)


def test_the_table_names_only_modules_that_exist():
    assert set(_TABLE) == {_name(path) for path in _SOURCES if not _is_command(path)}


def test_modules_on_plain_arrays_do_not_reach_tensorflow():
    numpy_only = {name for name, row in _TABLE.items() if row.numpy_only}
    assert numpy_only
    for path in _SOURCES:
        if _name(path) in numpy_only:
            assert {found.library for found in _imports(path)}.isdisjoint(
                {'tensorflow', 'keras', 'keras_cv', 'tensorflow_addons'}), _label(path)
    for name in numpy_only:
        assert _TABLE[name].may_import <= numpy_only, name


@pytest.mark.parametrize('library, home', [('tensorflow_addons', 'warp'), ('gin', 'config')])
def test_a_library_with_one_home_is_imported_nowhere_else(library, home):
    users = {_name(path) for path in _SOURCES
             if library in {found.library for found in _imports(path)}}
    assert users == {home}


@pytest.mark.parametrize('library', ['keras_cv', 'pydensecrf'])
def test_slow_and_optional_libraries_are_imported_where_they_are_used(library):
    for path in _SOURCES:
        for found in _imports(path):
            assert found.library != library or found.lazy, f'{_label(path)}:{found.line}'


def test_no_module_is_a_drawer_for_everything():
    for path in _SOURCES:
        assert not re.search(r'util|misc|common|helper', path.stem), _label(path)


def test_the_folder_gin_does_not_shadow_the_library():
    assert not list((_ROOT / 'gin').rglob('*.py'))
