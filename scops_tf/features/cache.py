"""Features of the photos, computed once and kept as float16 in memory or in a resumable file."""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import itertools
import json
import mmap
import os
import shutil
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tqdm

_DTYPE = np.dtype('<f2')
_WAYS_OUT = 'set `Features.cache` to \'memory\' or \'none\''

Compute = Callable[[np.ndarray], np.ndarray]


class CacheError(OSError):
    """A cache that cannot be written or read; the message is one sentence for the user."""


def bytes_needed(shape: Sequence[int]) -> int:
    """Number of bytes that features of this shape take in the cache."""
    return _DTYPE.itemsize * int(np.prod(shape, dtype=np.int64))


def fingerprint(photos: Iterable[np.ndarray], weights: Iterable[Any], **settings: Any) -> str:
    """SHA-256 of what features depend on, which serves as the key of a cache.

    Args:
      photos: Photos.
      weights: Variables of the network, in an order that is the same in every process. Settings
        tell where weights come from, and not what is there: a file may be replaced, and a run may
        start from another one.
      **settings: Other things, as JSON values.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for values in itertools.chain(weights, photos):
        digest.update(np.ascontiguousarray(values))
    return digest.hexdigest()


def place(shape: Sequence[int], folder: str, *, cache: str, limit_gib: float) -> Optional[str]:
    """The place for features of this shape: `folder`, or None for memory; see `config.Features`.

    Raises:
      ValueError: If they would go to the disk but are larger than ten times the limit.
    """
    needed = bytes_needed(shape) / 2**30
    if cache == 'memory' or cache != 'disk' and needed <= limit_gib:
        return None
    if needed > 10 * limit_gib:
        raise ValueError(
            '`Features.cache_limit_gib` must be at least a tenth of the cache on disk, which takes '
            f'{needed:.1f} GiB here; got {limit_gib}: raise it, or set `Features.cache` to '
            '\'none\' and `Segmenter.num_views` to 0.')
    return folder


def release(rows: np.ndarray) -> None:
    """Frees the memory pages of rows that are mapped from a file; does nothing for other rows.

    Otherwise the pages would count as memory of the process until memory runs short.
    """
    if isinstance(rows, np.memmap):
        rows.base.madvise(mmap.MADV_DONTNEED)


def filled(shape: Sequence[int], compute: Compute, *, key: str, folder: Optional[str] = None,
           batch_size: int = 8, description: str = 'Features') -> np.ndarray:
    """The features of all photos: read from a cache file, or else computed in order and kept.

    A file grows by whole batches under the name `<key>.npy.partial`; when it is complete it becomes
    `<key>.npy`, with a checksum at its end. A run that was killed continues where it stopped.
    Processes that need the same features wait for the one that computes them. A file that is
    damaged, or of an earlier version, is computed again.

    Args:
      shape: (N, ...), the shape of N rows.
      compute: Function from indices i64[n] to rows float[n,...]. The first index is a multiple of
        `batch_size`, and n is `batch_size` except at the end.
      key: File name without suffix. It must identify everything that the rows depend on; see
        `fingerprint`.
      folder: Folder of the file, made if missing. None keeps the rows in memory.
      batch_size: Number of rows that are computed at a time.
      description: Title of the progress bar.

    Returns:
      f16[N,...], read-only. The values are the same in memory and mapped from the file.

    Raises:
      CacheError: If the folder cannot be written, or its disk has too little room.
      ValueError: If `compute` gives rows of another shape, or values that float16 cannot hold.
    """
    shape = tuple(int(side) for side in shape)
    if batch_size < 1 or 0 in shape:
        raise ValueError('`batch_size` and the sides of `shape` must be at least 1; got '
                         f'{batch_size} and {shape}.')
    if folder is None:
        rows, done = np.empty(shape, _DTYPE), 0
        for batch in _batches(shape, 0, compute, batch_size, description):
            rows[done:done + len(batch)] = batch
            done += len(batch)
        rows.setflags(write=False)
        return rows
    path = _path(folder, key)
    known = _opened(path, shape)
    if known is not None:
        return known
    with contextlib.ExitStack() as stack:
        with _explained(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # Unbuffered, since closing a buffered file after a failed write would write again.
            file = stack.enter_context(open(f'{path}.partial', 'a+b', buffering=0))
            fcntl.flock(file, fcntl.LOCK_EX)
        # Another process may have completed it meanwhile.
        known = _opened(path, shape)
        if known is None:
            _fill(file, path, shape, compute, batch_size, description)
            known = np.load(path, mmap_mode='r')
    return known


def found(shape: Sequence[int], *, key: str, folder: str) -> Optional[np.ndarray]:
    """The features of a complete and whole cache file; None if there is none. See `filled`."""
    return _opened(_path(folder, key), tuple(map(int, shape)))


def _path(folder: str, key: str) -> str:
    return os.path.join(os.path.abspath(folder), f'{key}.npy')


def _fill(file: io.FileIO, path: str, shape: Tuple[int, ...], compute: Compute, batch_size: int,
          description: str) -> None:
    """Completes a file opened for appending and renames it; drops an incomplete batch first."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {'descr': _DTYPE.str, 'fortran_order': False, 'shape': shape})
    header, row_bytes = buffer.getvalue(), bytes_needed(shape[1:])
    with _explained(path):
        file.seek(0)
        if file.read(len(header)) != header:
            file.truncate(0)
            _write(file, header)
        done = (os.fstat(file.fileno()).st_size - len(header)) // row_bytes
        done = done if done == shape[0] else done // batch_size * batch_size
        file.truncate(len(header) + done * row_bytes)
    needed, free = (shape[0] - done) * row_bytes, shutil.disk_usage(os.path.dirname(path)).free
    if free < needed:
        raise CacheError(
            f'The cache in {os.path.dirname(path)!r} must have room for {needed} more bytes '
            f'({needed / 2**30:.2f} GiB), {free} are free: free disk space, or {_WAYS_OUT}.')
    for batch in _batches(shape, done, compute, batch_size, description):
        with _explained(path):
            _write(file, batch.tobytes())
            # Without this a power cut may leave a file of full length whose end was never written.
            os.fsync(file.fileno())
    with _explained(path):
        _write(file, _checksum(file))
        os.fsync(file.fileno())
        os.replace(file.name, path)


