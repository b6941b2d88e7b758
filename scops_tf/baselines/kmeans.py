"""k-means clusters of the reference features of a collection as parts.

What is background is decided without labels, in one of two ways:

* whole photos: K + 1 clusters of all places; the one of lowest mean saliency is background, or,
  where no saliency is given, the one that most of the photos' borders belong to;
* inside the saliency map: K clusters of places weighted by their saliency are the parts, K more of
  places weighted by what they lack of it are background. So a new photo needs no saliency map.

Features are clustered as they are. Scaled to unit length they would differ by what is around an
object rather than on it, and the object be a single cluster. A place belongs to the nearest
cluster wholly.
"""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, Tuple

import numpy as np
from sklearn import cluster
import tensorflow as tf
import threadpoolctl

from scops_tf.baselines import rows as rows_lib


class Clusters(NamedTuple):
    """Clusters and what they stand for.

    Attributes:
      centers: f32[M,C].
      labels: i32[M]. 0 is background, 1..K parts, in the order of their sizes, largest first.
    """

    centers: np.ndarray
    labels: np.ndarray


def fit(features: Any, saliency_maps: Optional[np.ndarray], num_parts: int, *,
        inside_saliency: bool = False, max_rows: int = rows_lib.MAX_ROWS, seed: int = 0,
        num_starts: int = 5) -> Clusters:
    """Clusters of the reference features of a collection.

    Args:
      features: f[N,h,w,C], in memory or mapped from disk; at most `max_rows` of its vectors are
        read into memory, spread evenly over the photos.
      saliency_maps: f[N,h,w] in [0, 1], or None.
      num_parts: K.
      inside_saliency: Which of the two ways above.
      max_rows: See `rows.sample`.
      seed: Of the sample and of the starts; the result is the same for the same seed.
      num_starts: Of k-means++; the best is taken.

    Raises:
      ValueError: If `num_parts` is below 1, `inside_saliency` is asked for without maps, their
        shape differs, or there are fewer vectors of weight above 0 than clusters.
    """
    if num_parts < 1:
        raise ValueError(f'`num_parts` must be at least 1; got {num_parts}.')
    rows = rows_lib.sample(features, max_rows=max_rows, seed=seed)
    saliency = None
    if saliency_maps is not None:
        if tuple(saliency_maps.shape) != tuple(features.shape[:3]):
            raise ValueError(f'`saliency_maps` must be of shape {tuple(features.shape[:3])}, as '
                             f'the features are; got {tuple(saliency_maps.shape)}.')
        flat = np.asarray(saliency_maps, np.float32).reshape(len(saliency_maps), -1)
        saliency = flat[rows.photo, rows.cell]
    if inside_saliency:
        if saliency is None:
            raise ValueError('`saliency_maps` must be given for clusters inside them; got None.')
        parts, assigned = _cluster(rows.features, num_parts, saliency, num_starts, seed)
        background, _ = _cluster(rows.features, num_parts, 1 - saliency, num_starts, seed)
        sizes = np.bincount(assigned, saliency, num_parts)
        centers = np.concatenate([background, parts[np.argsort(-sizes, kind='stable')]])
        return Clusters(centers, np.r_[np.zeros(num_parts), 1:num_parts + 1].astype(np.int32))
    centers, assigned = _cluster(rows.features, num_parts + 1, None, num_starts, seed)
    sizes = np.bincount(assigned, minlength=len(centers))
    if saliency is None:
        y, x = np.divmod(rows.cell, features.shape[2])
        border = (y == 0) | (x == 0) | (y == features.shape[1] - 1) | (x == features.shape[2] - 1)
        background = np.argmax(np.bincount(assigned[border], minlength=len(centers)))
    else:
        means = np.bincount(assigned, saliency, len(centers)) / np.maximum(sizes, 1)
        background = np.argmin(means)
    order = np.argsort(-sizes, kind='stable')
    order = np.r_[background, order[order != background]]
    return Clusters(centers[order], np.arange(num_parts + 1, dtype=np.int32))


def _cluster(rows: np.ndarray, num_clusters: int, weights: Optional[np.ndarray], num_starts: int,
             seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Centers f32[M,C] of the rows f32[n,C] and the cluster i32[n] that each row is in."""
    count = len(rows) if weights is None else np.count_nonzero(weights)
    if count < num_clusters:
        raise ValueError(f'At least {num_clusters} feature vectors must be there for as many '
                         f'clusters; got {count} of weight above 0: give more photos.')
    model = cluster.KMeans(num_clusters, n_init=num_starts, random_state=seed)
    # Threads add up in no fixed order; with one the centres are the same to the last bit.
    with threadpoolctl.threadpool_limits(1, user_api='openmp'):
        model.fit(rows, sample_weight=weights)
    return model.cluster_centers_, model.labels_


class KMeans(tf.Module):
    """Part responses by the nearest cluster: 1 for its part or background, 0 for all others.

    Args:
      reference_features: f32[B,H,W,3] in [0, 1] -> f32[B,h,w,C].
      clusters: Of `fit`.
    """

    def __init__(self, reference_features: Callable[[tf.Tensor], tf.Tensor],
                 clusters: Clusters) -> None:
        super().__init__()
        self.reference_features = reference_features
        self.centers = tf.Variable(
            clusters.centers, trainable=False, dtype=tf.float32, name='centers')
        self.labels = tf.Variable(clusters.labels, trainable=False, dtype=tf.int32, name='labels')
        self._num_channels = int(clusters.labels.max()) + 1

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """Responses f32[B,h,w,K+1] to photos f32[B,H,W,3], RGB in [0, 1]."""
        features = tf.cast(self.reference_features(images), tf.float32)
        # Largest where |v - c|² = |v|² - 2 v·c + |c|² is least.
        nearness = tf.tensordot(features, self.centers, [[-1], [1]])
        nearness -= tf.reduce_sum(tf.square(self.centers), axis=-1) / 2
        labels = tf.gather(self.labels, tf.argmax(nearness, axis=-1))
        return tf.one_hot(labels, self._num_channels)
