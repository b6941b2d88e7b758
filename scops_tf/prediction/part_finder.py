"""Parts of photos by an export, with all that a user may ask for: CRF, objects, least presence."""
from __future__ import annotations

import dataclasses
from typing import Any, List, NamedTuple, Optional, Sequence

import numpy as np

from scops_tf import config as config_lib
from scops_tf.labels.result import PartResult
from scops_tf.prediction.photos import Photo
from scops_tf.prediction.reading import Read
from scops_tf.serving import crf, objects as objects_lib


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the parts of a photo depend on besides the photo and the export.

    Attributes:
      max_side: Largest number of pixels of the longer side; a larger photo is scaled down first.
        None for no limit.
      crf: Settings of the dense CRF that refines the labels; None for none.
      objects: Whether the parts are grouped into objects.
      min_presence: Least presence of a part that is no background, in [0, 1].
      batch_size: Largest number of photos that go through the network together.
    """

    max_side: Optional[int] = None
    crf: Optional[config_lib.Crf] = None
    objects: bool = False
    min_presence: float = 0.0
    batch_size: int = 8


class Found(NamedTuple):
    """A photo with its parts.

    Attributes:
      result: The parts.
      image: u8[H,W,3]. The photo, RGB.
      key: See `reading.Read`.
    """

    result: PartResult
    image: np.ndarray
    key: str = ''

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays."""
        objects = self.result.objects
        return (self.image.nbytes + self.result.labels.nbytes + self.result.part_responses.nbytes
                + (0 if objects is None else objects.nbytes))


class PartFinder:
    """Finds the parts of photos.

    Args:
      predictor: The export, a `serving.predictor.Predictor`.
      settings: See `Settings`.
      background: Value of the background map in the dense CRF; None for that of the export.
    """

    def __init__(self, predictor: Any, settings: Settings, *, background: Optional[float] = None
                 ) -> None:
        self._predictor, self._settings = predictor, settings
        self._background = predictor.metadata['background'] if background is None else background

    def __call__(self, batch: Sequence[Read]) -> List[Found]:
        """The parts of photos of one size.

        Raises:
          PredictorError: If TensorFlow fails, as for want of memory.
        """
        found = self._predictor.predict(np.stack([one.image for one in batch]))
        return [Found(self.result(one.photo, one.image, *values), one.image, one.key)
                for one, *values in zip(batch, *found)]

    def result(self, photo: Photo, image: np.ndarray, labels: np.ndarray,
               part_responses: np.ndarray, part_centers: np.ndarray, presence: np.ndarray
               ) -> PartResult:
        """The result of a photo u8[H,W,3] from what an export predicts; see `Prediction`."""
        settings = self._settings
        if settings.crf is not None:
            labels = _refined(image, part_responses, self._background, settings.crf)
        labels = _without_parts(labels, presence < settings.min_presence)
        result = PartResult(
            name=photo.name, file_name=photo.file_name, path=photo.path, labels=labels,
            part_responses=part_responses, part_centers=part_centers, presence=presence,
            parts=self._predictor.parts)
        if not settings.objects:
            return result
        owners = objects_lib.separate(labels, objects_lib.certain_pixels(
            part_responses, labels.shape))
        each = objects_lib.parts(part_responses, labels, owners,
                                 power=self._predictor.metadata.get('center_power', 1.0))
        return dataclasses.replace(
            result, objects=owners, object_centers=each.centers, object_presence=each.presence)


def _without_parts(labels: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Labels u8[H,W] with background in place of the parts that are `absent`, bool[K]."""
    kept = np.arange(len(absent) + 1, dtype=np.uint8)
    kept[1:][absent] = 0
    return kept[labels]


def _refined(photo: np.ndarray, part_responses: np.ndarray, background: float,
             settings: config_lib.Crf) -> np.ndarray:
    """Labels of a dense CRF at the photo's size, u8[H,W]."""
    import tensorflow as tf
    # No normalization here: the CRF divides each part by its largest response.
    responses = tf.image.resize(part_responses, photo.shape[:2]).numpy()
    return crf.refine_labels(responses, photo, background=background,
                             **dataclasses.asdict(settings))
