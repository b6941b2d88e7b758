"""Parts as k-means clusters of the reference features of a collection.

The background is found without labels, in one of two ways:

* in whole photos: All cells form K + 1 clusters. The cluster of lowest mean saliency is background;
  without saliency it is the cluster that most cells at the photos' borders belong to.
* inside the saliency map: Cells weighted by their saliency D form K clusters, which are the parts.
  Cells weighted by 1 - D form K more clusters, which are background. So a new photo needs no
  saliency map.

Features are not scaled to unit length. Otherwise they would differ by the surroundings of the
object, and the whole object would be one cluster. A cell belongs to the nearest cluster alone.
"""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from scops_tf.features import clustering, sampling


class LabelledClusters(NamedTuple):
    """Clusters with their labels.

    Attributes:
      centers: f32[M,C]. Cluster centres.
      labels: i32[M]. 0 is background, 1..K are the parts in the order of size, largest first.
    """

    centers: np.ndarray
    labels: np.ndarray


def fit(features: Any, saliency_maps: Optional[np.ndarray], num_parts: int, *,
        inside_saliency: bool = False, max_rows: int = sampling.MAX_ROWS, seed: int = 0
        ) -> LabelledClusters:
    """Clusters the reference features of a collection.

    If the collection has more than `max_rows` vectors (390 photos of 16x16 cells), a random sample
    of so many is clustered, which bounds the memory.

    Args:
      features: f[N,h,w,C]. Reference features; see `sampling.sample`.
      saliency_maps: f[N,h,w] in [0, 1], or None.
      num_parts: K.
      inside_saliency: Whether to cluster inside the saliency map, the second way above.
      max_rows: Largest number of vectors that are read into memory.
      seed: Seed of the sample and of the k-means starts. The same seed gives the same result.

    Raises:
      ValueError: If `num_parts` is below 1, maps are missing for `inside_saliency`, the shape of
        the maps differs, or there are fewer vectors of weight above 0 than clusters.
    """
    if num_parts < 1:
        raise ValueError(f'`num_parts` must be at least 1; got {num_parts}.')
    if saliency_maps is not None and saliency_maps.shape != tuple(features.shape[:3]):
        raise ValueError(f'`saliency_maps` must be of shape {tuple(features.shape[:3])}, as '
                         f'the features are; got {tuple(saliency_maps.shape)}.')
    rows = sampling.sample(features, np.random.default_rng([seed, 0]), max_rows=max_rows)
    saliency = None
    if saliency_maps is not None:
        saliency = sampling.values_at(rows, saliency_maps)
    if inside_saliency:
        if saliency is None:
            raise ValueError('`saliency_maps` must be given for clusters inside them; got None.')
        parts = clustering.cluster(rows.features, num_parts, weights=saliency, seed=seed)
        background = clustering.cluster(rows.features, num_parts, weights=1 - saliency, seed=seed)
        labels = np.r_[np.zeros(num_parts), 1:num_parts + 1].astype(np.int32)
        return LabelledClusters(np.concatenate([background.centers, parts.centers]), labels)
    found = clustering.cluster(rows.features, num_parts + 1, seed=seed)
    sizes = np.bincount(found.assigned, minlength=num_parts + 1)
    if saliency is None:
        y, x = np.divmod(rows.cell, features.shape[2])
        border = (y == 0) | (x == 0) | (y == features.shape[1] - 1) | (x == features.shape[2] - 1)
        background = np.argmax(np.bincount(found.assigned[border], minlength=num_parts + 1))
    else:
        means = np.bincount(found.assigned, saliency, num_parts + 1) / np.maximum(sizes, 1)
        background = np.argmin(means)
    parts = np.delete(found.centers, background, axis=0)
    return LabelledClusters(np.concatenate([found.centers[[background]], parts]),
                            np.arange(num_parts + 1, dtype=np.int32))


class KMeans(tf.Module):
    """Part responses by the nearest cluster: 1 for its label, 0 for all others.

    Args:
      reference_features: Function from photos f32[B,H,W,3] in [0, 1] to features f32[B,h,w,C].
      clusters: Result of `fit`.
    """

    def __init__(self, reference_features: Callable[[tf.Tensor], tf.Tensor],
                 clusters: LabelledClusters) -> None:
        super().__init__()
        self.reference_features = reference_features
        self.centers = tf.Variable(
            clusters.centers, trainable=False, dtype=tf.float32, name='centers')
        self.labels = tf.Variable(clusters.labels, trainable=False, dtype=tf.int32, name='labels')
        self._num_channels = int(clusters.labels.max()) + 1

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        """Part responses f32[B,h,w,K+1] to photos f32[B,H,W,3], RGB in [0, 1]."""
        return self.responses_of(self.reference_features(images))

    def responses_of(self, features: tf.Tensor) -> tf.Tensor:
        """Part responses f32[B,h,w,K+1] of reference features float[B,h,w,C]."""
        features = tf.cast(features, tf.float32)
        # The nearness is largest where |v - c|² = |v|² - 2 v·c + |c|² is least.
        nearness = tf.tensordot(features, self.centers, [[-1], [1]])
        nearness -= tf.reduce_sum(tf.square(self.centers), axis=-1) / 2
        labels = tf.gather(self.labels, tf.argmax(nearness, axis=-1))
        return tf.one_hot(labels, self._num_channels)
