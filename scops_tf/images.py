"""All pixel conventions: finding, decoding, resizing and writing images, and points on them.

On disk and in NumPy arrays photos are uint8 RGB. In graphs they are float32 RGB in [0, 1]; every
network preprocesses them itself from there. Sizes are (height, width) in pixels.
"""
from __future__ import annotations

import collections
import contextlib
import hashlib
import io
import os
import re
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from absl import logging
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from scops_tf import files, image_formats, memory

Size = Tuple[int, int]

IMAGE_SUFFIXES = image_formats.SUFFIXES
# Name of the text in a PNG that holds the checksum of its pixels.
_CHECKSUM = 'scops_tf checksum'
# Of zlib. The customary 6 takes two to three times as long, for files at most a seventh smaller.
_PNG_LEVEL = 3

# 12000 x 9000, which is more than common cameras take; such a photo takes 325 MB once decoded.
MAX_PIXELS = 108_000_000
# Most bytes that a pixel takes while it is decoded: of a transparent photo four times four, as
# decoded, as white, laid over it, and as RGB.
_DECODING_BYTES = 16
# For all images together that threads of this process decode at the same time. Eight photos of a
# common camera have room, or one of the largest.
ROOM = memory.Room(2 * 2 ** 30)
# First bytes of a JPEG, and the least value of an object in a mask that is one. Beside an edge JPEG
# leaves values above 0 in the background, and below 255 in the object.
_JPEG, _LEAST_OF_JPEG = b'\xff\xd8\xff', 64
# Ranges of cameras' and scanners' values that are stored in 16 bits.
_BITS = (10, 12, 14, 16)
# Pillow keeps large images in blocks of 16 MiB. The C library may keep such blocks for each thread
# when they are freed; larger ones it gives back to the system at once.
Image.core.set_block_size(64 * 2 ** 20)
if Image.MAX_IMAGE_PIXELS is not None:
    # Pillow's own limit is lower: it warns above it and refuses images of twice that size.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)


class ImageError(ValueError):
    """A file that is not a usable image; the message names the file and the reason."""


# Finding.


def names_below(root: str, *, but: Sequence[str] = ()) -> List[str]:
    """Sorted relative paths of the images below a folder, separated by '/'; none is opened.

    Args:
      root: Folder that is searched recursively for the suffixes in `IMAGE_SUFFIXES`, in either
        case. Hidden files and folders are skipped, and so are folders of our own results below it;
        links to folders are not followed.
      but: Folders that are not searched, such as the folder of the results.
    """
    return sorted(os.path.relpath(os.path.join(folder, name), root).replace(os.sep, '/')
                  for folder, _, found in _walk(root, but) for name in found
                  if name.lower().endswith(IMAGE_SUFFIXES))


def left_out_below(root: str, *, but: Sequence[str] = ()) -> str:
    """A sentence that counts what `names_below` passes over, by suffix; '' if there is nothing.

    Hidden files and folders are not counted.
    """
    counts: Dict[str, int] = collections.Counter()
    links = 0
    for folder, folders, found in _walk(root, but):
        links += sum(os.path.islink(os.path.join(folder, name)) for name in folders)
        counts.update(os.path.splitext(name)[1].lower() or 'without suffix' for name in found
                      if not name.lower().endswith(IMAGE_SUFFIXES))
    told = [f'{count} {suffix}' for suffix, count in sorted(counts.items())]
    if links:
        told.append(f'{links} linked folder{"s" if links > 1 else ""}')
    advice = sorted({f' For {suffix}: {image_formats.MISSING[suffix]}.' for suffix in counts
                     if suffix in image_formats.MISSING})
    return (f'Left out below {root}, since photos are {", ".join(IMAGE_SUFFIXES)}: '
            f'{", ".join(told)}.{"".join(advice)}') if told else ''


def _walk(root: str, but: Sequence[str]) -> Iterator[Tuple[str, List[str], List[str]]]:
    """As `os.walk`, without what is hidden, folders of results, and the folders `but`.

    Links to folders are named, but not followed.
    """
    left_out = {os.path.realpath(folder) for folder in but}

    def is_kept(path: str) -> bool:
        return os.path.islink(path) or not (
            os.path.realpath(path) in left_out or files.is_of_results(path))

    for folder, folders, found in os.walk(root):
        folders[:] = [name for name in folders
                      if not name.startswith('.') and is_kept(os.path.join(folder, name))]
        yield folder, folders, [name for name in found if not name.startswith('.')]


