"""All scores of part maps that the annotations of a dataset allow; see docs/protocols.md."""
from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from scops_tf import images as images_lib
from scops_tf.datasets import photo_store
from scops_tf.datasets.records import PartDataset
from scops_tf.evaluation import image_lists, keypoint_scores, label_scores, landmark_scores
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit

_TITLES = {'nmi': 'NMI', 'ari': 'ARI', 'fg_nmi': 'FG-NMI', 'fg_ari': 'FG-ARI',
           'on_part': 'key points on parts', 'best_part_nmi': 'best-part NMI',
           'best_part_ari': 'best-part ARI'}


class Scores(NamedTuple):
    """Scores of one method.

    Attributes:
      values: Scores in per cent, by name.
      directions: Better direction of each score by name: 'lower', 'higher', or '' for neither.
      intervals: 95 % intervals of some scores, by name.
      notes: Sentences on what the scores leave out.
    """

    values: Dict[str, float]
    directions: Dict[str, str]
    intervals: Dict[str, Tuple[float, float]]
    notes: Tuple[str, ...]

    def add(self, values: Dict[str, float], direction: str) -> None:
        """Adds values that have one better direction."""
        self.values.update(values)
        self.directions.update(dict.fromkeys(values, direction))


class Scorer:
    """Scores methods on the test photos of a dataset, by all annotations that it has.

    Args:
      dataset: Dataset of the photos.
      fit: Photos that a regression may be fitted on.
      test: Photos that are scored.
      map_size: (height, width) that photos are resized to.

    Attributes:
      dataset: See the argument, and so for the next three.
      fit: Photos that a regression may be fitted on.
      test: Photos that are scored.
      map_size: (height, width) of the part maps.
      masks: u8[H,W] of each test photo, the object is not 0; None unless all have one.
      part_masks: u8[H,W] of each test photo, labels of the true parts; None unless all have one.
      has_boxes: Whether all photos have a box.
      key_points: Landmarks of the test photos on the part maps; None unless all have them.
      landmark_scorer: Scorer of the landmarks, or None.

    Raises:
      ValueError: If there is no photo to test on, or most key points lie outside of their photos.
      ImageError: If a mask cannot be read.
    """

    def __init__(self, dataset: PartDataset, fit: PhotoSplit, test: PhotoSplit,
                 map_size: Tuple[int, int]) -> None:
        if not test.records:
            raise ValueError('`test` must hold at least one photo to score; got none.')
        self.dataset, self.fit, self.test, self.map_size = dataset, fit, test, map_size
        self._notes: List[str] = []
        self.masks = self._read(
            'masks of objects', [record.mask_path for record in test.records],
            lambda path: images_lib.read_mask(path).astype(np.uint8))
        self.part_masks = self._read(
            'masks of parts', [record.part_mask_path for record in test.records],
            images_lib.read_labels)
        self.key_points = self._key_points()
        records = (*fit.records, *test.records)
        self.has_boxes = all(record.box is not None for record in records)
        self.landmark_scorer: Optional[landmark_scores.LandmarkScorer] = None
        if (dataset.annotation_kind in landmark_scores.PROTOCOLS and fit.records
                and all(record.landmarks is not None for record in records)
                and (self.has_boxes or dataset.annotation_kind == 'faces')):
            self.landmark_scorer = landmark_scores.LandmarkScorer(dataset, fit, test, map_size)

    @property
    def has_annotations(self) -> bool:
        """Whether there is any score besides the share of the foreground."""
        return self.has_boxes or any(
            found is not None for found in (self.landmark_scorer, self.masks, self.part_masks))

    @property
    def protocol(self) -> Optional[str]:
        """The protocol of `landmark_regression` that scores the landmarks; None without scores."""
        return self.landmark_scorer and self.landmark_scorer.protocol

    @property
    def counts(self) -> Dict[str, int]:
        """Numbers of photos by their purpose."""
        return {'photos to train': len(self.dataset.train), 'photos to fit': len(self.fit.records),
                'photos to test': len(self.test.records)}

    @property
    def image_list_hash(self) -> str:
        """SHA-256 of the names of the test photos."""
        return image_lists.image_list_hash([record.name for record in self.test.records])

    def _read(self, what: str, paths: Sequence[Optional[str]], read: Callable[[str], np.ndarray]
              ) -> Optional[List[np.ndarray]]:
        """Maps u8[H,W] at the size of the part maps; None unless all photos have one."""
        if any(path is None for path in paths):
            return None
        found, odd = [], []
        for path, record, size in zip(paths, self.test.records, self.test.sizes.tolist()):
            own = read(path)
            if own.shape != tuple(size):
                odd.append(photo_store.OddMap(record.name, own.shape, tuple(size)))
            found.append(images_lib.resize_labels(own, self.map_size))
        if odd:
            self._notes.append(photo_store.about_odd_maps(odd, len(paths), what))
        return found

    def _key_points(self) -> Optional[landmark_scores.KeyPoints]:
        """Key points on the part maps, which are refused where most lie outside."""
        test, *others = (
            landmark_scores.key_points(split, self.map_size) if split.records and all(
                record.landmarks is not None for record in split.records) else None
            for split in (self.test, self.fit))
        if test is None:
            return None
        every = [test, *filter(None, others)]
        outside = sum(found.num_outside for found in every)
        total = outside + sum(np.count_nonzero(found.visible) for found in every)
        if 2 * outside > total:
            raise ValueError(
                f'Key points must lie in their photos, but {outside} of {total} visible ones of '
                f'{self.dataset.name} lie outside: the annotation is of photos of another size, or '
                'of another order of x and y.')
        if test.num_outside:
            self._notes.append(
                f'{test.num_outside} visible key points of the test photos lie more than a '
                'pixel outside of their photos, and are left out of the scores at key points.')
        return test

    def scores(self, num_parts: int, fit: PartMaps, test: PartMaps) -> Scores:
        """Scores of one method.

        Args:
          num_parts: K of the method.
          fit: Part maps of the fit photos.
          test: Part maps of the test photos.
        """
        scores, notes = Scores({}, {}, {}, ()), list(self._notes)
        if self.landmark_scorer is not None:
            errors = self.landmark_scorer.errors(fit.centers, test.centers)
            scores.add(landmark_scores.titled(errors), 'lower')
            scores.intervals['landmark error'] = errors.interval()
            notes += errors.notes
            scores.add(self._at_landmarks(num_parts, test), 'higher')
        elif self.dataset.annotation_kind in landmark_scores.PROTOCOLS:
            notes.append('There is no landmark error, since not all photos to fit and to test have '
                         'what it needs: landmarks, and a box where they are scored in boxes.')
        if self.part_masks is not None:
            scores.add(self._on_part_masks(num_parts, test), 'higher')
        if self.masks is not None:
            masks = [mask > 0 for mask in self.masks]
            union = label_scores.foreground_iou(test.labels, masks)
            scores.add({'foreground IoU': union['mean'],
                        'foreground IoU, pooled': union['pooled']}, 'higher')
            outside = label_scores.leakage(test.labels, masks=masks)
            scores.add({'leakage': outside['pooled']}, 'lower')
        elif self.has_boxes:
            outside = label_scores.leakage(test.labels, boxes=self.boxes_on_maps())
            scores.add({'leakage': outside['pooled']}, 'lower')
        if not scores.values:
            notes.append('The photos have neither landmarks nor masks nor boxes, so nothing tells '
                         'how good the parts are.')
        statistics = label_scores.part_statistics(test.labels, num_parts=num_parts)
        scores.add({'foreground': statistics['foreground']}, '')
        return scores._replace(notes=tuple(notes))

    def whole_photo(self, fit: PartMaps, test: PartMaps) -> Dict[str, float]:
        """Landmark errors of one method by its `whole_centers`.

        The result is empty if there are no `whole_centers` or no landmarks.

        Args:
          fit: Part maps of the fit photos.
          test: Part maps of the test photos.
        """
        if self.landmark_scorer is None or test.whole_centers is None:
            return {}
        return landmark_scores.titled(
            self.landmark_scorer.errors(fit.whole_centers, test.whole_centers))

    def trivial(self, fit: PartMaps, test: PartMaps, *, seed: int = 0
                ) -> Dict[str, Dict[str, float]]:
        """Landmark errors of the trivial baselines, by name.

        Args:
          fit: Part maps of the fit photos; random centres have the number and range of their
            centres.
          test: Part maps of the test photos.
          seed: Seed of the random centres.
        """
        if self.landmark_scorer is None:
            return {}
        rows = self.landmark_scorer.trivial_errors(fit.centers, test.centers, seed=seed)
        return {name: landmark_scores.titled(errors) for name, errors in rows.items()}

    def _at_landmarks(self, num_parts: int, test: PartMaps) -> Dict[str, float]:
        """Agreement of the labels at the landmarks with the landmarks' numbers."""
        points, visible, _ = self.key_points
        if not visible.any():
            return {}  # All of them lie outside, and most of the photos to fit on inside.
        found = keypoint_scores.keypoint_scores(
            test.labels, points, visible, num_parts=num_parts, best_parts=test.best_parts)
        return {_TITLES[name]: value for name, value in found.items()}

    def _on_part_masks(self, num_parts: int, test: PartMaps) -> Dict[str, float]:
        """Agreement of the labels with the masks of the true parts."""
        names, values = self.dataset.part_names, {}
        # Matching few parts one to one with many nested true parts has no meaning. The paper leaves
        # this score out too (§4.3).
        if self.dataset.annotation_kind != 'nested_part_masks':
            matched = label_scores.part_iou(
                test.labels, self.part_masks, num_parts=num_parts, num_true_parts=len(names))
            values['part mIoU'] = matched['mean']
            # A true part that no photo shows has no score.
            values.update((f'IoU {name}', float(value))
                          for name, value in zip(names, matched['per_part']) if np.isfinite(value))
        of_pixels = label_scores.pixel_scores(
            test.labels, self.part_masks, num_parts=num_parts, num_true_parts=len(names))
        values.update((f'pixel {_TITLES[name]}', value) for name, value in of_pixels.items())
        return values

    def boxes_on_maps(self) -> np.ndarray:
        """Boxes f64[N,4] of the test photos in pixels of the resized photos."""
        boxes = landmark_scores.boxes(self.test)
        factors = landmark_scores.map_factors(self.test, self.map_size)
        # A corner is the border of a pixel and no centre of one, so it scales as lengths do.
        return boxes * np.tile(factors, 2)
