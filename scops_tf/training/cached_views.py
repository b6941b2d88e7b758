"""Cache of the backbone features of the photos and of a few views of each photo (§3.3)."""
from __future__ import annotations

import dataclasses
from typing import Any, Dict

import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets import photo_store
from scops_tf.features import cache as feature_cache
from scops_tf.networks import model as model_lib
from scops_tf.training import views as views_lib, warp


class DrawnViews:
    """Rows of cached views; each step draws one view of each photo by seed and step.

    Args:
      rows: [N * num_views, ...]. The rows of the first photo's views come first.
      num_views: Number of views per photo.
      seed: Seed of the draws.
    """

    def __init__(self, rows: np.ndarray, *, num_views: int, seed: int) -> None:
        self._rows, self._num_views, self._seed = rows, num_views, seed

    def __call__(self, step: int, indices: np.ndarray, wanted: slice) -> np.ndarray:
        """Rows [b, ...] for the `wanted` part of a step's photos, which have indices i64[B]."""
        generator = np.random.default_rng([self._seed, 1, step])
        drawn = generator.integers(self._num_views, size=len(indices))
        return self._rows[(indices * self._num_views + drawn)[wanted]]


def arrays(config: config_lib.Config, model: model_lib.Model, views: views_lib.Views,
           store: photo_store.PhotoStore, caches: str) -> Dict[str, Any]:
    """Backbone features of all photos and of their views, and the views' spatial transforms.

    Args:
      config: Configuration of the run.
      model: Model whose segmenter has a frozen backbone.
      views: Generator of the views.
      store: Photos of the run.
      caches: Folder of the caches on disk.

    Returns:
      Fields of a batch by name; see `batches.training_batches`. `backbone_features` is left out if
      they are the cached reference features.

    Raises:
      ValueError: If the features are larger than `Features.cache_limit_gib` allows.
      OSError: If a cache cannot be written.
    """
    count, seed = config.segmenter.num_views, config.run.seed
    segmenter, network = model.segmenter, model.reference_features
    backbone = tf.function(segmenter.backbone, autograph=False)

    def view_seed(photo: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(tf.constant([seed, 2], tf.int32), photo)

    @tf.function(autograph=False)
    def views_of(image: tf.Tensor, photo: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(image, tf.float32) / 255.0
        return views.draw(tf.repeat(pixels[tf.newaxis], count, axis=0), view_seed(photo)).images

    @tf.function(autograph=False)
    def transforms_of(photo: tf.Tensor) -> warp.Transform:
        return views.transform(count, view_seed(photo))

    def of_photos(indices: np.ndarray) -> np.ndarray:
        photos = np.stack([store.image(index) for index in indices.tolist()])
        return backbone(tf.constant(photos / np.float32(255)))

    def of_views(indices: np.ndarray) -> np.ndarray:
        photo = int(indices[0]) // count  # A batch holds the views of one photo.
        return backbone(views_of(tf.constant(store.image(photo)), tf.constant(photo, tf.int32)))

    row = segmenter.feature_shape(store.image_size)
    # All settings that any backbone depends on; an unneeded one in the key only costs time.
    key = feature_cache.fingerprint(
        map(store.image, range(len(store))), segmenter.backbone_weights,
        segmenter=dataclasses.asdict(config.segmenter), features=config.feature_space,
        card=network.card and network.card.sha256,
        tap_scales=network.tap_scales.numpy().tolist(),
        precision=config.run.precision, warp=dataclasses.asdict(config.warp),
        jitter=dataclasses.asdict(config.color_jitter), seed=seed, row=row)
    folder = feature_cache.place(
        (len(store) * (1 + count), *row), caches, cache=config.features.cache_place,
        limit_gib=config.features.cache_limit_gib)
    found: Dict[str, Any] = {}
    if not segmenter.reads_reference_features or config.features.cache == 'none':
        found['backbone_features'] = feature_cache.filled(
            (len(store), *row), of_photos, key=f'{key}-photos', folder=folder,
            description='Backbone features of photos')
    view_features = feature_cache.filled(
        (len(store) * count, *row), of_views, key=f'{key}-views', folder=folder, batch_size=count,
        description='Backbone features of views')
    drawn = [transforms_of(tf.constant(photo, tf.int32)) for photo in range(len(store))]
    rows = {'view_features': view_features}
    for name in warp.Transform._fields:
        rows[f'view_{name}'] = np.concatenate([getattr(transform, name) for transform in drawn])
    found.update({name: DrawnViews(values, num_views=count, seed=seed)
                  for name, values in rows.items()})
    return found
