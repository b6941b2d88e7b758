"""The pictures and figures of a run's page, gathered while its photos are predicted."""
from __future__ import annotations

from typing import Optional, Sequence

import numpy as np

from scops_tf import config as config_lib, datasets
from scops_tf.datasets.records import Record
from scops_tf.evaluation import dataset_scores, photo_scores, run_predictions
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit
from scops_tf.evaluation.photo_batches import PhotoBatch, Predict
from scops_tf.features import photo_features
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import run_data
from scops_tf.pages.gathering import Gatherer

# Largest number of photos of a page.
_MOST_PHOTOS = 200


def split_of(dataset: datasets.PartDataset, records: Sequence[Record]) -> str:
    """What photos are to a model: 'train' if it was trained on all of them, else 'test'.

    A data set without other photos is tested on those that it is trained on.
    """
    trained = {record.name for record in dataset.train}
    return 'train' if all(record.name in trained for record in records) else 'test'


class Pictures:
    """What the page shows, which is gathered while the photos are predicted.

    Args:
      folder: Folder of the page.
      num_parts: K.
      split: The photos to predict, in their order; some are shown, spread evenly.
      predict: Prediction of the model's own parts.
    """

    def __init__(self, folder: str, num_parts: int, split: PhotoSplit, predict: Predict) -> None:
        self._gatherer = Gatherer(folder, num_parts)
        self._predict, self._split, self._count = predict, split, 0
        self._shown = photo_features.spread(len(split.records), _MOST_PHOTOS)

    def add(self, batch: PhotoBatch) -> None:
        """Adds the next photos."""
        outputs = batch.outputs(self._predict)
        for index, record in enumerate(batch.records):
            if self._count in self._shown:
                self._gatherer.add(
                    record.name, batch.images[index], outputs['labels'][index],
                    outputs['part_responses'][index, ..., 1:], outputs['part_centers'][index],
                    outputs['presence'][index],
                    size=tuple(self._split.sizes[self._count].tolist()))
            self._count += 1

    def write(self, config: config_lib.Config, scorer: dataset_scores.Scorer, *, step: int,
              num_photos: int, parts: PartNames, own_labels: np.ndarray,
              fit: Optional[PartMaps], test: PartMaps) -> None:
        """Writes the report of the page.

        Args:
          config: Configuration of the run.
          scorer: Scorer of the photos.
          step: Step of the model.
          num_photos: Number of all photos of their kind.
          parts: Merges and drops that `fit` and `test` are of.
          own_labels: u8[N,H,W]. Labels of the photos by the model's own parts.
          fit: Part maps of the photos to fit on, or None.
          test: Part maps of the photos.

        Raises:
          OSError: If a file cannot be written.
        """
        num_parts = config.run.num_parts
        scores = photo_scores.of_photos(scorer, num_parts, fit, test)
        self._gatherer.write(
            step=step, facts={'dataset': scorer.dataset.name, 'method': config.run.method,
                              'seed': str(config.run.seed)},
            split=split_of(scorer.dataset, self._split.records), num_photos=num_photos,
            lookup=parts.lookup,
            scores={name: values[self._shown] for name, values in scores.values.items()},
            directions=scores.directions,
            confusion=photo_scores.confusion(scorer, num_parts, own_labels))


def gather(config: config_lib.Config, workdir: str) -> None:
    """Predicts photos of a run and writes what its page shows, without the scores of `evaluate`.

    Photos are those to test on; where there are none, those to train on.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run.

    Raises:
      ValueError: If data, checkpoints or weights cannot be used.
      OSError: If the folder cannot be written.
    """
    dataset = datasets.load_for(config, workdir)
    records: Sequence[Record] = dataset.test or dataset.train
    chosen = [records[index] for index in photo_features.spread(len(records), _MOST_PHOTOS)]
    parts = parts_file.load_or_unnamed(workdir, config.run.num_parts)
    run = run_predictions.load(config, workdir)
    store = photo_features.open_store(config, chosen, workdir, with_saliency=False)
    split = PhotoSplit(store.records, store.photo_sizes)
    scorer = dataset_scores.Scorer(
        dataset, PhotoSplit((), np.zeros((0, 2))), split, config.run.image_size)
    pictures = Pictures(
        run_data.folder_of(workdir), config.run.num_parts, split, run.predict)
    maps = run_predictions.part_maps(
        {'own': run.predict, 'shown': run_predictions.merged(run.predict, parts, config)}, store,
        config, 'Photos', visit=pictures.add)
    pictures.write(config, scorer, step=run.step, num_photos=len(records), parts=parts,
                   own_labels=maps['own'].labels, fit=None, test=maps['shown'])
