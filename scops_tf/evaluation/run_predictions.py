"""Part maps that a run and the baseline beside it predict on photos."""
from __future__ import annotations

import collections
import dataclasses
import functools
import os
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.evaluation import photo_batches
from scops_tf.evaluation.part_maps import PartMaps
from scops_tf.evaluation.photo_batches import PhotoBatch, Predict
from scops_tf.features import run_features
from scops_tf.labels.part_names import PartNames
from scops_tf.networks import (
    checkpoints,
    model as model_lib,
    reference_features as features_lib,
)
from scops_tf.serving import (
    crf,
    decoding,
    folded_segmenter,
    part_model as part_model_lib,
    predictor as predictor_lib,
    trained_model,
)


class Run(NamedTuple):
    """The model of a run for prediction.

    Attributes:
      predict: Prediction from photos by the trained model, or by the export if there is no
        checkpoint.
      step: Step at which the model was saved.
      tap_scales: Tap scales of the reference features.
      trained: The trained model; None for an export.
    """

    predict: Predict
    step: int
    tap_scales: List[float]
    trained: Optional[trained_model.TrainedModel] = None

    @property
    def reads_features(self) -> bool:
        """Whether its segmenter is a head on the reference features."""
        return bool(self.trained and self.trained.model.segmenter.reads_reference_features)


def load(config: config_lib.Config, workdir: str) -> Run:
    """Loads the model of a run, whose predictions are of its own parts; see `merged`.

    Args:
      config: Configuration of the run. Its `Decode` holds for an export too.
      workdir: Folder of the run.

    Raises:
      ValueError: If there is neither a checkpoint nor an export, or it cannot be used.
    """
    export = os.path.join(workdir, 'export')
    if checkpoints.find(workdir) is None and os.path.isdir(export):
        loaded = predictor_lib.Predictor(export, named=False)
        return Run(lambda batch: _decoded(loaded.predict(batch.images)._asdict(), batch.images,
                                          config),
                   loaded.metadata['step'], loaded.metadata['tap_scales'])
    trained = trained_model.load_part_model(
        config, workdir, precision=config.evaluation.precision)
    return Run(lambda batch: trained.part_model.predict(tf.constant(batch.images)),
               trained.step, trained.tap_scales, trained)


def reference_networks(config: config_lib.Config, run: Run) -> Tuple[
        features_lib.ReferenceFeatures, Callable[[tf.Tensor], tf.Tensor]]:
    """Reference features of a run in its precision, and raw features in that of the evaluation.

    Their weights are those of the checkpoint, if it holds them. The second is a function from
    photos f32[B,H,W,3] of the features' size, RGB in [0, 1], to raw features f32[B,h,w,C].

    Raises:
      WeightsError: See `pretrained.build`.
    """
    network = model_lib.reference_features(config, is_restored=run.reads_features)
    if run.reads_features:
        folded = run.trained.segmenter.network
        own = run.trained.model.reference_features
        for variable, value in zip(network.variables, own.variables):
            variable.assign(value)
    else:
        folded = network.network and folded_segmenter.fold(
            network.network, config.evaluation.precision)
        network.tap_scales.assign(run.tap_scales)
    photos = tf.TensorSpec([None, *config.reference_size, 3], tf.float32)
    return network, tf.function(
        functools.partial(network.raw_through, folded), autograph=False,
        input_signature=[photos])


def of_features(run: Run, config: config_lib.Config) -> Predict:
    """The predictions of a run whose segmenter reads the reference features, from these."""
    segmenter = run.trained.model.segmenter
    return decoded_from(
        run.trained.part_model, lambda features: decoding.part_responses_from_logits(
            segmenter.head(segmenter.of_features(features)), config.run.image_size),
        config.run.image_size)


def decoded_from(part_model: part_model_lib.PartModel,
                 respond: Callable[[tf.Tensor], tf.Tensor], size: Tuple[int, int]) -> Predict:
    """Prediction from the reference features of photos.

    Args:
      part_model: Model that decodes.
      respond: Function from V f32[B,h,w,C] to part responses f32[B,h,w,K+1].
      size: (height, width) of the photos.
    """
    decode = tf.function(
        lambda features, images: part_model.decoded(
            respond(features), size, tf.cast(images, tf.float32) / 255.0), autograph=False)
    return lambda batch: decode(batch.features, tf.constant(batch.images))


