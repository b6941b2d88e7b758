"""The photos of a dataset, resized to one size, with their saliency maps."""
from __future__ import annotations

import concurrent.futures
import os
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

from absl import logging
import numpy as np
import tqdm

from scops_tf import images
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import Record

_WORKERS = min(8, os.cpu_count() or 1)

SaliencySource = Union[None, str, Callable[[Record, np.ndarray], np.ndarray]]
_CHUNK = 64


class SkippedFile(NamedTuple):
    """A photo that is left out, and why."""

    record: Record
    reason: str


class _Example(NamedTuple):
    image: np.ndarray  # uint8[H,W,3]
    saliency: Optional[np.ndarray]  # f16[H,W], None for ones
    photo_size: Tuple[int, int]
    map_size: Optional[Tuple[int, int]] = None  # Of the map in a file, before resizing.


class OddMap(NamedTuple):
    """A map whose size (height, width) is not that of its photo, which is named."""

    name: str
    size: Tuple[int, int]
    photo_size: Tuple[int, int]


def about_odd_maps(odd: Sequence[OddMap], total: int, what: str) -> str:
    """A sentence on maps of `what` that are stretched over photos of another size."""
    turned = [each for each in odd if each.size == each.photo_size[::-1]]
    first = (turned or odd)[0]
    exchanged = (f'; of {len(turned)} of them height and width are exchanged, so that they lie on '
                 'their side') if turned else ''
    return (f'{len(odd)} of {total} {what} have another size than their photo and are stretched '
            f'over it: that of {first.name} is {_sides(first.size)} and the photo '
            f'{_sides(first.photo_size)} (height x width){exchanged}.')


