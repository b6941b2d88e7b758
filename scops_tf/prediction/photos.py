"""The photos that are predicted: which ones, their names, and shards of them."""
from __future__ import annotations

import hashlib
import os
from typing import List, NamedTuple, Sequence

from scops_tf import command, files, images


class Photo(NamedTuple):
    """A photo that is predicted.

    Attributes:
      name: Name of its results; see `named`.
      path: Absolute path.
      file_name: Path relative to the folder that all photos have in common.
    """

    name: str
    path: str
    file_name: str


def find(arguments: Sequence[str], *, but: str) -> List[Photo]:
    """Finds all photos; folders are searched, and hidden files and folders are skipped.

    Args:
      arguments: Paths of photos and folders.
      but: A folder that is not searched, such as the folder of the results.

    Raises:
      CommandError: If there is no photo, or an argument is neither a file nor a folder.
    """
    paths: List[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            paths += [os.path.join(argument, *name.split('/'))
                      for name in images.names_below(argument, but=[but])]
        elif os.path.exists(argument):
            paths.append(argument)
        else:
            raise command.CommandError('`IMAGES` must be photos or folders of photos; there is no '
                                       f'{argument!r}.')
    require_some(paths, arguments)
    return named([os.path.abspath(path) for path in paths])


def require_some(paths: Sequence[str], arguments: Sequence[str]) -> None:
    """Checks that there is a photo among what the arguments name.

    Raises:
      CommandError: If there is none.
    """
    if not paths:
        raise command.CommandError('`IMAGES` must hold at least one photo '
                                   f'({", ".join(images.IMAGE_SUFFIXES)}); got {list(arguments)}.')


def named(paths: Sequence[str]) -> List[Photo]:
    """The photos of these paths, each once.

    A name is the path relative to the folder that all photos have in common, without its suffix
    unless some photos differ in the suffix only.

    Args:
      paths: Absolute paths, at least one.
    """
    paths = list(dict.fromkeys(paths))
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    relative = [os.path.relpath(path, common) for path in paths]
    names = [os.path.splitext(name)[0] for name in relative]
    return list(map(Photo, names if len(set(names)) == len(names) else relative, paths, relative))


def of_shard(photos: Sequence[Photo], index: int, count: int) -> List[Photo]:
    """One of several shares of photos, which are disjoint and together all of them.

    It depends on the names of the files alone, whatever other photos there are.

    Args:
      photos: The photos.
      index: Number of the share, from 0.
      count: Number of shares.
    """
    return [photo for photo in photos if int.from_bytes(hashlib.blake2b(
        files.encoded(photo.file_name), digest_size=8).digest(), 'big') % count == index]
