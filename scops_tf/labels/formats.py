"""The table of formats that labels are written in and read from."""
from __future__ import annotations

from typing import Iterable, Sequence, Tuple

from scops_tf.labels import coco, cvat, label_png, label_studio, labelme, voc, writer, yolo
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult

# A format is a module with a `Writer` and a function `read`, which gives annotations.
FORMATS = {'png': label_png, 'coco': coco, 'yolo': yolo, 'labelme': labelme, 'cvat': cvat,
           'voc': voc, 'labelstudio': label_studio}


class Writers(writer.Writer):
    """Writes several formats.

    Args:
      out: See `writer.Writer`, as for the others.
      parts: Names and colours of the parts.
      tolerance: Of polygons.
      names: Names of the formats.
    """

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0,
                 names: Iterable[str]) -> None:
        self._writers: Tuple[writer.Writer, ...] = tuple(
            FORMATS[name].Writer(out, parts, tolerance=tolerance) for name in dict.fromkeys(names))

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo in all formats."""
        for one in self._writers:
            one.add(result)

    def has(self, name: str) -> bool:
        """Whether all formats have what they need of a photo."""
        return all(one.has(name) for one in self._writers)

    def close(self, names: Sequence[str]) -> None:
        """Writes what is about all photos, in all formats."""
        for one in self._writers:
            one.close(names)

    def finish(self) -> None:
        """Removes what only a continued command would need."""
        for one in self._writers:
            one.finish()
