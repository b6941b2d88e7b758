"""Files of saliency maps: a folder of maps, or a cache keyed by the content of the photos."""
from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import inspect
import json
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from absl import logging
import joblib
from joblib.externals import loky
import numpy as np
import tqdm

from scops_tf import files, images
from scops_tf.saliency import robust_background

# The start of a process takes as long as this many photos, so fewer are not worth another process.
_PHOTOS_PER_PROCESS = 64
# For the cache, photos are reduced to this many pixels on the longer side. Networks usually have
# smaller inputs, and a phone's photo of 12 million pixels is decoded many times faster.
_CACHE_MAX_SIDE = 1024


class MapsError(ValueError):
    """A folder of photos that cannot be used; the message is one sentence for the user."""


class CachedMaps(NamedTuple):
    """Files of the maps of photos.

    Attributes:
      paths: Path of the map, a grey PNG, of each photo in order; None for an unreadable photo.
      unreadable: A sentence for each unreadable photo, with its path and the reason.
    """

    paths: List[Optional[str]]
    unreadable: List[str]


class _Job(NamedTuple):
    photo: str
    target: str
    max_side: Optional[int]


def list_photos(folder: str, *, but: Optional[str] = None) -> List[str]:
    """Sorted relative paths of the photos below a folder, separated by '/'.

    Args:
      folder: Folder that is searched by `images.names_below`.
      but: A folder below it that is not searched, such as the folder of the maps.

    Raises:
      MapsError: If the folder does not exist or has no photo, or two photos differ in the suffix
        only, so that their maps would be one file.
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
    """Writes the missing maps of photos, at the photos' sizes and relative paths.

    Args:
      photo_folder: Folder of the photos.
      map_folder: Folder of the maps, made if missing. Maps are grey PNG files; 255 is salient.
      names: Paths of the photos below `photo_folder`; see `list_photos`.
      num_workers: Number of processes; None for one per available core.
      **constants: Keyword arguments of `saliency_map`.

    Returns:
      The number of maps written, and a sentence for each unreadable photo.

    Raises:
      MapsError: If `map_folder` is `photo_folder`, `num_workers` is below 1, or a process was
        killed.
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
    """Maps of photos from a cache; missing and damaged maps are computed once and kept.

    The key of a map is the content of its photo's file and all constants. So a photo may be renamed
    or moved, and a photo that changes gets a new map. Maps have at most 1024 pixels on their longer
    side and the aspect ratio of their photo.

    Args:
      photos: Paths of the photos.
      folder: Folder of the cache, made if missing. Several runs may share it at the same time.
      num_workers: Number of processes; None for one per available core.
      **constants: Keyword arguments of `saliency_map`.

    Returns:
      Paths of the maps, in order, and sentences on the unreadable photos.

    Raises:
      MapsError: If `num_workers` is below 1 or a process was killed.
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
            content = hashlib.sha256(files.read(photo)).digest()
            digest = hashlib.sha256(key + content).hexdigest()
            targets.append(os.path.join(folder, digest[:2], f'{digest}.png'))
        except OSError as error:
            targets.append(None)
            unreadable.append(f'{photo} cannot be read ({error.strerror}).')
    known = sorted({target for target in targets if target and os.path.exists(target)})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        whole = {target for target, is_whole in zip(known, pool.map(images.is_whole, known))
                 if is_whole}
    if len(whole) < len(known):
        logging.warning('%d of the saliency maps in %s are damaged or of an earlier version, so '
                        'they are computed again.', len(known) - len(whole), folder)
    # Photos with the same content share one job.
    jobs = {target: _Job(photo, target, _CACHE_MAX_SIDE) for photo, target in zip(photos, targets)
            if target is not None and target not in whole}
    unreadable += _compute(list(jobs.values()), folder, num_workers, constants)
    return CachedMaps([target if target is not None and os.path.exists(target) else None
                       for target in targets], unreadable)


def _compute(jobs: Sequence[_Job], folder: str, num_workers: Optional[int],
             constants: Dict[str, Any]) -> List[str]:
    """Runs the jobs in several processes; returns a sentence for each unreadable photo."""
    if num_workers is not None and num_workers < 1:
        raise MapsError(f'`num_workers` must be at least 1; got {num_workers}.')
    if not jobs:
        return []
    # A wrong constant or an unwritable folder is reported here once, not by every process.
    robust_background.saliency_map(np.zeros((1, 1, 3), np.uint8), **constants)
    files.require_writable(folder)
    files.mark(folder)
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
    images.write_png(job.target, np.rint(saliency * 255).astype(np.uint8), with_checksum=True)
    return None
