"""The list of a run's training photos, by which a continued run knows that they are the same."""
from __future__ import annotations

import csv
import io
import os
from typing import Dict, Optional, Sequence, Tuple

from scops_tf import files
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import Record

FILE = 'photos.csv'
_COLUMNS = ('photo', 'bytes', 'bytes_of_its_map')

# Numbers of bytes of the photo and of the map that the user gave for it, as text.
_Sizes = Tuple[str, str]


def _sizes(records: Sequence[Record], saliency: Optional[str]) -> Dict[str, _Sizes]:
    """Sizes by the photos' names; `saliency` is the run's `Data.saliency`."""
    fields = {'folder': 'saliency_path', 'masks': 'mask_path'}

    def size(record: Record) -> _Sizes:
        given = getattr(record, fields[saliency]) if saliency in fields else None
        return (str(os.path.getsize(record.path)), str(os.path.getsize(given)) if given else '')

    return {record.name: size(record) for record in records}


def write(workdir: str, records: Sequence[Record], saliency: Optional[str]) -> None:
    """Writes the list of a run that starts; the arguments are those of `require_same`.

    Raises:
      OSError: If the list cannot be written.
    """
    files.write_csv(os.path.join(workdir, FILE), _COLUMNS, [
        [name, *sizes] for name, sizes in _sizes(records, saliency).items()])


def require_same(workdir: str, records: Sequence[Record], saliency: Optional[str]) -> None:
    """Refuses to continue a run on other photos than those it was started on.

    The photos may have moved to another folder. A run without a list may have any photos.

    Args:
      workdir: Folder of the run.
      records: The readable training photos, in their order.
      saliency: Source of the saliency maps, `Data.saliency`.

    Raises:
      DatasetError: If a photo, or the map that the user gave for it, was added, is gone or has
        another size.
      OSError: If the list cannot be read.
    """
    path = os.path.join(workdir, FILE)
    if not os.path.exists(path):
        return
    found = _sizes(records, saliency)
    text = files.read(path).decode('utf-8', 'surrogateescape')
    rows = list(csv.reader(io.StringIO(text, newline='')))[1:]
    kept = {row[0]: tuple(row[1:]) for row in rows if len(row) == len(_COLUMNS)}
    changes = {'gone': [name for name in kept if name not in found],
               'new': [name for name in found if name not in kept],
               'changed': [name for name in found if kept.get(name, found[name]) != found[name]]}
    told = [f'{len(names)} {"is" if len(names) == 1 else "are"} {how} ({names[0]!r}'
            f'{", ..." if len(names) > 1 else ""})' for how, names in changes.items() if names]
    if told:
        raise DatasetError(
            'The training photos and their maps must stay as they were when the run was started, '
            f'but {" and ".join(told)}: bring them back, start in another folder, or remove {path} '
            'to go on with the photos as they are.')
