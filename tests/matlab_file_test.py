from __future__ import annotations

import io
import struct
import zlib

import damaged_files
import numpy as np
import pytest
import scipy.io

from scops_tf.datasets import matlab_file


def _structs(*rows):
    array = np.empty((1, len(rows)), [(field, object) for field in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


def _saved(**variables) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=True)
    return stream.getvalue()


def _packed(content: bytes, saved: bytes) -> bytes:
    """The file with another content of its one variable, and a right checksum."""
    packed = zlib.compress(content)
    return saved[:128] + struct.pack('<II', 15, len(packed)) + packed


_MASKS = [np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([[0.5, -2.0, 1e300]]),
          np.array([[1, -70000]], np.int32), np.array([[True, False]])]
_NONE = np.zeros((0, 0))
_NESTED = _structs({'name': 'a text of more than four', 'mask': _MASKS[0], 'none': _NONE},
                   {'name': 'ß', 'mask': _MASKS[1], 'none': _NONE})


def test_values_are_those_that_were_saved():
    found = matlab_file.read(_saved(anno=_structs({'of': _NESTED, 'x': 'y'}), second=_MASKS[2],
                                    third=_MASKS[3]))
    outer, = found['anno']
    assert outer['x'] == 'y' and [each['name'] for each in outer['of']] == [
        'a text of more than four', 'ß']
    for each, mask in zip(outer['of'], _MASKS):
        np.testing.assert_array_equal(each['mask'], mask)
        assert each['none'].shape == (0, 0)
    np.testing.assert_array_equal(found['second'], _MASKS[2])
    np.testing.assert_array_equal(found['third'], _MASKS[3])


def test_damage_below_a_right_checksum_is_an_error_or_another_value():
    saved = _saved(anno=_NESTED)
    content = zlib.decompress(saved[136:])
    refused = 0
    for index in range(500):
        damaged = damaged_files.of(content, np.random.default_rng([0, index]))[1]
        try:
            matlab_file.read(_packed(damaged, saved))
        except matlab_file.MatlabFileError as error:
            refused += 1
            assert '\n' not in str(error)
    assert refused > 250


def test_what_unpacks_to_too_much_is_refused_where_the_law_ends(monkeypatch):
    monkeypatch.setattr(matlab_file, 'MAX_BYTES', 10 ** 5)
    with pytest.raises(matlab_file.MatlabFileError, match='more than 100000 bytes'):
        matlab_file.read(_saved(anno=np.zeros((400, 401))))


def _element(kind: int, content: bytes) -> bytes:
    return struct.pack('<II', kind, len(content)) + content + bytes(-len(content) % 8)


def _matrix(flags: int, shape: bytes, rest: bytes) -> bytes:
    return _element(14, _element(6, struct.pack('<II', flags, 0)) + _element(5, shape)
                    + _element(1, b'anno') + rest)


_LARGE = struct.pack('<ii', 2 ** 31 - 1, 2 ** 31 - 1)
_NAMES = _element(5, struct.pack('<i', 8))


@pytest.mark.parametrize('content, words', [
    (_matrix(9, _LARGE, _element(2, b'12')), 'has 2 numbers, and the shape'),
    (_matrix(2, _LARGE, _NAMES + _element(1, b'name\0\0\0\0')), 'matrices in it are cut off'),
    (_matrix(2, _LARGE, _NAMES + _element(1, b'')), 'no field'),
    (_matrix(1, _LARGE, b''), 'matrices in it are cut off'),
    (_matrix(2, _LARGE, _element(5, struct.pack('<i', -8)) + _element(1, b'')), 'no valid names'),
    (_matrix(9, struct.pack('<ii', -1, -1), _element(2, b'1')), 'no valid shape'),
    (_matrix(9 | 0x800, struct.pack('<ii', 1, 1), _element(2, b'1')), 'or complex'),
    (_matrix(5, struct.pack('<ii', 1, 1), _element(2, b'1')), 'of the class 5'),
    (_matrix(4, struct.pack('<ii', 2, 2), _element(2, b'abcd')), 'several lines'),
])
def test_counts_that_the_bytes_do_not_have_are_refused(content, words):
    with pytest.raises(matlab_file.MatlabFileError, match=words):
        matlab_file.read(_packed(content, _saved(anno=1)))


def test_structures_are_not_followed_without_end():
    content = _matrix(9, struct.pack('<ii', 1, 1), _element(2, b'1'))
    for _ in range(3000):
        content = _matrix(1, struct.pack('<ii', 1, 1), content)
    with pytest.raises(matlab_file.MatlabFileError, match='more than 16 deep'):
        matlab_file.read(_packed(content, _saved(anno=1)))
