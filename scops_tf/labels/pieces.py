"""Pieces of a file about many photos: one small file per photo until all are put together.

So memory does not grow with the number of photos, and what is written is safe if the process ends.
"""
from __future__ import annotations

import hashlib
import os
import shutil
from typing import Iterator, List

from scops_tf import files


class Pieces:
    """Pieces in a hidden folder, by the photo's name.

    Args:
      folder: Folder of the file that they are for.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, '.pieces')
        self._paths: List[str] = []

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, name: str, content: bytes) -> None:
        """Keeps the piece of a photo.

        Raises:
          OSError: If it cannot be written.
        """
        # A digest, since a name may be as long as the file system allows.
        digest = hashlib.blake2b(files.encoded(name), digest_size=16).hexdigest()
        path = os.path.join(self._folder, digest)
        files.write(path, content)
        self._paths.append(path)

    def __iter__(self) -> Iterator[bytes]:
        """The pieces in the order in which they were added, read one by one."""
        return map(files.read, self._paths)

    def remove(self) -> None:
        """Removes the pieces, once the file is written."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._paths = []
