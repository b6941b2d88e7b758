"""The page of a run's scores: tables, parts, test photos, and curves over the evaluated steps."""
from __future__ import annotations

import glob
import json
import os
from typing import Any, Dict, List, Tuple

import numpy as np

from scops_tf import config as config_lib
from scops_tf.evaluation.photo_batches import PhotoBatch, Predict
from scops_tf.evaluation.text_report import OURS, STATISTICS
from scops_tf.labels.part_names import PartNames
from scops_tf.pictures import gallery, page, parts as part_pictures

# Largest numbers of photos in the gallery of parts, and of photos that are shown whole.
_GALLERY_PHOTOS = 200
_SHOWN_PHOTOS = 24
_SHOWN_SIZE = (256, 256)


class Pictures:
    """The pictures of the page, which are drawn while the test photos are predicted.

    Args:
      parts: Names and colours of the parts.
      predict: Prediction by the run.
    """

    def __init__(self, parts: PartNames, predict: Predict) -> None:
        self.parts = parts
        self.gallery = gallery.PartGallery(parts.num_parts, colors=parts.colors)
        self.overlays: List[Tuple[np.ndarray, str]] = []
        self._predict, self._count = predict, 0

    def add(self, batch: PhotoBatch) -> None:
        """Draws the photos of a batch, up to the largest number of the page."""
        outputs = batch.outputs(self._predict)
        for record, image, labels, responses, centers, presence in zip(
                batch.records[:_GALLERY_PHOTOS - self._count], batch.images, outputs['labels'],
                outputs['part_responses'], outputs['part_centers'], outputs['presence']):
            self.gallery.add(image, labels, responses[..., 1:])
            if self._count < _SHOWN_PHOTOS:
                self.overlays.append((part_pictures.parts_picture(
                    image, labels, centers, presence, cell_size=_SHOWN_SIZE,
                    colors=self.parts.colors), record.name))
            self._count += 1


def write(folder: str, config: config_lib.Config, result: Dict[str, Any],
          directions: Dict[str, str], pictures: Pictures) -> None:
    """Writes the page.

    Args:
      folder: Folder of the page, which has the scores of the steps evaluated so far.
      config: Configuration of the run.
      result: Result of `run_scores.evaluate`.
      directions: Better directions of the scores; see `dataset_scores.Scores`.
      pictures: Pictures of the test photos.

    Raises:
      OSError: If a file cannot be written.
    """
    facts = {name: result[name] for name in ('method', 'step', 'seed')}
    facts['parts'] = result['num_parts']
    page.write_page(folder, title=f'Parts of {result["dataset"]}', facts=facts,
                    tables=[_table(result, directions)], parts=pictures.gallery.parts(),
                    part_titles={number: pictures.parts.title(number)
                                 for number in pictures.parts.names},
                    colors=pictures.parts.colors,
                    overlays=pictures.overlays, curves=_curves(folder), config=config.operative)


def _table(result: Dict[str, Any], directions: Dict[str, str]) -> page.ScoreTable:
    title = result['dataset']
    if result['protocol']:
        title += f', protocol {result["protocol"]}'
    columns = list(result['scores'][OURS])
    return page.ScoreTable(
        title, result['counts'],
        [(STATISTICS.get(name, name), directions[name]) for name in columns],
        [(method, [values.get(name) for name in columns])
         for method, values in result['scores'].items()], note=' '.join(result['notes']))


def _curves(folder: str) -> Dict[str, Tuple[List[int], List[float]]]:
    """Scores of this run at the steps evaluated so far, by name; empty for a single step."""
    points: Dict[str, List[Tuple[int, float]]] = {}
    for path in glob.glob(os.path.join(glob.escape(folder), 'scores_*.json')):
        with open(path, encoding='utf-8') as file:
            result = json.load(file)
        for name, value in result['scores'][OURS].items():
            points.setdefault(name, []).append((result['step'], value))
    return {name: tuple(map(list, zip(*sorted(values)))) for name, values in points.items()
            if len(values) > 1}
