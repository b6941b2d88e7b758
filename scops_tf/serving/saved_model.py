"""The SavedModel of a run: writing it and recognizing its folder."""
from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict

import tensorflow as tf

from scops_tf import files
from scops_tf.serving import part_model as part_model_lib

METADATA_FILE = 'scops_tf.json'


class ExportError(ValueError):
    """A folder that cannot be exported to; the message is one sentence for the user."""


def export(model: part_model_lib.PartModel, folder: str, *, metadata: Dict[str, Any]) -> None:
    """Writes the model as a SavedModel; a complete one replaces an older export.

    Its signatures are `PartModel.signatures`.

    Args:
      model: Model to write.
      folder: Folder of the SavedModel. It must be absent, empty, or an older export, which is
        replaced.
      metadata: JSON values for `scops_tf.json`. The number of parts, the input size, the background
        and the window and power of the centres are added.

    Raises:
      ValueError: If the path cannot be used, or as an ExportError, the folder holds something else.
      OSError: If the folder cannot be written. An older export is then untouched.
    """
    files.require_no_pattern(folder, '--export_dir')
    folder = os.path.abspath(folder)
    if os.path.isdir(folder) and os.listdir(folder) and not is_export(folder):
        raise ExportError(f'The folder of an export must be empty, or be an older export; {folder} '
                          'holds something else: give another one.')
    temporary, replaced = files.temporary_folder(folder), f'{folder}.{os.getpid()}.old'
    described = {**metadata, 'num_parts': model.num_parts, 'input_size': list(model.input_size),
                 'background': model.background, 'center_window': model.center_window,
                 'center_power': model.center_power}
    try:
        os.makedirs(temporary)
        tf.saved_model.save(model, temporary, signatures=model.signatures)
        files.write(os.path.join(temporary, METADATA_FILE),
                    json.dumps(described, indent=2, sort_keys=True).encode())
        if os.path.isdir(folder):
            os.replace(folder, replaced)
        try:
            os.replace(temporary, folder)
        except OSError:
            if os.path.isdir(replaced):
                os.replace(replaced, folder)
            raise
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, 'strerror', None) or getattr(error, 'message', None) or str(error)
        raise OSError(f'The export must be written to {folder}, which fails ({reason}); free disk '
                      'space or make the folder writable, and export again.') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def is_export(folder: str) -> bool:
    """Whether a folder holds what `export` writes."""
    return os.path.isfile(os.path.join(folder, METADATA_FILE))
