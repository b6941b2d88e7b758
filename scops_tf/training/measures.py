"""Measures of a training that tell whether it goes well; see `diagnoses`."""
from __future__ import annotations

import dataclasses
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from scops_tf.serving import objects

# Photos are looked at with responses of at most this many pixels along a side.
_LARGEST_SIDE = 64
# Share of a side that is the margin of a photo.
_MARGIN = 1 / 16
# Least number of photos that are compared with each other, and the number of neighbours of each.
_FEWEST, _NEIGHBOURS = 8, 3
# Least spread, in logarithms, of the distances to the neighbours: that of photos all alike.
_LEAST_SPREAD = 0.1


@dataclasses.dataclass(frozen=True)
class Measures:
    """What is known of a training at a step. A field is None where it was not measured.

    Attributes:
      presence: f64[K] in [0, 1]. Largest response of each part in a photo, mean over the photos.
      area: f64[K] in [0, 1]. Share of a photo that each part covers, mean over the photos.
      margin: f64[K] in [0, 1]. The same share of the photo's margin.
      salient: f64[K] in [0, 1]. Mean saliency where the part responds.
      likeness: f64[K,K] in [0, 1]. Cosine of the response maps of two parts.
      basis_likeness: f64[K,K] in [0, 1]. Cosine of two rows of the part basis.
      doubt: In [0, 1]. 1 minus the largest response, background included, mean over all pixels.
      foreground: In [0, 1]. Share of a photo that all parts cover together.
      empty: Names of the photos in which no part is present.
      crowded: Names of the photos that show two objects or more.
      num_photos: Number of the photos that were looked at.
      unlike: Names of the photos whose features are unlike those of the others, the most unlike
        first.
      in_sight: In [0, 1]. Share of the parts' centres that the views of the photos still show.
      covered: In [0, 1]. Share of a view that shows the photo and not what lies beyond its border.
      pulls: Norm of the gradient of each weighted loss in the head's variables, by name.
      clipped: Share in [0, 1] of the latest logged steps whose gradient was clipped, by group of
        variables.
    """

    presence: Optional[np.ndarray] = None
    area: Optional[np.ndarray] = None
    margin: Optional[np.ndarray] = None
    salient: Optional[np.ndarray] = None
    likeness: Optional[np.ndarray] = None
    basis_likeness: Optional[np.ndarray] = None
    doubt: Optional[float] = None
    foreground: Optional[float] = None
    empty: Sequence[str] = ()
    crowded: Sequence[str] = ()
    num_photos: int = 0
    unlike: Sequence[str] = ()
    in_sight: Optional[float] = None
    covered: Optional[float] = None
    pulls: Mapping[str, float] = dataclasses.field(default_factory=dict)
    clipped: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def scalars(self) -> Mapping[str, float]:
        """The measures that are single numbers, by their TensorBoard names."""
        found = {'doctor/doubt': self.doubt, 'doctor/centers_in_sight': self.in_sight,
                 'doctor/view_covered': self.covered}
        if self.likeness is not None and len(self.likeness) > 1:
            found['doctor/largest_likeness'] = float(_pairs(self.likeness).max())
        if self.salient is not None:
            found.update((f'doctor/saliency_of_part/{part}', float(value))
                         for part, value in enumerate(self.salient, start=1))
        if self.num_photos:
            found['doctor/photos_without_parts'] = len(self.empty) / self.num_photos
            found['doctor/photos_of_several_objects'] = len(self.crowded) / self.num_photos
        total = sum(self.pulls.values())
        if total > 0:
            found.update((f'doctor/gradient_share/{name}', norm / total)
                         for name, norm in self.pulls.items())
        return {name: float(value) for name, value in found.items() if value is not None}


def _pairs(matrix: np.ndarray) -> np.ndarray:
    """Values above the diagonal."""
    return matrix[np.triu_indices(len(matrix), k=1)]


def cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines f64[K,K] of rows f[K,C]; those of a row of zeros are 0."""
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units @ units.T


class PhotoMeasures:
    """Measures of photos by the parts found in them, collected photo by photo.

    Args:
      num_parts: K.
      least_presence: Least largest response of a part that is present.
    """

    def __init__(self, num_parts: int, *, least_presence: float) -> None:
        self._least_presence = least_presence
        self._presence: List[np.ndarray] = []
        self._area, self._margin, self._salient = (np.zeros(num_parts) for _ in range(3))
        self._products = np.zeros((num_parts, num_parts))
        self._doubt = 0.0
        self._has_saliency = True
        self._empty: List[str] = []
        self._crowded: List[str] = []

    def add(self, name: str, responses: np.ndarray, labels: np.ndarray,
            saliency: Optional[np.ndarray]) -> None:
        """Adds a photo.

        Args:
          name: Name of the photo.
          responses: f[h,w,K+1] in [0, 1]. Part responses; channel 0 is the background.
          labels: Integers [h,w]. Labels of the same size.
          saliency: f[h,w] in [0, 1]. The saliency map, or None.
        """
        presence = responses[..., 1:].max(axis=(0, 1))
        step = -(-max(labels.shape) // _LARGEST_SIDE)
        responses, labels = (each[::step, ::step] for each in (responses, labels))
        parts = responses[..., 1:].astype(np.float64)
        height, width = labels.shape
        inner = np.s_[max(1, round(_MARGIN * height)):-max(1, round(_MARGIN * height)),
                      max(1, round(_MARGIN * width)):-max(1, round(_MARGIN * width))]
        outer = np.ones(labels.shape, bool)
        outer[inner] = False
        self._presence.append(presence)
        self._area += parts.mean(axis=(0, 1))
        self._margin += parts[outer].mean(axis=0)
        flat = parts.reshape(-1, parts.shape[-1])
        self._products += flat.T @ flat / len(flat)
        self._doubt += 1 - float(responses.max(axis=-1).mean())
        if saliency is None:
            self._has_saliency = False
        else:
            self._salient += np.tensordot(saliency[::step, ::step], parts, 2) / len(flat)
        if presence.max(initial=0) < self._least_presence:
            self._empty.append(name)
        elif objects.separate(labels, responses[..., 0] < 0.5).max() > 1:
            self._crowded.append(name)

    def measures(self) -> Measures:
        """The measures of all photos that were added, at least one."""
        count = len(self._presence)
        area, lengths = self._area / count, np.sqrt(np.diag(self._products))
        scale = np.outer(lengths, lengths)
        salient = None
        if self._has_saliency:
            salient = np.divide(self._salient, self._area, out=np.zeros_like(area),
                                where=self._area > 0)
        return Measures(
            presence=np.mean(self._presence, axis=0), area=area, margin=self._margin / count,
            salient=salient,
            likeness=np.divide(self._products, scale, out=np.zeros_like(scale), where=scale > 0),
            doubt=self._doubt / count, foreground=float(area.sum()),
            empty=tuple(self._empty), crowded=tuple(self._crowded), num_photos=count)


def outliers(descriptors: np.ndarray, *, ratio: float, distance: float) -> np.ndarray:
    """The rows that are unlike all others, the most unlike first.

    A row is compared with its nearest others by the cosine, so that a set of several kinds has no
    outliers as long as each kind has some photos.

    Args:
      descriptors: f[N,C]. A description of each photo.
      ratio: Least mean distance of an outlier to its neighbours, over the median of all rows.
      distance: Least distance of the logarithm of that mean from the median, in robust standard
        deviations.

    Returns:
      i64[n]. Indices. There are none among fewer than eight rows.
    """
    if len(descriptors) < _FEWEST:
        return np.zeros(0, np.int64)
    gaps = 1 - cosines(descriptors)
    np.fill_diagonal(gaps, np.inf)
    near = np.log(np.maximum(np.sort(gaps, axis=1)[:, :_NEIGHBOURS].mean(axis=1), 1e-9))
    middle = np.median(near)
    spread = max(1.4826 * np.median(np.abs(near - middle)), _LEAST_SPREAD)
    order = np.argsort(-near, kind='stable')
    return order[near[order] - middle > max(np.log(ratio), distance * spread)]


def clipped_share(logged: Sequence[Tuple[int, Mapping[str, float]]], clip_norm: Optional[float],
                  *, after: int) -> Mapping[str, float]:
    """Share of logged steps whose gradient is longer than `clip_norm`, by group of variables.

    Args:
      logged: (step, scalars by name) of logged steps.
      clip_norm: `Optimizer.clip_norm`.
      after: Steps up to this one are left out, as those of the warm-up.
    """
    if clip_norm is None:
        return {}
    counts: Dict[str, List[bool]] = {}
    for step, scalars in logged:
        for name, value in scalars.items():
            if step > after and name.startswith('gradient_norm/'):
                counts.setdefault(name.split('/', 1)[1], []).append(value > clip_norm)
    return {group: float(np.mean(found)) for group, found in counts.items()}
