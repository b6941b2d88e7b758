"""k-means clusters of feature vectors."""
from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

# Of `shares`, as a share of half the mean squared distance of two centres.
_TEMPERATURE = 0.1


class Clusters(NamedTuple):
    """Clusters in the order of their sizes, largest first.

    Attributes:
      centers: f32[M,C].
      assigned: i64[n]. Which one each vector is in.
    """

    centers: np.ndarray
    assigned: np.ndarray


def cluster(rows: np.ndarray, num_clusters: int, *, weights: Optional[np.ndarray] = None,
            num_starts: int = 5, seed: int = 0) -> Clusters:
    """Clusters of least sum of squared distances, by scikit-learn.

    Args:
      rows: f32[n,C].
      num_clusters: M, at least 1.
      weights: f32[n] >= 0, of the vectors; None for ones. The size of a cluster is their sum.
      num_starts: Of k-means++; the best is taken.
      seed: Of the starts; the result is the same, to the last bit, for the same seed.

    Raises:
      ValueError: If there are fewer vectors of weight above 0 than clusters.
    """
    from sklearn import cluster as sklearn_cluster  # Here, since it takes seconds.
    import threadpoolctl

    count = len(rows) if weights is None else np.count_nonzero(weights)
    if num_clusters < 1 or count < num_clusters:
        raise ValueError('`num_clusters` must be at least 1 and at most the number of feature '
                         f'vectors of weight above 0, {count}; got {num_clusters}: give more '
                         'photos, or take fewer parts.')
    model = sklearn_cluster.KMeans(num_clusters, n_init=num_starts, random_state=seed)
    # Threads add up in no fixed order; with one the centers are the same to the last bit.
    with threadpoolctl.threadpool_limits(1, user_api='openmp'):
        model.fit(rows, sample_weight=weights)
    sizes = np.bincount(model.labels_, weights, num_clusters)
    order = np.argsort(-sizes, kind='stable')
    rank = np.empty_like(order)
    rank[order] = np.arange(num_clusters)
    return Clusters(model.cluster_centers_[order], rank[model.labels_])


def shares(features: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Shares of the clusters in feature vectors: a soft-max of half their squared distances.

    Its temperature is a tenth of what separates the centres, half their mean squared distance, so
    that a vector half-way is shared and others are hardly.

    Args:
      features: f32[...,C].
      centers: f32[K,C].

    Returns:
      f32[...,K]. In [0, 1], summing to 1.
    """
    centers = tf.convert_to_tensor(centers)
    squares = tf.reduce_sum(tf.square(centers), axis=-1)
    gaps = (squares + squares[:, tf.newaxis]) / 2 - tf.matmul(centers, centers, transpose_b=True)
    pairs = tf.cast(tf.maximum(centers.shape[0] * (centers.shape[0] - 1), 1), tf.float32)
    temperature = _TEMPERATURE * tf.reduce_sum(gaps) / pairs
    # Of -|v - c|² / 2 what differs between clusters.
    nearness = tf.tensordot(features, centers, [[-1], [1]]) - squares / 2
    return tf.nn.softmax(tf.math.divide_no_nan(nearness, temperature))
