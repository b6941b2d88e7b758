"""Scores of a split's part maps under every protocol that its annotations allow (docs/protocols.md)."""
from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from scops_tf import images as images_lib, image_lists, metrics, regression, trivial_baselines
from scops_tf.datasets.records import PartDataset, Record

# The protocol of a dataset -> that of the landmark regression and the two eyes. Others take 'cub': landmarks
# in the frame of the object's box.
_EYES = {'celeba': (0, 1), 'aflw': (7, 10)}
# Few parts, matched one to one with true ones that are many times as many and lie within each other, say
# nothing; the paper leaves this score out as well (§4.3).
_WITHOUT_PART_IOU = ('pascal',)


class PartMaps(NamedTuple):
    """What a system found in the photos of a split, in order; maps and points are those of the squashed photos.

    Attributes:
      labels: u8[N,H,W]. Decoded, 0 is background, 1..K parts.
      best_parts: u8[N,H,W]. The strongest part of each pixel, 1..K, background left out of account.
      centers: f32[N,K,2]. (x, y) in pixels of the squashed photo.
      presence: f32[N,K]. Largest response of each part.
    """

    labels: np.ndarray
    best_parts: np.ndarray
    centers: np.ndarray
    presence: np.ndarray


class Split(NamedTuple):
    """Readable photos of a split and their sizes before squashing, (height, width)."""

    records: Tuple[Record, ...]
    sizes: np.ndarray


