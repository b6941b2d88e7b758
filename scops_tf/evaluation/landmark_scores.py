"""Landmark errors on the photos of a dataset, in the frame that its kind of annotations needs.

Faces are scored in pixels of the resized photos. Objects in boxes are scored in pixels of the
original photos, since boxes have the proportions of the objects there.
"""
from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from scops_tf import images as images_lib
from scops_tf.datasets.records import PartDataset
from scops_tf.evaluation import landmark_regression, trivial_baselines
from scops_tf.evaluation.landmark_split import Split
from scops_tf.evaluation.part_maps import PhotoSplit

# The protocol of `landmark_regression.PROTOCOLS` for each kind of annotations with landmarks.
PROTOCOLS = {'faces': 'scops', 'boxed_landmarks': 'cub'}
# With more categories than this, categories are not scored one by one.
_MOST_CATEGORIES = 16


class KeyPoints(NamedTuple):
    """Key points of photos on their part maps.

    Attributes:
      points: f64[N,L,2]. (x, y) in pixels of the resized photos.
      visible: bool[N,L]. Whether a key point is visible, and lies on its map or at most a pixel
        outside.
      num_outside: Number of visible key points that lie farther outside.
    """

    points: np.ndarray
    visible: np.ndarray
    num_outside: int


class LandmarkScorer:
    """Fits landmarks to part centres and scores them, by the protocol of the dataset's annotations.

    Args:
      dataset: Dataset whose kind of annotations is in `PROTOCOLS`.
      fit: Photos with landmarks that the regression is fitted on.
      test: Photos with landmarks that are scored.
      map_size: (height, width) that photos are resized to.
    """

    def __init__(self, dataset: PartDataset, fit: PhotoSplit, test: PhotoSplit,
                 map_size: Tuple[int, int]) -> None:
        self._fit, self._test, self._map_size = fit, test, map_size
        self.protocol = PROTOCOLS[dataset.annotation_kind]
        self._in_boxes = self.protocol == 'cub'
        self._options: Dict[str, Any] = {'protocol': self.protocol}
        if dataset.eyes is not None:
            self._options['eyes'] = dataset.eyes

    def errors(self, fit_centers: np.ndarray, test_centers: np.ndarray
               ) -> landmark_regression.RegressionScores:
        """Errors of landmarks that are predicted from part centres.

        Args:
          fit_centers: f32[N,K,2]. (x, y) in pixels of the resized photos to fit on.
          test_centers: f32[M,K,2]. (x, y) in pixels of the resized photos to test on.
        """
        return landmark_regression.regress(
            self._regression_split(self._fit, fit_centers),
            self._regression_split(self._test, test_centers), **self._options)

    def trivial_errors(self, fit_centers: np.ndarray, test_centers: np.ndarray, *, seed: int = 0
                       ) -> Dict[str, landmark_regression.RegressionScores]:
        """Errors of the trivial baselines, by name.

        Args:
          fit_centers: See `errors`; random centres have their number and range.
          test_centers: See `errors`.
          seed: Seed of the random centres.
        """
        if self._in_boxes:
            sizes = [split.sizes[:, ::-1] for split in (self._fit, self._test)]
        else:
            sizes = [np.tile(self._map_size[::-1], (len(split.records), 1))
                     for split in (self._fit, self._test)]
        return trivial_baselines.baselines(
            self._regression_split(self._fit, fit_centers),
            self._regression_split(self._test, test_centers),
            sizes=tuple(sizes), seed=seed, **self._options)

    def _regression_split(self, split: PhotoSplit, centers: np.ndarray) -> Split:
        points, visible = landmarks(split)
        classes = [record.class_id for record in split.records]
        known = None if None in classes else np.array(classes)
        factors = map_factors(split, self._map_size)[:, np.newaxis]
        if self._in_boxes:
            return Split(
                images_lib.scale_points(centers, 1 / factors), points, visible, boxes(split), known)
        return Split(
            centers, images_lib.scale_points(points, factors), visible, None, known)


def titled(errors: landmark_regression.RegressionScores) -> Dict[str, float]:
    """Errors by title: of all test photos, and of each category if there are few categories."""
    values = {'landmark error': errors.test_error()}
    classes: List[int] = ([] if errors.test_classes is None
                          else np.unique(errors.test_classes).tolist())
    if 1 < len(classes) <= _MOST_CATEGORIES:
        values.update((f'landmark error {number:03d}', errors.test_error(number))
                      for number in classes)
    return values


def landmarks(split: PhotoSplit) -> Tuple[np.ndarray, np.ndarray]:
    """Landmarks f64[N,L,2], (x, y) in pixels of the photos, and their visibility bool[N,L]."""
    return (np.stack([record.landmarks for record in split.records]).astype(np.float64),
            np.stack([record.visible for record in split.records]))


def key_points(split: PhotoSplit, map_size: Tuple[int, int]) -> KeyPoints:
    """The landmarks of photos that are resized to `map_size`, as key points on their maps."""
    points, visible = landmarks(split)
    points = images_lib.scale_points(points, map_factors(split, map_size)[:, np.newaxis])
    inside = np.all((points >= -1) & (points <= np.array(map_size)[::-1]), axis=-1)
    return KeyPoints(points, visible & inside, int(np.count_nonzero(visible & ~inside)))


def boxes(split: PhotoSplit) -> np.ndarray:
    """Boxes f64[N,4], (x, y, width, height) in pixels of the photos."""
    return np.stack([record.box for record in split.records]).astype(np.float64)


def map_factors(split: PhotoSplit, map_size: Tuple[int, int]) -> np.ndarray:
    """Factors f64[N,2] of the width and the height of photos that are resized to `map_size`."""
    return np.array(map_size)[::-1] / split.sizes[:, ::-1]
