"""The kinds of files that are read as images, which depend on what is installed beside Pillow."""
from __future__ import annotations

from typing import Dict, Tuple

from PIL import features

_ALWAYS = {
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'), 'PNG': ('.png',), 'WEBP': ('.webp',),
    'BMP': ('.bmp',), 'GIF': ('.gif',), 'TIFF': ('.tif', '.tiff')}
# Kinds that need something more, and what to do where it is missing.
_OPTIONAL = {'HEIF': ('.heic', '.heif'), 'AVIF': ('.avif',)}
_ADVICE = {'HEIF': "they need the extra heif (pip install 'scops_tf[heif]')",
           'AVIF': 'they need Pillow 11.3 or later'}


def _has(kind: str) -> bool:
    """Whether Pillow reads this optional kind; registers what does so."""
    if kind == 'AVIF':
        return bool('avif' in features.modules and features.check('avif'))
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def supported(has: Dict[str, bool]) -> Tuple[Dict[str, Tuple[str, ...]], Dict[str, str]]:
    """What is read, and what is not.

    Args:
      has: Whether each optional kind can be read.

    Returns:
      Suffixes by Pillow's names of the formats; and advice by the suffixes that are not read for
      want of something.
    """
    kinds = {**_ALWAYS, **{kind: found for kind, found in _OPTIONAL.items() if has[kind]}}
    missing = {suffix: _ADVICE[kind] for kind, found in _OPTIONAL.items() if not has[kind]
               for suffix in found}
    return kinds, missing


_KINDS, MISSING = supported({kind: _has(kind) for kind in _OPTIONAL})
FORMATS = tuple(_KINDS)
SUFFIXES = tuple(suffix for kind in _KINDS.values() for suffix in kind)