class Scores(NamedTuple):
    """Scores by name, in per cent, with each one's better direction ('lower', 'higher' or '')."""

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

    def __init__(self, dataset: PartDataset, fit: Split, test: Split, map_size: Tuple[int, int]) -> None:
        if not test.records:
            raise ValueError('`test` must hold at least one photo to score; got none: the dataset has no test '
                             'photos (a folder has them in a subfolder named test).')
        self.dataset, self.fit, self.test, self.map_size = dataset, fit, test, map_size
        self.name = dataset.protocol
        self._masks = self._read(test.records, 'mask_path')
        self._part_masks = self._read(test.records, 'part_mask_path')
        self._has_boxes = all(record.box is not None for record in (*fit.records, *test.records))
        self._has_landmarks = bool(fit.records) and all(
            record.landmarks is not None for record in (*fit.records, *test.records)) and (
                dataset.protocol in _EYES or self._has_boxes)

    @property
    def counts(self) -> Dict[str, int]:
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
        return [images_lib.resize_labels(images_lib.read_labels(path), self.map_size) for path in paths]

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
            scores = regression.regress(self._split(self.fit, fit.centers), self._split(self.test, test.centers),
                                        **self._regression())
            found += self._landmark_values(scores)
            intervals['landmark error'] = scores.interval()
            notes += scores.notes
            points, visible = self._landmarks(self.test)
            at_points = metrics.keypoint_scores(
                test.labels, self._squashed(points, self.test.sizes), visible, num_parts=num_parts,
                best_parts=test.best_parts)
            found += [(_TITLES.get(name, name), value, 'higher') for name, value in at_points.items()]
        if self._part_masks is not None:
            num_true = len(self.dataset.part_names)
            if self.name not in _WITHOUT_PART_IOU:
                matched = metrics.part_iou(test.labels, self._part_masks, num_parts=num_parts,
                                           num_true_parts=num_true)
                found.append(('part mIoU', matched['mean'], 'higher'))
                # A true part that no photo shows has no score.
                found += [(f'IoU {name}', float(value), 'higher')
                          for name, value in zip(self.dataset.part_names, matched['per_part'])
                          if np.isfinite(value)]
            found += [(f'pixel {_TITLES[name]}', value, 'higher') for name, value in metrics.pixel_scores(
                test.labels, self._part_masks, num_parts=num_parts, num_true_parts=num_true).items()]
        if self._masks is not None:
            masks = [mask > 0 for mask in self._masks]
            overlap = metrics.foreground_iou(test.labels, masks)
            found.append(('foreground IoU', overlap['mean'], 'higher'))
            found.append(('foreground IoU, pooled', overlap['pooled'], 'higher'))
            found.append(('leakage', metrics.leakage(test.labels, masks=masks)['pooled'], 'lower'))
        elif self._has_boxes:
            found.append(('leakage', metrics.leakage(test.labels, boxes=self._boxes(self.test))['pooled'],
                          'lower'))
        statistics = metrics.part_statistics(test.labels, num_parts=num_parts)
        found.append(('foreground', statistics['foreground'], ''))
        return Scores({name: value for name, value, _ in found},
                      {name: direction for name, _, direction in found}, intervals, tuple(notes))

    def trivial(self, fit: PartMaps, test: PartMaps, *, seed: int = 0) -> Dict[str, Dict[str, float]]:
        """Landmark errors of centres that no part discovery was needed for, by the baseline's name."""
        if not self._has_landmarks:
            return {}
        fit_split, test_split = self._split(self.fit, fit.centers), self._split(self.test, test.centers)
        sizes = ((self.fit.sizes[:, ::-1], self.test.sizes[:, ::-1]) if self._in_boxes else
                 tuple(np.tile(self.map_size[::-1], (len(split.records), 1)) for split in (self.fit, self.test)))
        rows = trivial_baselines.baselines(fit_split, test_split, sizes=sizes, seed=seed, **self._regression())
        return {name: {title: value for title, value, _ in self._landmark_values(scores)}
                for name, scores in rows.items()}

    # Landmarks: 'cub' works in pixels of the photos, the face protocols in those of the squashed ones.

    @property
    def _in_boxes(self) -> bool:
        return self.dataset.protocol not in _EYES

    def _regression(self) -> Dict[str, Any]:
        if self._in_boxes:
            return {'protocol': 'cub'}
        return {'protocol': 'scops', 'eyes': _EYES[self.dataset.protocol]}

    def _landmark_values(self, scores: regression.RegressionScores) -> List[Tuple[str, float, str]]:
        values = [('landmark error', scores.test_error(), 'lower')]
        classes = [] if scores.test_classes is None else sorted(set(scores.test_classes.tolist()))
        if 1 < len(classes) <= 16:
            values += [(f'landmark error {number:03d}', scores.test_error(number), 'lower') for number in classes]
        return values

    def _landmarks(self, split: Split) -> Tuple[np.ndarray, np.ndarray]:
        return (np.stack([record.landmarks for record in split.records]).astype(np.float64),
                np.stack([record.visible for record in split.records]))

    def _boxes(self, split: Split) -> np.ndarray:
        """Boxes in pixels of the squashed photos."""
        boxes = np.stack([record.box for record in split.records]).astype(np.float64)
        scale = np.array(self.map_size)[::-1] / split.sizes[:, ::-1]
        return np.concatenate([(boxes[:, :2] + 0.5) * scale - 0.5, boxes[:, 2:] * scale], axis=1)

    def _squashed(self, points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        scale = (np.array(self.map_size)[::-1] / sizes[:, ::-1])[:, np.newaxis]
        return (points + 0.5) * scale - 0.5

    def _split(self, split: Split, centers: np.ndarray) -> regression.Split:
        points, visible = self._landmarks(split)
        classes = [record.class_id for record in split.records]
        boxes = None
        if self._in_boxes:
            scale = (split.sizes[:, ::-1] / np.array(self.map_size)[::-1])[:, np.newaxis]
            centers = (centers + 0.5) * scale - 0.5
            boxes = np.stack([record.box for record in split.records]).astype(np.float64)
        else:
            points = self._squashed(points, split.sizes)
        return regression.Split(centers, points, visible, boxes,
                                None if None in classes else np.array(classes))


_TITLES = {'nmi': 'NMI', 'ari': 'ARI', 'fg_nmi': 'FG-NMI', 'fg_ari': 'FG-ARI', 'on_part': 'key points on parts',
           'best_part_nmi': 'best-part NMI', 'best_part_ari': 'best-part ARI'}


def position_maps(num_parts: int, counts: Tuple[int, int], map_size: Tuple[int, int], *,
                  seed: int = 0) -> Tuple[PartMaps, PartMaps]:
    """The trivial part maps: pixels clustered by their position alone, the same for every photo.

    Args:
      num_parts: K.
      counts: Numbers of fit and of test photos.
      map_size: (height, width) of the maps.
      seed: Of k-means.
    """
    from sklearn.cluster import KMeans  # Slow to import.
    rows, columns = np.mgrid[:map_size[0], :map_size[1]]
    # Clusters of a coarse grid are those of the pixels.
    step = max(1, min(map_size) // 32)
    places = np.stack([columns[::step, ::step], rows[::step, ::step]], axis=-1).reshape(-1, 2)
    means = KMeans(num_parts, n_init=1, random_state=seed).fit(places.astype(np.float64))
    every = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
    labels = (means.predict(every) + 1).reshape(map_size).astype(np.uint8)
    return tuple(PartMaps(np.tile(labels, (count, 1, 1)), np.tile(labels, (count, 1, 1)),
                          np.tile(means.cluster_centers_, (count, 1, 1)), np.ones((count, num_parts)))
                 for count in counts)
