"""The photos that are predicted: which ones, their names, and shards of them."""
from __future__ import annotations

import collections
import hashlib
import os
from typing import Iterable, List, NamedTuple, Sequence

from absl import logging

from scops_tf import command, files, images

# Formats whose tools look for labels, or for photos, by the name of a photo without its suffix.
_BY_STEM = {'yolo', 'labelme', 'voc'}


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
      CommandError: If there is no photo, or an argument is neither a file nor a folder, or is the
        folder `but`.
    """
    paths: List[str] = []
    for argument in arguments:
        require_other(argument, is_same=bool(but) and os.path.realpath(
            argument) == os.path.realpath(but))
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


def require_other(argument: str, *, is_same: bool) -> None:
    """Checks that an argument is not the folder of the results.

    Raises:
      CommandError: If it is: the next call would take the results for photos.
    """
    if is_same:
        raise command.CommandError('`--out` must be another folder than that of the photos, since '
                                   f'results are images too; got {argument!r} for both.')


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

    A name is the path relative to the folder that all photos have in common. It has no suffix
    unless another photo would have the same name.

    Args:
      paths: Absolute paths, at least one.
    """
    paths = list(dict.fromkeys(paths))
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    relative = [os.path.relpath(path, common) for path in paths]
    names = [os.path.splitext(name)[0] for name in relative]
    # Again, since a name with its suffix may be that of a photo such as `a.jpg.png` without it.
    while len(set(names)) < len(names):
        counts = collections.Counter(names)
        names = [whole if counts[name] > 1 else name for name, whole in zip(names, relative)]
    return list(map(Photo, names, paths, relative))


def tell_kept_suffixes(photos: Sequence[Photo], formats: Iterable[str]) -> None:
    """Warns of formats whose tools do not find the labels of photos that keep their suffix."""
    kept = [photo for photo in photos
            if photo.name == photo.file_name and os.path.splitext(photo.name)[1]]
    unfit = sorted(_BY_STEM & set(formats))
    if kept and unfit:
        logging.warning(
            '%d photos, such as %s, differ from others in the suffix alone, so the names of their '
            'results keep it, and tools for %s do not find these: rename one photo of each pair.',
            len(kept), kept[0].file_name, ', '.join(unfit))


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
