"""Scores of a split's part maps by every protocol that its annotations allow: docs/protocols.md."""
from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from scops_tf import images as images_lib
from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import image_lists, label_scores, landmark_regression, trivial_baselines

# Numbers of the two eyes, for the protocols of faces. The others are of CUB's kind: landmarks in
# the frame of the object's box.
_EYES = {'celeba': (0, 1), 'aflw': (7, 10)}

_TITLES = {'nmi': 'NMI', 'ari': 'ARI', 'fg_nmi': 'FG-NMI', 'fg_ari': 'FG-ARI',
           'on_part': 'key points on parts', 'best_part_nmi': 'best-part NMI',
           'best_part_ari': 'best-part ARI'}
# Few parts, matched one to one with true ones that are many times as many and lie within each
# other, say nothing; the paper leaves this score out as well (§4.3).
_WITHOUT_PART_IOU = ('pascal',)
# More categories are not scored one by one: nobody reads them.
_MOST_CATEGORIES = 16


class PartMaps(NamedTuple):
    """What a system found in the photos of a split, in order; all is of the squashed photos.

    Attributes:
      labels: u8[N,H,W]. Decoded, 0 is background, 1..K parts.
      best_parts: u8[N,H,W]. The strongest part of each pixel, 1..K, background left out of account.
      centers: f32[N,K,2]. (x, y) in pixels of the squashed photo.
      presence: f32[N,K]. Largest response of each part.
      whole_centers: f32[N,K,2]. As `centers`, by Eq. 1 over the whole photo, where those are not;
        else None.
    """

    labels: np.ndarray
    best_parts: np.ndarray
    centers: np.ndarray
    presence: np.ndarray
    whole_centers: Optional[np.ndarray] = None


class Split(NamedTuple):
    """Readable photos of a split.

    Attributes:
      records: Of the photos.
      sizes: int[N,2]. (height, width) of the photos before squashing.
    """

    records: Tuple[Record, ...]
    sizes: np.ndarray


class Scores(NamedTuple):
    """Scores of one system.

    Attributes:
      values: In per cent, by name.
      directions: What is better, by the score's name: 'lower', 'higher', or '' for neither.
      intervals: 95 % intervals of some of the scores.
      notes: Sentences on what the scores leave out.
    """

    values: Dict[str, float]
    directions: Dict[str, str]
    intervals: Dict[str, Tuple[float, float]]
    notes: Tuple[str, ...]


