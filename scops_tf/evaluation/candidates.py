"""Candidates of a selection: checkpoints with their scores without labels, and their ranking."""
from __future__ import annotations

import dataclasses
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import scipy.stats
import tqdm

from scops_tf.evaluation import label_scores

# Largest share of the foreground that one part may cover, in per cent.
_LARGEST_SHARE = 80.0
# Scores that are ranked, and whether higher is better.
CRITERIA = {'equivariance': True, 'reconstruction_error': False, 'agreement_nmi': True}


@dataclasses.dataclass
class Candidate:
    """A checkpoint and its scores.

    Attributes:
      workdir: Folder of the run.
      step: Step at which the checkpoint was saved.
      num_parts: K.
      equivariance, reconstruction_error, agreement_nmi, agreement_ari: Scores in per cent; see
        `selection`. The error is None if the runs differ in their reference features. Agreement is
        None if no other run has the same number of parts.
      dead_parts: Numbers, from 1 on, of the parts whose largest response has a mean over photos
        below 0.3.
      largest_share: Share of the foreground that the largest part covers, in per cent.
      rank_score: Mean over the criteria of the rank among the checkpoints with the same number of
        parts, from 0 (best) to 1.
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
        """Faults that make it degenerate: dead parts, or a part of nearly the whole foreground."""
        found = [f'part {part} is dead' for part in self.dead_parts]
        if self.largest_share > _LARGEST_SHARE:
            found.append(f'one part is {self.largest_share:.0f} % of the foreground')
        return found

    @property
    def is_degenerate(self) -> bool:
        """Whether it has faults; its scores do not matter."""
        return bool(self.faults)


def add_agreement(candidates: Sequence[Candidate],
                   labels: Dict[Tuple[str, int], np.ndarray]) -> None:
    """Sets the agreement of each checkpoint with the latest checkpoint of each other run.

    Args:
      candidates: Checkpoints; those of a run are in ascending order of their steps.
      labels: Labels u8[N,H,W] of the same photos, by run and step.
    """
    latest = {one.workdir: one for one in candidates}  # The last of the ascending steps stays.
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
    """Sets the rank scores and sorts the candidates.

    Candidates are sorted by the number of parts; within it degenerate ones come last, and the best
    comes first. Only checkpoints with the same number of parts are ranked against each other, since
    more parts reconstruct more and agree less.
    """
    ordered: List[Candidate] = []
    for num_parts in sorted({one.num_parts for one in candidates}):
        group = [one for one in candidates if one.num_parts == num_parts]
        ranks = []
        for name, higher_is_better in CRITERIA.items():
            values = [getattr(one, name) for one in group]
            # A value is None if no other run has as many parts, or if the features differ.
            if None not in values:
                sign = -1 if higher_is_better else 1
                ranks.append((scipy.stats.rankdata(sign * np.array(values)) - 1)
                             / max(len(group) - 1, 1))
        for one, score in zip(group, np.mean(ranks, axis=0)):
            one.rank_score = float(score)
        ordered += sorted(group, key=lambda one: (one.is_degenerate, one.rank_score, -one.step))
    return ordered
