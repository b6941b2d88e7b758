"""Gin files and bindings to a configuration; parsing is strict."""
from __future__ import annotations

import dataclasses
import importlib.util  # noqa: F401  gin's `include` uses it without importing it
import logging
import os
import re
from typing import Optional, Sequence, Set, Tuple

import gin

from scops_tf.config import laws, sections as sections_lib

# First line of a configuration that is saved; the number changes where bindings change in meaning.
FORMAT = 2
HEADER = '# scops_tf configuration, format {}\n'


def load(gin_files: Sequence[str], gin_params: Sequence[str] = (), *,
         seed: Optional[int] = None, method: Optional[str] = None) -> sections_lib.Config:
    """Reads gin files, then bindings on top of them, and builds the configuration.

    Args:
      gin_files: Paths; later ones override earlier ones. An `include` is found from the folder of
        the file that it stands in, or from the working folder.
      gin_params: Bindings, later ones override earlier ones; each may be a text of many lines.
      seed: Overrides `Run.seed` where given.
      method: Overrides `Run.method` where given.

    Raises:
      ConfigError: If a file is missing, a binding does not parse or names nothing, or a value
        breaks its law.
    """
    params = [*gin_params, *(f'Run.{name}={value!r}' for name, value in (
        ('seed', seed), ('method', method)) if value is not None)]
    gin.clear_config()
    root_logger = logging.getLogger()
    root_logger.addFilter(_is_no_search_step)
    try:
        for path in gin_files:
            if not os.path.isfile(path):
                raise laws.ConfigError(
                    f'`--gin_file` must name a gin file; there is none at {path!r}.')
            # Gin promises no order of the search: names must be unique among these folders.
            for folder in _folders(path):
                gin.add_config_file_search_path(folder)
        gin.parse_config_files_and_bindings(list(gin_files), params, finalize_config=False)
        sections = {name: cls() for name, cls in sections_lib.SECTIONS}
        operative = gin.operative_config_str()
        unused = _bound_names(gin.config_str()) - _bound_names(operative)
        if unused:
            raise laws.ConfigError(
                f'Every binding must be used, but `{sorted(unused)[0]}` is unused; '
                'remove the scope or the macro.')
        return sections_lib.Config(operative=HEADER.format(FORMAT) + operative, **sections)
    except laws.ConfigError as error:
        raise laws.ConfigError(_without_gin_context(error)) from None
    except (ValueError, TypeError, SyntaxError, OSError, RuntimeError) as error:
        raise laws.ConfigError(_explained(error, [*gin_files, *gin_params])) from None
    finally:
        root_logger.removeFilter(_is_no_search_step)
        gin.clear_config()


def _folders(path: str) -> Tuple[str, ...]:
    """The folders of a gin file and of those that it includes."""
    folder = os.path.dirname(os.path.abspath(path))
    with open(path, encoding='utf-8') as file:
        names = re.findall(r'^include\s+[\'"](.+)[\'"]', file.read(), re.MULTILINE)
    folders = {folder: None}
    for name in names:
        found = [included for included in (os.path.join(folder, name), os.path.abspath(name))
                 if os.path.isfile(included) and not os.path.samefile(included, path)]
        folders.update(dict.fromkeys(_folders(found[0]) if found else ()))
    return tuple(folders)


def _is_no_search_step(record: logging.LogRecord) -> bool:
    """False for what gin logs of a folder without the included file, which may be in the next."""
    return not str(record.msg).startswith(('Path not found', 'system_path_file_exists'))


def _without_gin_context(error: Exception) -> str:
    """Gin appends where a call came from to messages; users need the first sentence alone."""
    return str(error).split('\n')[0].strip()


def _explained(error: Exception, sources: Sequence[str]) -> str:
    """One sentence for what gin says of a file or binding."""
    lines = [line.strip() for line in str(error).split('\n') if line.strip()]
    message = lines[0] if lines else type(error).__name__
    where = ': '.join(line.rstrip(':') for line in lines[1:] if line.strip('^ '))
    known = ', '.join(cls.__name__ for _, cls in sections_lib.SECTIONS)
    if 'No configurable matching' in message:
        message = f'{message.rstrip(".")}; the known ones are {known}'
    elif 'have a parameter named' in message:
        name = re.search(r"Configurable '(?:[\w.]*\.)?(\w+)'", message)
        cls = {
            cls.__name__: cls
            for _, cls in sections_lib.SECTIONS
        }.get(name.group(1)) if name else None
        fields = ', '.join(field.name for field in dataclasses.fields(cls)) if cls else ''
        message = message.rstrip('.') + (f'; it has {fields}' if fields else '')
    source = f' ({where})' if where else ''
    given = ', '.join(text for text in sources if '\n' not in text)
    return f'Configuration of {given} cannot be used: {message.rstrip(".")}{source}.'


def _bound_names(text: str) -> Set[str]:
    return set(re.findall(r'^([\w./]+) =', text, re.MULTILINE))


def workdir_for(gin_files: Sequence[str], config: sections_lib.Config) -> str:
    """Folder of a run where `--workdir` is not given.

    Args:
      gin_files: Paths of the run's gin files.
      config: That they and the bindings give.

    Returns:
      Below `runs/`, the names of the files in their order, of `Data.category` where there is one,
      and of the baseline: `runs/pascal_plus_horse_dff`.

    Raises:
      ConfigError: If there is no file.
    """
    if not gin_files:
        raise laws.ConfigError(
            '`--workdir` or `--gin_file` must be given, since the folder of the run '
            'is named by one.')
    names = [os.path.splitext(os.path.basename(path))[0] for path in gin_files]
    if config.data.category is not None:
        names.append(config.data.category)
    if config.run.method != 'segmenter':
        names.append(config.run.method)
    return os.path.join('runs', '_'.join(names))
