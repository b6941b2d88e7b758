"""Installs scops_tf; scripts/environment.sh does so in one resolve with constraints.txt."""
import pathlib
import re

import setuptools

_ROOT = pathlib.Path(__file__).resolve().parent
_LINES = (_ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
_TEST = ['pytest>=8', 'pytest-xdist>=3.6', 'ruff>=0.9']


def _version() -> str:
    source = (_ROOT / 'scops_tf' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", source, re.MULTILINE).group(1)


setuptools.setup(
    name='scops_tf',
    version=_version(),
    description='Self-supervised co-part segmentation (SCOPS, CVPR 2019) in TensorFlow 2',
    author='The scops_tf Authors',
    license='Apache-2.0',
    packages=setuptools.find_packages(include=['scops_tf', 'scops_tf.*']),
    include_package_data=True,
    python_requires='>=3.9,<3.12',
    install_requires=[line for line in _LINES if line and not line.startswith('#')],
    extras_require={
        # The CUDA libraries as pip packages; without them TensorFlow looks for those of the system.
        'cuda': ['tensorflow[and-cuda]==2.15.1'],
        # The dense CRF; built from source, which takes a C++ compiler and a minute.
        'crf': ['pydensecrf2==1.1'],
        'test': _TEST,
        'dev': [*_TEST, 'uv>=0.5'],
    },
)
