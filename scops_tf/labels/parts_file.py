"""The file `parts.json`: names, colours, merges and drops of parts, which lies beside a model.

    {"version": 1, "num_parts": 5,
     "parts": [{"name": "head", "of": [1], "color": "#e69f00"},
               {"name": "wing", "of": [2, 3], "color": "#56b4e9"},
               {"name": "part 5", "of": [5], "color": "#f0e442"}],
     "dropped": [4],
     "photos": ["a.jpg"]}

`color` and `photos` may be missing. `photos` are the annotated photos that the names were found
with, if any.
"""
from __future__ import annotations

import json
import os
import re
from typing import Any, List, Optional

from scops_tf import files
from scops_tf.labels.part_names import Color, PartNames, PartNamesError

PARTS_FILE = 'parts.json'
_VERSION = 1
_KEYS = {'version', 'num_parts', 'parts', 'dropped', 'photos'}
_ADVICE = 'mend or remove it'


def color_text(color: Color) -> str:
    """A colour such as (230, 159, 0) as '#e69f00'."""
    return f'#{bytes(color).hex()}'


def parse_color(text: Any, name: str) -> Color:
    """The colour of a text such as '#e69f00'.

    Raises:
      PartNamesError: If it is none; the message begins with `name`.
    """
    if not isinstance(text, str) or not re.fullmatch('#[0-9a-fA-F]{6}', text):
        raise PartNamesError(f'{name} must be a colour such as #e69f00; got {text!r}.')
    return tuple(bytes.fromhex(text[1:]))


def encoded(names: PartNames) -> bytes:
    """The content of the file."""
    parts = ',\n  '.join(json.dumps({
        'name': part.name, 'of': part.of, 'color': color_text(part.color)})
        for part in names.parts)
    lines = [f'"version": {_VERSION}', f'"num_parts": {names.num_parts}',
             f'"parts": [\n  {parts}]', f'"dropped": {json.dumps(names.dropped)}']
    if names.photos:
        lines.append(f'"photos": {json.dumps(names.photos)}')
    # A line for each part, since people edit the file by hand.
    return ('{' + ',\n '.join(lines) + '}\n').encode()


def save(names: PartNames, folder: str) -> None:
    """Writes the file into a folder, atomically.

    Raises:
      OSError: If it cannot be written.
    """
    files.write(os.path.join(folder, PARTS_FILE), encoded(names))


def save_of_run(names: PartNames, workdir: str) -> List[str]:
    """Writes the file into the folder of a run, and into its export where there is one.

    Returns:
      The folders.

    Raises:
      OSError: If it cannot be written.
    """
    export = os.path.join(workdir, 'export')
    folders = [workdir, *([export] if os.path.isdir(export) else [])]
    for folder in folders:
        save(names, folder)
    return folders


def set_aside(folder: str) -> Optional[str]:
    """Renames the file in a folder, since its numbers are those of another training.

    Returns:
      The new path, such as `parts.json.old`, which replaces an older one; None if there is no file.

    Raises:
      OSError: If it cannot be renamed.
    """
    path = os.path.join(folder, PARTS_FILE)
    if not os.path.exists(path):
        return None
    os.replace(path, f'{path}.old')
    return f'{path}.old'


def replace(names: PartNames, folder: str) -> Optional[str]:
    """Puts names in the place of those in a folder; parts without names set these aside.

    Returns:
      See `set_aside`; None if the parts have names.

    Raises:
      OSError: If the folder cannot be written.
    """
    if not names.is_named:
        return set_aside(folder)
    save(names, folder)
    return None


def load(folder: str, *, num_parts: Optional[int] = None) -> Optional[PartNames]:
    """The names in a folder; None where it has no such file.

    Args:
      folder: Folder of a run, of an export or of predictions.
      num_parts: K of the model; None for any.

    Raises:
      PartNamesError: If the file is damaged, of another version, or of another number of parts.
      OSError: If it cannot be read.
    """
    path = os.path.join(folder, PARTS_FILE)
    if not os.path.lexists(path):
        return None
    return read(path, num_parts=num_parts)


def read(path: str, *, num_parts: Optional[int] = None) -> PartNames:
    """The names in a file; see `load`."""
    return decoded(files.read(path, most=2 ** 24), path, num_parts=num_parts)


def load_or_unnamed(folder: str, num_parts: int) -> PartNames:
    """The names in a folder, or 'part 1' and so on; see `load`."""
    return load(folder, num_parts=num_parts) or PartNames.unnamed(num_parts)


def decoded(content: bytes, path: str, *, num_parts: Optional[int] = None) -> PartNames:
    """The names in the content of the file.

    Args:
      content: The content.
      path: What messages call it.
      num_parts: K of the model; None for any.

    Raises:
      PartNamesError: See `load`.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise PartNamesError(f'{path} must be JSON, which it is not: {_ADVICE}.') from None
    if not isinstance(found, dict) or not isinstance(found.get('version'), int):
        raise PartNamesError(f'{path} must be a JSON object with a `version`: {_ADVICE}.')
    if found['version'] != _VERSION:
        raise PartNamesError(
            f'{path} must be of version {_VERSION}, but it is of {found["version"]}: use the '
            'version of this package that wrote it, or name the parts anew.')
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise PartNamesError(f'{path} must hold {", ".join(sorted(_KEYS))} alone; it has '
                             f'{unknown[0]!r}: {_ADVICE}.')
    for key, law, holds in (
            ('num_parts', 'an integer', lambda value: _is_integer(value)),
            ('parts', 'a list of objects with `name` and `of`', _are_parts),
            ('dropped', 'a list of integers', lambda value: _are_all(value, _is_integer)),
            ('photos', 'a list of texts', lambda value: value is None or _are_all(
                value, lambda one: isinstance(one, str)))):
        if not holds(found.get(key)):
            raise PartNamesError(
                f'`{key}` in {path} must be {law}; got {str(found.get(key))[:60]!r}: {_ADVICE}.')
    try:
        names = PartNames.grouped(
            found['num_parts'], [part['of'] for part in found['parts']],
            names={min(part['of']): part['name'] for part in found['parts']},
            colors={min(part['of']): parse_color(part['color'], f'`color` of {part["name"]!r}')
                    for part in found['parts'] if 'color' in part},
            photos=found.get('photos') or ())
        if names.dropped != tuple(sorted(found['dropped'])):
            raise PartNamesError('`dropped` must hold the parts that are in no `of`, '
                                 f'{list(names.dropped)}; got {found["dropped"]}.')
    except PartNamesError as error:
        raise PartNamesError(f'{path} cannot be used: {error}') from None
    if num_parts not in (None, names.num_parts):
        raise PartNamesError(
            f'{path} must name the {num_parts} parts of the model, but it is of one with '
            f'{names.num_parts}: remove it, and name the parts anew.')
    return names


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_all(values: Any, holds: Any) -> bool:
    return isinstance(values, list) and all(map(holds, values))


def _are_parts(values: Any) -> bool:
    return _are_all(values, lambda value: (
        isinstance(value, dict) and set(value) <= {'name', 'of', 'color'}
        and isinstance(value.get('name'), str) and _are_all(value.get('of'), _is_integer)
        and value['of']))