class Protocol:
    """Scores systems on the test photos of a dataset, by whatever is annotated there.

    Args:
      dataset: Its name, protocol and the names of its landmarks and parts.
      fit: Photos that a regression may be fitted on.
      test: Photos that are scored.
      map_size: (height, width) that photos are squashed to.

    Raises:
      ValueError: If there is no photo to test on.
      ImageError: If a mask cannot be read.
    """

    def __init__(self, dataset: PartDataset, fit: Split, test: Split,
                 map_size: Tuple[int, int]) -> None:
        if not test.records:
            raise ValueError('`test` must hold at least one photo to score; got none.')
        self.dataset, self.fit, self.test, self.map_size = dataset, fit, test, map_size
        self.name = dataset.protocol
        self._masks = self._read(test.records, 'mask_path')
        self._part_masks = self._read(test.records, 'part_mask_path')
        records = (*fit.records, *test.records)
        self._has_boxes = all(record.box is not None for record in records)
        self._has_landmarks = (
            bool(fit.records) and all(record.landmarks is not None for record in records)
            and (self._has_boxes or not self._in_boxes))

    @property
    def counts(self) -> Dict[str, int]:
        """Numbers of photos, by what they are for."""
        return {'photos to train': len(self.dataset.train), 'photos to fit': len(self.fit.records),
                'photos to test': len(self.test.records)}

    @property
    def image_list_hash(self) -> str:
        """SHA-256 of the names of the test photos."""
        return image_lists.image_list_hash([record.name for record in self.test.records])

    def _read(self, records: Sequence[Record], field: str) -> Optional[List[np.ndarray]]:
        paths = [getattr(record, field) for record in records]
        if any(path is None for path in paths):
            return None
        return [images_lib.resize_labels(images_lib.read_labels(path), self.map_size)
                for path in paths]

    def scores(self, num_parts: int, fit: PartMaps, test: PartMaps) -> Scores:
        """Scores of one system.

        Args:
          num_parts: K of the system.
          fit: Its part maps of the fit photos.
          test: Its part maps of the test photos.
        """
        found: List[Tuple[str, float, str]] = []
        intervals: Dict[str, Tuple[float, float]] = {}
        notes: List[str] = []
        if self._has_landmarks:
            errors = self._regressed(fit.centers, test.centers)
            found += self._landmark_values(errors)
            intervals['landmark error'] = errors.interval()
            notes += errors.notes
            points, visible = _landmarks(self.test)
            at_points = label_scores.keypoint_scores(
                test.labels, self._squashed(points, self.test.sizes), visible,
                num_parts=num_parts, best_parts=test.best_parts)
            found += [(_TITLES.get(name, name), value, 'higher')
                      for name, value in at_points.items()]
        if self._part_masks is not None:
            num_true = len(self.dataset.part_names)
            if self.name not in _WITHOUT_PART_IOU:
                matched = label_scores.part_iou(
                    test.labels, self._part_masks, num_parts=num_parts, num_true_parts=num_true)
                found.append(('part mIoU', matched['mean'], 'higher'))
                # A true part that no photo shows has no score.
                found += [(f'IoU {name}', float(value), 'higher')
                          for name, value in zip(self.dataset.part_names, matched['per_part'])
                          if np.isfinite(value)]
            of_pixels = label_scores.pixel_scores(
                test.labels, self._part_masks, num_parts=num_parts, num_true_parts=num_true)
            found += [(f'pixel {_TITLES[name]}', value, 'higher')
                      for name, value in of_pixels.items()]
        if self._masks is not None:
            masks = [mask > 0 for mask in self._masks]
            union = label_scores.foreground_iou(test.labels, masks)
            found.append(('foreground IoU', union['mean'], 'higher'))
            found.append(('foreground IoU, pooled', union['pooled'], 'higher'))
            outside = label_scores.leakage(test.labels, masks=masks)
            found.append(('leakage', outside['pooled'], 'lower'))
        elif self._has_boxes:
            outside = label_scores.leakage(test.labels, boxes=self._boxes(self.test))
            found.append(('leakage', outside['pooled'], 'lower'))
        statistics = label_scores.part_statistics(test.labels, num_parts=num_parts)
        found.append(('foreground', statistics['foreground'], ''))
        return Scores({name: value for name, value, _ in found},
                      {name: direction for name, _, direction in found}, intervals, tuple(notes))

    def whole_photo(self, fit: PartMaps, test: PartMaps) -> Dict[str, float]:
        """Landmark errors of one system by its `whole_centers`; none without these or landmarks.

        Args:
          fit: As of `scores`.
          test: As of `scores`.
        """
        if not self._has_landmarks or test.whole_centers is None:
            return {}
        errors = self._regressed(fit.whole_centers, test.whole_centers)
        return {title: value for title, value, _ in self._landmark_values(errors)}

    def trivial(self, fit: PartMaps, test: PartMaps, *, seed: int = 0
                ) -> Dict[str, Dict[str, float]]:
        """Landmark errors of centres that no part discovery was needed for, by their name.

        Args:
          fit: Part maps that the numbers and the range of the centres are taken from.
          test: Likewise.
          seed: Of random centres.
        """
        if not self._has_landmarks:
            return {}
        splits = [self._regression_split(self.fit, fit.centers),
                  self._regression_split(self.test, test.centers)]
        if self._in_boxes:
            sizes = [split.sizes[:, ::-1] for split in (self.fit, self.test)]
        else:
            sizes = [np.tile(self.map_size[::-1], (len(split.records), 1))
                     for split in (self.fit, self.test)]
        rows = trivial_baselines.baselines(
            *splits, sizes=tuple(sizes), seed=seed, **self._regression())
        return {name: {title: value for title, value, _ in self._landmark_values(errors)}
                for name, errors in rows.items()}

    # Landmarks: CUB's protocol works in pixels of the photos, those of faces in pixels of the
    # squashed photos.

    @property
    def _in_boxes(self) -> bool:
        return self.dataset.protocol not in _EYES

    def _regression(self) -> Dict[str, Any]:
        if self._in_boxes:
            return {'protocol': 'cub'}
        return {'protocol': 'scops', 'eyes': _EYES[self.dataset.protocol]}

    def _regressed(self, fit_centers: np.ndarray, test_centers: np.ndarray
                   ) -> landmark_regression.RegressionScores:
        """Errors of landmarks fitted to part centres f32[N,K,2] of the squashed photos."""
        return landmark_regression.regress(
            self._regression_split(self.fit, fit_centers),
            self._regression_split(self.test, test_centers), **self._regression())

    def _landmark_values(self, errors: landmark_regression.RegressionScores
                         ) -> List[Tuple[str, float, str]]:
        values = [('landmark error', errors.test_error(), 'lower')]
        classes = set() if errors.test_classes is None else set(errors.test_classes.tolist())
        if 1 < len(classes) <= _MOST_CATEGORIES:
            values += [(f'landmark error {number:03d}', errors.test_error(number), 'lower')
                       for number in sorted(classes)]
        return values

    def _boxes(self, split: Split) -> np.ndarray:
        """f64[N,4]. Boxes in pixels of the squashed photos."""
        boxes = np.stack([record.box for record in split.records]).astype(np.float64)
        corners = self._squashed(boxes[:, np.newaxis, :2], split.sizes)[:, 0]
        return np.concatenate([corners, boxes[:, 2:] * self._scales(split.sizes)], axis=1)

    def _scales(self, sizes: np.ndarray) -> np.ndarray:
        """f64[N,2]. Factors (x, y) from photos to squashed photos."""
        return np.array(self.map_size)[::-1] / sizes[:, ::-1]

    def _squashed(self, points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Pixels of photos as those of the squashed photos, whose borders are the same."""
        return (points + 0.5) * self._scales(sizes)[:, np.newaxis] - 0.5

    def _regression_split(self, split: Split, centers: np.ndarray) -> landmark_regression.Split:
        points, visible = _landmarks(split)
        classes = [record.class_id for record in split.records]
        known = None if None in classes else np.array(classes)
        if not self._in_boxes:
            return landmark_regression.Split(
                centers, self._squashed(points, split.sizes), visible, None, known)
        centers = (centers + 0.5) / self._scales(split.sizes)[:, np.newaxis] - 0.5
        boxes = np.stack([record.box for record in split.records]).astype(np.float64)
        return landmark_regression.Split(centers, points, visible, boxes, known)


def _landmarks(split: Split) -> Tuple[np.ndarray, np.ndarray]:
    """f64[N,L,2] and bool[N,L]. Landmarks in pixels of the photos, and which are visible."""
    return (np.stack([record.landmarks for record in split.records]).astype(np.float64),
            np.stack([record.visible for record in split.records]))


def position_maps(num_parts: int, counts: Tuple[int, int], map_size: Tuple[int, int], *,
                  seed: int = 0) -> Tuple[PartMaps, PartMaps]:
    """The trivial part maps: pixels clustered by their position alone, the same for every photo.

    Args:
      num_parts: K.
      counts: Numbers of fit and of test photos.
      map_size: (height, width) of the maps.
      seed: Of k-means.
    """
    from sklearn.cluster import KMeans  # Here, since it takes seconds.

    rows, columns = np.mgrid[:map_size[0], :map_size[1]]
    # Clusters of a coarse grid are those of the pixels.
    step = max(1, min(map_size) // 32)
    places = np.stack([columns[::step, ::step], rows[::step, ::step]], axis=-1).reshape(-1, 2)
    means = KMeans(num_parts, n_init=1, random_state=seed).fit(places.astype(np.float64))
    every = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
    labels = (means.predict(every) + 1).reshape(map_size).astype(np.uint8)

    def repeated(count: int) -> PartMaps:
        return PartMaps(np.tile(labels, (count, 1, 1)), np.tile(labels, (count, 1, 1)),
                        np.tile(means.cluster_centers_, (count, 1, 1)),
                        np.ones((count, num_parts)))

    return repeated(counts[0]), repeated(counts[1])
