"""Part maps that a run predicts on photos, from its checkpoint or its export."""
from __future__ import annotations

import collections
import dataclasses
import os
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.evaluation.part_maps import PartMaps
from scops_tf.networks import checkpoints
from scops_tf.serving import crf, decoding, predictor as predictor_lib, trained_model

# Function from photos u8[B,H,W,3] to the outputs of `PartModel.predict`.
Predict = Callable[[np.ndarray], Dict[str, Any]]


class Run(NamedTuple):
    """The model of a run for prediction.

    Attributes:
      predict: Prediction by the trained model, or by the export if there is no checkpoint.
      step: Step at which the model was saved.
      tap_scales: Tap scales of the reference features.
    """

    predict: Predict
    step: int
    tap_scales: List[float]


def load(config: config_lib.Config, workdir: str) -> Run:
    """Loads the model of a run.

    Args:
      config: Configuration of the run. Its `Decode` holds for an export too.
      workdir: Folder of the run.

    Raises:
      ValueError: If there is neither a checkpoint nor an export, or it cannot be used.
    """
    export = os.path.join(workdir, 'export')
    if checkpoints.find(workdir) is None and os.path.isdir(export):
        loaded = predictor_lib.Predictor(export)
        return Run(lambda images: _decoded(loaded.predict(images)._asdict(), config),
                   loaded.metadata['step'], loaded.metadata['tap_scales'])
    trained = trained_model.load_part_model(
        config, workdir, precision=config.evaluation.precision)
    return Run(lambda images: trained.part_model.predict(tf.constant(images)),
               trained.step, trained.tap_scales)


def _decoded(outputs: Dict[str, Any], config: config_lib.Config) -> Dict[str, Any]:
    """Predictions of an export, decoded again by the `Decode` of the configuration."""
    size = outputs['labels'].shape[1:]
    responses = outputs['part_responses']
    return {**outputs,
            'labels': decoding.decode(
                responses, size, background=config.decode.background).numpy(),
            'part_centers': decoding.part_centers(
                tf.constant(responses), size, window=config.decode.center_window,
                power=config.decode.center_power).numpy()}


def refined(predict: Predict, config: config_lib.Config) -> Predict:
    """The same predictions with the labels of a dense CRF."""

    def predict_and_refine(images: np.ndarray) -> Dict[str, Any]:
        outputs = dict(predict(images))
        outputs['labels'] = np.stack([
            crf.refine_labels(responses, image, background=config.decode.background,
                              **dataclasses.asdict(config.crf))
            for responses, image in zip(np.asarray(outputs['part_responses']), images)])
        return outputs

    return predict_and_refine


def part_maps(predict: Predict, store: Optional[photo_store.PhotoStore],
              config: config_lib.Config, description: str) -> Optional[PartMaps]:
    """Part maps of photos; None if `store` is None.

    Args:
      predict: Prediction by a method.
      store: Photos, or None.
      config: Configuration of the run. `whole_centers` are computed if its `Decode` has a window or
        a power.
      description: Title of the progress bar.
    """
    if store is None:
        return None
    size = config.evaluation.batch_size
    starts = tqdm.tqdm(range(0, len(store), size), desc=description, unit='batch')
    return collected(
        (predict(np.stack([store.image(index)
                           for index in range(start, min(start + size, len(store)))]))
         for start in starts),
        with_whole_centers=(
            config.decode.center_window is not None or config.decode.center_power != 1))


def collected(batches: Iterable[Dict[str, Any]], *, with_whole_centers: bool = False) -> PartMaps:
    """Part maps from the outputs of `PartModel.predict` for batches of photos, in their order."""
    found: Dict[str, List[np.ndarray]] = collections.defaultdict(list)
    for batch in batches:
        outputs = {name: np.asarray(value) for name, value in batch.items()}
        parts = outputs['part_responses'][..., 1:]
        found['labels'].append(outputs['labels'])
        found['best_parts'].append(parts.argmax(-1).astype(np.uint8) + 1)
        found['centers'].append(outputs['part_centers'])
        found['presence'].append(outputs['presence'])
        if with_whole_centers:
            found['whole_centers'].append(decoding.part_centers(
                tf.constant(outputs['part_responses']), outputs['labels'].shape[1:]).numpy())
    return PartMaps(**{name: np.concatenate(values) for name, values in found.items()})
