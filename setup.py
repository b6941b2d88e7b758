"""Installs scops_tf; scripts/environment.sh does so in one resolve with the constraints.

The stack of TensorFlow 2.15 is installed on Python 3.9 to 3.11, and the current one on later ones.
SCOPS_STACK=current takes the current stack on Python 3.11 too.
"""
import os
import pathlib
import re
import shutil

import setuptools
from setuptools.command import build_py

_ROOT = pathlib.Path(__file__).resolve().parent
_LINES = (_ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
# The first Python whose stack is the current one.
_CURRENT_FROM = '3.11' if os.environ.get('SCOPS_STACK') == 'current' else '3.12'
# pycocotools reads the labels that we write for COCO.
_TEST = ['pycocotools>=2.0.7', 'pytest>=8', 'pytest-xdist>=3.6', 'ruff>=0.9']


def _version() -> str:
    source = (_ROOT / 'scops_tf' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", source, re.MULTILINE).group(1)


class _BuildWithGinFiles(build_py.build_py):
    """Puts the gin files into the package that is built, where `config.gin_files` finds them."""

    def run(self):
        """Copies the folder gin beside the modules."""
        super().run()
        target = pathlib.Path(self.build_lib) / 'scops_tf' / 'gin'
        shutil.rmtree(target, ignore_errors=True)
        if not self.editable_mode:
            shutil.copytree(_ROOT / 'gin', target)


_COMMANDS = ('train', 'evaluate', 'report', 'export', 'predict', 'name', 'select',
             'evaluate_arrays', 'doctor', 'choose_k', 'beam_predict', 'demo')

setuptools.setup(
    name='scops_tf',
    version=_version(),
    description='Self-supervised co-part segmentation (SCOPS, CVPR 2019) in TensorFlow 2',
    author='The scops_tf Authors',
    license='Apache-2.0',
    packages=setuptools.find_packages(include=['scops_tf', 'scops_tf.*']),
    include_package_data=True,
    cmdclass={'build_py': _BuildWithGinFiles},
    entry_points={'console_scripts': [
        f'scops-{name.replace("_", "-")} = scops_tf.console:{name}' for name in _COMMANDS]},
    python_requires='>=3.9,<3.14',
    install_requires=[line.replace("'3.12'", f"'{_CURRENT_FROM}'") for line in _LINES
                      if line and not line.startswith('#')],
    extras_require={
        # The CUDA libraries as pip packages; without them TensorFlow looks for those of the system.
        'cuda': [f'tensorflow[and-cuda]==2.15.1 ; python_version < "{_CURRENT_FROM}"',
                 f'tensorflow[and-cuda]>=2.20,<2.22 ; python_version >= "{_CURRENT_FROM}"'],
        # The dense CRF; built from source, which takes a C++ compiler and a minute. The Cython it
        # names fails on Python 3.13, where scripts/environment.sh lets it be built with this one.
        'crf': ['pydensecrf2==1.1', 'cython>=3.1 ; python_version >= "3.13"'],
        # Photos of phones in HEIC.
        'heif': ['pillow-heif>=0.22'],
        # Videos; its wheel holds a program of FFmpeg.
        'video': ['imageio-ffmpeg>=0.5'],
        # These bring some hundred packages with pins of their own, so they are no part of
        # constraints.txt; docs/decisions.md says what fits.
        'beam': ['apache-beam>=2.60'],
        'demo': ['gradio>=6.0', 'starlette>=0.40'],
        # For the tests that drive Chromium through the page of a run. No part of constraints.txt
        # either.
        'browser': ['axe-selenium-python>=2.1.6', 'selenium>=4.20'],
        # The export to ONNX. Later releases of onnx need an ml-dtypes that TensorFlow 2.15 does not
        # take; those of tf2onnx for Python 3.9 need a protobuf of before.
        'onnx': ['onnx>=1.16,<1.19; python_version >= "3.10"',
                 'onnxruntime>=1.17; python_version >= "3.10"',
                 'tf2onnx>=1.17; python_version >= "3.10"'],
        'test': _TEST,
        'dev': [*_TEST, 'uv>=0.5'],
    },
)
