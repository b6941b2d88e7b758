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
# Number of bytes before a piece that tell whether it is whole.
_DIGEST = 16


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
        files.write(self._path(name), _digest(content) + content)

    def found(self, name: str) -> Optional[bytes]:
        """The whole piece of a photo that an earlier process may have left; None without one.

        A machine that stops may leave anything in a file, so a damaged piece counts as none.
        """
        path = self._path(name)
        content = files.read(path) if os.path.exists(path) else b''
        content, digest = content[_DIGEST:], content[:_DIGEST]
        return content if digest == _digest(content) else None

    def of(self, names: Sequence[str]) -> Iterator[bytes]:
        """The pieces of photos, read one by one.

        Raises:
          OSError: If one is missing or damaged.
        """
        for name in names:
            content = self.found(name)
            if content is None:
                raise OSError(f'The folder {self._folder!r} must have a whole piece of each photo, '
                              f'but that of {name!r} is missing or damaged: run the same command '
                              'again')
            yield content

    def remove(self) -> None:
        """Removes all pieces, once the file is written."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
