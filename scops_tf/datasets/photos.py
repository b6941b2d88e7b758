"""The photos that a dataset lists: whether they are there, how large they are, places in them."""
from __future__ import annotations

import concurrent.futures
import os
from typing import Iterable, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image
import tqdm

from scops_tf.datasets.lists import DatasetError, Line

# Beyond any photo; larger numbers are not coordinates.
_FARTHEST = 1e6
# Opening files is waiting for a disk, not computing.
_WORKERS = 16
_CHUNK = 256


def pixels(line: Line, columns: Iterable[int]) -> np.ndarray:
    """f32[N]. Coordinates or lengths in pixels, from the fields of a line.

    Raises:
      DatasetError: If one is no number, or so large that it cannot be meant.
    """
    values = [line.real(column) for column in columns]
    if max(map(abs, values)) > _FARTHEST:
        raise line.error(f'needs pixels, at most {_FARTHEST:.0f}')
    return np.array(values, np.float32)


def check_present(paths: Sequence[str], what: str, advice: str) -> None:
    """Looks for files without opening them.

    Args:
      paths: Of the files.
      what: They are, such as 'photos listed in images.txt'.
      advice: What to do where some are missing; the second half of a sentence.

    Raises:
      DatasetError: If one is missing.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DatasetError(f'{len(missing)} of the {len(paths)} {what} are missing, the first is '
                           f'{missing[0]}; {advice}')


def sizes(paths: Sequence[str]) -> List[Optional[Tuple[int, int]]]:
    """(height, width) of each photo from the head of its file, EXIF rotation not applied.

    None stands for a file that is no image: what becomes of those is for whoever decodes the photos
    to say.

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
    with open(path, 'rb') as file:
        try:
            with Image.open(file) as image:
                return image.height, image.width
        except Exception:  # Broken data raises all kinds: UnidentifiedImageError, struct.error, ...
            return None
