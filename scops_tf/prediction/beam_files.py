"""Files that are read and written on any file system that Apache Beam knows."""
from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Iterator, List, Sequence

from apache_beam.io.filesystems import FileSystems

from scops_tf import files, images
from scops_tf.prediction import photos as photos_lib
from scops_tf.prediction.photos import Photo


def is_remote(path: str) -> bool:
    """Whether a path is one of a file system of Beam, such as gs://bucket/photos."""
    return FileSystems.get_scheme(path) is not None


def find(arguments: Sequence[str], *, but: str) -> List[Photo]:
    """As `photos.find`, also on file systems of Beam, where all arguments are of one kind.

    Raises:
      CommandError: See there.
    """
    if not any(map(is_remote, arguments)):
        return photos_lib.find(arguments, but=but)
    paths: List[str] = []
    for argument in arguments:
        folder = argument.rstrip('/')
        photos_lib.require_other(argument, is_same=folder == but.rstrip('/'))
        found = FileSystems.match([argument, f'{folder}/**'])
        names = sorted({one.path for result in found for one in result.metadata_list})
        paths += [path for path in names if path.lower().endswith(images.IMAGE_SUFFIXES)
                  and '/.' not in path[len(folder):] and not path.startswith(f'{but.rstrip("/")}/')]
    photos_lib.require_some(paths, arguments)
    return photos_lib.named(paths)


@contextlib.contextmanager
def local(folder: str) -> Iterator[str]:
    """A folder on this machine with the content of one that may be elsewhere."""
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as copy:
        for result in FileSystems.match([f'{folder.rstrip("/")}/**']):
            for one in result.metadata_list:
                relative = os.path.relpath(one.path, folder)
                files.write(os.path.join(copy, relative), read(one.path))
        yield copy


def read(path: str) -> bytes:
    """The content of a file elsewhere."""
    with FileSystems.open(path) as file:
        return file.read()


def put(path: str, content: bytes) -> None:
    """Writes a file, which is there whole or not at all."""
    if not is_remote(path):
        files.write(path, content)
        return
    with FileSystems.create(path) as file:
        file.write(content)