# Decoding.


def _load(data: bytes, name: str, draft_side: Optional[int] = None) -> Image.Image:
    """The first frame with EXIF rotation applied, in the mode in which it is stored."""
    if not data:
        raise ImageError(f'{name} must be an image; it is empty: replace or remove it.')
    try:
        with Image.open(io.BytesIO(data), formats=image_formats.FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f'{name} must have at most {MAX_PIXELS} pixels; it has '
                                 f'{image.width} x {image.height}: scale it down.')
            if draft_side is not None:
                # JPEG can be decoded at a half, a quarter or an eighth at a fraction of the cost.
                image.draft(None, (draft_side, draft_side))
            # Pillow keeps the high 8 of 16 bits of a colour.
            is_halved = not _is_sixteen_bit(image) and re.search(';16[BLN]', str(image.tile))
            image.load()
            if image.mode == 'F':
                raise ImageError(f'{name} must have pixels of 8 or 16 bits; it has floating-point '
                                 'numbers, whose range is unknown: convert it.')
            if is_halved and 0 < _largest(image) < 16:
                raise ImageError(f'{name} must use the range of its 16 bits; it uses 12 or fewer, '
                                 'and would be almost black: save it with 8 bits.')
            return ImageOps.exif_transpose(image)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(
            f'{name} must be an image of the formats {", ".join(image_formats.FORMATS)}; it is '
            'none of them or damaged: replace or remove it.') from None
    except Image.DecompressionBombError as error:
        raise ImageError(f'{name} must have at most {MAX_PIXELS} pixels; it has far more: '
                         'scale it down.') from error
    except Exception as error:  # Damaged data raises many kinds of errors.
        reason = str(error).rstrip('.') or type(error).__name__
        raise ImageError(f'{name} cannot be decoded ({reason}): replace or remove it.') from error


def _largest(image: Image.Image) -> int:
    """The largest value of all channels but the opacity."""
    return max(image.getchannel(name).getextrema()[1] for name in image.getbands() if name != 'A')


def _is_sixteen_bit(image: Image.Image) -> bool:
    return image.mode == 'I' or image.mode.startswith('I;')


def _sixteen_bit(image: Image.Image) -> Optional[np.ndarray]:
    """u16[H,W] of an image of more than 8 bits per pixel; None for other images."""
    if not _is_sixteen_bit(image):
        return None
    values = np.asarray(image)
    clipped = np.empty(values.shape, np.uint16)
    np.clip(values, 0, 65535, out=clipped, casting='unsafe')
    return clipped


def _eight_bit(values: np.ndarray, name: str) -> np.ndarray:
    """A photo's values u16[H,W] as u8[H,W].

    The range is that of 10, 12, 14 or 16 bits, the least that holds all values of the photo.
    """
    used = next(bits for bits in _BITS if values.max() < 2 ** bits)
    if used < 16 and values.max() > 0:
        logging.log_first_n(
            logging.WARNING, '%s has 16 bits and uses %d of them, so that its values are divided '
            'by %d; other photos are treated in the same way, without a word.', 1, name, used,
            2 ** used - 1)
    # By a table, since arithmetic would need several bytes more for each pixel.
    levels = np.arange(2 ** used, dtype=np.float64) * (255 / (2 ** used - 1))
    table = np.floor(levels + 0.5).astype(np.uint8)
    found = np.empty(values.shape, np.uint8)
    for row, into in zip(values, found):
        into[...] = table[row]
    return found


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    values = _sixteen_bit(image)
    if values is not None:
        image = Image.fromarray(_eight_bit(values, name))
    elif image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return image.convert('RGB')


