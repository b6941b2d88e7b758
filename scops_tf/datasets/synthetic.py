"""The dataset of drawn creatures, with true part masks and landmarks; it needs no download.

The layout of its folder:

    <folder>/manifest.json                                 the settings of the drawings
    <folder>/{train,test}/annotations.npz                  landmarks, visible, boxes
    <folder>/{train,test}/{photos,masks,part_masks}/*.png
"""
from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
from typing import Any, Dict, Optional, Tuple

import numpy as np
import tqdm

from scops_tf import array_files, files, images
from scops_tf.datasets import creature, photos
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import PartDataset, Record

MANIFEST = 'manifest.json'
# Increase it when the drawings change, so that a folder of another version is not used.
_VERSION = 2
_MIN_SIDE = 32


def write(folder: str, *, num_train: int, num_test: int, size: Tuple[int, int] = (128, 128),
          seed: int = 0) -> None:
    """Draws the creatures into a folder, or finds them there already.

    The folder appears when it is complete. Photo i of a split depends only on size, seed and i.

    Args:
      folder: Folder that is new, empty, or was drawn with the same settings.
      num_train: Number of photos to train on, at least 1.
      num_test: Number of photos to test on, drawn from other seeds; at least 0.
      size: (height, width) in pixels, each at least 32.
      seed: Seed of all drawings, at least 0.

    Raises:
      DatasetError: If a setting is out of range, or the folder holds something else.
      OSError: If the folder cannot be written.
    """
    for name, value, minimum in (('num_train', num_train, 1), ('num_test', num_test, 0),
                                 ('size', min(size), _MIN_SIDE), ('seed', seed, 0)):
        if value < minimum:
            raise DatasetError(f'`{name}` must be at least {minimum}, got {value}.')
    folder = os.path.abspath(os.path.expanduser(folder))
    settings = {'version': _VERSION, 'num_train': num_train, 'num_test': num_test,
                'size': list(size), 'seed': seed}
    if _is_complete(folder, settings):
        return
    temporary = files.temporary_folder(folder)
    try:
        for stream, (split, count) in enumerate((('train', num_train), ('test', num_test))):
            _write_split(os.path.join(temporary, split), count, tuple(size), (seed, stream))
        with open(os.path.join(temporary, MANIFEST), 'w', encoding='utf-8') as file:
            json.dump(settings, file, indent=2)
        try:
            if os.path.isdir(folder):
                os.rmdir(folder)
            os.rename(temporary, folder)
        except OSError:
            # Another process may have completed the folder first; else this is an error.
            if not _is_complete(folder, settings):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read(folder: str) -> PartDataset:
    """Reads the dataset that `write` drew; checks that the photos exist, but opens none.

    Raises:
      DatasetError: If `write` did not write the folder, or files in it are missing or damaged.
    """
    folder = os.path.abspath(os.path.expanduser(folder))
    settings = _read_manifest(folder)
    if settings is None:
        raise DatasetError(f'no {MANIFEST} in {folder}; give a folder of drawn creatures, or no '
                           '`root` to have them drawn.')
    splits = {split: _read_split(folder, split, settings[f'num_{split}'])
              for split in ('train', 'test')}
    return PartDataset(name='synthetic', train=splits['train'], fit=splits['train'],
                       test=splits['test'], landmark_names=creature.LANDMARK_NAMES,
                       part_names=creature.PART_NAMES, annotation_kind='boxed_landmarks')


def _read_manifest(folder: str) -> Optional[Dict[str, Any]]:
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding='utf-8') as file:
            settings = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise DatasetError(f'{path} must be JSON, but {error}; remove {folder}.') from None
    expected = {'version', 'num_train', 'num_test', 'size', 'seed'}
    if not isinstance(settings, dict) or set(settings) != expected:
        raise DatasetError(f'{path} must hold {", ".join(sorted(expected))}; remove {folder}.')
    for name in ('num_train', 'num_test'):
        if type(settings[name]) is not int or settings[name] < 0:
            raise DatasetError(f'`{name}` in {path} must be a whole number, at least 0; got '
                               f'{str(settings[name])[:60]!r}: remove {folder}.')
    return settings


