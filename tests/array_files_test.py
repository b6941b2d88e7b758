from __future__ import annotations

import io
import zipfile

import damaged_files
import numpy as np
import pytest

from scops_tf import array_files


def _arrays():
    generator = np.random.default_rng(0)
    return {'points': generator.normal(size=(5, 3, 2)), 'one': np.float32(3),
            'names': np.array(['a', 'bcd']), 'is_seen': np.arange(6).reshape(2, 3) % 2 == 0,
            'turned': np.asfortranarray(generator.normal(size=(4, 7))), 'none': np.zeros((0, 2))}


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_are_those_that_were_saved(tmp_path, save):
    save(tmp_path / 'arrays.npz', **_arrays())
    found = array_files.read(str(tmp_path / 'arrays.npz'))
    assert list(found) == list(_arrays())
    for name, values in _arrays().items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == np.asarray(values).dtype and found[name].flags.writeable


def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path, recwarn):
    path, refused = tmp_path / 'arrays.npz', set()
    for kind, content in damaged_files.npz(_arrays(), count=300, seed=0):
        path.write_bytes(content)
        try:
            array_files.read(str(path))
        except array_files.ArrayFileError as error:
            refused.add(kind)
            text = str(error)
            assert text.startswith(f'{path} must be') and text.count('\n') == 0 and len(text) < 600
    assert refused >= {'bytes', 'encrypted', 'compressed_otherwise', 'stream', 'header', 'shape',
                       'dtype', 'no_array'}
    assert not recwarn.list


def test_what_would_be_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, 'MAX_BYTES', 10 ** 4)
    monkeypatch.setattr(zipfile.ZipFile, 'read', lambda *_: pytest.fail('it was unpacked'))
    np.savez_compressed(tmp_path / 'arrays.npz', zeros=np.zeros(2000))
    with pytest.raises(array_files.ArrayFileError, match='at most 10000 are read'):
        array_files.read(str(tmp_path / 'arrays.npz'))


def test_an_array_with_fewer_bytes_than_its_shape_has_is_refused_without_making_it(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {'descr': '<f8', 'fortran_order': False, 'shape': (10 ** 12, 3)})
    with zipfile.ZipFile(tmp_path / 'arrays.npz', 'w') as archive:
        archive.writestr('train.npy', stream.getvalue() + bytes(48))
    with pytest.raises(array_files.ArrayFileError, match='48 bytes, which do not fit its shape'):
        array_files.read(str(tmp_path / 'arrays.npz'))


@pytest.mark.parametrize('content', [b'', b'no arrays at all', b'PK\x03\x04 broken'])
def test_files_that_are_no_npz_are_refused(tmp_path, content):
    (tmp_path / 'arrays.npz').write_bytes(content)
    with pytest.raises(array_files.ArrayFileError, match='must be an .npz file'):
        array_files.read(str(tmp_path / 'arrays.npz'))


def test_an_npy_file_and_python_objects_are_refused(tmp_path):
    np.save(tmp_path / 'one.npy', np.zeros(3))
    np.savez(tmp_path / 'objects.npz', train=np.array([{}]))
    for name in ('one.npy', 'objects.npz'):
        with pytest.raises(array_files.ArrayFileError, match='must be an .npz file'):
            array_files.read(str(tmp_path / name))
