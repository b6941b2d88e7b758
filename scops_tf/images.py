"""Every pixel convention: finding, decoding, resizing and writing pictures; points on them.

At the edges and on disk photos are uint8 RGB; in graphs they are float32 RGB in [0, 1], and every
network does its own `preprocess` from there. Sizes are (height, width) tuples in pixels.
"""
from __future__ import annotations

import io
import os
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageOps

from scops_tf import files

Size = Tuple[int, int]

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.gif')
_FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF')

# 12000x9000: more than any camera takes that these networks were made for; 325 MB once decoded.
MAX_PIXELS = 108_000_000
if Image.MAX_IMAGE_PIXELS is not None:
    # Pillow warns above its own limit, which is lower, and refuses twice that.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)


class ImageError(ValueError):
    """A file that is no usable image; the message names it and says why."""


# Finding.


def names_below(root: str, *, but: Sequence[str] = ()) -> List[str]:
    """Relative paths of the images below a folder, sorted, '/' between folders; none is opened.

    Args:
      root: The folder is searched recursively for the suffixes in `IMAGE_SUFFIXES`, in either case.
        Hidden files and folders are passed over, links to folders are not followed.
      but: Folders that are not searched, such as that of the results.
    """
    left_out = {os.path.realpath(folder) for folder in but}
    names: List[str] = []
    for folder, folders, found in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith('.')
                      and os.path.realpath(os.path.join(folder, name)) not in left_out]
        names += [os.path.relpath(os.path.join(folder, name), root).replace(os.sep, '/')
                  for name in found
                  if not name.startswith('.') and name.lower().endswith(IMAGE_SUFFIXES)]
    return sorted(names)


# Decoding.


def _load(data: bytes, name: str, draft_side: Optional[int] = None) -> Image.Image:
    """The first frame, EXIF rotation applied, in whatever mode it is stored."""
    if not data:
        raise ImageError(f'{name} must be an image; it is empty: replace or remove it.')
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f'{name} must have at most {MAX_PIXELS} pixels; it has '
                                 f'{image.width} x {image.height}: scale it down.')
            if draft_side is not None:
                # JPEG decodes at a half, a quarter or an eighth for a fraction of the work.
                image.draft(None, (draft_side, draft_side))
            image.load()
            return ImageOps.exif_transpose(image)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(f'{name} must be an image of the formats {", ".join(_FORMATS)}; '
                         'it is none of them or damaged: replace or remove it.') from None
    except Image.DecompressionBombError as error:
        raise ImageError(f'{name} must have at most {MAX_PIXELS} pixels; it has far more: '
                         'scale it down.') from error
    except Exception as error:  # Broken data raises all kinds: SyntaxError, struct.error, ...
        reason = str(error).rstrip('.') or type(error).__name__
        raise ImageError(f'{name} cannot be decoded ({reason}): replace or remove it.') from error


def _sixteen_bit(image: Image.Image) -> Optional[np.ndarray]:
    """Values in [0, 65535] of an image of more than 8 bits per pixel; None of others."""
    if image.mode != 'I' and not image.mode.startswith('I;'):
        return None
    return np.clip(np.asarray(image).astype(np.int64), 0, 65535)


def _to_rgb(image: Image.Image) -> Image.Image:
    values = _sixteen_bit(image)
    if values is not None:
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return image.convert('RGB')


