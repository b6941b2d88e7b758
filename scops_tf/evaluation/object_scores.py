"""Scores of objects that were separated in photos, on plain arrays. Scores are in per cent."""
from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
import scipy.optimize

from scops_tf.evaluation.contingency import MetricError, contingency_tables, iou_table


def matches(objects: np.ndarray, true_objects: np.ndarray) -> np.ndarray:
    """The found object of each true one, by the matching with the largest sum of IoU.

    Args:
      objects: Integer [H,W]. 0 is background, 1..N are the objects found.
      true_objects: Integer [H,W]. 0 is background, 1..M are the true objects.

    Returns:
      f64[M,2]. Number of the matched object, 0 for none, and their IoU in [0, 1].
    """
    found, true = int(np.max(objects)), int(np.max(true_objects))
    table = contingency_tables(
        [objects], [true_objects], num_labels=found + 1, num_true_labels=true + 1)[0]
    iou = iou_table(table)[1:, 1:] / 100
    rows, columns = scipy.optimize.linear_sum_assignment(iou, maximize=True)
    result = np.zeros((true, 2))
    touching = iou[rows, columns] > 0
    result[columns[touching], 0] = rows[touching] + 1
    result[columns[touching], 1] = iou[rows, columns][touching]
    return result


def object_scores(objects: Sequence[np.ndarray], true_objects: Sequence[np.ndarray]
                  ) -> Dict[str, float]:
    """Scores of the objects of all photos.

    Args:
      objects: N maps; see `matches`.
      true_objects: N maps of the same sizes.

    Returns:
      'count': Share of the photos whose number of objects is right. 'object IoU': Mean over the
      true objects of the IoU with the matched object; 0 without one.

    Raises:
      MetricError: If there is no true object, or the maps do not fit.
    """
    if len(objects) != len(true_objects):
        raise MetricError('`objects` must hold as many maps as `true_objects`; got '
                          f'{len(objects)} and {len(true_objects)}.')
    if not any(np.any(true) for true in true_objects):
        raise MetricError('`true_objects` must show at least one object; got background alone.')
    right = [np.max(found) == np.max(true) for found, true in zip(objects, true_objects)]
    iou = np.concatenate([matches(found, true)[:, 1]
                          for found, true in zip(objects, true_objects)])
    return {'count': 100 * float(np.mean(right)), 'object IoU': 100 * float(iou.mean())}
