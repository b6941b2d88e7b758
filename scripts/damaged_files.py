"""Damaged copies of files, for experiments on what readers make of them: many kinds, by seed.

    for kind, content in damaged_files.npz(arrays, count=600, seed=0):
        ...

Every file has one damage, drawn by number of the seed. Some damages leave a file that is in order,
such as one whose array has another value.
"""
from __future__ import annotations

import io
import struct
from typing import Callable, Dict, Iterator, List, Tuple
import zipfile

import numpy as np

Arrays = Dict[str, np.ndarray]

_VALUES = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e38, 1e7, 1e-300, 0.0, -1.0)
# A shape's number in the header of an array.
_SHAPES = ('(99999999999, 3, 2)', '(-1, 3, 2)', '(0, 3, 2)', '()', '(40,)', '(40, 3, 2, 1)',
           '(True, 3, 2)', '(40.0, 3, 2)', '99', f'({10 ** 30}, 0)')
_TYPES = ("'|O'", "'<U0'", "'<U9999999'", "'<c16'", "'<M8[s]'", "'>f8'", "'|V8'", "'nothing'",
          "[('x', '<f8')]", "('<f8', (2,))", "'<f16'", "['<f8']")


def of(content: bytes, generator: np.random.Generator) -> Tuple[str, bytes]:
    """A kind of damage to the bytes of any file, and the damaged bytes."""
    data = bytearray(content)
    kind = str(generator.choice(['bits', 'cut', 'run', 'inserted', 'doubled']))
    at = int(generator.integers(len(data)))
    if kind == 'bits':
        for place in generator.integers(len(data), size=int(generator.integers(1, 9))):
            data[place] ^= 1 << int(generator.integers(8))
    elif kind == 'cut':
        del data[at:]
    elif kind == 'run':
        end = min(len(data), at + int(generator.integers(1, 200)))
        data[at:end] = bytes([int(generator.choice([0, 255]))]) * (end - at)
    elif kind == 'inserted':
        data[at:at] = generator.bytes(int(generator.integers(1, 50)))
    else:
        data += content[at:]
    return kind, bytes(data)


def npz(arrays: Arrays, *, count: int, seed: int) -> Iterator[Tuple[str, bytes]]:
    """Damaged .npz files of the arrays: kind of the damage and content of the file.

    Args:
      arrays: Arrays of the whole file; some of them hold floating-point numbers.
      count: Number of files.
      seed: Seed of all draws; file i depends on the seed, the arrays and i alone.
    """
    kinds: List[Callable[[Arrays, np.random.Generator], bytes]] = [
        _bytes, _bytes, _member, _directory, _encrypted, _compressed_otherwise, _stream, _header,
        _shape, _dtype, _no_array, _no_array_at_all, _value, _value, _other_arrays]
    for index in range(count):
        generator = np.random.default_rng([seed, index])
        damage = kinds[index % len(kinds)]
        yield damage.__name__.strip('_'), damage(arrays, generator)


def _members(arrays: Arrays) -> Dict[str, bytes]:
    members = {}
    for name, values in arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asanyarray(values))
        members[f'{name}.npy'] = stream.getvalue()
    return members


