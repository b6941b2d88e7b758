"""The images of a score: a hash and an order of their names, and bootstrap intervals over them."""
from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
import hashlib

import numpy as np

from scops_tf import files


class ImageListError(ValueError):
    """A list of images that cannot be used; the message is one sentence for the user."""


def _unique(names: Sequence[str], argument: str) -> list[str]:
    counts = collections.Counter(str(name) for name in names)
    if not counts:
        raise ImageListError(f'`{argument}` must name at least one image; got none.')
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ImageListError(f'`{argument}` must name each image once; got {min(twice)!r} '
                             f'{counts[min(twice)]} times.')
    return list(counts)


def image_list_hash(names: Sequence[str]) -> str:
    """SHA-256 of the sorted names in UTF-8, each ended by a newline; their order does not matter.

    Returns:
      64 hexadecimal digits.

    Raises:
      ImageListError: If there is no name or a name occurs twice.
    """
    names = _unique(names, 'names')
    text = ''.join(f'{name}\n' for name in sorted(names))
    return hashlib.sha256(files.encoded(text)).hexdigest()


def match_names(names: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """Indices that put the images of one list in the order of another.

    Args:
      names: Names of the images, in any order.
      reference: The same names in the wanted order.

    Returns:
      int64[N]. Indices with `names[result[i]] == reference[i]`.

    Raises:
      ImageListError: If a name occurs twice or in one list only.
    """
    names, reference = _unique(names, 'names'), _unique(reference, 'reference')
    missing, extra = sorted(set(reference) - set(names)), sorted(set(names) - set(reference))
    for kind, odd in (('missing', missing), ('unknown', extra)):
        if odd:
            raise ImageListError(
                f'Both lists must name the same images, but {len(odd)} are {kind}, '
                f'the first of them {odd[0]!r}; make both from one list.')
    places = {name: place for place, name in enumerate(names)}
    return np.array([places[name] for name in reference], np.int64)


def bootstrap_interval(score: Callable[[np.ndarray], float], num_images: int, *, seed: int = 0,
                       num_samples: int = 1000,
                       confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a score over images (Efron, 1979).

    Args:
      score: Function from indices int64[N] of images, drawn with replacement, to their score, such
        as `lambda drawn: adjusted_rand_index(tables[drawn].sum(0))`. Draws whose score is NaN are
        left out.
      num_images: N.
      seed: Seed of the draws.
      num_samples: Number of draws.
      confidence: Share of the draws' scores inside the interval, in (0, 1).

    Returns:
      Lower and upper end; both NaN if the score of every draw is NaN. The interval shows the
      influence of the choice of the test images, not of the fit images or of the training.

    Raises:
      ImageListError: If an argument is out of range.
    """
    if num_images < 1 or num_samples < 1 or not 0 < confidence < 1:
        raise ImageListError('`num_images` and `num_samples` must be at least 1 and `confidence` '
                             f'in (0, 1); got {num_images}, {num_samples} and {confidence}.')
    generator = np.random.default_rng([seed, num_images])
    scores = np.array([score(generator.integers(num_images, size=num_images))
                       for _ in range(num_samples)], np.float64)
    scores = scores[~np.isnan(scores)]
    if not scores.size:
        return float('nan'), float('nan')
    low, high = np.quantile(scores, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
