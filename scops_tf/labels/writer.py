"""What writes the labels of many photos in one format."""
from __future__ import annotations

from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult


class Writer:
    """A writer; each format's module has one of this name.

    Args:
      out: Folder of the results, in which the format has a folder of its own.
      parts: Names and colours of the parts.
      tolerance: Of polygons, in pixels; see `polygons.polygons`. Other labels are exact.
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

    def keep(self, name: str) -> None:
        """Takes the labels of a photo that an earlier process has written."""

    def close(self) -> None:
        """Writes what is about all photos.

        Raises:
          OSError: If a file cannot be written.
        """

    def finish(self) -> None:
        """Removes what only a continued command would need, after `close`."""
