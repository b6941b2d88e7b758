"""Scores of a training's own photos by their annotations, to be watched while it trains.

Test photos are never scored here, so that what is chosen by these scores is not chosen by them.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import numpy as np

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.datasets.records import PartDataset
from scops_tf.evaluation import dataset_scores, run_predictions
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit
from scops_tf.features import photo_features

# Function from indices i64[n] of photos to the outputs of `PartModel.predict`.
Predict = Callable[[np.ndarray], Dict[str, Any]]


class TrainingScorer:
    """Scores photos by two-fold cross-validation.

    Each half of the photos is scored, with landmarks regressed on the other half. A score is the
    mean over the halves.

    Args:
      config: Configuration of the run.
      dataset: Dataset of the photos.
      store: Photos.
      indices: i64[n]. Indices of the photos to score, at least two. Every second one makes a half.

    Raises:
      ValueError: If there are fewer than two photos.
      ImageError: If a mask cannot be read.
    """

    def __init__(self, config: config_lib.Config, dataset: PartDataset,
                 store: photo_store.PhotoStore, indices: np.ndarray) -> None:
        self._indices = indices
        self._num_parts, self._batch_size = config.run.num_parts, config.evaluation.batch_size
        even, odd = (PhotoSplit(tuple(store.records[index] for index in half),
                                store.photo_sizes[half])
                     for half in (indices[::2], indices[1::2]))
        self._scorers = [dataset_scores.Scorer(dataset, fit, test, config.run.image_size)
                         for fit, test in ((even, odd), (odd, even))]

    @property
    def has_annotations(self) -> bool:
        """Whether there is any score besides the share of the foreground."""
        return all(scorer.has_annotations for scorer in self._scorers)

    def scores(self, predict: Predict) -> Dict[str, float]:
        """Scores in per cent by the names that `evaluate` prints.

        Args:
          predict: Prediction of the model to score.
        """
        starts = range(0, len(self._indices), self._batch_size)
        maps = run_predictions.collected(
            predict(self._indices[start:start + self._batch_size]) for start in starts)
        even, odd = (PartMaps(*(None if values is None else values[first::2] for values in maps))
                     for first in (0, 1))
        found: Dict[str, List[float]] = {}
        for scorer, fit, test in zip(self._scorers, (even, odd), (odd, even)):
            for name, value in scorer.scores(self._num_parts, fit, test).values.items():
                found.setdefault(name, []).append(value)
        # A true part that one half does not show has a score in the other half alone.
        return {name: float(np.mean(values)) for name, values in found.items()}


def scorer(config: config_lib.Config, dataset: PartDataset, store: photo_store.PhotoStore
           ) -> Optional[Callable[[Predict], Dict[str, float]]]:
    """The scores of a run's annotated training photos, as a function of a prediction.

    At most `Logging.eval_photos` photos, spread evenly over all of them, are scored.

    Args:
      config: Configuration of the run.
      dataset: Dataset of the run.
      store: Photos that the run is trained on.

    Returns:
      `TrainingScorer.scores`; None if no photos should be scored, or fewer than two that are not
      test photos too have annotations.

    Raises:
      ImageError: If a mask cannot be read.
    """
    tested = {record.name for record in dataset.test}
    usable = [index for index, record in enumerate(store.records) if record.name not in tested
              and (not dataset.landmark_names
                   or record.landmarks is not None and record.visible.any())]
    chosen = photo_features.spread(len(usable), config.logging.eval_photos)
    if len(chosen) < 2:
        return None
    found = TrainingScorer(config, dataset, store, np.array(usable, np.int64)[chosen])
    return found.scores if found.has_annotations else None
