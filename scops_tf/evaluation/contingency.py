"""Contingency tables of two labellings, and the clustering scores computed from them.

There is one table per image, so the score over any set of images is the score of the sum of their
tables. Scores are in per cent.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class MetricError(ValueError):
    """Arrays for which a score is not defined; the message is one sentence for the user."""


def check_maps(name: str, maps: Sequence[np.ndarray], *, boolean: bool = False,
               count: int | None = None) -> list[np.ndarray]:
    """Returns `maps` as a list of integer or boolean arrays [H,W] of any sizes.

    Raises:
      MetricError: If there is no map, their number is not `count`, or a map has another type.
    """
    arrays = [np.asarray(one) for one in maps]
    if not arrays or count not in (None, len(arrays)):
        raise MetricError(f'`{name}` must hold {count or "at least one"} map(s), one per image; '
                          f'got {len(arrays)}.')
    for index, array in enumerate(arrays):
        if array.ndim != 2 or not array.size or array.dtype.kind not in ('b' if boolean else 'iub'):
            kind = 'booleans' if boolean else 'integers'
            raise MetricError(f'`{name}` must be [height, width] maps of {kind}; got '
                              f'{array.dtype}{list(array.shape)} at image {index}.')
    return arrays


def check_range(name: str, values: np.ndarray, limit: int, index: int) -> None:
    """Raises a MetricError unless all values lie in [0, limit)."""
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < limit:
        raise MetricError(f'`{name}` must lie in [0, {limit - 1}]; got {values.min()} to '
                          f'{values.max()} at image {index}.')


def check_parts(num_parts: int, name: str = 'num_parts') -> None:
    """Raises a MetricError unless there is at least one part."""
    if num_parts < 1:
        raise MetricError(f'`{name}` must be at least 1; got {num_parts}.')


def percent(part: float, whole: float, otherwise: float = float('nan')) -> float:
    """Share of `part` in `whole` in per cent; `otherwise` if `whole` is 0."""
    return 100.0 * float(part) / float(whole) if whole else otherwise


def contingency_tables(labels: Sequence[np.ndarray], true_labels: Sequence[np.ndarray], *,
                       num_labels: int, num_true_labels: int,
                       ignore_label: int | None = None) -> np.ndarray:
    """Counts of pixels by label and true label, for each image.

    Args:
      labels: N integer maps [H,W] with values in [0, num_labels).
      true_labels: N integer maps of the same sizes with values in [0, num_true_labels), or
        `ignore_label`.
      num_labels: Number of labels with background, the rows of a table.
      num_true_labels: Number of true labels with background, the columns of a table.
      ignore_label: True label of pixels that are left out (PASCAL's void is 255).

    Returns:
      int64[N,num_labels,num_true_labels].

    Raises:
      MetricError: If sizes differ or a label is out of range.
    """
    labels = check_maps('labels', labels)
    true_labels = check_maps('true_labels', true_labels, count=len(labels))
    tables = np.empty((len(labels), num_labels, num_true_labels), np.int64)
    for index, (predicted, true) in enumerate(zip(labels, true_labels)):
        if predicted.shape != true.shape:
            raise MetricError(f'`labels` and `true_labels` must be of the same sizes; got '
                              f'{predicted.shape} and {true.shape} at image {index}.')
        if ignore_label is not None:
            kept = true != ignore_label
            predicted, true = predicted[kept], true[kept]
        check_range('labels', predicted, num_labels, index)
        check_range('true_labels', true, num_true_labels, index)
        # Converted to int64 first, since the product would overflow uint8.
        codes = predicted.ravel().astype(np.int64) * num_true_labels + true.ravel()
        tables[index] = np.bincount(codes, minlength=num_labels * num_true_labels).reshape(
            num_labels, num_true_labels)
    return tables


def iou_table(table: np.ndarray) -> np.ndarray:
    """Intersection over union, in per cent, of each label with each true label of a table."""
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    return 100.0 * table / np.maximum(union, 1)


def normalized_mutual_information(table: np.ndarray) -> float:
    """NMI of the two labellings of a contingency table, normalized by their mean entropy.

    Args:
      table: int64[A,B]. Counts.

    Returns:
      Score in [0, 100]. It is 100 if both labellings have one label only, as in scikit-learn, and
      NaN for an empty table.
    """
    table = np.asarray(table, np.float64)
    if not table.sum():
        return float('nan')
    joint = table / table.sum()

    def entropy(probabilities: np.ndarray) -> float:
        positive = probabilities[probabilities > 0]
        return -float((positive * np.log(positive)).sum())

    rows, columns = entropy(joint.sum(1)), entropy(joint.sum(0))
    if rows + columns < 1e-15:
        return 100.0
    mutual = rows + columns - entropy(joint)
    return 100.0 * min(max(2 * mutual / (rows + columns), 0.0), 1.0)


def adjusted_rand_index(table: np.ndarray) -> float:
    """ARI of the two labellings of a contingency table (Hubert & Arabie, 1985).

    Args:
      table: int64[A,B]. Counts.

    Returns:
      Score of at most 100; 0 is chance. It is 100 if both labellings are trivial, as in
      scikit-learn, and NaN for an empty table.
    """
    def pairs(counts: np.ndarray) -> int:
        # Python's integers, since with some ten thousand pixels products of pairs exceed 2^63.
        return sum(int(count) * (int(count) - 1) // 2 for count in counts)

    table = np.asarray(table, np.int64)
    if not table.sum():
        return float('nan')
    both, total = pairs(table.ravel()), pairs([table.sum()])
    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    span = (rows + columns) * total - 2 * rows * columns
    return 100.0 * (2 * (both * total - rows * columns) / span) if span else 100.0


def clustering_scores(table: np.ndarray, prefix: str = '') -> dict[str, float]:
    """Scores 'nmi' and 'ari' of a contingency table, by these names with a `prefix`."""
    return {f'{prefix}nmi': normalized_mutual_information(table),
            f'{prefix}ari': adjusted_rand_index(table)}