def decode(data: bytes, *, name: str = 'The image', max_side: Optional[int] = None) -> np.ndarray:
    """Decodes an image file in the format JPEG, PNG, WebP, BMP, TIFF or GIF (first frame).

    EXIF rotation is applied, transparent pixels are laid over white, and 16 bits become 8. The
    range of 16 bits is that of 10, 12, 14 or 16 bits, the least that holds all values of the photo;
    a warning names the first photo of less than 16.

    Args:
      data: Content of the file.
      name: Name of the image in error messages.
      max_side: Largest number of pixels on the longer side; a larger image is scaled down and keeps
        its aspect ratio. None for no limit.

    Returns:
      u8[H,W,3]. RGB.

    Raises:
      ImageError: If the data is empty, truncated or not an image, the image has more than
        `MAX_PIXELS` pixels, or has colour of 16 bits of which it uses 12 or fewer.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f'`max_side` must be at least 1; got {max_side}.')
    with room_for(data):
        image = _to_rgb(_load(data, name, None if max_side is None else 2 * max_side), name)
        if max_side is not None:
            image.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=None)
        return np.array(image)


def _content(path: str) -> bytes:
    try:
        return files.read(path)
    except OSError as error:
        raise ImageError(
            f'{path} cannot be read ({error.strerror}): restore or remove it.') from error


@contextlib.contextmanager
def room_for(source: Union[str, bytes]) -> Iterator[None]:
    """Holds room for an image while it is decoded; what is too much at a time waits, see `ROOM`.

    All functions that decode hold it. A caller in one of several threads that goes on with the
    image at its full size, as one that resizes it, holds it around both.

    Args:
      source: Path of the file, or its content. For what is no image nothing is held.
    """
    height, width = stored_size(source) or (0, 0)
    with ROOM.of(_DECODING_BYTES * height * width):
        yield


def stored_size(source: Union[str, bytes]) -> Optional[Size]:
    """(height, width) of an image by the header of its file, EXIF rotation not applied.

    Args:
      source: Path of the file, or its content.

    Returns:
      None for what is no image; decoding it gives the reason.
    """
    try:
        if isinstance(source, str):
            files.require_regular(source)
        with Image.open(source if isinstance(source, str) else io.BytesIO(source),
                        formats=image_formats.FORMATS) as image:
            return image.height, image.width
    except Exception:  # Damaged data raises many kinds of errors.
        return None


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """The image in a file, see `_load`, with room for it."""
    content = _content(path)
    with room_for(content):
        yield _load(content, path)


def read(path: str, *, max_side: Optional[int] = None) -> np.ndarray:
    """The image in a file, u8[H,W,3]; see `decode`. A missing file raises `ImageError` too."""
    return decode(_content(path), name=path, max_side=max_side)


def read_map(path: str) -> np.ndarray:
    """The grey map in a file of 8 or 16 bits, f32[H,W] in [0, 1]; colour becomes luminance.

    The range is that of all 8 or 16 bits, whatever values the map has.

    Raises:
      ImageError: See `read`.
    """
    with _opened(path) as image:
        values = _sixteen_bit(image)
        if values is not None:
            return np.divide(values, 65535, dtype=np.float32)
        if image.mode not in ('L', 'LA'):
            image = image.convert('RGB')
        return np.divide(image.convert('L'), 255, dtype=np.float32)


def read_labels(path: str) -> np.ndarray:
    """Labels in a file, u8[H,W]: the values of a grey image or the indices of a palette image.

    Raises:
      ImageError: See `read`; also if the image is coloured or has labels above 255.
    """
    with _opened(path) as image:
        values = _sixteen_bit(image)
        if values is None:
            if image.mode not in ('1', 'L', 'LA', 'P'):
                raise ImageError(f'{path} must hold labels, one channel or a palette; it is '
                                 f'{image.mode}: save it as a grey or palette PNG.')
            values = np.asarray(image.getchannel(0) if image.mode == 'LA' else image)
        if values.max() > 255:
            raise ImageError(f'{path} must hold labels up to 255; its largest is {values.max()}.')
        return values.astype(np.uint8)


def read_mask(path: str) -> np.ndarray:
    """The object mask in a file, bool[H,W]; the one rule for all masks, of training and of scores.

    * Grey, 1, 8 or 16 bits: what is above 0 is object.
    * Palette, as of PASCAL VOC: index 0 is background whatever its colour, other ones are object.
      Index 255 is void, so no object, if there are objects of other indices as well.
    * Colour: what is not black is object.
    * JPEG, whose values are not exact: what has a channel of at least 64 of 255 is object.

    Raises:
      ImageError: See `read`; also if the image has transparent pixels, which say something that a
        mask cannot say.
    """
    content = _content(path)
    least = _LEAST_OF_JPEG if content.startswith(_JPEG) else 1
    with room_for(content):
        image = _load(content, path)
        values = _sixteen_bit(image)
        if values is not None:
            return values > 0
        if image.has_transparency_data and np.asarray(image.convert('RGBA'))[..., 3].min() < 255:
            raise ImageError(f'{path} must be a mask without transparent pixels; it has some: save '
                             'it in grey, with 0 for the background.')
        if image.mode in ('1', 'L', 'LA', 'P', 'PA'):
            values = np.asarray(
                image.getchannel(0) if image.mode in ('LA', 'PA') else image, np.uint8)
            is_object = values >= least
            is_below = is_object & (values < 255)
            return is_below if image.mode in ('P', 'PA') and is_below.any() else is_object
        return (np.asarray(image.convert('RGB')) >= least).any(axis=-1)


# Resizing.


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """The photo u8[H,W,3] resized to `size` without keeping its aspect ratio.

    Resizing is bilinear and antialiased. It equals `tf.image.resize(antialias=True)` up to one grey
    level.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f'`image` must be uint8[H,W,3], RGB; got {image.dtype}{list(image.shape)}.')
    return _resize(image, size, Image.Resampling.BILINEAR)


