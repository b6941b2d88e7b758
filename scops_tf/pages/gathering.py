"""Gathers what a run's page shows, while the photos are predicted."""
from __future__ import annotations

import io
import os
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from scops_tf import files, images as images_lib
from scops_tf.pages import gallery, outlines
from scops_tf.pages.report_file import (
    IMAGES,
    Confusion,
    PartReport,
    PhotoReport,
    Place,
    Report,
    save,
)

# Longer side in pixels of the photos that are shown whole.
_PHOTO_SIDE = 320


class Gatherer:
    """Gathers a page's pictures and figures photo by photo, and writes its report.

    The labels and responses must be of the parts of the model itself, without merges and drops.
    Pictures are written at once, so memory does not grow with them.

    Args:
      folder: Folder of the page, made if missing.
      num_parts: K.
    """

    def __init__(self, folder: str, num_parts: int) -> None:
        self._folder, self._num_parts = folder, num_parts
        self._gallery = gallery.PartGallery(num_parts)
        self._borders = np.zeros((num_parts + 1, num_parts + 1), np.int64)
        self._photos: List[PhotoReport] = []

    def add(self, name: str, image: np.ndarray, labels: np.ndarray, part_responses: np.ndarray,
            part_centers: np.ndarray, presence: np.ndarray, *, size: Tuple[int, int]) -> None:
        """Adds a photo.

        Args:
          name: Name of the photo.
          image: u8[H,W,3]. RGB, as the model sees it, maybe squeezed.
          labels: u8[H,W].
          part_responses: f[h,w,K] in [0, 1]. R at any resolution, background removed.
          part_centers: f[K,2]. (x, y) in pixels of `image`.
          presence: f[K]. Largest response of each part, in [0, 1].
          size: (height, width) of the photo itself, whose proportions are shown.

        Raises:
          ValueError: If shapes do not fit; see `PartGallery.add`.
          OSError: If a picture cannot be written.
        """
        squeezed = image.shape[:2]
        whole = _sized(size, max(squeezed))
        self._gallery.add(images_lib.resize(image, whole), images_lib.resize_labels(labels, whole),
                          part_responses)
        self._borders += border_lengths(labels, self._num_parts)
        shown = _sized(size, min(_PHOTO_SIDE, max(squeezed)))
        file = f'{IMAGES}/photo-{len(self._photos) + 1}.jpg'
        write_jpeg(os.path.join(self._folder, file), images_lib.resize(image, shown))
        # The centre of the first pixel is (0, 0) in the image, and (0.5, 0.5) in the picture.
        centers = (np.asarray(part_centers, np.float64) + 0.5) * np.divide(
            shown[::-1], squeezed[::-1])
        areas = np.bincount(labels.ravel(), minlength=self._num_parts + 1)[1:] / labels.size
        self._photos.append(PhotoReport(
            name, file, shown, tuple(areas.tolist()),
            tuple(np.asarray(presence, np.float64).tolist()), tuple(map(tuple, centers.tolist())),
            outlines.of_labels(images_lib.resize_labels(labels, shown)), {}))

    def write(self, *, step: int, facts: Mapping[str, str], split: str, num_photos: int,
              lookup: Sequence[int], scores: Mapping[str, Sequence[float]],
              directions: Mapping[str, str], confusion: Optional[Confusion]) -> Report:
        """Writes the report and the pictures of the parts.

        Args:
          step: See `Report`, and so for the other ones.
          facts: Short facts.
          split: What the photos are for.
          num_photos: Number of photos of the split.
          lookup: Merges and drops that the scores are of.
          scores: Scores of the added photos in their order, by name; one that is not finite is
            left out.
          directions: Better directions of the scores.
          confusion: Of the parts and what is annotated.

        Returns:
          What was written.

        Raises:
          ValueError: If no photo was added, or there is not one value of a score for each.
          OSError: If a file cannot be written.
        """
        photos = self._scored(scores)
        areas = np.array([photo.areas for photo in photos])
        presence = np.array([photo.presence for photo in photos])
        parts = []
        for index, looks in enumerate(self._gallery.looks()):
            mean = None
            if looks.mean is not None:
                mean = f'{IMAGES}/part-{index + 1}-mean.jpg'
                write_jpeg(os.path.join(self._folder, mean), looks.mean)
            border = self._borders[index + 1]
            parts.append(PartReport(
                float(areas[:, index].mean()), float(presence[:, index].mean()),
                float((areas[:, index] > 0).mean()),
                tuple((border / max(border.sum(), 1)).tolist()), mean,
                self._places(index + 1, 'strongest', looks.strongest),
                self._places(index + 1, 'weakest', looks.weakest)))
        report = Report(
            self._num_parts, step, facts, split, num_photos, tuple(map(int, lookup)), directions,
            tuple(parts), tuple(photos), confusion)
        save(report, self._folder)
        return report

    def _scored(self, scores: Mapping[str, Sequence[float]]) -> List[PhotoReport]:
        found: List[Dict[str, float]] = [{} for _ in self._photos]
        for name, values in scores.items():
            if len(values) != len(found):
                raise ValueError(f'`scores` must hold {len(found)} values, one per photo; got '
                                 f'{len(values)} of {name!r}.')
            for of_photo, value in zip(found, values):
                if np.isfinite(value):
                    of_photo[name] = float(value)
        return [PhotoReport(**{**vars(photo), 'scores': of_photo})
                for photo, of_photo in zip(self._photos, found)]

    def _places(self, number: int, kind: str, crops: Sequence[gallery.Crop]) -> Tuple[Place, ...]:
        found = []
        for index, crop in enumerate(crops, start=1):
            file = f'{IMAGES}/part-{number}-{kind}-{index}.jpg'
            write_jpeg(os.path.join(self._folder, file), crop.image)
            found.append(Place(file, self._photos[crop.photo].name, outlines.path(crop.mask),
                               crop.response))
        return tuple(found)


def _sized(size: Tuple[int, int], side: int) -> Tuple[int, int]:
    """(height, width) of the proportions of `size`, whose longer side is `side`."""
    factor = side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def border_lengths(labels: np.ndarray, num_parts: int) -> np.ndarray:
    """Lengths of the borders between labels: pairs of adjacent pixels, counted from both sides.

    Args:
      labels: u8[H,W] in [0, num_parts].
      num_parts: K.

    Returns:
      i64[K+1,K+1]. Symmetric; 0 on the diagonal.
    """
    count = num_parts + 1
    found = np.zeros((count, count), np.int64)
    for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        codes = first.astype(np.int64).ravel() * count + second.ravel()
        found += np.bincount(codes, minlength=count * count).reshape(count, count)
    np.fill_diagonal(found, 0)
    return found + found.T


def write_jpeg(path: str, image: np.ndarray) -> None:
    """Writes an image u8[H,W,3], RGB, atomically.

    Raises:
      OSError: If it cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format='JPEG', quality=88)
    files.write(path, buffer.getvalue())
