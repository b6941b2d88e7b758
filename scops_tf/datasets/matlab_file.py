"""Files of MATLAB 5 (*.mat), read in Python alone, so that a damaged one is an error and no crash.

SciPy's reader is compiled, and damage that leaves a file's checksums right can end the process. A
structure is a list of dictionaries, a text a string, numbers are arrays. The format is described in
"MAT-File Format", The MathWorks.
"""
from __future__ import annotations

import math
import struct
from typing import Any, Dict, List, Tuple
import zlib

import numpy as np

# Of one variable, once unpacked. An annotation of a photo with a hundred masks takes 25 MB.
MAX_BYTES = 2 ** 28
# Structures within structures; annotations have three.
_MAX_DEPTH = 16
_HEADER = 128
# The mark of the version and of numbers whose first byte is the lowest.
_MARK = b'\x00\x01IM'
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _FIRST_NUMBERS, _LAST_NUMBERS = 1, 2, 4, 6, 15
_IS_COMPLEX = 0x800
_TYPES = {1: 'i1', 2: 'u1', 3: '<i2', 4: '<u2', 5: '<i4', 6: '<u4', 7: '<f4', 9: '<f8', 12: '<i8',
          13: '<u8'}
_ENCODINGS = {1: 'latin-1', 2: 'latin-1', 4: 'utf-16-le', 16: 'utf-8', 17: 'utf-16-le'}


class MatlabFileError(ValueError):
    """Bytes that are no such file; the message is half a sentence, the reason."""


def read(data: bytes) -> Dict[str, Any]:
    """The variables of a file, each of which is compressed and has a checksum.

    Args:
      data: Content of the file.

    Returns:
      Values by the names of the variables. A structure array is a list of dictionaries, column by
      column; a cell array a list; a text a str; numbers an array of their stored type. An empty
      array without a type is f64[0,0].

    Raises:
      MatlabFileError: If the bytes are damaged, are of another kind, or unpack to more than
        `MAX_BYTES`.
    """
    if data[_HEADER - 4:_HEADER] != _MARK or len(data) == _HEADER:
        raise MatlabFileError('it has no header of MATLAB 5')
    variables: Dict[str, Any] = {}
    position = _HEADER
    while position < len(data):
        kind, length = struct.unpack('<II', data[position:position + 8].ljust(8, b'\0'))
        element = data[position + 8:position + 8 + length]
        if kind != _COMPRESSED or len(element) != length:
            raise MatlabFileError(f'its element at byte {position} is not compressed or is cut off')
        variables.update([_variable(_unpacked(element))])
        position += 8 + length
    return variables


def _unpacked(element: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(element, MAX_BYTES + 1)
    except zlib.error as error:
        raise MatlabFileError(f'it cannot be unpacked ({error})') from None
    if len(content) > MAX_BYTES:
        raise MatlabFileError(f'it unpacks to more than {MAX_BYTES} bytes')
    if not decompressor.eof or decompressor.unused_data:
        raise MatlabFileError('its compressed bytes are cut off or too many')
    return content


def _variable(content: bytes) -> Tuple[str, Any]:
    stream = _Stream(memoryview(content))
    kind, matrix = stream.element()
    if kind != _MATRIX or stream.rest:
        raise MatlabFileError('a variable in it is no matrix')
    return _matrix(matrix, 0)


class _Stream:
    """The elements in a piece of a file, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.rest = data

    def element(self) -> Tuple[int, memoryview]:
        """The type and the bytes of the next element."""
        if len(self.rest) < 8:
            raise MatlabFileError('an element in it is cut off')
        kind, length = struct.unpack('<II', self.rest[:8])
        start, end = 8, 8 + length
        step = end + -length % 8
        if kind >> 16:  # Up to four bytes, which take the place of the length.
            kind, length = kind & 0xffff, kind >> 16
            start, end, step = 4, 4 + length, 8
            if length > 4:
                raise MatlabFileError('a small element in it has more than four bytes')
        if end > len(self.rest):
            raise MatlabFileError('an element in it is cut off')
        content, self.rest = self.rest[start:end], self.rest[step:]
        return kind, content

    def numbers(self) -> np.ndarray:
        """The next element as numbers."""
        kind, content = self.element()
        if kind not in _TYPES:
            raise MatlabFileError(f'numbers in it have the type {kind}')
        dtype = np.dtype(_TYPES[kind])
        if len(content) % dtype.itemsize:
            raise MatlabFileError('numbers in it are cut off')
        return np.frombuffer(content, dtype)

    def text(self) -> str:
        """The next element as text."""
        kind, content = self.element()
        if kind not in _ENCODINGS:
            raise MatlabFileError(f'text in it has the type {kind}')
        try:
            return bytes(content).decode(_ENCODINGS[kind])
        except UnicodeDecodeError as error:
            raise MatlabFileError(f'text in it is damaged ({error.reason})') from None

    def matrix(self, depth: int) -> Any:
        """The next element, which is a matrix; its value."""
        kind, content = self.element()
        if kind != _MATRIX:
            raise MatlabFileError(f'for a matrix in it there is the type {kind}')
        return _matrix(content, depth)[1]


def _matrix(content: memoryview, depth: int) -> Tuple[str, Any]:
    """Name and value of a matrix, which may hold others."""
    if depth > _MAX_DEPTH:
        raise MatlabFileError(f'structures in it are more than {_MAX_DEPTH} deep')
    if not content:
        return '', np.zeros((0, 0))
    stream = _Stream(content)
    flags, shape = stream.numbers(), tuple(stream.numbers().tolist())
    name = stream.text()
    if flags.dtype != np.uint32 or len(flags) != 2 or len(shape) < 2 or not all(
            isinstance(side, int) and side >= 0 for side in shape):
        raise MatlabFileError('a matrix in it has no valid shape')
    kind, count = int(flags[0]) & 0xff, math.prod(shape)
    if kind == _STRUCT:
        return name, _structures(stream, count, depth)
    if kind == _CELL:
        _require_room(stream, count)
        return name, [stream.matrix(depth + 1) for _ in range(count)]
    if kind == _CHAR:
        if len(shape) != 2 or (count and shape[0] != 1):
            raise MatlabFileError('text in it has several lines')
        return name, stream.text() if stream.rest else ''
    if not _FIRST_NUMBERS <= kind <= _LAST_NUMBERS or int(flags[0]) & _IS_COMPLEX:
        raise MatlabFileError(f'a matrix in it is of the class {kind}, or complex')
    values = stream.numbers()
    if len(values) != count:
        raise MatlabFileError(f'a matrix in it has {len(values)} numbers, and the shape {shape}')
    return name, values.reshape(shape, order='F')


def _structures(stream: _Stream, count: int, depth: int) -> List[Dict[str, Any]]:
    length = stream.numbers()
    names = stream.element()[1]
    if length.shape != (1,) or length.dtype.kind not in 'iu' or length[0] < 1 or (
            len(names) % int(length[0])):
        raise MatlabFileError('a structure in it has no valid names')
    step = int(length[0])
    fields = [bytes(names[at:at + step]).split(b'\0')[0].decode('latin-1')
              for at in range(0, len(names), step)]
    if not fields:  # Else a count alone would make any number of dictionaries.
        raise MatlabFileError('a structure in it has no field')
    _require_room(stream, count * len(fields))
    return [{field: stream.matrix(depth + 1) for field in fields} for _ in range(count)]


def _require_room(stream: _Stream, count: int) -> None:
    if 8 * count > len(stream.rest):
        raise MatlabFileError(f'{count} matrices in it are cut off')
