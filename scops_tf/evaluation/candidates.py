"""Checkpoints that are chosen among: their scores without labels, and the order of preference."""
from __future__ import annotations

import dataclasses
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import scipy.stats
import tqdm

from scops_tf.evaluation import label_scores

# Share, in per cent, of the foreground that one part may be.
_LARGEST_SHARE = 80.0
# What is ranked, and whether more of it is better.
CRITERIA = {'equivariance': True, 'reconstruction_error': False, 'agreement_nmi': True}


@dataclasses.dataclass
class Candidate:
    """A checkpoint and its scores.

    Attributes:
      workdir: Of its run.
      step: At which it was saved.
      num_parts: K.
      equivariance, reconstruction_error, agreement_nmi, agreement_ari: As of `selection`; the
        error is None where runs differ in their reference features, agreement where no other run
        has as many parts.
      dead_parts: Parts, from 1 on, whose largest response is below 0.3 in the mean over photos.
      largest_share: Share of the foreground that the largest part is, in per cent.
      rank_score: Mean over the criteria of the rank among the checkpoints with as many parts, from
        0, the best, to 1.
    """

    workdir: str
    step: int
    num_parts: int
    equivariance: float
    reconstruction_error: Optional[float]
    dead_parts: List[int]
    largest_share: float
    agreement_nmi: Optional[float] = None
    agreement_ari: Optional[float] = None
    rank_score: float = 0.0

    @property
    def faults(self) -> List[str]:
        """What makes it degenerate: parts that are dead, or one that is nearly all."""
        found = [f'part {part} is dead' for part in self.dead_parts]
        if self.largest_share > _LARGEST_SHARE:
            found.append(f'one part is {self.largest_share:.0f} % of the foreground')
        return found

    @property
    def is_degenerate(self) -> bool:
        """Whether it has faults, whatever its scores are."""
        return bool(self.faults)


def add_agreement(candidates: Sequence[Candidate],
                   labels: Dict[Tuple[str, int], np.ndarray]) -> None:
    """Sets the agreement of each checkpoint with the latest of each other run.

    Args:
      candidates: In ascending order of the steps of each run.
      labels: u8[N,H,W] of each, by run and step, of the same photos.
    """
    latest = {one.workdir: one for one in candidates}  # Ascending steps: the last one stays.
    for one in tqdm.tqdm(candidates, desc='Agreement', unit='checkpoint'):
        found = [
            label_scores.consistency(labels[one.workdir, one.step],
                                     labels[other.workdir, other.step], num_parts=one.num_parts)
            for other in latest.values()
            if other.workdir != one.workdir and other.num_parts == one.num_parts
        ]
        if found:
            one.agreement_nmi, one.agreement_ari = (
                float(np.mean([scores[name] for scores in found])) for name in ('nmi', 'ari'))


def rank(candidates: Sequence[Candidate]) -> List[Candidate]:
    """Sets the rank scores; in the order of K, degenerate ones last, then the best first.

    Only checkpoints with as many parts are ranked among each other: more parts reconstruct more and
    agree less.
    """
    ordered: List[Candidate] = []
    for num_parts in sorted({one.num_parts for one in candidates}):
        group = [one for one in candidates if one.num_parts == num_parts]
        ranks = []
        for name, higher_is_better in CRITERIA.items():
            values = [getattr(one, name) for one in group]
            # No other run has as many parts, or their features differ.
            if None not in values:
                sign = -1 if higher_is_better else 1
                ranks.append((scipy.stats.rankdata(sign * np.array(values)) - 1)
                             / max(len(group) - 1, 1))
        for one, score in zip(group, np.mean(ranks, axis=0)):
            one.rank_score = float(score)
        ordered += sorted(group, key=lambda one: (one.is_degenerate, one.rank_score, -one.step))
    return ordered