def _decoded(outputs: Dict[str, Any], images: np.ndarray, config: config_lib.Config
             ) -> Dict[str, Any]:
    """Predictions of an export, decoded again by the `Decode` of the configuration."""
    responses = outputs['part_responses']
    decode = config.decode
    photos = None if decode.guided_radius is None else decoding.guides(images, responses)
    labels = decoding.decode(
        responses, outputs['labels'].shape[1:], background=decode.background, photos=photos,
        guided_radius=decode.guided_radius, guided_epsilon=decode.guided_epsilon)
    return _merged({**outputs, 'labels': labels.numpy()}, config,
                   PartNames.unnamed(config.run.num_parts))


def merged(predict: Predict, parts: PartNames, config: config_lib.Config) -> Predict:
    """The same predictions with the parts that are merged and dropped."""
    if not parts.changes_labels:
        return predict
    return lambda batch: _merged(batch.outputs(predict), config, parts)


def _merged(outputs: Dict[str, Any], config: config_lib.Config, parts: PartNames
            ) -> Dict[str, Any]:
    return decoding.merged_outputs(outputs, parts.lookup, window=config.decode.center_window,
                                   power=config.decode.center_power)


def refined(predict: Predict, config: config_lib.Config) -> Predict:
    """The same predictions with the labels of a dense CRF."""

    def predict_and_refine(batch: PhotoBatch) -> Dict[str, Any]:
        outputs = batch.outputs(predict)
        return {**outputs, 'labels': np.stack([
            crf.refine_labels(responses, image, background=config.decode.background,
                              **dataclasses.asdict(config.crf))
            for responses, image in zip(outputs['part_responses'], batch.images)])}

    return predict_and_refine


def part_maps(methods: Dict[str, Predict], store: photo_store.PhotoStore,
              config: config_lib.Config, description: str, *,
              features: Optional[run_features.RunFeatures] = None,
              visit: Optional[Callable[[PhotoBatch], None]] = None) -> Dict[str, PartMaps]:
    """Part maps of photos by several methods, by the methods' names.

    Each batch of photos is read once.

    Args:
      methods: Predictions of the methods, by name.
      store: Photos.
      config: Configuration of the run. `whole_centers` are computed if its `Decode` has a window or
        a power.
      description: Title of the progress bar.
      features: Reference features of the photos; None if no method reads them.
      visit: Function that is called with each batch, or None.
    """
    with_whole_centers = (
        config.decode.center_window is not None or config.decode.center_power != 1)
    found = {name: _Collection(with_whole_centers) for name in methods}
    for batch in photo_batches.batches(
            store, config.evaluation.batch_size, description, features):
        for name, predict in methods.items():
            found[name].add(batch.outputs(predict))
        if visit is not None:
            visit(batch)
    return {name: collection.part_maps() for name, collection in found.items()}


def collected(batches: Iterable[Dict[str, Any]]) -> PartMaps:
    """Part maps from the outputs of `PartModel.predict` for batches of photos, in their order."""
    collection = _Collection(with_whole_centers=False)
    for outputs in batches:
        collection.add({name: np.asarray(value) for name, value in outputs.items()})
    return collection.part_maps()


class _Collection:
    """Part maps of batches of photos.

    Args:
      with_whole_centers: Whether part centres over the whole photo are computed too.
    """

    def __init__(self, with_whole_centers: bool) -> None:
        self._with_whole_centers = with_whole_centers
        self._found: Dict[str, List[np.ndarray]] = collections.defaultdict(list)

    def add(self, outputs: Dict[str, np.ndarray]) -> None:
        """Adds the outputs of `PartModel.predict` for a batch."""
        found, responses = self._found, outputs['part_responses']
        found['labels'].append(outputs['labels'])
        found['best_parts'].append(responses[..., 1:].argmax(-1).astype(np.uint8) + 1)
        found['centers'].append(outputs['part_centers'])
        found['presence'].append(outputs['presence'])
        if self._with_whole_centers:
            found['whole_centers'].append(decoding.part_centers(
                tf.constant(responses), outputs['labels'].shape[1:]).numpy())

    def part_maps(self) -> PartMaps:
        """The part maps of all batches, in the order in which they were added."""
        return PartMaps(**{name: np.concatenate(values) for name, values in self._found.items()})
