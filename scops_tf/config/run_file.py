"""The configuration file of a run: writes, reads, and compares it when the run is continued."""
from __future__ import annotations

import ast
import os
import re
from typing import Any, Dict, List, Sequence

from scops_tf import files
from scops_tf.config import configuration, gin_files, laws, sections as sections_lib

RUN_FILE = 'config.gin'

# Bindings that may change when a run is continued, since they do not affect what is learned. The
# photos may have moved; `datasets.photo_list` tells whether they are the same. So may a SavedModel
# of reference features, whose hash is a setting.
_FREE_ON_RESUME = ('Checkpoint.', 'Logging.', 'Evaluation.', 'Crf.', 'Decode.',
                   'Run.collapse_after', 'Run.strategy', 'Run.profile_steps',
                   'Segmenter.recompute', 'Data.root', 'Data.saliency_folder', 'Data.mask_folder',
                   'Data.memory_limit_gib', 'Features.cache_folder', 'Features.path')

# Bindings that two recipes share where one of them is trained for the other. The network of the
# reference features is one of them, since both have one part basis; how its features are
# normalized, and at what size, belongs to the recipe.
_NOT_OF_A_RECIPE = ('Data.', 'Synthetic.', 'Logging.', 'Checkpoint.', 'Evaluation.', 'Crf.',
                    'Features.network', 'Features.path', 'Features.sha256', 'Features.rectifier',
                    'Features.weights', 'Features.layers', 'Features.layer_weights',
                    'Features.cache', 'Run.num_parts', 'Run.seed', 'Run.precision', 'Run.strategy',
                    'Run.method')


def _bindings(operative: str, source: str) -> Dict[str, Any]:
    """Values of a stored configuration by name, such as {'Run.steps': 100}.

    The text is data and no gin file: nothing in it is imported, included or called.

    Raises:
      ConfigError: If it holds anything but bindings of literal values.
    """
    # Gin breaks long values into lines, with a backslash or inside of brackets.
    joined = re.sub(r'\n[ \t]+', ' ', operative.replace('\\\n', ' '))
    found = {}
    for line in joined.splitlines():
        if not line.strip() or line.startswith('#'):
            continue
        name, equals, value = line.partition('=')
        try:
            if not equals or not re.fullmatch(r'\w+\.\w+', name.strip()):
                raise ValueError
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise laws.ConfigError(
                f'The configuration in {source} must hold one binding of a plain value in each '
                f'line, such as Run.steps = 100; got {line[:80]!r}: restore it, or train again.'
            ) from None
    return found


def _as_params(bindings: Dict[str, Any]) -> List[str]:
    return [f'{name} = {value!r}' for name, value in bindings.items()]


def _load(path: str, gin_params: Sequence[str] = ()) -> configuration.Config:
    """The configuration in a run's file.

    Raises:
      ConfigError: If the file has another format; see also `gin_files.load`.
    """
    text = files.read(path).decode(errors='replace')
    found = re.match(configuration.HEADER.format(r'(\d+)'), text)
    # The first format had no such header.
    number = int(found.group(1)) if found else 1
    if number != configuration.FORMAT:
        version = ('an earlier version, whose loss weights were sums over parts'
                   if number < configuration.FORMAT else 'a later version')
        raise laws.ConfigError(
            f'`{RUN_FILE}` of a run must be of format {configuration.FORMAT}, but {path} is of '
            f'format {number}, of {version}; train again with another `--workdir`, or use this run '
            'with the version that it was trained with.')
    return gin_files.load([], [*_as_params(_bindings(text, path)), *gin_params])


def require_same(config: configuration.Config, workdir: str) -> None:
    """Refuses to continue a run with another configuration.

    Bindings that do not affect what is learned may change. A binding that is missing in an older
    run has its default value.

    Raises:
      ConfigError: If the folder holds a run of another configuration or version.
    """
    path = os.path.join(workdir, RUN_FILE)
    if not os.path.exists(path):
        return
    old, new = _load(path).settings, config.settings
    differing = [name for name in sorted({*old, *new})
                 if old.get(name) != new.get(name) and not name.startswith(_FREE_ON_RESUME)]
    if differing:
        name = differing[0]
        more = f' (and {len(differing) - 1} more)' if len(differing) > 1 else ''
        raise laws.ConfigError(
            'A run must be continued with the configuration that it was started with, but '
            f'`{name}`{more} was {old.get(name)!r} in {path} and is {new.get(name)!r} now; give '
            'another `--workdir`, or remove that folder.')


def save(config: configuration.Config, workdir: str) -> None:
    """Writes the operative configuration to the run's folder, atomically.

    Raises:
      ConfigError: If the folder holds a run of another configuration.
      OSError: If the file cannot be written.
    """
    require_same(config, workdir)
    files.write(os.path.join(workdir, RUN_FILE), config.operative.encode())


def load_run(workdir: str, gin_params: Sequence[str] = (), *, setting: str = '--workdir'
             ) -> configuration.Config:
    """The configuration of the run in `workdir`, with bindings that override it.

    Args:
      workdir: Folder of the run.
      gin_params: Bindings on top of the run's.
      setting: Name of the setting that gave the folder, for the error message.

    Raises:
      ConfigError: If the folder holds no run or one of another version; see also `load`.
    """
    path = os.path.join(workdir, RUN_FILE)
    if not os.path.isfile(path):
        raise laws.ConfigError(f'`{setting}` must be the folder of a trained run, which has a file '
                               f'{RUN_FILE}; there is none in {workdir!r}.')
    return _load(path, gin_params)


def load_recipe(path: str, config: configuration.Config) -> configuration.Config:
    """Another recipe for a run's data, network of the reference features, parts and seed.

    Where the run has no saliency or keeps no features, no saliency maps are made to agree.

    Args:
      path: Gin file of the recipe, by its path or name; see `gin_files.find`. It changes the
        defaults.
      config: Configuration of the run.

    Raises:
      ConfigError: If there is no such file; see also `load`.
    """
    kept = {name: value for name, value in config.settings.items()
            if name.startswith(_NOT_OF_A_RECIPE)}
    if not config.can_agree:
        kept['Run.saliency_agreement'] = 0
    return gin_files.load([gin_files.find(path, 'Run.teacher')], _as_params(kept))


def load_crf(operative: str, gin_params: Sequence[str] = ()) -> sections_lib.Crf:
    """Constants of the CRF in the configuration of an export, with bindings that override them.

    Nothing else in the configuration is read, so the export may be of an earlier version.

    Args:
      operative: Text of the configuration; it may be empty.
      gin_params: Bindings that override the configuration.

    Raises:
      ConfigError: See `load`.
    """
    own = {name: value for name, value in _bindings(operative, 'the export').items()
           if name.startswith('Crf.')}
    return gin_files.load([], [*_as_params(own), *gin_params]).crf