class PhotoStore:
    """Photos of one size with their saliency maps, by index.

    Every photo is decoded once when the store is made, which finds the unreadable ones. As many
    photos as the limit allows are kept in memory; the others are read again each time, with the
    same result. Reading is safe from several threads.

    Args:
      records: Records of the photos.
      image_size: (height, width) that photos and maps are resized to, without keeping their aspect
        ratio.
      saliency: Source of the saliency maps. None: maps of ones. 'folder': the records' own maps.
        'masks': the records' object masks; a pixel is 1 where the mask is not 0, and resizing makes
        shares of it. A callable: computes f32[H,W] in [0, 1] from a record and its resized photo
        uint8[H,W,3]. It is called from several threads, and again for photos that are not kept, so
        a slow one should keep its results.
      on_bad_file: 'skip' leaves unreadable photos out and lists them in `skipped`; 'stop' raises.
      memory_limit_gib: Limit of the memory for photos and maps, in GiB.

    Attributes:
      records: Records of the readable photos, in the given order; index i stands for `records[i]`.
      skipped: The unreadable photos.
      image_size: The argument `image_size`.
      photo_sizes: int32[N,2]. (height, width) of the decoded photos before resizing.

    Raises:
      DatasetError: If there are no records, no photo is readable, a photo lacks its map, or an
        argument is out of range.
      images.ImageError: With on_bad_file='stop', if a photo or a map cannot be read.
    """

    records: Tuple[Record, ...]
    skipped: Tuple[SkippedFile, ...]
    image_size: Tuple[int, int]
    photo_sizes: np.ndarray

    def __init__(self, records: Sequence[Record], *, image_size: Tuple[int, int],
                 saliency: SaliencySource = None, on_bad_file: str = 'skip',
                 memory_limit_gib: float = 4.0) -> None:
        if on_bad_file not in ('skip', 'stop'):
            raise DatasetError(f"`on_bad_file` must be 'skip' or 'stop'; got {on_bad_file!r}.")
        if not records:
            raise DatasetError('a store needs at least one photo; got none.')
        if min(image_size) < 1 or not memory_limit_gib >= 0:
            raise DatasetError('`image_size` must be at least 1 pixel and `memory_limit_gib` at '
                               f'least 0; got {tuple(image_size)} and {memory_limit_gib}.')
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self._saliency = saliency
        _check_saliency(records, saliency)
        pixel_bytes = 3 if saliency is None else 5
        limit = memory_limit_gib * 2**30 / (pixel_bytes * self.image_size[0] * self.image_size[1])
        num_kept = min(len(records), int(limit))
        self._images = np.empty((num_kept,) + self.image_size + (3,), np.uint8)
        self._maps = None if saliency is None else np.empty((num_kept,) + self.image_size,
                                                            np.float16)
        self._read_all(records, on_bad_file)

    def __len__(self) -> int:
        return len(self.records)

    def image(self, index: int) -> np.ndarray:
        """The resized photo, uint8[H,W,3], RGB."""
        return self._example(index).image

    def saliency(self, index: int) -> np.ndarray:
        """The saliency map, f32[H,W] in [0, 1]; ones if the store has no source of maps."""
        values = self._example(index).saliency
        return np.ones(self.image_size, np.float32) if values is None else values.astype(np.float32)

    def batch(self, indices: Sequence[int]) -> Tuple[np.ndarray, np.ndarray]:
        """Photos uint8[B,H,W,3] and saliency maps f32[B,H,W], in the order of the indices."""
        examples = [self._example(index) for index in indices]
        maps = np.ones((len(examples),) + self.image_size, np.float32)
        for values, example in zip(maps, examples):
            if example.saliency is not None:
                values[...] = example.saliency
        return np.stack([example.image for example in examples]), maps

    def _example(self, index: int) -> _Example:
        index = range(len(self.records))[index]
        if index < len(self._images):
            maps = None if self._maps is None else self._maps[index]
            return _Example(self._images[index], maps, tuple(self.photo_sizes[index]))
        return self._read(self.records[index])

    def _read(self, record: Record) -> _Example:
        with images.room_for(record.path):
            photo = images.read(record.path)
            size = photo.shape[:2]
            image = images.resize(photo, self.image_size)
            del photo  # It may be large.
        if self._saliency is None:
            return _Example(image, None, size)
        if isinstance(self._saliency, str):
            values, map_size = self._resized_map(record)
        else:
            map_size = None
            values = np.asarray(self._saliency(record, image))
            if values.shape != self.image_size or not (values.min() >= 0 and values.max() <= 1):
                raise ValueError(
                    f'`saliency` must return [H,W] = {list(self.image_size)} in [0, 1] for '
                    f'{record.name}; got {list(values.shape)} in [{values.min()}, {values.max()}].')
        # float16 is finer than the 8 bits of a map's file and needs half the memory of float32.
        return _Example(image, values.astype(np.float16), size, map_size)

    def _resized_map(self, record: Record) -> Tuple[np.ndarray, Tuple[int, int]]:
        """The record's map f32[H,W] at the size of the photos, and its own size."""
        path = record.saliency_path if self._saliency == 'folder' else record.mask_path
        with images.room_for(path):
            values = (images.read_map(path) if self._saliency == 'folder'
                      else images.read_mask(path).astype(np.float32))
            if values.shape == self.image_size:
                return values, values.shape
            return images.resize_map(values, self.image_size), values.shape

    def _read_all(self, records: Sequence[Record], on_bad_file: str) -> None:
        def read(record: Record) -> Union[_Example, SkippedFile]:
            try:
                return self._read(record)
            except images.ImageError as error:
                if on_bad_file == 'stop':
                    raise
                return SkippedFile(record, str(error))

        readable: List[Record] = []
        skipped: List[SkippedFile] = []
        photo_sizes: List[Tuple[int, int]] = []
        odd: List[OddMap] = []
        with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool, tqdm.tqdm(
                total=len(records), desc='Reading photos', unit='photo') as progress:
            # In chunks, since the pool would read ahead without limit.
            for start in range(0, len(records), _CHUNK):
                chunk = records[start:start + _CHUNK]
                for record, result in zip(chunk, pool.map(read, chunk)):
                    progress.update()
                    if isinstance(result, SkippedFile):
                        skipped.append(result)
                        continue
                    if len(readable) < len(self._images):
                        self._images[len(readable)] = result.image
                        if self._maps is not None:
                            self._maps[len(readable)] = result.saliency
                    if self._saliency == 'masks' and result.map_size != result.photo_size:
                        odd.append(OddMap(record.name, result.map_size, result.photo_size))
                    readable.append(record)
                    photo_sizes.append(result.photo_size)
        if not readable:
            raise DatasetError(f'none of the {len(records)} photos can be read, the first because: '
                               f'{skipped[0].reason}')
        for record, reason in skipped:
            logging.warning('Left out %s: %s', record.name, reason)
        if skipped:
            logging.warning('Left out %d of %d photos.', len(skipped), len(records))
        if odd:
            logging.warning('%s', about_odd_maps(odd, len(readable), 'masks'))
        self.records, self.skipped = tuple(readable), tuple(skipped)
        self.photo_sizes = np.array(photo_sizes, np.int32)
        self._images = self._images[:len(readable)]
        self._images.setflags(write=False)  # `image` returns views of it.


def _sides(size: Tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'


def _check_saliency(records: Sequence[Record], saliency: SaliencySource) -> None:
    fields = {'folder': 'saliency_path', 'masks': 'mask_path'}
    if saliency is None or callable(saliency):
        return
    if saliency not in fields:
        raise DatasetError("`saliency` must be None, 'folder', 'masks' or a callable; got "
                           f'{saliency!r}.')
    lacking = [record for record in records if getattr(record, fields[saliency]) is None]
    if lacking:
        option = {'folder': '`saliency_folder`', 'masks': '`mask_folder`'}[saliency]
        raise DatasetError(
            f'`saliency` = {saliency!r} needs a map for every photo, but {len(lacking)} of '
            f'{len(records)} have none, the first is {lacking[0].name}; name their folder in '
            f'{option} or take another source.')
