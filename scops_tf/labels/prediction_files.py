"""What `predict` writes for every photo, whatever the format of its labels.

* `overlays/<photo>.png`: the photo with its parts and part centres.
* `responses/<photo>.npz`: part responses at the network's size, part centres, presence.
* `objects/<photo>.png`: the number of the object of each pixel, where parts are grouped.
* `centers.csv`: part centres, presence and area of each part.
* `parts.json`: names and colours of the parts.

The rows of a photo in the table are kept when all its files are written, with a key that says from
what. So a command that goes on after a stop knows which photos are done.
"""
from __future__ import annotations

import io
import json
import os
from typing import Any, Iterator, List, Sequence

import numpy as np

from scops_tf import files, images
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.pieces import Pieces
from scops_tf.labels.result import PartResult
from scops_tf.pictures import drawing, parts as part_pictures


class Writer:
    """Writes the files of each photo, and the table when it is closed.

    Args:
      out: Folder of the results.
      parts: Names and colours of the parts.
      with_objects: Whether the table has a column for the number of the object.
      min_presence: Least presence in the photo of a part whose centres are drawn.
    """

    def __init__(self, out: str, parts: PartNames, *, with_objects: bool = False,
                 min_presence: float = 0.0) -> None:
        self._out, self._parts, self._with_objects = out, parts, with_objects
        self._min_presence = min_presence
        self._pieces = Pieces(out)

    def is_done(self, name: str, key: str) -> bool:
        """Whether an earlier process has added this photo with this key."""
        piece = self._pieces.found(name)
        return piece is not None and json.loads(piece)['key'] == key

    def add(self, result: PartResult, photo: np.ndarray, key: str) -> np.ndarray:
        """Writes the files of a photo, after which it is done.

        Args:
          result: Its parts.
          photo: uint8[H,W,3]. RGB.
          key: Text that differs if the same photo would give other files.

        Returns:
          The overlay, uint8[H,W,3].

        Raises:
          OSError: If a file cannot be written.
        """
        if result.objects is not None:
            part_pictures.write_label_png(
                self._path(result, 'objects', '.png'),
                np.minimum(result.objects, 255).astype(np.uint8))
        overlay = drawing.overlay(photo, result.labels, colors=self._parts.colors)
        for centers, presence in zip(result.centers, result.presences):
            overlay = drawing.draw_centers(
                overlay, centers, np.where(result.presence < self._min_presence, 0, presence),
                colors=self._parts.colors)
        images.write_png(self._path(result, 'overlays', '.png'), overlay)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, part_responses=result.part_responses.astype(np.float16),
            part_centers=result.part_centers, presence=result.presence)
        files.write(self._path(result, 'responses', '.npz'), buffer.getvalue())
        self._pieces.add(result.name, json.dumps(
            {'key': key, 'rows': list(self._rows(result))}).encode('ascii'))
        return overlay

    def _rows(self, result: PartResult) -> Iterator[List[Any]]:
        for index, (centers, presence, areas) in enumerate(
                zip(result.centers, result.presences, result.areas), start=1):
            for number, name in self._parts.names.items():
                x, y = centers[number - 1]
                row = [result.name, index, number, f'{x:.2f}', f'{y:.2f}',
                       f'{presence[number - 1]:.4f}', int(areas[number - 1])]
                yield row + [name] * self._parts.is_named

    def close(self, names: Sequence[str]) -> None:
        """Writes the table and the names of the parts.

        Args:
          names: Names of the photos, in the order that they shall have in the table.

        Raises:
          OSError: If a file cannot be written.
        """
        columns = ['photo', 'object', 'part', 'x', 'y', 'presence', 'area']
        columns += ['name'] * self._parts.is_named
        kept = [index for index, name in enumerate(columns)
                if self._with_objects or name != 'object']
        files.write_csv(os.path.join(self._out, 'centers.csv'), [columns[index] for index in kept],
                        ([row[index] for index in kept] for piece in self._pieces.of(names)
                         for row in json.loads(piece)['rows']))
        parts_file.save(self._parts, self._out)

    def finish(self) -> None:
        """Removes what only a continued command would need, after `close`."""
        self._pieces.remove()

    def _path(self, result: PartResult, kind: str, suffix: str) -> str:
        return result.path_in(os.path.join(self._out, kind), suffix)
