"""Holds the imports of the package to the table of packages in CONTRIBUTING.md."""
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
    """A package of the table, or a module beside them.

    Attributes:
      may_import: What it may import of ours besides itself.
      without_tensorflow: Its modules that run without TensorFlow.
    """

    may_import: Set[str]
    without_tensorflow: Set[str]


class Import(NamedTuple):
    """One imported name.

    Attributes:
      library: First part of the name.
      unit: Package or module right below scops_tf, if it is one of ours.
      ours: All of the name below scops_tf, if it is one of ours.
      lazy: Whether it is imported inside a function.
      line: Its line.
    """

    library: str
    unit: str
    ours: str
    lazy: bool
    line: int


def _module(path: pathlib.Path) -> str:
    """Name of a module below scops_tf; a package's own is that of its folder."""
    parts = path.relative_to(_PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def _read_table() -> Dict[str, Row]:
    """Rows of the table by name, in order; commands have none: they import anything."""
    rows: Dict[str, Row] = {}
    for line in (_ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if not line.startswith('| `') or len(cells) != 4 or cells[2].startswith('anything'):
            continue
        names = re.findall(r'`(\w+)(?:\.py|/)`', cells[0])
        may_import = set(re.findall(r'`(\w+)`', cells[2]))
        for name in names:
            modules = re.findall(r'`(\w+)`', cells[3])
            rows[name] = Row(may_import, {name} if cells[3] == 'all' and (
                _PACKAGE / f'{name}.py').exists() else {
                    _module(path) for path in (_PACKAGE / name).glob('*.py')
                    if cells[3] == 'all' or path.stem in modules})
            assert len(modules) in (0, len(rows[name].without_tensorflow)), line
    return rows


_TABLE = _read_table()


_MODULES = {_module(path): path for path in _SOURCES}


def _unit(path: pathlib.Path) -> str:
    """The row of a module: the package or the module right below scops_tf."""
    return _module(path).split('.')[0]


def _imported_module(found: Import) -> str:
    """The module of ours that an import reaches, '' if none."""
    name = found.ours
    while name and name not in _MODULES:
        name = name.rpartition('.')[0]
    return name


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
    name = _unit(path)
    if _is_command(path):
        return
    assert name in _TABLE, (
        f'{_label(path)} is not in the table of packages in CONTRIBUTING.md; put it into one of '
        'them, or give it a row: its one job, and what it may import.')
    for found in _imports(path):
        assert found.unit in _TABLE[name].may_import | {'', name}, (
            f'{_label(path)}:{found.line} imports {found.unit}; the table in CONTRIBUTING.md '
            f'lets {name} import {sorted(_TABLE[name].may_import) or "nothing of ours"}.')


def test_no_modules_import_each_other_in_a_circle():
    imports = {name: {_imported_module(found) for found in _imports(path)} - {'', name}
               for name, path in _MODULES.items()}
    while imports:
        free = {name for name, others in imports.items() if not others & set(imports)}
        assert free, f'A circle of imports among {sorted(imports)}.'
        for name in free:
            del imports[name]


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


def test_the_table_names_only_what_exists():
    assert set(_TABLE) == {_unit(path) for path in _SOURCES if not _is_command(path)}


def test_modules_without_tensorflow_do_not_reach_it():
    light = set().union(*(row.without_tensorflow for row in _TABLE.values()))
    assert {'images', 'saliency.robust_background', 'evaluation.landmark_regression'} <= light
    for name in light & set(_MODULES):
        for found in _imports(_MODULES[name]):
            assert found.library not in {
                'tensorflow', 'keras', 'keras_cv', 'tensorflow_addons'}, name
            reached = _imported_module(found)
            assert not reached or reached in light or found.lazy, f'{name} reaches {reached}.'


@pytest.mark.parametrize('library, home', [
    ('tensorflow_addons', 'training.warp'), ('keras_cv', 'training.color_jitter'),
    ('gin', 'config'), ('gradio', 'demo_app'), ('apache_beam', 'prediction')])
def test_a_library_with_one_home_is_imported_nowhere_else(library, home):
    users = {name for name, path in _MODULES.items()
             if library in {found.library for found in _imports(path)}}
    assert users and all(f'{name}.'.startswith(f'{home}.') for name in users), users


@pytest.mark.parametrize('library', [
    'imageio_ffmpeg', 'keras_cv', 'onnx', 'onnxruntime', 'pydensecrf', 'tf2onnx'])
def test_slow_and_optional_libraries_are_imported_where_they_are_used(library):
    for path in _SOURCES:
        for found in _imports(path):
            assert found.library != library or found.lazy, f'{_label(path)}:{found.line}'


def test_keras_is_taken_from_tensorflow_which_is_told_the_version():
    for path in _SOURCES:
        for found in _imports(path):
            assert found.library not in {'keras', 'tf_keras'}, f'{_label(path)}:{found.line}'
    imports = _imports(_PACKAGE / '__init__.py')
    assert [found.ours for found in imports if found.ours and not found.lazy] == ['stack']


def test_no_module_is_a_drawer_for_everything():
    for path in _SOURCES:
        assert not re.search(r'util|misc|common|helper', path.stem), _label(path)


def test_the_folder_gin_does_not_shadow_the_library():
    assert not list((_ROOT / 'gin').rglob('*.py'))
