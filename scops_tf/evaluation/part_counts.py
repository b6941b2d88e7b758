"""How many parts to take: agreement between seeds, foreground, eigengaps, and what they suggest.

Functions of plain arrays. Scores are in per cent.
"""
from __future__ import annotations

import dataclasses
import itertools
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from scops_tf.evaluation import label_scores
from scops_tf.evaluation.contingency import MetricError

# Runs agree as well as the best ones if they are within this many points, or within the spread of
# the best ones' pairs if that is larger.
_MARGIN = 5.0
# Least foreground, relative to the most that any number of parts keeps.
_LEAST_KEPT = 0.8
# Agreement below this is no better than what unrelated parts of one foreground may reach.
_LEAST_AGREEMENT = 40.0
# Neighbours of a cell in the affinity, and the largest number of cells.
_NEIGHBOURS, MOST_CELLS = 10, 1500

CLEAR, LIKELY, OPEN = 'clear', 'likely', 'open'


@dataclasses.dataclass(frozen=True)
class Count:
    """What the runs of one number of parts show.

    Attributes:
      num_parts: K.
      agreements: Agreement of each pair of seeds; see `agreement`.
      kept: Share of the salient pixels that are parts, for each seed; None without saliency.
      dead: Number of dead parts of each seed.
      eigengap: See `eigengaps`; None if there is none for this K.
    """

    num_parts: int
    agreements: Sequence[float]
    kept: Optional[Sequence[float]]
    dead: Sequence[int]
    eigengap: Optional[float] = None

    @property
    def agreement(self) -> float:
        """Mean agreement of the pairs of seeds."""
        return float(np.mean(self.agreements))


class Advice(NamedTuple):
    """The number of parts to take.

    Attributes:
      num_parts: K.
      doubt: `CLEAR`, `LIKELY` or `OPEN`.
      others: Other numbers of parts that are nearly as good, ascending.
      reasons: Sentences.
    """

    num_parts: int
    doubt: str
    others: Sequence[int]
    reasons: Sequence[str]


def agreement(first: Sequence[np.ndarray], second: Sequence[np.ndarray], *, num_parts: int
              ) -> float:
    """Mean IoU of the matched parts of two runs; a part without a match counts as 0.

    The parts are matched for all photos together (Hungarian method), in the way of
    `label_scores.part_iou`.

    Args:
      first: Integer maps of the photos, in [0, K].
      second: Maps of the same photos by the other run.
      num_parts: K.

    Returns:
      In [0, 100].
    """
    try:
        found = label_scores.part_iou(first, second, num_parts=num_parts, num_true_parts=num_parts)
    except MetricError:
        if any(np.any(labels) for labels in second):
            raise
        return 0.0
    return float(np.nan_to_num(found['per_part']).mean())


def agreements(labels: Sequence[Sequence[np.ndarray]], *, num_parts: int) -> List[float]:
    """The `agreement` of each pair of runs of the same number of parts."""
    return [agreement(first, second, num_parts=num_parts)
            for first, second in itertools.combinations(labels, 2)]


def kept_foreground(labels: Sequence[np.ndarray], saliency: Sequence[np.ndarray]) -> float:
    """Share of the pixels of saliency above 0.5 that are a part; NaN if there are none.

    Args:
      labels: Integer maps [H,W].
      saliency: Maps f[H,W] in [0, 1] of the same sizes.
    """
    salient = [np.asarray(one) > 0.5 for one in saliency]
    total = sum(map(np.count_nonzero, salient))
    inside = sum(np.count_nonzero(one[where]) for one, where in zip(labels, salient))
    return 100.0 * inside / total if total else float('nan')


