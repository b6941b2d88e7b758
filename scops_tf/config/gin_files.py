"""Strict parsing of gin files and bindings into a configuration."""
from __future__ import annotations

import dataclasses
import functools
import importlib.util  # noqa: F401  gin's `include` uses it without importing it
import logging
import os
import re
import tokenize
from typing import Optional, Sequence, Set, Tuple

import gin

from scops_tf.config import configuration, laws


def shipped_folder() -> str:
    """Folder of the shipped gin files: in the installed package, or beside it in a clone."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, 'gin')
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), 'gin')


def find(name: str, setting: str = '--gin_file') -> str:
    """Path of a gin file: the user's, or a shipped one.

    Args:
      name: Path of a file, which comes first; or a shipped one by its path in a clone, such as
        'gin/presets/quick.gin', or by its name alone, such as 'quick' or 'cub_k4.gin'.
      setting: Name of the setting that gave it, for the error message.

    Raises:
      ConfigError: If there is no such file.
    """
    if os.path.isfile(name):
        return name
    folder = shipped_folder()
    short = name[len('gin/'):] if name.startswith('gin/') else name
    short = short if short.endswith('.gin') else f'{short}.gin'
    for below in ('', 'presets', 'paper'):
        path = os.path.join(folder, below, *short.split('/'))
        if os.path.isfile(path):
            return path
    shipped = sorted(os.path.splitext(each)[0] for _, _, names in os.walk(folder) for each in names
                     if each.endswith('.gin'))
    raise laws.ConfigError(f'`{setting}` must name a gin file; there is none at {name!r}, and the '
                           f'shipped ones are {", ".join(shipped)}.')


def load(gin_files: Sequence[str], gin_params: Sequence[str] = (), *,
         seed: Optional[int] = None, method: Optional[str] = None) -> configuration.Config:
    """Builds the configuration from gin files and from bindings that override them.

    Args:
      gin_files: Gin files by paths or names, see `find`; later ones override earlier ones. The path
        of an `include` is relative to the folder of its own file, or to the working folder.
      gin_params: Bindings; later ones override earlier ones. Each may have several lines.
      seed: Value that overrides `Run.seed`, or None.
      method: Value that overrides `Run.method`, or None.

    Raises:
      ConfigError: If a file is missing, a binding does not parse or has an unknown name, or a value
        breaks its law.
    """
    params = [*gin_params, *(f'Run.{name}={value!r}' for name, value in (
        ('seed', seed), ('method', method)) if value is not None)]
    gin.clear_config()
    root_logger = logging.getLogger()
    root_logger.addFilter(_is_no_search_step)
    try:
        paths = [find(name) for name in gin_files]
        for path in paths:
            # Gin's search has no defined order, so names must be unique among these folders.
            for folder in _folders(path):
                gin.add_config_file_search_path(folder)
        gin.parse_config_files_and_bindings(paths, params, finalize_config=False)
        sections = {name: cls() for name, cls in configuration.SECTIONS}
        operative = gin.operative_config_str()
        unused = _bound_names(gin.config_str()) - _bound_names(operative)
        if unused:
            raise laws.ConfigError(
                f'Every binding must be used, but `{sorted(unused)[0]}` is unused; '
                'remove the scope or the macro.')
        return configuration.Config(**sections)
    except laws.ConfigError as error:
        raise laws.ConfigError(_without_gin_context(error)) from None
    except (ValueError, TypeError, SyntaxError, OSError, RuntimeError, ImportError,
            tokenize.TokenError) as error:
        raise laws.ConfigError(_explained(error, [*gin_files, *gin_params])) from None
    finally:
        root_logger.removeFilter(_is_no_search_step)
        gin.clear_config()


def _folders(path: str) -> Tuple[str, ...]:
    """The folders of a gin file and of the files that it includes."""
    folder = os.path.dirname(os.path.abspath(path))
    with _open(path) as file:
        names = re.findall(r'^include\s+[\'"](.+)[\'"]', file.read(), re.MULTILINE)
    folders = {folder: None}
    for name in names:
        found = [included for included in (os.path.join(folder, name), os.path.abspath(name))
                 if os.path.isfile(included) and not os.path.samefile(included, path)]
        folders.update(dict.fromkeys(_folders(found[0]) if found else ()))
    return tuple(folders)


# A byte order mark, which some editors write, is no part of the text, and the text is UTF-8
# whatever the locale. Gin asks its readers in their order, so that one that is registered beside
# this would come too late.
_open = functools.partial(open, encoding='utf-8-sig')
gin.config._FILE_READERS[0] = (_open, os.path.isfile)


def _is_no_search_step(record: logging.LogRecord) -> bool:
    """Filters out gin's log of a folder without the included file, which the next one may have."""
    return not str(record.msg).startswith(('Path not found', 'system_path_file_exists'))


def _without_gin_context(error: Exception) -> str:
    """The first line of an error; gin appends the place of the call, which users do not need."""
    return str(error).split('\n')[0].strip()


def _explained(error: Exception, sources: Sequence[str]) -> str:
    """One sentence for gin's error about a file or binding."""
    lines = [line.strip() for line in str(error).split('\n') if line.strip()]
    message = lines[0] if lines else type(error).__name__
    if isinstance(error, tokenize.TokenError):
        message = f'{error.args[0]}, such as a bracket that is not closed'
    elif message.startswith('malformed node') or message.startswith('Unable to parse value'):
        # Python's words for what is nearly always a path or a name without quotes.
        message = ('A value must be a number, a tuple, True, False, None, or text in quotes, such '
                   'as --gin_param="Data.root=\'my_photos\'"')
    where = ': '.join(line.rstrip(':') for line in lines[1:] if line.strip('^ '))
    known = ', '.join(cls.__name__ for _, cls in configuration.SECTIONS)
    if 'No configurable matching' in message:
        message = f'{message.rstrip(".")}; the known ones are {known}'
    elif 'have a parameter named' in message:
        name = re.search(r"Configurable '(?:[\w.]*\.)?(\w+)'", message)
        cls = {
            cls.__name__: cls
            for _, cls in configuration.SECTIONS
        }.get(name.group(1)) if name else None
        fields = ', '.join(field.name for field in dataclasses.fields(cls)) if cls else ''
        message = message.rstrip('.') + (f'; it has {fields}' if fields else '')
    source = f' ({where})' if where else ''
    given = ', '.join(text if len(text) <= 200 else f'{text[:200]} [...]'
                      for text in sources if '\n' not in text)
    return f'Configuration of {given} cannot be used: {message.rstrip(".")}{source}.'


def _bound_names(text: str) -> Set[str]:
    return set(re.findall(r'^([\w./]+) =', text, re.MULTILINE))


def workdir_for(gin_files: Sequence[str], config: configuration.Config) -> str:
    """Folder of a run if `--workdir` is not given.

    Args:
      gin_files: Paths of the run's gin files.
      config: Configuration of the run.

    Returns:
      A folder below `runs/`. Its name consists of the names of the files in their order, of
      `Data.category` and of the baseline, if set and not among them: `runs/pascal_plus_horse_dff`.

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
    if config.run.method not in ('segmenter', *names):
        names.append(config.run.method)
    return os.path.join('runs', '_'.join(names))
