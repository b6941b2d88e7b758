"""Holds the commands, files and links of the documents to what there is."""
from __future__ import annotations

import pathlib
import re
import shlex
from typing import List, Tuple

import pytest

from scops_tf import config

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_DOCUMENTS = [_ROOT / name for name in ('README.md', 'CONTRIBUTING.md')] + sorted(
    (_ROOT / 'docs').glob('*.md'))


def _commands(document: pathlib.Path) -> List[List[str]]:
    """Commands of the shell blocks, split into words; continued lines are one command."""
    text = document.read_text(encoding='utf-8')
    lines = [line for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL)
             for line in block.replace('\\\n', ' ').splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


_MODULE_COMMANDS: List[Tuple[str, List[str]]] = [
    (document.name, command[2:]) for document in _DOCUMENTS for command in _commands(document)
    if command[:2] == ['python', '-m'] and command[2].startswith('scops_tf')]


def test_the_readme_shows_the_main_job():
    shown = {words[0] for name, words in _MODULE_COMMANDS if name == 'README.md'}
    assert {'scops_tf.train', 'scops_tf.export', 'scops_tf.predict'} <= shown


@pytest.mark.parametrize('document, words', _MODULE_COMMANDS, ids=lambda value: str(value)[:60])
def test_a_command_has_its_module_its_flags_and_a_configuration_that_builds(document, words):
    module = _ROOT / words[0].replace('.', '/')
    path = module.with_suffix('.py') if module.with_suffix('.py').exists() else (
        module / '__main__.py')
    source = ''.join(each.read_text(encoding='utf-8') for each in (
        path, _ROOT / 'scops_tf' / 'command.py', _ROOT / 'scops_tf' / 'prediction' / 'options.py'))
    values = {}
    for word in words[1:words.index('--') if '--' in words else None]:
        match = re.fullmatch(r'--(\w+)(?:=(.*))?', word)
        if match:
            assert f"'{match.group(1)}'" in source, f'{document}: {words[0]} has no {word}'
            values.setdefault(match.group(1), []).append(match.group(2))
    if 'gin_file' in values:
        config.load([str(_ROOT / name) for name in values['gin_file']],
                    values.get('gin_param', []))


@pytest.mark.parametrize('document', _DOCUMENTS, ids=lambda path: path.name)
def test_scripts_and_links_are_there(document):
    for words in _commands(document):
        script = words[1] if words[0] in ('python', 'bash') and len(words) > 1 else words[0]
        if script.startswith('scripts/'):
            assert (_ROOT / script).exists(), script
    prose = re.sub(r'```.*?```', '', document.read_text(encoding='utf-8'), flags=re.DOTALL)
    for target in re.findall(r'\]\(([^)#\s]+)[^)]*\)', prose):
        if not target.startswith(('http://', 'https://')):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize('document', _DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_are_there(document):
    text = document.read_text(encoding='utf-8')
    files = {path.name: path.read_text(encoding='utf-8')
             for path in (_ROOT / 'tests').glob('*_test.py')}
    for name in re.findall(r'`(?:tests/)?(\w+_test\.py)`', text):
        assert name in files, name
    for name in re.findall(r'`(test_\w+)`', text):
        assert any(f'def {name}(' in source for source in files.values()), name
    for name, laws in re.findall(r'`(\w+_test\.py)`: ((?:`test_\w+`(?:, )?)+)', text):
        for law in re.findall(r'`(test_\w+)`', laws):
            assert f'def {law}(' in files[name], f'{name} has no {law}'
