"""The table of formats that labels are written in and read from."""
from __future__ import annotations

from typing import Protocol, Sequence, Tuple

from scops_tf.labels import coco, cvat, label_png, label_studio, labelme, voc, yolo
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult

# A format is a module with a `Writer` and a function `read`, which gives annotations.
FORMATS = {'png': label_png, 'coco': coco, 'yolo': yolo, 'labelme': labelme, 'cvat': cvat,
           'voc': voc, 'labelstudio': label_studio}


class Writer(Protocol):
    """What writes the labels of many photos; it is made of a folder and the names of the parts."""

    def add(self, result: PartResult) -> None:
        """Writes or keeps the labels of a photo."""

    def close(self) -> None:
        """Writes what is about all photos."""


class Writers:
    """Writers of several formats.

    Args:
      names: Names of the formats.
      out: Folder of the results.
      parts: Names and colours of the parts.
      tolerance: Of polygons; see `polygons.polygons`.
    """

    def __init__(self, names: Sequence[str], out: str, parts: PartNames, *,
                 tolerance: float) -> None:
        self._writers: Tuple[Writer, ...] = tuple(
            FORMATS[name].Writer(out, parts, tolerance=tolerance) for name in names)

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo in all formats.

        Raises:
          OSError: If a file cannot be written.
          AnnotationError: If a format cannot hold the photo's name.
        """
        for writer in self._writers:
            writer.add(result)

    def close(self) -> None:
        """Writes what is about all photos.

        Raises:
          OSError: If a file cannot be written.
        """
        for writer in self._writers:
            writer.close()