def eigengaps(features: np.ndarray, photo: np.ndarray, most: int) -> Dict[int, float]:
    """Gaps between the eigenvalues of the normalized Laplacian of the cells' affinity.

    The affinity is the cosine of the features of two cells of different photos, for the ten nearest
    neighbours of each cell. Cells of one photo are not neighbours: those side by side look alike
    whatever they show. A large gap after the K-th smallest eigenvalue says that the cells fall into
    K groups (von Luxburg, "A tutorial on spectral clustering", 2007).

    Args:
      features: f[n,C]. Features of at most some thousand cells.
      photo: Integers [n]. Photo of each cell.
      most: Largest K.

    Returns:
      The gap after the K-th eigenvalue by K, from 2 on; empty if all cells are of one photo.
    """
    features = np.asarray(features, np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    cosines = np.where(np.equal.outer(photo, photo), 0, units @ units.T).clip(0)
    if not cosines.any():
        return {}
    count = min(_NEIGHBOURS, len(cosines) - 1)
    near = np.argpartition(-cosines, count, axis=1)[:, :count]
    affinity = np.zeros_like(cosines)
    np.put_along_axis(affinity, near, np.take_along_axis(cosines, near, axis=1), axis=1)
    affinity = np.maximum(affinity, affinity.T)
    degrees = np.maximum(affinity.sum(axis=1), 1e-12)
    laplacian = np.eye(len(affinity)) - affinity / np.sqrt(np.outer(degrees, degrees))
    values = np.linalg.eigvalsh(laplacian)[:most + 1]
    return {num_parts: float(values[num_parts] - values[num_parts - 1])
            for num_parts in range(2, min(most, len(values) - 1) + 1)}


def advise(counts: Sequence[Count]) -> Advice:
    """The number of parts of the largest eigengap that seeds still agree on, and how sure that is.

    Fewer parts are found again by every seed as long as each is one or several true parts. With
    more parts than there are, each seed cuts them elsewhere. So agreement falls beyond the right
    number. Where seeds agree on several numbers about as well, the eigengap decides; without one
    it is the largest number.

    Args:
      counts: What the runs show, for at least one number of parts.
    """
    if not counts:
        raise ValueError('`counts` must hold at least one number of parts; got none.')
    alive = [one for one in counts if np.mean(np.asarray(one.dead) > 0) <= 0.5] or list(counts)
    most = max((np.mean(one.kept) for one in alive if one.kept is not None), default=None)
    sound = [one for one in alive
             if most is None or not np.mean(one.kept) < _LEAST_KEPT * most] or alive
    best = max(sound, key=lambda one: one.agreement)
    margin = max(_MARGIN, float(np.std(best.agreements)))
    near = [one for one in sound if one.agreement >= best.agreement - margin]
    chosen = max(near, key=lambda one: (one.eigengap or 0.0, one.num_parts))
    reasons = [f'With {chosen.num_parts} parts the seeds agree to {chosen.agreement:.0f} %, with '
               f'{best.num_parts} parts, the best, to {best.agreement:.0f} %.'
               if chosen is not best else f'The seeds agree best, to {best.agreement:.0f} %, with '
               f'{best.num_parts} parts.']
    beyond = [one for one in sound if one.num_parts > chosen.num_parts]
    fall = None
    if beyond:
        following = max(beyond, key=lambda one: one.agreement)
        fall = chosen.agreement - following.agreement
        reasons.append(f'With more parts they agree to {following.agreement:.0f} % at most '
                       f'({following.num_parts} parts).')
    else:
        reasons.append('No sound run has more parts, so the right number may be larger.')
    left_out = sorted({one.num_parts for one in counts} - {one.num_parts for one in sound})
    if left_out:
        reasons.append(f'Left out, for dead parts or a lost foreground: '
                       f'{", ".join(map(str, left_out))} parts.')
    gaps = {one.num_parts: one.eigengap for one in counts if one.eigengap is not None}
    by_gap = max(gaps, key=gaps.get) if gaps else None
    if by_gap is not None:
        reasons.append(f"The features' affinity has its largest gap at {by_gap} groups.")
    others = {one.num_parts for one in near} | ({by_gap} if by_gap is not None else set())
    others.discard(chosen.num_parts)
    gap_agrees = by_gap in (None, chosen.num_parts)
    doubt = LIKELY
    if chosen.agreement < _LEAST_AGREEMENT or fall is None:
        doubt = OPEN
    elif fall > 2 * margin and gap_agrees:
        doubt = CLEAR
    elif fall <= (margin / 2 if gap_agrees else margin) or len(others) > 2:
        doubt = OPEN
    if chosen.agreement < _LEAST_AGREEMENT:
        reasons.append('The seeds agree little with any number of parts.')
    return Advice(chosen.num_parts, doubt, sorted(others), reasons)
