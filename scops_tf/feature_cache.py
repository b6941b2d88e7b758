"""Features of each photo, computed once: float16, in memory or in a file that a killed run goes on filling."""
from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
from typing import BinaryIO, Callable, Iterator, Optional, Sequence, Tuple

import numpy as np
import tqdm

_DTYPE = np.dtype('<f2')
_WAYS_OUT = 'set `Features.cache` to \'memory\' or \'none\''

Compute = Callable[[np.ndarray], np.ndarray]


class CacheError(OSError):
    """A cache that cannot be written or read; the message is one sentence for the user."""


def bytes_needed(shape: Sequence[int]) -> int:
    """Bytes that features of this shape take in the cache."""
    return _DTYPE.itemsize * int(np.prod(shape, dtype=np.int64))


def filled(shape: Sequence[int], compute: Compute, *, key: str, folder: Optional[str] = None,
           batch_size: int = 8, description: str = 'Features') -> np.ndarray:
    """The features of all photos, computed in order, or found where they were computed before.

    A file is filled under the name `<key>.npy.partial`, which grows by whole batches; when it is complete
    it becomes `<key>.npy`. A run that was killed goes on where it stopped, and processes that want the
    same features wait for the one that computes them.

    Args:
      shape: (N, ...). N rows of one shape.
      compute: From indices i64[n], at most `batch_size` of them, to the rows float[n,...].
      key: Names everything that the rows depend on, such as a digest of photos and settings; a file name.
      folder: Of the file; made if missing. None keeps the rows in memory.
      batch_size: Rows computed at a time; the result does not depend on it if `compute` does not.
      description: Of the progress bar.

    Returns:
      f16[N,...], read-only; the same whether in memory or mapped from the file.

    Raises:
      CacheError: If the folder cannot be written, its disk has too little room, or a file is damaged.
      ValueError: If `compute` gives rows of another shape, or values that float16 does not hold.
    """
    shape = tuple(int(side) for side in shape)
    if folder is None:
        rows = np.empty(shape, _DTYPE)
        done = 0
        for batch in _batches(shape, 0, compute, batch_size, description):
            rows[done:done + len(batch)] = batch
            done += len(batch)
        rows.setflags(write=False)
        return rows
    path = os.path.join(folder, f'{key}.npy')
    try:
        if not os.path.exists(path):
            os.makedirs(folder, exist_ok=True)
            with open(f'{path}.partial', 'a+b') as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # Another process may have completed it meanwhile.
                if not os.path.exists(path):
                    _fill(file, shape, compute, batch_size, description)
                    os.replace(file.name, path)
        return _opened(path, shape)
    except OSError as error:
        if isinstance(error, CacheError):
            raise
        if error.errno == errno.ENOSPC:
            raise _no_room(folder, shape) from error
        raise CacheError(f'The folder of the cache must be one that can be written; {folder!r} is not '
                         f'({error.strerror}): change that, or {_WAYS_OUT}.') from error


def _fill(file: BinaryIO, shape: Tuple[int, ...], compute: Compute, batch_size: int,
          description: str) -> None:
    """Completes a file, which is appended to; what it holds of a batch cut short is dropped."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {'descr': _DTYPE.str, 'fortran_order': False, 'shape': shape})
    header, row_bytes = buffer.getvalue(), bytes_needed(shape[1:])
    file.seek(0)
    if file.read(len(header)) != header:
        file.truncate(0)
        file.write(header)
        file.flush()
    done = (os.fstat(file.fileno()).st_size - len(header)) // row_bytes
    file.truncate(len(header) + done * row_bytes)
    folder = os.path.dirname(file.name)
    if shutil.disk_usage(folder).free < bytes_needed((shape[0] - done, *shape[1:])):
        raise _no_room(folder, shape, done)
    for batch in _batches(shape, done, compute, batch_size, description):
        file.write(batch.tobytes())
        file.flush()
        # A power cut may else leave a file of full length whose end was never written.
        os.fsync(file.fileno())


def _batches(shape: Tuple[int, ...], done: int, compute: Compute, batch_size: int,
             description: str) -> Iterator[np.ndarray]:
    """Checked rows from number `done` on, as float16."""
    if batch_size < 1:
        raise ValueError(f'`batch_size` must be at least 1; got {batch_size}.')
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


def _opened(path: str, shape: Tuple[int, ...]) -> np.ndarray:
    try:
        rows = np.load(path, mmap_mode='r')
        if rows.shape == shape and rows.dtype == _DTYPE:
            return rows
        reason = f'it holds {rows.dtype}{list(rows.shape)}'
    except ValueError as error:
        reason = str(error)
    raise CacheError(f'The cache {path!r} must hold float16{list(shape)}; {reason}: remove the file.')


def _no_room(folder: str, shape: Tuple[int, ...], done: int = 0) -> CacheError:
    needed = bytes_needed((shape[0] - done, *shape[1:]))
    return CacheError(
        f'The cache in {folder!r} must have room for {needed} bytes ({needed / 2**30:.2f} GiB) more; '
        f'{shutil.disk_usage(folder).free} are free: free disk space, or {_WAYS_OUT}.')
