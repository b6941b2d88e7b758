"""The interface of objectives: what a training minimizes, and what it trains for that alone."""
from __future__ import annotations

import abc
from typing import Any, Dict, List, NamedTuple, Tuple

import tensorflow as tf

from scops_tf.datasets.batches import Batch
from scops_tf.networks import model as model_lib
from scops_tf.training import warp


class Observation(NamedTuple):
    """What the networks give for a replica's part of a batch.

    Attributes:
      batch: The photos.
      features: float[B,h,w,D]. The head's input from the photos, before dropout.
      logits: f32[B,h,w,K+1]. Part logits of the photos.
      view_logits: f32[B,h,w,K+1]. Part logits of one transformed view of each photo.
      transform: The spatial transforms of the views.
    """

    batch: Batch
    features: tf.Tensor
    logits: tf.Tensor
    view_logits: tf.Tensor
    transform: warp.Transform


class Objective(abc.ABC):
    """The losses of a method, and the variables that they train beside the segmenter.

    Attributes:
      weights: Section of the configuration with the weight of each term under the term's name.
      trained_variables: Trained variables by group; see `optimization.Optimization`.
      saved: Objects that a checkpoint holds besides the model, the step and the optimizers, by
        name.
      advice: What a user may change, besides the learning rates, where all parts vanish.
    """

    advice: str
    weights: Any
    trained_variables: Dict[str, List[tf.Variable]]
    saved: Dict[str, Any]

    @abc.abstractmethod
    def terms(self, seen: Observation) -> Tuple[Dict[str, tf.Tensor], Dict[str, tf.Tensor]]:
        """The unweighted loss terms f32[], named like their weights, and figures f32[] to log.

        If replicas share a batch, the mean of a term over the replicas is that of the batch. The
        figures have `part_figures`.
        """

    def histograms(self) -> Dict[str, tf.Tensor]:
        """Values to log as histograms, by their TensorBoard names."""
        return {}


def reference_features(model: model_lib.Model, batch: Batch) -> tf.Tensor:
    """Reference features V of the photos, f32[B,h,w,C]; computed unless the batch has them."""
    network = model.reference_features
    if batch.reference_features is None:
        return network(tf.cast(batch.image, tf.float32) / 255.0)
    return network.scale(batch.reference_features)


def part_figures(responses: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Batch means of each part's area (share of the photo) and presence (largest response)."""
    area = tf.reduce_mean(responses, axis=(0, 1, 2))
    presence = tf.reduce_mean(tf.reduce_max(responses, axis=(1, 2)), axis=0)
    figures = {'part/foreground_share': tf.reduce_sum(area[1:])}
    for part in range(1, responses.shape[-1]):
        figures[f'part_area/{part}'] = area[part]
        figures[f'part_presence/{part}'] = presence[part]
    return figures
