"""Saliency maps of many photos, as files: a folder of maps, or a cache by the photos' content."""
from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import joblib
from joblib.externals import loky
import numpy as np
import tqdm

from scops_tf import files, images
from scops_tf.saliency import robust_background

# Fewer photos than this are not worth a further process, whose start takes as long as they do.
_PHOTOS_PER_PROCESS = 64
# Maps in the cache are of the photo reduced to this many pixels on its longer side: more than any
# network is fed, and a phone's photo of 12 million pixels is decoded many times faster.
_CACHE_MAX_SIDE = 1024


class MapsError(ValueError):
    """A folder of photos that maps cannot be made of; one sentence for the user."""


class CachedMaps(NamedTuple):
    """Maps of photos.

    Attributes:
      paths: One per photo, in order: its map's file, a grey PNG; None for an unreadable photo.
      unreadable: Why photos could not be read, a sentence each that names the file.
    """

    paths: List[Optional[str]]
    unreadable: List[str]


class _Job(NamedTuple):
    photo: str
    target: str
    max_side: Optional[int]


def list_photos(folder: str, *, but: Optional[str] = None) -> List[str]:
    """Relative paths of the photos below a folder, sorted, '/' between folders.

    Args:
      folder: Searched as by `images.names_below`.
      but: A folder below it that is not searched, such as that of the maps.

    Raises:
      MapsError: If there is no such folder, no photo in it, or two that differ in the suffix only,
        whose maps would be one file.
    """
    if not os.path.isdir(folder):
        raise MapsError(f'`images` must be a folder of photos; there is no folder {folder}.')
    names = images.names_below(folder, but=[but] if but else [])
    if not names:
        raise MapsError('`images` must hold at least one photo '
                        f'({", ".join(images.IMAGE_SUFFIXES)}); there is none below {folder}.')
    by_stem: Dict[str, str] = {}
    for name in names:
        twin = by_stem.setdefault(os.path.splitext(name)[0], name)
        if twin != name:
            raise MapsError('Photos must differ in more than their suffix, as their maps are named '
                            f'without it; got {twin} and {name}: rename or remove one.')
    return names


def write_maps(photo_folder: str, map_folder: str, names: Sequence[str], *,
               num_workers: Optional[int] = None, **constants: Any) -> Tuple[int, List[str]]:
    """Writes the maps of photos that have none yet, at their photos' sizes and relative paths.

    Args:
      photo_folder: Folder of the photos.
      map_folder: Made where missing; maps are grey PNG files, 255 is salient.
      names: Photos' paths below `photo_folder`, as of `list_photos`.
      num_workers: Processes; as many as the machine has cores for us where None.
      **constants: Of `saliency_map`.

    Returns:
      How many maps were written, and why photos could not be read, a sentence each.

    Raises:
      OSError: If `map_folder` cannot be written to.
      SaliencyError: If a constant is out of range.
    """
    jobs = [_Job(os.path.join(photo_folder, *name.split('/')),
                 os.path.join(map_folder, *os.path.splitext(name)[0].split('/')) + '.png', None)
            for name in names]
    if os.path.realpath(photo_folder) == os.path.realpath(map_folder):
        raise MapsError('`out` must be another folder than `images`, or maps would be taken for '
                        f'photos; got {map_folder}.')
    jobs = [job for job in jobs if not os.path.exists(job.target)]
    unreadable = _compute(jobs, map_folder, num_workers, constants)
    return len(jobs) - len(unreadable), unreadable


def cached_maps(photos: Sequence[str], folder: str, *, num_workers: Optional[int] = None,
                **constants: Any) -> CachedMaps:
    """Maps of photos out of a cache; what is missing is computed, and never computed again.

    A map is found by the content of its photo's file and by all constants, so a photo may be
    renamed or moved, and one changed in place gets a new map. Maps are at most 1024 pixels on their
    longer side, with the aspect of their photo.

    Args:
      photos: Paths of the photos' files.
      folder: Of the cache; made where missing, may be shared by runs at the same time.
      num_workers: As in `write_maps`.
      **constants: Of `saliency_map`.

    Returns:
      Paths of the maps, in order, and the list of the unreadable photos.

    Raises:
      OSError: If `folder` cannot be written to.
      SaliencyError: If a constant is out of range.
    """
    bound = inspect.signature(robust_background.saliency_map).bind_partial(**constants)
    bound.apply_defaults()
    settings = {**bound.arguments, 'max_side': _CACHE_MAX_SIDE,
                'version': robust_background.VERSION}
    key = json.dumps(settings, sort_keys=True).encode()
    targets: List[Optional[str]] = []
    unreadable: List[str] = []
    for photo in photos:
        try:
            with open(photo, 'rb') as file:
                digest = hashlib.sha256(key + hashlib.sha256(file.read()).digest()).hexdigest()
            targets.append(os.path.join(folder, digest[:2], f'{digest}.png'))
        except OSError as error:
            targets.append(None)
            unreadable.append(f'{photo} cannot be read ({error.strerror}).')
    # The same photo twice is one job.
    jobs = {target: _Job(photo, target, _CACHE_MAX_SIDE) for photo, target in zip(photos, targets)
            if target is not None and not os.path.exists(target)}
    unreadable += _compute(list(jobs.values()), folder, num_workers, constants)
    return CachedMaps([target if target is not None and os.path.exists(target) else None
                       for target in targets], unreadable)


def _compute(jobs: Sequence[_Job], folder: str, num_workers: Optional[int],
             constants: Dict[str, Any]) -> List[str]:
    """Runs the jobs over processes; returns the sentences about the photos that cannot be read."""
    if num_workers is not None and num_workers < 1:
        raise MapsError(f'`num_workers` must be at least 1; got {num_workers}.')
    if not jobs:
        return []
    # A wrong constant and a folder that cannot be written to are told now, not by every process.
    robust_background.saliency_map(np.zeros((1, 1, 3), np.uint8), **constants)
    files.require_writable(folder)
    # The processes import TensorFlow with `images`; its start has nothing to say here.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    processes = min(num_workers or joblib.cpu_count(), -(-len(jobs) // _PHOTOS_PER_PROCESS))
    work = joblib.delayed(functools.partial(_write_map, constants=constants))
    results: Iterator[Optional[str]] = joblib.Parallel(
        n_jobs=processes, return_as='generator_unordered')(work(job) for job in jobs)
    try:
        found = list(tqdm.tqdm(results, total=len(jobs), desc='Saliency', unit='photo'))
    except loky.process_executor.TerminatedWorkerError as error:
        raise MapsError(
            'Processes must not be killed, but one was, most likely for want of memory; '
            'start again with a lower `num_workers`, finished maps are kept.') from error
    finally:
        if processes > 1:
            loky.get_reusable_executor().shutdown(wait=True)
    return sorted(sentence for sentence in found if sentence is not None)


def _write_map(job: _Job, constants: Dict[str, Any]) -> Optional[str]:
    try:
        photo = images.read(job.photo, max_side=job.max_side)
    except images.ImageError as error:
        return str(error)
    saliency = robust_background.saliency_map(photo, **constants)
    images.write_png(job.target, np.rint(saliency * 255).astype(np.uint8))
    return None
