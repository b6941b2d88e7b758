"""Scores of single photos, and what of the annotations each part falls on."""
from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple

import numpy as np

from scops_tf.evaluation import keypoint_scores, label_scores
from scops_tf.evaluation.contingency import contingency_tables, iou_table
from scops_tf.evaluation.dataset_scores import Scorer
from scops_tf.evaluation.part_maps import PartMaps
from scops_tf.pages.report_file import Confusion


class PhotoScores(NamedTuple):
    """Scores of the photos to test on.

    Attributes:
      values: f64[N] in per cent, by the name of the score; NaN for a photo that has none.
      directions: Better direction of each score by name: 'lower' or 'higher'.
    """

    values: Dict[str, np.ndarray]
    directions: Dict[str, str]


def of_photos(scorer: Scorer, num_parts: int, fit: Optional[PartMaps], test: PartMaps
              ) -> PhotoScores:
    """Scores of each photo, by all annotations that the dataset has.

    The landmark error of a photo is the mean over its landmarks, by the regression of all photos.
    Its part mIoU is the mean over the true parts that it shows, by the matching of all photos.

    Args:
      scorer: Scorer of the photos.
      num_parts: K.
      fit: Part maps of the fit photos; None for no landmark error.
      test: Part maps of the test photos.
    """
    found = PhotoScores({}, {})

    def add(name: str, values: np.ndarray, direction: str) -> None:
        found.values[name], found.directions[name] = values, direction

    if scorer.landmark_scorer is not None and fit is not None:
        errors = scorer.landmark_scorer.errors(fit.centers, test.centers).test_errors
        add('landmark error', _means(errors), 'lower')
    table = _keypoint_tables(scorer, num_parts, test.labels)
    if table is not None:
        add('key points on parts', _shares(table[:, 1:].sum((1, 2)), table.sum((1, 2))), 'higher')
    if scorer.part_masks is not None and scorer.dataset.annotation_kind != 'nested_part_masks':
        add('part mIoU', _part_iou(scorer, num_parts, test.labels), 'higher')
    masks = scorer.masks and [mask > 0 for mask in scorer.masks]
    if masks:
        add('foreground IoU', label_scores.foreground_iou(test.labels, masks)['per_image'],
            'higher')
    if masks or scorer.has_boxes:
        where = {'masks': masks} if masks else {'boxes': scorer.boxes_on_maps()}
        # One by one, since the pooled share is that of the photo then.
        add('leakage', np.array([label_scores.leakage(
            test.labels[index:index + 1], **{key: values[index:index + 1] for key, values in
                                             where.items()})['pooled']
            for index in range(len(test.labels))]), 'lower')
    return found


def confusion(scorer: Scorer, num_parts: int, labels: np.ndarray) -> Optional[Confusion]:
    """How often each part falls on each annotated part or key point; None without annotations.

    Args:
      scorer: Scorer of the photos.
      num_parts: K.
      labels: u8[N,H,W]. Labels of the test photos.
    """
    names = scorer.dataset.part_names
    if scorer.part_masks is not None:
        table = contingency_tables(labels, scorer.part_masks, num_labels=num_parts + 1,
                                   num_true_labels=len(names) + 1).sum(0)
        return Confusion('annotated parts', ('background', *names), _nested(table))
    tables = _keypoint_tables(scorer, num_parts, labels)
    return None if tables is None else Confusion(
        'key points', tuple(scorer.dataset.landmark_names), _nested(tables.sum(0)))


def _keypoint_tables(scorer: Scorer, num_parts: int, labels: np.ndarray) -> Optional[np.ndarray]:
    """Tables i64[N,K+1,L] of `keypoint_tables`; None unless all photos have key points."""
    found = scorer.key_points
    if not scorer.dataset.landmark_names or found is None or not found.visible.any():
        return None
    return keypoint_scores.keypoint_tables(
        labels, found.points, found.visible, num_parts=num_parts)


def _part_iou(scorer: Scorer, num_parts: int, labels: np.ndarray) -> np.ndarray:
    num_true = len(scorer.dataset.part_names)
    matches = label_scores.part_iou(labels, scorer.part_masks, num_parts=num_parts,
                                    num_true_parts=num_true)['matches']
    tables = contingency_tables(labels, scorer.part_masks, num_labels=num_parts + 1,
                                num_true_labels=num_true + 1)
    found = np.full((len(tables), num_true), np.nan)
    for index, table in enumerate(tables):
        shown = np.flatnonzero(table[:, 1:].sum(0))
        iou = iou_table(table)
        # A true part without a match has number 0, the background, and counts as 0.
        found[index, shown] = np.where(matches[shown] > 0, iou[matches[shown], shown + 1], 0)
    return _means(found)


def _means(values: np.ndarray) -> np.ndarray:
    """Means f64[N] of the rows of f64[N,L], without NaN; NaN for a row of NaN."""
    counts = (~np.isnan(values)).sum(1)
    return np.where(counts > 0, np.nansum(values, 1) / np.maximum(counts, 1), np.nan)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Shares f64[N] in per cent; NaN of nothing."""
    return np.where(wholes > 0, 100.0 * parts / np.maximum(wholes, 1), np.nan)


def _nested(table: np.ndarray) -> Tuple[Tuple[int, ...], ...]:
    return tuple(map(tuple, table.tolist()))