def _is_complete(folder: str, settings: Dict[str, Any]) -> bool:
    """Whether the folder holds these drawings; raises if it holds anything else."""
    found = _read_manifest(folder)
    if found is None:
        if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
            raise DatasetError(f'`folder` must be new or empty, got {folder}; give another one.')
        return False
    differences = [f'{name}={found[name]} instead of {value}' for name, value in settings.items()
                   if found[name] != value]
    if differences:
        raise DatasetError(f'{folder} holds creatures drawn with {", ".join(differences)}; '
                           'remove it or give another folder.')
    return True


def _write_split(folder: str, count: int, size: Tuple[int, int], seed: Tuple[int, int]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)

    def draw(index: int) -> Tuple[np.ndarray, np.ndarray, Tuple[int, int, int, int]]:
        picture = creature.draw(np.random.default_rng([*seed, index]), size)
        mask = np.where(picture.part_mask > 0, 255, 0).astype(np.uint8)
        for kind, array in (('photos', picture.image), ('masks', mask),
                            ('part_masks', picture.part_mask)):
            images.write_png(_photo_path(folder, kind, index), array)
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        return picture.landmarks, picture.visible, box

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = list(tqdm.tqdm(pool.map(draw, range(count)), total=count, unit='photo',
                               desc=f'Drawing {os.path.basename(folder)}'))
    landmarks, visible, boxes = zip(*drawn) if drawn else ((), (), ())
    num_landmarks = len(creature.LANDMARK_NAMES)
    np.savez(os.path.join(folder, 'annotations.npz'),
             landmarks=np.reshape(landmarks, (-1, num_landmarks, 2)).astype(np.float32),
             visible=np.reshape(visible, (-1, num_landmarks)).astype(bool),
             boxes=np.reshape(boxes, (-1, 4)).astype(np.float32))


def _photo_path(folder: str, kind: str, index: int) -> str:
    return os.path.join(folder, kind, f'{index:05d}.png')


def _read_split(root: str, split: str, count: int) -> Tuple[Record, ...]:
    folder = os.path.join(root, split)
    path = os.path.join(folder, 'annotations.npz')
    try:
        arrays = array_files.read(path)
        landmarks, visible, boxes = (arrays[name] for name in ('landmarks', 'visible', 'boxes'))
    except (OSError, KeyError, array_files.ArrayFileError) as error:
        raise DatasetError(f'{path} cannot be read ({error}); remove {root} to have it drawn '
                           'again.') from None
    _require_lawful(path, root, landmarks, visible, boxes)
    records = tuple(
        Record(name=f'{split}/{index:05d}.png', path=_photo_path(folder, 'photos', index),
               box=boxes[index], landmarks=landmarks[index], visible=visible[index],
               mask_path=_photo_path(folder, 'masks', index),
               part_mask_path=_photo_path(folder, 'part_masks', index))
        for index in range(min(count, len(landmarks), len(visible), len(boxes))))
    paths = [path for record in records
             for path in (record.path, record.mask_path, record.part_mask_path)]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing or len(records) != count:
        raise DatasetError(
            f'{folder} must hold {count} creatures, but {missing[0] if missing else path} '
            f'{"is missing" if missing else f"has {len(records)}"}; remove {root} to have them '
            'drawn again.')
    return records


def _require_lawful(path: str, root: str, landmarks: np.ndarray, visible: np.ndarray,
                    boxes: np.ndarray) -> None:
    """Refuses annotations of other types, shapes or values than are drawn."""
    num_landmarks = len(creature.LANDMARK_NAMES)
    for name, array, dtype, shape in (
            ('landmarks', landmarks, np.float32, (num_landmarks, 2)),
            ('visible', visible, np.bool_, (num_landmarks,)), ('boxes', boxes, np.float32, (4,))):
        if array.dtype != dtype or array.ndim < 1 or array.shape[1:] != shape:
            law, got = f'{np.dtype(dtype)}{["N", *shape]}', f'{array.dtype}{list(array.shape)}'
        elif dtype == np.float32 and not np.all(np.abs(array) <= photos.FARTHEST):
            law, got = f'finite and at most {photos.FARTHEST:.0f}', 'other values'
        elif name == 'boxes' and not np.all(array[:, 2:] > 0):
            law, got = '(x, y, width, height) with an area', 'one without'
        else:
            continue
        raise DatasetError(f'`{name}` of {path} must be {law}; got {got}: remove {root} to have it '
                           'drawn again.')