def resize_map(values: np.ndarray, size: Size) -> np.ndarray:
    """The map f32[H,W] resized to `size`, bilinear and antialiased; its range is kept."""
    if values.ndim != 2:
        raise ValueError(f'`values` must be a map [H,W]; got the shape {values.shape}.')
    return _resize(values.astype(np.float32), size, Image.Resampling.BILINEAR)


def resize_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """The labels u8[H,W] resized to `size`; each pixel takes its nearest label."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f'`labels` must be uint8[H,W]; got {labels.dtype}{list(labels.shape)}.')
    return _resize(labels, size, Image.Resampling.NEAREST)


def _resize(array: np.ndarray, size: Size, method: Image.Resampling) -> np.ndarray:
    if 0 in array.shape or min(size) < 1:
        raise ValueError('Images must be resized from and to at least one pixel; got '
                         f'{array.shape[:2]} to {tuple(size)}.')
    return np.array(Image.fromarray(np.ascontiguousarray(array)).resize(size[::-1], method))


def scale_points(points: Any, factors: Any) -> Any:
    """Converts points on an image to points on the resized image.

    Resizing aligns the borders of both images. So the borders of pixels scale, and the centres of
    pixels lie half a pixel inside of them.

    Args:
      points: float[...,2], an array or a tensor. (x, y) in pixels from the centre of the first one.
      factors: Numbers that broadcast with `points`: the new width and height over the old ones.

    Returns:
      float[...,2]. (x, y) in pixels of the resized image.
    """
    return (points + 0.5) * factors - 0.5


# Writing.


def write_png(path: str, array: np.ndarray, *, with_checksum: bool = False) -> None:
    """Writes u8[H,W,3] (RGB) or u8[H,W] (grey) atomically; makes missing folders.

    Args:
      path: Path of the file.
      array: The image.
      with_checksum: Whether the file holds a checksum of its pixels, for `is_whole`.

    Raises:
      OSError: If the file cannot be written.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError('`array` must be uint8[H,W,3] or uint8[H,W]; got '
                         f'{array.dtype}{list(array.shape)}.')
    text = PngImagePlugin.PngInfo()
    if with_checksum:
        text.add_text(_CHECKSUM, _checksum(array))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(
        buffer, format='PNG', pnginfo=text, compress_level=_PNG_LEVEL)
    files.write(path, buffer.getvalue())


def is_whole(path: str) -> bool:
    """Whether a file is what `write_png` wrote with a checksum."""
    try:
        with Image.open(io.BytesIO(files.read(path)), formats=('PNG',)) as image:
            image.load()
            return image.info.get(_CHECKSUM) == _checksum(np.asarray(image))
    except Exception:  # Damaged data raises many kinds of errors.
        return False


def _checksum(array: np.ndarray) -> str:
    return hashlib.blake2b(
        f'{array.dtype}{array.shape}'.encode() + array.tobytes(), digest_size=16).hexdigest()
