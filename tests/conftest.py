"""What all tests share: the folder of development data, and a quiet TensorFlow."""
from __future__ import annotations

import os
import pathlib

import pytest

# Read by TensorFlow when it is first imported, which the tests' modules do after this one.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

_ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
    """The folder of development data; a test that asks for it is skipped where it is absent."""
    folder = (_ROOT / os.environ.get('SCOPS_SHARED', '../shared')).resolve()
    if not folder.is_dir():
        pytest.skip(f'The folder of development data is absent: {folder} (set SCOPS_SHARED).')
    return folder
