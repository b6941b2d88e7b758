"""Arrays in .npz files: declared sizes are held to a law before anything is unpacked."""
from __future__ import annotations

import io
import math
from typing import Any, Dict
import warnings
import zipfile

import numpy as np

from scops_tf import files

# Of all arrays of a file together, once unpacked.
MAX_BYTES = 2 ** 30
_SUFFIX = '.npy'
_ENCRYPTED = 1
# The longest header of an array; NumPy writes some hundred bytes.
_MAX_HEADER = 10_000


class ArrayFileError(ValueError):
    """A file of arrays that cannot be used; the message is one sentence for the user."""


def read(path: str) -> Dict[str, np.ndarray]:
    """All arrays of an .npz file, as `numpy.savez` and `numpy.savez_compressed` write it.

    `numpy.load` believes the sizes that a file declares, and leaves the rest to libraries whose
    errors are of many kinds. Here the declared sizes are compared with each other, and with
    `MAX_BYTES`, before anything is unpacked.

    Args:
      path: Path of the file.

    Raises:
      ArrayFileError: If the file is no .npz file, is damaged or encrypted, declares more than
        `MAX_BYTES`, or holds Python objects or anything that is no array.
      OSError: If the file cannot be read.
    """
    content = files.read(path)
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(content)) as archive:
            warnings.simplefilter('error')  # Of headers that NumPy mends, or makes guesses about.
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > MAX_BYTES:
                raise ArrayFileError(f'it declares {total} bytes, and at most {MAX_BYTES} are read')
            arrays = {}
            for member in members:
                name = member.filename[:-len(_SUFFIX)]
                if not member.filename.endswith(_SUFFIX) or name in arrays:
                    raise ArrayFileError(f'it holds {member.filename[:60]!r}, which is no array or '
                                         'the second of its name')
                arrays[name] = _array(archive, member)
            return arrays
    except Exception as error:  # Damaged data raises many kinds of errors.
        reason = ' '.join(str(error).split()).rstrip('.')[:200] or type(error).__name__
        raise ArrayFileError(f'{path} must be an .npz file of plain arrays, as numpy.savez writes '
                             f'it, but {reason}; write it anew.') from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.flag_bits & _ENCRYPTED:
        raise ArrayFileError(f'{member.filename[:60]!r} in it is encrypted')
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArrayFileError(f'{member.filename[:60]!r} in it is compressed in another way, number '
                             f'{member.compress_type}')
    data = archive.read(member)
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    shape, is_fortran, dtype = _header(stream, version)
    size = len(data) - stream.tell()
    if dtype.hasobject:
        raise ArrayFileError(f'{member.filename[:60]!r} in it holds Python objects')
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size or not dtype.itemsize:
        raise ArrayFileError(f'{member.filename[:60]!r} in it has {size} bytes, which do not fit '
                             f'its shape {str(shape)[:60]} of {str(dtype)[:60]}')
    # A copy, since the bytes of a file cannot be written to.
    values = np.frombuffer(data, dtype, offset=stream.tell()).copy()
    return values.reshape(shape, order='F' if is_fortran else 'C')


def _header(stream: io.BytesIO, version: Any) -> Any:
    readers = {(1, 0): np.lib.format.read_array_header_1_0,
               (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ArrayFileError(f'an array in it is of the version {version} of the format')
    return readers[version](stream, max_header_size=_MAX_HEADER)
