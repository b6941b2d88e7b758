"""All that is written of photos: the files of `predict`, the labels in formats of tools."""
from __future__ import annotations

import hashlib
import os
from typing import Sequence, Set

import numpy as np

from scops_tf import files
from scops_tf.labels import formats as formats_lib, parts_file, prediction_files
from scops_tf.labels.part_names import PartNames
from scops_tf.prediction.part_finder import Found, Settings
from scops_tf.prediction.photos import Photo


class Output:
    """The results of photos in a folder, which is made.

    Photos may be added in several threads or processes at the same time, each by one of them. What
    is about all photos is written by `close`, from what they have left.

    Args:
      out: Folder of the results.
      parts: Names and colours of the parts.
      settings: Settings that the parts are found with.
      formats: Names of the formats of labels.
      tolerance: Of polygons; see `labels.writer.Writer`.
      source: Text that differs if the same photo would have other parts by another export.

    Attributes:
      done: Names of the photos that are done, as far as this object knows.

    Raises:
      OSError: If the folder cannot be written.
    """

    def __init__(self, out: str, parts: PartNames, settings: Settings, *,
                 formats: Sequence[str] = ('png',), tolerance: float = 1.0, source: str = ''
                 ) -> None:
        files.require_writable(out)
        files.mark(out)
        self.done: Set[str] = set()
        self._out = out
        self._own = prediction_files.Writer(out, parts, with_objects=settings.objects,
                                            min_presence=settings.min_presence)
        self._labels = formats_lib.Writers(out, parts, tolerance=tolerance, names=formats)
        text = '\n'.join([source, repr(settings), repr(sorted(formats)), repr(tolerance)])
        self._key = hashlib.blake2b(files.encoded(text) + parts_file.encoded(parts),
                                    digest_size=16).hexdigest()

    def key(self, photo: Photo) -> str:
        """Text that differs if the photo would have other results now."""
        # Files of labels may name the photo by its path from there.
        return f'{self._key} {os.path.relpath(photo.path, self._out)} {state_of(photo.path)}'

    def is_done(self, photo: Photo, key: str) -> bool:
        """Whether the photo has been added with this key."""
        if not (self._own.is_done(photo.name, key) and self._labels.has(photo.name)):
            return False
        self.done.add(photo.name)
        return True

    def add(self, found: Found) -> np.ndarray:
        """Writes the files of a photo, after which it is done.

        Returns:
          The photo with its parts and centres, uint8[H,W,3].

        Raises:
          OSError: If a file cannot be written.
          AnnotationError: If a format cannot hold the photo's name.
        """
        self._labels.add(found.result)
        overlay = self._own.add(found.result, found.image, found.key)
        self.done.add(found.result.name)
        return overlay

    def close(self, names: Sequence[str]) -> None:
        """Writes what is about all photos: those of these names, in this order.

        Raises:
          OSError: If a file cannot be written.
        """
        self._labels.close(names)
        self._own.close(names)

    def finish(self) -> None:
        """Removes what only a continued command would need, after `close`."""
        self._labels.finish()
        self._own.finish()


def state_of(path: str) -> str:
    """Size and time of the last change of a file; '' if there is none."""
    try:
        found = os.stat(path)
    except OSError:  # Reading it tells the reason.
        return ''
    return f'{found.st_size} {found.st_mtime_ns}'
