"""Batches of a training: which photos each step sees, and what belongs to them."""
from __future__ import annotations

import functools
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from scops_tf.datasets import photo_store

_WORKERS = min(8, os.cpu_count() or 1)


class Batch(NamedTuple):
    """What a step sees of its photos. A field is None where the run does not keep it.

    Attributes:
      index: i64[B]. Of the photos.
      image: u8[B,H,W,3]. RGB.
      saliency: float[B,h,w] in [0, 1]. D of Eq. 6, of the photos' size, or of the features' where
        the maps were made to agree.
      reference_features: f16[B,h,w,C]. As of `ReferenceFeatures.raw`; the step computes them where
        they are not kept.
      warmup_target: f16[B,h,w,K+1]. Responses that a warm-up step fits, summing to 1.
      backbone_features: f16[B,h,w,D]. What the segmenter's head reads of the photos, where its
        backbone is frozen and not the reference features.
      view_features: f16[B,h,w,D]. What the head reads of a view of each photo, drawn from those
        that are kept; a new view is drawn in the step where none are.
      view_matrix: f32[B,3,3]. Of the views' spatial transforms; see `warp.Transform`.
      view_displacements: f32[B,n,n,2]. Likewise.
    """

    index: tf.Tensor
    image: tf.Tensor
    saliency: tf.Tensor
    reference_features: Optional[tf.Tensor] = None
    warmup_target: Optional[tf.Tensor] = None
    backbone_features: Optional[tf.Tensor] = None
    view_features: Optional[tf.Tensor] = None
    view_matrix: Optional[tf.Tensor] = None
    view_displacements: Optional[tf.Tensor] = None


def batch_indices(num_photos: int, *, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Photos of a training step: a pure function of its arguments.

    The epochs, each a permutation drawn from (seed, epoch), are laid end to end, and step s takes
    the places s·B to (s+1)·B - 1. So a batch may straddle epochs, and one larger than the set holds
    photos more than once.

    Returns:
      int64[B].
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, offsets = np.divmod(places, num_photos)
    return np.array([_permutation(num_photos, seed, epoch)[offset]
                     for epoch, offset in zip(epochs.tolist(), offsets)], np.int64)


@functools.lru_cache(maxsize=16)
def _permutation(num_photos: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(num_photos)


def training_batches(store: photo_store.PhotoStore, *, batch_size: int, seed: int, num_steps: int,
                     start_step: int = 0, arrays: Optional[Mapping[str, Any]] = None,
                     context: Optional[tf.distribute.InputContext] = None) -> tf.data.Dataset:
    """The batches of the steps `start_step` to `num_steps` - 1 of a training.

    Where replicas share a batch, the parts of those of this process follow one another.

    Args:
      store: The photos.
      batch_size: B, at least 1; see `batch_indices` for B larger than the set.
      seed: Of the order.
      num_steps: Steps of the whole training, those before `start_step` counted in.
      start_step: Steps done already; the batches that follow are those of a run never stopped.
      arrays: Further fields of the batches by name; a `saliency` takes the place of the store's.
        Each is whatever gives [B, ...] when indexed with int64[B], or a function of the step,
        int64[B] and the slice of the batch that is wanted, which is safe to call from several
        threads.
      context: Which of the batch's replicas this process has; None is one alone.

    Returns:
      Elements are `Batch`es, B divided by the number of replicas.

    Raises:
      ValueError: If an argument is out of range, the replicas cannot share the batch evenly, or an
        array is of no field of a batch or has not one row per photo.
    """
    context = context or tf.distribute.InputContext()
    if batch_size < 1 or seed < 0 or not 0 <= start_step <= num_steps:
        raise ValueError('`batch_size` must be at least 1, `seed` at least 0 and `start_step` from '
                         f'0 to `num_steps`; got {batch_size}, {seed}, {start_step}, {num_steps}.')

    size = context.get_per_replica_batch_size(batch_size)
    replicas = context.num_replicas_in_sync // context.num_input_pipelines  # Of this process.

    def part(number: int) -> _Part:
        step, replica = divmod(int(number), replicas)
        start = (context.input_pipeline_id * replicas + replica) * size
        return _Part(step, batch_indices(len(store), batch_size=batch_size, seed=seed, step=step),
                     slice(start, start + size))

    numbers = range(start_step * replicas, num_steps * replicas)
    return _batches(store, part, numbers, size, arrays or {})


class _Part(NamedTuple):
    """A part of a batch: the step, the photos int64[B] of all of it, and which of these it has."""

    step: int
    indices: np.ndarray
    wanted: slice


def _batches(store: photo_store.PhotoStore, part: Callable[[int], _Part], numbers: range,
             static_size: Optional[int], arrays: Mapping[str, Any]) -> tf.data.Dataset:
    signature: Dict[str, tf.TensorSpec] = {
        'index': tf.TensorSpec([static_size], tf.int64),
        'image': tf.TensorSpec([static_size, *store.image_size, 3], tf.uint8),
        'saliency': tf.TensorSpec([static_size, *store.image_size], tf.float32)}
    for name, array in arrays.items():
        if name in ('index', 'image') or name not in Batch._fields:
            raise ValueError('`arrays` must be named after the fields of a batch that are not the '
                             f"store's, {', '.join(Batch._fields[2:])}; got {name!r}.")
        if hasattr(array, '__len__') and len(array) != len(store):
            raise ValueError(f'`arrays[{name!r}]` must have one row per photo, {len(store)}; '
                             f'got {len(array)}.')
        row = _rows(array, _Part(0, np.zeros(1, np.int64), slice(None)))
        signature[name] = tf.TensorSpec([static_size, *row.shape[1:]], row.dtype)

    def gather(number: int) -> List[np.ndarray]:
        found = part(number)
        index = found.indices[found.wanted]
        image, saliency = store.batch(index.tolist())
        values = {'index': index, 'image': image, 'saliency': saliency,
                  **{name: _rows(array, found) for name, array in arrays.items()}}
        return [values[name] for name in signature]

    def to_batch(number: tf.Tensor) -> Batch:
        # A Python function, as a constant of all photos would be copied into the graph.
        values = tf.numpy_function(gather, [number], [spec.dtype for spec in signature.values()])
        return Batch(**{name: tf.ensure_shape(value, spec.shape)
                        for (name, spec), value in zip(signature.items(), values)})

    dataset = tf.data.Dataset.range(numbers.start, numbers.stop)
    return dataset.map(to_batch, num_parallel_calls=_WORKERS, deterministic=True).prefetch(2)


def _rows(array: Any, part: _Part) -> np.ndarray:
    return np.asarray(array(*part) if callable(array) else array[part.indices[part.wanted]])
