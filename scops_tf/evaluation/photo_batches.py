"""Batches of the photos that methods are scored on; the methods share what they read of them."""
from __future__ import annotations

import functools
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

import numpy as np
import tensorflow as tf
import tqdm

from scops_tf.datasets import photo_store
from scops_tf.datasets.records import Record
from scops_tf.features import run_features


class PhotoBatch:
    """Photos of one size; their features and the outputs of a method are computed once.

    Args:
      records: Records of the photos.
      images: u8[B,H,W,3]. RGB.
      read: Function that gives their reference features; None if no method reads them.

    Attributes:
      records: The argument `records`.
      images: The argument `images`.
    """

    def __init__(self, records: Sequence[Record], images: np.ndarray,
                 read: Optional[Callable[[], tf.Tensor]] = None) -> None:
        self.records, self.images = records, images
        self._read = read
        self._outputs: Dict[Predict, Dict[str, np.ndarray]] = {}

    @functools.cached_property
    def features(self) -> tf.Tensor:
        """Reference features V, f32[B,h,w,C]."""
        return self._read()

    def outputs(self, predict: Predict) -> Dict[str, np.ndarray]:
        """Outputs of a method; see `PartModel.predict`."""
        if predict not in self._outputs:
            self._outputs[predict] = {
                name: np.asarray(value) for name, value in predict(self).items()}
        return self._outputs[predict]


# Prediction by a method: function from photos to the outputs of `PartModel.predict`.
Predict = Callable[[PhotoBatch], Dict[str, Any]]


def batches(store: photo_store.PhotoStore, size: int, description: str,
            features: Optional[run_features.RunFeatures] = None) -> Iterator[PhotoBatch]:
    """The photos of a store in order.

    Args:
      store: Photos.
      size: Number of photos per batch; the last batch may have fewer.
      description: Title of the progress bar.
      features: Reference features of the photos; None if no method reads them.
    """
    for start in tqdm.tqdm(range(0, len(store), size), desc=description, unit='batch'):
        indices = np.arange(start, min(start + size, len(store)))
        yield PhotoBatch(
            store.records[start:start + size],
            np.stack([store.image(index) for index in indices.tolist()]),
            None if features is None else functools.partial(features.of, store, indices))
