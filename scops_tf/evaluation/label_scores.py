"""Scores of label maps and saliency maps, on plain arrays.

Label maps hold 0 for background and 1..K for parts. Maps of different images may differ in size, so
every function takes a sequence of maps, which may be an array [N,H,W]. Scores are in per cent.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.optimize

from scops_tf.evaluation.contingency import (
    MetricError,
    check_maps,
    check_parts,
    clustering_scores,
    contingency_tables,
    iou_table,
    percent,
)


def pixel_scores(labels: Sequence[np.ndarray], true_labels: Sequence[np.ndarray], *,
                 num_parts: int, num_true_parts: int,
                 ignore_label: int | None = None) -> dict[str, float]:
    """NMI and ARI of all pixels of all images together.

    Returns:
      'nmi' and 'ari' of all pixels; 'fg_nmi' and 'fg_ari' of the pixels of the true parts alone.
    """
    check_parts(num_parts)
    check_parts(num_true_parts, 'num_true_parts')
    table = contingency_tables(
        labels, true_labels, num_labels=num_parts + 1, num_true_labels=num_true_parts + 1,
        ignore_label=ignore_label).sum(0)
    return {**clustering_scores(table), **clustering_scores(table[:, 1:], 'fg_')}


def consistency(first: Sequence[np.ndarray], second: Sequence[np.ndarray], *,
                num_parts: int) -> dict[str, float]:
    """Agreement of two runs' label maps of the same images, in any order of the parts.

    Returns:
      'nmi' and 'ari' of all pixels; 'fg_nmi' and 'fg_ari' of the pixels that are a part in either.
    """
    check_parts(num_parts)
    table = contingency_tables(
        first, second, num_labels=num_parts + 1, num_true_labels=num_parts + 1).sum(0)
    foreground = table.copy()
    foreground[0, 0] = 0
    return {**clustering_scores(table), **clustering_scores(foreground, 'fg_')}


def foreground_iou(labels: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, Any]:
    """Intersection over union (IoU) of the foreground, which is all parts, and the object mask.

    Args:
      labels: N integer maps; values above 0 are foreground.
      masks: N boolean maps of the same sizes.

    Returns:
      'mean': Mean over images. 'pooled': IoU of all images' pixels together. 'per_image': f64[N].
      An image without object and without parts counts as 100.
    """
    foreground = [label_map > 0 for label_map in check_maps('labels', labels)]
    tables = contingency_tables(foreground, check_maps('masks', masks, boolean=True),
                                num_labels=2, num_true_labels=2)

    def iou(table: np.ndarray) -> float:
        return percent(table[1, 1], table.sum() - table[0, 0], 100.0)

    per_image = np.array([iou(table) for table in tables])
    return {'mean': float(per_image.mean()), 'pooled': iou(tables.sum(0)), 'per_image': per_image}


def part_iou(labels: Sequence[np.ndarray], true_labels: Sequence[np.ndarray], *, num_parts: int,
             num_true_parts: int, ignore_label: int | None = None) -> dict[str, Any]:
    """Intersection over union (IoU) of true parts and the parts matched to them, pixels pooled.

    The whole set has one matching with the largest sum of IoU (Hungarian method). A true part is
    matched with at most one part, and a part with at most one true part. Background is not matched
    with parts. If K is smaller than the number of true parts, unmatched true parts count as 0.

    Returns:
      'mean': Mean over the true parts that occur.
      'per_part': f64[num_true_parts]. IoU of each true part; NaN if it never occurs.
      'matches': int64[num_true_parts]. Label of the matched part; 0 for none.
      'background': IoU of the two backgrounds.
    """
    check_parts(num_parts)
    check_parts(num_true_parts, 'num_true_parts')
    table = contingency_tables(
        labels, true_labels, num_labels=num_parts + 1, num_true_labels=num_true_parts + 1,
        ignore_label=ignore_label).sum(0)
    iou = iou_table(table)
    occurring = np.flatnonzero(table[:, 1:].sum(0)) + 1
    if not occurring.size:
        raise MetricError('`true_labels` must show at least one part; got background alone.')
    rows, columns = scipy.optimize.linear_sum_assignment(iou[1:, occurring], maximize=True)
    parts, true_parts = rows + 1, occurring[columns]
    per_part, matches = np.full(num_true_parts, np.nan), np.zeros(num_true_parts, np.int64)
    per_part[occurring - 1] = 0.0
    per_part[true_parts - 1] = iou[parts, true_parts]
    matches[true_parts - 1] = parts
    return {'mean': float(np.nanmean(per_part)), 'per_part': per_part, 'matches': matches,
            'background': float(iou[0, 0])}


def leakage(labels: Sequence[np.ndarray], *, boxes: np.ndarray | None = None,
            masks: Sequence[np.ndarray] | None = None) -> dict[str, float]:
    """Share of the part pixels that lie outside the object.

    Args:
      labels: N integer maps; values above 0 are parts.
      boxes: f[N,4]. (x, y, width, height) in pixels of the maps; a box has `width` pixels, the
        first of which is x.
      masks: N boolean maps of the same sizes. Either `boxes` or `masks` must be given.

    Returns:
      'pooled': Share of all images' part pixels together. 'mean': Mean over the images with part
      pixels. Both are NaN if there are no part pixels.
    """
    labels = check_maps('labels', labels)
    if (boxes is None) == (masks is None):
        raise MetricError('Either `boxes` or `masks` must be given, for what the object is; got '
                          f'{"none" if boxes is None else "both"}.')
    if masks is None:
        boxes = np.asarray(boxes, np.float64)
        if boxes.shape != (len(labels), 4) or not np.isfinite(boxes).all():
            raise MetricError(f'`boxes` must be finite numbers of shape [{len(labels)}, 4]; got '
                              f'shape {list(boxes.shape)}.')
        masks = []
        for label_map, (x, y, width, height) in zip(labels, boxes):
            rows, columns = (np.arange(side) for side in label_map.shape)
            masks.append(np.outer((rows >= y - 0.5) & (rows < y + height - 0.5),
                                  (columns >= x - 0.5) & (columns < x + width - 0.5)))
    tables = contingency_tables(
        [label_map > 0 for label_map in labels], check_maps('masks', masks, boolean=True),
        num_labels=2, num_true_labels=2)[:, 1]
    shares = [percent(outside, outside + inside) for outside, inside in tables if outside + inside]
    outside, inside = tables.sum(0)
    return {'pooled': percent(outside, outside + inside),
            'mean': float(np.mean(shares)) if shares else float('nan')}


def part_statistics(labels: Sequence[np.ndarray], *, num_parts: int) -> dict[str, Any]:
    """Frequency and size of the parts.

    Returns:
      'presence': f64[K]. Share of the images that show the part.
      'area': f64[K]. Share of an image's pixels with the part, mean over all images.
      'foreground': Share of an image's pixels that are a part, mean over all images.
    """
    check_parts(num_parts)
    labels = check_maps('labels', labels)
    counts = contingency_tables(labels, [np.zeros(one.shape, bool) for one in labels],
                                num_labels=num_parts + 1, num_true_labels=1)[:, :, 0]
    area = (100.0 * counts / counts.sum(1, keepdims=True)).mean(0)[1:]
    return {'presence': 100.0 * (counts[:, 1:] > 0).mean(0), 'area': area,
            'foreground': float(area.sum())}


def saliency_scores(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, float]:
    """Scores of soft saliency maps against object masks.

    Args:
      maps: N maps f[H,W] in [0, 1], used as they are (not stretched).
      masks: N boolean maps of the same sizes, each with at least one true pixel.

    Returns:
      'mae': Mean absolute error, mean over images.
      'max_f': F-measure with beta^2 = 0.3 (Achanta et al., 2009) of the mean precision and the mean
      recall over images; the largest over the thresholds t / 255, t = 0..255. Precision is 0 if no
      pixel reaches the threshold.
      'adaptive_iou': IoU of the mask and the pixels of at least min(2 x mean of the map, 1), mean
      over images.
    """
    masks = check_maps('masks', masks, boolean=True)
    arrays = [np.asarray(one, np.float64) for one in maps]
    if len(arrays) != len(masks):
        raise MetricError(f'`maps` must hold {len(masks)} maps, one per mask; got {len(arrays)}.')
    errors, ious, precisions, recalls = [], [], [], []
    for index, (saliency, mask) in enumerate(zip(arrays, masks)):
        if saliency.shape != mask.shape:
            raise MetricError(f'`maps` must be of the sizes of `masks`; got {saliency.shape} for '
                              f'{mask.shape} at image {index}.')
        if not (saliency.min() >= 0 and saliency.max() <= 1):
            raise MetricError(f'`maps` must lie in [0, 1]; got {saliency.min():g} to '
                              f'{saliency.max():g} at image {index}.')
        if not mask.any():
            raise MetricError('`masks` must show an object in every image; got none at image '
                              f'{index}.')
        errors.append(np.abs(saliency - mask).mean())
        chosen = saliency >= min(2 * saliency.mean(), 1.0)
        ious.append((chosen & mask).sum() / (chosen | mask).sum())
        levels = np.floor(saliency * 255).astype(np.int64)
        hits, false_alarms = (np.bincount(levels[where], minlength=256)[::-1].cumsum()[::-1]
                              for where in (mask, ~mask))
        precisions.append(hits / np.maximum(hits + false_alarms, 1))
        recalls.append(hits / mask.sum())
    precision, recall = np.mean(precisions, 0), np.mean(recalls, 0)
    f_measure = 1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-12)
    return {'mae': 100.0 * float(np.mean(errors)), 'max_f': 100.0 * float(f_measure.max()),
            'adaptive_iou': 100.0 * float(np.mean(ious))}
