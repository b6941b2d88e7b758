"""k-means clusters of feature vectors."""
from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

# Temperature in `shares`, as a share of half the mean squared distance between two centres.
_TEMPERATURE = 0.1


class Clusters(NamedTuple):
    """Clusters in the order of their sizes, largest first.

    Attributes:
      centers: f32[M,C]. Cluster centres.
      assigned: i64[n]. Index of each vector's cluster.
    """

    centers: np.ndarray
    assigned: np.ndarray


def cluster(rows: np.ndarray, num_clusters: int, *, weights: Optional[np.ndarray] = None,
            num_starts: int = 5, seed: int = 0) -> Clusters:
    """k-means clusters by scikit-learn, which minimize the sum of squared distances.

    Args:
      rows: f32[n,C]. Feature vectors.
      num_clusters: M, at least 1.
      weights: f32[n], at least 0. Weights of the vectors; None for ones. The size of a cluster is
        the sum of its weights.
      num_starts: Number of starts by k-means++; the best result is taken.
      seed: Seed of the starts. The same seed gives the same result, bit by bit.

    Raises:
      ValueError: If there are fewer vectors of weight above 0 than clusters.
    """
    from sklearn import cluster as sklearn_cluster  # Its import takes seconds.
    import threadpoolctl

    count = len(rows) if weights is None else np.count_nonzero(weights)
    if num_clusters < 1 or count < num_clusters:
        raise ValueError('`num_clusters` must be at least 1 and at most the number of feature '
                         f'vectors of weight above 0, {count}; got {num_clusters}: give more '
                         'photos, or take fewer parts.')
    model = sklearn_cluster.KMeans(num_clusters, n_init=num_starts, random_state=seed)
    # Several threads add in no fixed order; with one thread the centres are the same bit by bit.
    with threadpoolctl.threadpool_limits(1, user_api='openmp'):
        model.fit(rows, sample_weight=weights)
    sizes = np.bincount(model.labels_, weights, num_clusters)
    order = np.argsort(-sizes, kind='stable')
    rank = np.empty_like(order)
    rank[order] = np.arange(num_clusters)
    return Clusters(model.cluster_centers_[order], rank[model.labels_])


def shares(features: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Shares of the clusters in feature vectors: a soft-max of minus half the squared distances.

    Its temperature is a tenth of half the mean squared distance between two centres. So a vector
    half-way between two centres is shared, and most other vectors belong to one centre.

    Args:
      features: f32[...,C]. Feature vectors.
      centers: f32[K,C]. Cluster centres.

    Returns:
      f32[...,K]. Shares in [0, 1] that sum to 1.
    """
    centers = tf.convert_to_tensor(centers)
    squares = tf.reduce_sum(tf.square(centers), axis=-1)
    gaps = (squares + squares[:, tf.newaxis]) / 2 - tf.matmul(centers, centers, transpose_b=True)
    pairs = tf.cast(tf.maximum(centers.shape[0] * (centers.shape[0] - 1), 1), tf.float32)
    temperature = _TEMPERATURE * tf.reduce_sum(gaps) / pairs
    # -|v - c|² / 2 without the term |v|² / 2, which is the same for all clusters.
    nearness = tf.tensordot(features, centers, [[-1], [1]]) - squares / 2
    return tf.nn.softmax(tf.math.divide_no_nan(nearness, temperature))
