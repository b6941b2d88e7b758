"""The exports of a run: SavedModels in numbered folders, the newest of which is read."""
from __future__ import annotations

import os
import re
import shutil
from typing import Any, Dict, Mapping, Optional

import tensorflow as tf

from scops_tf import config as config_lib, files
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.serving import (
    model_card,
    part_model as part_model_lib,
    portable,
    warmup,
)

METADATA_FILE = 'scops_tf.json'

_NUMBER = re.compile('[0-9]+')


class ExportError(ValueError):
    """A folder that cannot be exported to; the message is one sentence for the user."""


def export(model: part_model_lib.PartModel, folder: str, *, metadata: Dict[str, Any],
           config: Optional[config_lib.Config] = None, parts: Optional[PartNames] = None,
           others: Optional[Mapping[str, bytes]] = None) -> str:
    """Writes the model as a SavedModel into the folder's next version, such as `export/2`.

    A version is there whole or not at all, and none is ever changed. TensorFlow Serving reads such
    a folder and serves the version of the highest number. The signatures are those of
    `PartModel.signatures`.

    Args:
      model: Model to write.
      folder: Folder of the versions. It must be absent, empty, or hold an export; what begins with
        a dot does not count. An export of earlier versions of this package, which lies in the
        folder itself, stays there.
      metadata: JSON values for `scops_tf.json`. The number of parts, the input size, the
        background, the window and power of the centres and the guided filter are added. The model
        card shows them; 'scores' is what `evaluate` wrote on the run, with the scores of the run
        alone.
      config: Configuration of the run, kept as 'config' in `scops_tf.json`; None where there is no
        run.
      parts: Names, merges and drops that go with the model, in `parts.json` and the model card;
        None for none.
      others: Files of other formats that lie beside the SavedModel, by the names of
        `portable.FORMATS`; None for none.

    Returns:
      The folder of the SavedModel.

    Raises:
      ValueError: If the path cannot be used, or as an ExportError, the folder holds something else
        or is a version itself.
      OSError: If the folder cannot be written.
    """
    files.require_no_pattern(folder, '--export_dir')
    folder = os.path.abspath(folder)
    if os.path.isdir(folder) and newest(folder) is None and any(
            not name.startswith('.') for name in os.listdir(folder)):
        raise ExportError(f'The folder of an export must be empty, or hold older exports; {folder} '
                          'holds something else: give another one.')
    if _NUMBER.fullmatch(os.path.basename(folder)) and is_export(folder):
        raise ExportError('The folder of an export must be that of the versions; '
                          f'{folder} is one of them: give the folder that it lies in.')
    described = {**metadata, 'num_parts': model.num_parts, 'input_size': list(model.input_size),
                 'background': model.background, 'center_window': model.center_window,
                 'center_power': model.center_power, 'guided_radius': model.guided_radius,
                 'guided_epsilon': model.guided_epsilon,
                 'formats': {'savedmodel': {'file': 'saved_model.pb'}, **{
                     name: portable.describe(name, model.input_size) for name in others or ()}}}
    if config is not None:
        described['config'] = config.operative
    # TensorFlow Serving passes over what is no number.
    temporary = files.temporary_folder(os.path.join(folder, '.export'))
    shutil.rmtree(temporary, ignore_errors=True)  # Of a killed process of the same number.
    try:
        os.makedirs(temporary)
        tf.saved_model.save(model, temporary, signatures=model.signatures)
        warmup.write(temporary, model.signatures, model.input_size)
        for name, data in (others or {}).items():
            files.write(os.path.join(temporary, portable.FORMATS[name].file), data)
        files.write_json(os.path.join(temporary, METADATA_FILE), described, sort_keys=True)
        files.write(os.path.join(temporary, model_card.FILE), model_card.text(
            described, model.signatures, config and config.settings, parts).encode())
        if parts and parts.is_named:
            parts_file.save(parts, temporary)
        return _as_next_version(temporary, folder)
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, 'strerror', None) or getattr(error, 'message', None) or str(error)
        raise OSError(f'The export must be written to {folder}, which fails ({reason}); free disk '
                      'space or make the folder writable, and export again.') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _as_next_version(written: str, folder: str) -> str:
    """Moves a folder to the next version, and returns its new path."""
    number = max(_versions(folder), default=0)
    while True:
        number += 1
        path = os.path.join(folder, str(number))
        # A folder that is not empty cannot be replaced, so the version of another export that ends
        # at the same time stays.
        try:
            os.rename(written, path)
            return path
        except OSError:
            if not os.path.exists(path):
                raise


def newest(folder: str) -> Optional[str]:
    """The folder of the SavedModel that a folder of exports stands for; None if there is none.

    It is the version of the highest number. A folder without versions stands for itself, if it
    holds a SavedModel: it is a version, or an export of an earlier version of this package.
    """
    exports = [path for _, path in sorted(_versions(folder).items()) if is_export(path)]
    return exports[-1] if exports else folder if is_export(folder) else None


def _versions(folder: str) -> Dict[int, str]:
    """Paths of the numbered entries of a folder, by number."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {int(name): os.path.join(folder, name) for name in names
            if _NUMBER.fullmatch(name)}


def is_export(folder: str) -> bool:
    """Whether a folder is a SavedModel that `export` wrote."""
    return os.path.isfile(os.path.join(folder, METADATA_FILE))