def _write(file: io.FileIO, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += file.write(memoryview(data)[written:])


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Context: turns an error of the file system into a `CacheError` of one sentence."""
    try:
        yield
    except OSError as error:
        folder = os.path.dirname(path)
        free = f', {shutil.disk_usage(folder).free} bytes are free' if os.path.isdir(folder) else ''
        raise CacheError(f'The cache must be written to {folder!r}, which fails ({error.strerror}'
                         f'{free}): give it room and permission, or {_WAYS_OUT}.') from error


def _batches(shape: Tuple[int, ...], done: int, compute: Compute, batch_size: int,
             description: str) -> Iterator[np.ndarray]:
    """Batches of checked rows as float16, from row number `done` on."""
    with tqdm.tqdm(total=shape[0], initial=done, desc=description, unit='row') as progress:
        for start in range(done, shape[0], batch_size):
            indices = np.arange(start, min(start + batch_size, shape[0]))
            with np.errstate(over='ignore'):
                batch = np.asarray(compute(indices)).astype(_DTYPE)
            if batch.shape != (len(indices), *shape[1:]):
                raise ValueError(f'`compute` must give rows of the shape {shape[1:]}; got '
                                 f'{batch.shape} for {len(indices)} of them.')
            if not np.all(np.isfinite(batch)):
                raise ValueError('`compute` must give values that float16 holds, finite and within '
                                 f'65504; those of rows {indices[0]} to {indices[-1]} are not.')
            yield batch
            progress.update(len(batch))


def _opened(path: str, shape: Tuple[int, ...]) -> Optional[np.ndarray]:
    """The rows of a file; None if there is none, or if it is not whole, which the log then says."""
    if not os.path.exists(path):
        return None
    size = os.path.getsize(path) - hashlib.blake2b().digest_size
    try:
        with open(path, 'rb') as file:
            whole = size >= 0 and _checksum(file, size) == file.read()
        rows = np.load(path, mmap_mode='r') if whole else None
    except (OSError, ValueError, EOFError):
        rows = None
    if rows is None or rows.shape != shape or rows.dtype != _DTYPE:
        logging.warning('The cache %s is damaged or of an earlier version, so it is not used.',
                        path)
        return None
    return rows


def _checksum(file: Any, size: Optional[int] = None) -> bytes:
    """BLAKE2 of the first `size` bytes of a file, or of all; the file is then read up to there."""
    digest = hashlib.blake2b()
    file.seek(0)
    left = os.fstat(file.fileno()).st_size if size is None else size
    while left > 0:
        data = file.read(min(left, 2 ** 22))
        if not data:
            break
        digest.update(data)
        left -= len(data)
    return digest.digest()
