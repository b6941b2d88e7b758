"""Labels as palette PNGs: the value of a pixel is the number of its part."""
from __future__ import annotations

import os
from typing import Dict, List, Optional

import numpy as np

from scops_tf import images
from scops_tf.labels import parts_file, writer
from scops_tf.labels.annotation import Annotation, AnnotationError
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.result import PartResult
from scops_tf.pictures import parts as part_pictures

FOLDER = 'labels'


class Writer(writer.Writer):
    """Writes `labels/<photo>.png`; the names are in `parts.json` of the same results."""

    def __init__(self, out: str, parts: PartNames, *, tolerance: float = 0.0) -> None:
        self._folder, self._parts = os.path.join(out, FOLDER), parts

    def add(self, result: PartResult) -> None:
        """Writes the labels of a photo."""
        part_pictures.write_label_png(
            result.path_in(self._folder, '.png'), result.labels, self._parts.colors)


def read(path: str, *, names: Optional[Dict[int, str]] = None) -> List[Annotation]:
    """The labels in a folder of PNGs, grey or with a palette.

    Args:
      path: Folder of the PNGs.
      names: Names of the values from 1 on; None for those of `parts.json` in the folder or beside
        it.

    Raises:
      AnnotationError: If there are no PNGs or no names, or a value has no name.
      ValueError: If a file cannot be read.
    """
    found = [name for name in images.names_below(path) if name.lower().endswith('.png')]
    if not found:
        raise AnnotationError(f'{path!r} must be a folder of PNGs; it holds none.')
    if names is None:
        parts = parts_file.load(path) or parts_file.load(os.path.dirname(os.path.abspath(path)))
        if parts is None:
            raise AnnotationError(
                f'The values of the PNGs in {path!r} must have names; give `--mask_names`, such as '
                f'--mask_names=head,body, or a {parts_file.PARTS_FILE} in that folder.')
        names = parts.names
    annotations = []
    for name in found:
        labels = images.read_labels(os.path.join(path, name))
        unnamed = sorted(set(np.unique(labels).tolist()) - {0, *names})
        if unnamed:
            raise AnnotationError(f'The values of {os.path.join(path, name)} must be 0 or have '
                                  f'names, {sorted(names)}; it has {unnamed[0]}.')
        annotations.append(Annotation(os.path.splitext(name)[0], labels, dict(names)))
    return annotations
