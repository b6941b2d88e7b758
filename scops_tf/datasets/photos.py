"""Checks of the photos that a dataset lists: their presence, their sizes, and pixels in them."""
from __future__ import annotations

import concurrent.futures
import os
from typing import Iterable, List, Optional, Sequence, Tuple

import numpy as np
import tqdm

from scops_tf import files, images
from scops_tf.datasets.lists import DatasetError, Line

# No photo is this large, so larger numbers are not coordinates.
FARTHEST = 1e6
# More threads than cores, since they mostly wait for the disk.
_WORKERS = 16
_CHUNK = 256


def pixels(line: Line, columns: Iterable[int]) -> np.ndarray:
    """Coordinates or lengths in pixels, f32[N], from the fields of a line.

    Raises:
      DatasetError: If a field is not a number, or is too large for a photo.
    """
    values = [line.real(column) for column in columns]
    if max(map(abs, values)) > FARTHEST:
        raise line.error(f'needs pixels, at most {FARTHEST:.0f}')
    return np.array(values, np.float32)


def check_present(paths: Sequence[str], what: str, advice: str) -> None:
    """Checks that files exist, without opening them.

    Args:
      paths: Paths of the files.
      what: Description of the files for the error, such as 'photos listed in images.txt'.
      advice: Advice for the error if files are missing; the second half of a sentence.

    Raises:
      DatasetError: If a file is missing.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DatasetError(f'{len(missing)} of the {len(paths)} {what} are missing, the first is '
                           f'{missing[0]}; {advice}')


def sizes(paths: Sequence[str]) -> List[Optional[Tuple[int, int]]]:
    """(height, width) of each photo from the header of its file, EXIF rotation not applied.

    None stands for a file that is not an image. The code that decodes photos decides about those.

    Raises:
      OSError: If a file cannot be read at all.
    """
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        batches = pool.map(lambda first: [_size(path) for path in paths[first:first + _CHUNK]],
                           range(0, len(paths), _CHUNK))
        with tqdm.tqdm(total=len(paths), desc='Measuring photos', unit='photo',
                       disable=len(paths) <= _CHUNK) as progress:
            found: List[Optional[Tuple[int, int]]] = []
            for batch in batches:
                found += batch
                progress.update(len(batch))
    return found


def _size(path: str) -> Optional[Tuple[int, int]]:
    files.require_regular(path)
    return images.stored_size(path)
