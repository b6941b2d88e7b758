"""Run-length encoding of masks, as COCO and CVAT have it.

The lengths are of runs that take turns, the first one of pixels outside of the mask, which may be
0. COCO goes through the columns of the whole photo, CVAT through the rows of the mask's box.
"""
from __future__ import annotations

from typing import List, Sequence

import numpy as np


def encode(values: np.ndarray) -> List[int]:
    """Lengths of the runs of bool[N]."""
    values = np.asarray(values, bool)
    changes = np.flatnonzero(np.diff(values, prepend=False)) if values.size else []
    return np.diff([0, *changes, len(values)]).tolist()


def decode(lengths: Sequence[int], size: int) -> np.ndarray:
    """The values bool[size] of runs.

    Raises:
      ValueError: If a length is below 0 or they do not add up to `size`.
    """
    counts = np.asarray(lengths, np.int64)
    if counts.ndim != 1 or (counts < 0).any() or counts.sum() != size:
        raise ValueError(f'Lengths of runs must be at least 0 and add up to {size}; got '
                         f'{counts.sum()}.')
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def decode_text(text: str) -> List[int]:
    """Lengths of the runs in a compressed text of COCO, such as pycocotools writes.

    Each length but the first two is kept as its difference to the last but one, in groups of five
    bits, the lowest first, as letters from '0' on: bit 5 says that another group follows, and the
    highest bit of the last group is the sign.

    Raises:
      ValueError: If the text ends within a number.
    """
    lengths: List[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('The text of a mask must be whole, but it ends within a number.')
    return lengths