def decode(data: bytes, *, name: str = 'The image', max_side: Optional[int] = None) -> np.ndarray:
    """Decodes an image file of the formats JPEG, PNG, WebP, BMP or GIF (first frame).

    EXIF rotation is applied, transparent pixels are laid over white, 16 bits become 8.

    Args:
      data: Content of the file.
      name: Stands for the image in errors.
      max_side: A larger image is scaled down, keeping its aspect, to this many pixels on its longer
        side.

    Returns:
      u8[H,W,3]. RGB.

    Raises:
      ImageError: If the data is empty, truncated, no image, or an image of more than `MAX_PIXELS`.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f'`max_side` must be at least 1; got {max_side}.')
    image = _to_rgb(_load(data, name, None if max_side is None else 2 * max_side))
    if max_side is not None:
        image.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=None)
    return np.array(image)


def _content(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise ImageError(
            f'{path} cannot be read ({error.strerror}): restore or remove it.') from error


def read(path: str, *, max_side: Optional[int] = None) -> np.ndarray:
    """u8[H,W,3]. The image in a file, as of `decode`; a missing file is an `ImageError` too."""
    return decode(_content(path), name=path, max_side=max_side)


def read_map(path: str) -> np.ndarray:
    """f32[H,W] in [0, 1]. A grey map in a file, 8 or 16 bits deep; of a coloured one the luminance.

    Raises:
      ImageError: As `decode`.
    """
    image = _load(_content(path), path)
    values = _sixteen_bit(image)
    if values is not None:
        return (values / 65535).astype(np.float32)
    if image.mode not in ('L', 'LA'):
        image = image.convert('RGB')
    return np.array(image.convert('L'), np.float32) / 255


def read_labels(path: str) -> np.ndarray:
    """u8[H,W]. Labels in a file: the values of a grey image, the indices of a palette image.

    Raises:
      ImageError: As `decode`, or if the image is coloured or has labels above 255.
    """
    image = _load(_content(path), path)
    values = _sixteen_bit(image)
    if values is None:
        if image.mode not in ('1', 'L', 'LA', 'P'):
            raise ImageError(f'{path} must hold labels, one channel or a palette; it is '
                             f'{image.mode}: save it as a grey or palette PNG.')
        values = np.asarray(image.getchannel(0) if image.mode == 'LA' else image)
    if values.max() > 255:
        raise ImageError(f'{path} must hold labels up to 255; its largest is {values.max()}.')
    return values.astype(np.uint8)


# Resizing.


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """u8[H,W,3] photo squashed to `size`.

    Bilinear and antialiased: `tf.image.resize(antialias=True)` up to one grey level.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f'`image` must be uint8[H,W,3], RGB; got {image.dtype}{list(image.shape)}.')
    return _resize(image, size, Image.Resampling.BILINEAR)


def resize_map(values: np.ndarray, size: Size) -> np.ndarray:
    """f32[H,W] map resized to `size`, bilinear and antialiased; the range is kept."""
    if values.ndim != 2:
        raise ValueError(f'`values` must be a map [H,W]; got the shape {values.shape}.')
    return _resize(values.astype(np.float32), size, Image.Resampling.BILINEAR)


def resize_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """u8[H,W] labels resized to `size`, each pixel taking its nearest label."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f'`labels` must be uint8[H,W]; got {labels.dtype}{list(labels.shape)}.')
    return _resize(labels, size, Image.Resampling.NEAREST)


def _resize(array: np.ndarray, size: Size, method: Image.Resampling) -> np.ndarray:
    if 0 in array.shape or min(size) < 1:
        raise ValueError('Images must be resized from and to at least one pixel; got '
                         f'{array.shape[:2]} to {tuple(size)}.')
    return np.array(Image.fromarray(np.ascontiguousarray(array)).resize(size[::-1], method))


def scale_points(points: Any, factors: Any) -> Any:
    """Points of a picture as points of the same picture at another size.

    Resizing lays both pictures' borders on each other. So it is pixels' borders that scale, and
    their centres lie half a pixel inside of them.

    Args:
      points: float[...,2], an array or a tensor. (x, y) in pixels, from the first one's centre.
      factors: Numbers that broadcast with `points`. The new width and height over the old.

    Returns:
      float[...,2]. (x, y) in pixels of the resized picture.
    """
    return (points + 0.5) * factors - 0.5


# Writing.


def write_png(path: str, array: np.ndarray) -> None:
    """Writes u8[H,W,3] (RGB) or u8[H,W] (grey) atomically; folders are made.

    Raises:
      OSError: If the file cannot be written.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError('`array` must be uint8[H,W,3] or uint8[H,W]; got '
                         f'{array.dtype}{list(array.shape)}.')
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format='PNG')
    files.write(path, buffer.getvalue())