def _archive(members: Dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', method) as archive:
        for name, content in members.items():
            # A fixed date, so that a seed stands for its bytes.
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _chosen(arrays: Arrays, generator: np.random.Generator) -> str:
    return sorted(arrays)[int(generator.integers(len(arrays)))]


def _bytes(arrays: Arrays, generator: np.random.Generator) -> bytes:
    return of(_archive(_members(arrays)), generator)[1]


def _member(arrays: Arrays, generator: np.random.Generator) -> bytes:
    """An array's file is damaged, and the archive around it is whole."""
    members, name = _members(arrays), f'{_chosen(arrays, generator)}.npy'
    members[name] = of(members[name], generator)[1]
    return _archive(members, int(generator.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))


def _directory(arrays: Arrays, generator: np.random.Generator) -> bytes:
    data = bytearray(_archive(_members(arrays)))
    first = data.index(b'PK\x01\x02')
    for place in generator.integers(first, len(data), size=int(generator.integers(1, 5))):
        data[place] = int(generator.integers(256))
    return bytes(data)


def _in_all_entries(data: bytes, offset: int, value: int) -> bytes:
    """Sets a field of two bytes, at an offset in the local headers, in both headers of a member."""
    changed = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        places = [member.header_offset for member in archive.infolist()]
        directory = archive.start_dir
    for place in places:
        struct.pack_into('<H', changed, place + offset, value)
    while changed[directory:directory + 4] == b'PK\x01\x02':
        struct.pack_into('<H', changed, directory + offset + 2, value)
        directory += 46 + sum(struct.unpack_from('<HHH', changed, directory + 28))
    return bytes(changed)


def _encrypted(arrays: Arrays, generator: np.random.Generator) -> bytes:
    return _in_all_entries(_archive(_members(arrays)), 6, 1)


def _compressed_otherwise(arrays: Arrays, generator: np.random.Generator) -> bytes:
    if generator.random() < 0.5:
        method = int(generator.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
        return _archive(_members(arrays), method)
    return _in_all_entries(_archive(_members(arrays)), 8, int(generator.integers(2, 100)))


def _stream(arrays: Arrays, generator: np.random.Generator) -> bytes:
    """The compressed bytes of an array are damaged."""
    data = bytearray(_archive(_members(arrays)))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        member = archive.infolist()[int(generator.integers(len(arrays)))]
    start = member.header_offset + 30 + len(member.filename)
    place = start + int(generator.integers(member.compress_size))
    data[place] ^= int(generator.integers(1, 256))
    return bytes(data)


def _with_header(arrays: Arrays, generator: np.random.Generator,
                 change: Callable[[bytes], bytes]) -> bytes:
    members, name = _members(arrays), f'{_chosen(arrays, generator)}.npy'
    content = members[name]
    end = 10 + struct.unpack_from('<H', content, 8)[0]
    header = change(content[10:end])
    members[name] = content[:8] + struct.pack('<H', len(header)) + header + content[end:]
    return _archive(members)


def _header(arrays: Arrays, generator: np.random.Generator) -> bytes:
    """A character of an array's header is another one, such as a bracket that is never closed."""
    def change(header: bytes) -> bytes:
        place = int(generator.integers(len(header.rstrip())))
        return header[:place] + bytes([generator.choice(list(b'([{}]),:\'"\\#0L \n\x00e-'))]) + (
            header[place + 1:])
    return _with_header(arrays, generator, change)


def _field(name: str, header: bytes, value: str) -> bytes:
    fields = {'descr': None, 'fortran_order': None, 'shape': None}
    for field in fields:
        text = header.decode('latin1').split(f"'{field}': ", 1)[1]
        fields[field] = text.split(", '", 1)[0].rsplit(', }', 1)[0]
    fields[name] = value
    inner = ', '.join(f"'{field}': {text}" for field, text in fields.items())
    return f'{{{inner}, }}'.encode('latin1')


def _shape(arrays: Arrays, generator: np.random.Generator) -> bytes:
    value = str(generator.choice(_SHAPES))
    return _with_header(arrays, generator, lambda header: _field('shape', header, value))


def _dtype(arrays: Arrays, generator: np.random.Generator) -> bytes:
    value = str(generator.choice(_TYPES))
    return _with_header(arrays, generator, lambda header: _field('descr', header, value))


def _no_array(arrays: Arrays, generator: np.random.Generator) -> bytes:
    members = _members(arrays)
    members[f'{_chosen(arrays, generator)}.npy'] = generator.bytes(int(generator.integers(40)))
    return _archive(members)


def _no_array_at_all(arrays: Arrays, generator: np.random.Generator) -> bytes:
    return _archive([{}, {'readme.txt': b'arrays'}, {'train.npy': b''}, {'train/': b''}][
        int(generator.integers(4))])


def _value(arrays: Arrays, generator: np.random.Generator) -> bytes:
    changed = {name: np.array(values) for name, values in arrays.items()}
    name = str(generator.choice([name for name, values in changed.items()
                                 if values.dtype.kind == 'f' and values.size]))
    values = changed[name].reshape(-1)
    number = len(values) if generator.random() < 0.3 else 1
    places = generator.choice(len(values), number, replace=False)
    with np.errstate(over='ignore'):
        values[places] = generator.choice(_VALUES)
    return _archive(_members(changed))


def _other_arrays(arrays: Arrays, generator: np.random.Generator) -> bytes:
    changed, name = dict(arrays), _chosen(arrays, generator)
    values = np.asarray(changed.pop(name))
    choice = int(generator.integers(6))
    if choice:
        several = np.atleast_1d(values)
        changed[name] = [values.T, several[:0], several[:1], several[..., :1],
                         np.zeros(())][choice - 1]
    return _archive(_members(changed))
