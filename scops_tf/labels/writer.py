"""What writes the labels of many photos in one format."""
from __future__ import annotations

import os
from typing import Sequence

from scops_tf.labels.part_names import PartNames
from scops_tf.labels.pieces import Pieces
from scops_tf.labels.result import PartResult


class Writer:
    """A writer; each format's module has one of this name.

    Several threads or processes may add photos at the same time, each photo by one of them. What
    they have added is in files, so any of them, or a later process, can close.

    Args:
      out: Folder of the results, in which the format has a folder of its own.
      parts: Names and colours of the parts.
      tolerance: Of polygons, in pixels; see `polygons.polygons`. Other labels are exact.

    Raises:
      AnnotationError: If the format cannot hold the name of a part.
    """

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        raise NotImplementedError

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo.

        Raises:
          OSError: If a file cannot be written.
          AnnotationError: If the format cannot hold the photo's name.
        """
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Whether `close` finds all that it needs of a photo, added before by any process."""
        return True

    def close(self, names: Sequence[str]) -> None:
        """Writes what is about all photos.

        Args:
          names: Names of the photos, which have been added, in the order that they shall have.

        Raises:
          OSError: If a file cannot be written.
        """

    def finish(self) -> None:
        """Removes what only a continued command would need, after `close`."""


class OfPieces(Writer):
    """A writer whose file about all photos is put together from one piece for each, in `close`.

    Args:
      out: See `Writer`.
      folder: Name of the format's folder.
    """

    def __init__(self, out: str, folder: str) -> None:
        self._folder = os.path.join(out, folder)
        self._pieces = Pieces(self._folder)

    def has(self, name: str) -> bool:
        """Whether there is a whole piece."""
        return self._pieces.found(name) is not None

    def finish(self) -> None:
        """Removes the pieces."""
        self._pieces.remove()
