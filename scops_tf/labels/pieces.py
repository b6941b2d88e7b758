"""Pieces of a file about many photos: one small file per photo until all are put together.

So memory does not grow with the number of photos. What is written is safe if the process ends, and
the same command can go on from there.
"""
from __future__ import annotations

import hashlib
import os
import shutil
from typing import Iterator, Optional, Sequence

from scops_tf import files

FOLDER = '.pieces'


class Pieces:
    """Pieces in a hidden folder, by the photo's name.

    Args:
      folder: Folder of the file that they are for.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, FOLDER)

    def _path(self, name: str) -> str:
        # A digest, since a name may be as long as the file system allows.
        digest = hashlib.blake2b(files.encoded(name), digest_size=16).hexdigest()
        return os.path.join(self._folder, digest)

    def add(self, name: str, content: bytes) -> None:
        """Writes the piece of a photo.

        Raises:
          OSError: If it cannot be written.
        """
        files.write(self._path(name), content)

    def found(self, name: str) -> Optional[bytes]:
        """The piece of a photo that an earlier process may have left; None if there is none."""
        path = self._path(name)
        return files.read(path) if os.path.exists(path) else None

    def of(self, names: Sequence[str]) -> Iterator[bytes]:
        """The pieces of photos, which are there, read one by one."""
        return (files.read(self._path(name)) for name in names)

    def remove(self) -> None:
        """Removes all pieces, once the file is written."""
        shutil.rmtree(self._folder, ignore_errors=True)
