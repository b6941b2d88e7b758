"""Batches of a training: the photos of each step with their maps and features."""
from __future__ import annotations

import functools
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from scops_tf.datasets import photo_store

_WORKERS = min(8, os.cpu_count() or 1)


class Batch(NamedTuple):
    """Photos of a step, with their maps and features. A field is None if the run does not keep it.

    Attributes:
      index: i64[B]. Indices of the photos.
      image: u8[B,H,W,3]. Photos, RGB.
      saliency: float[B,h,w] in [0, 1]. Saliency maps D of Eq. 6, at the photos' size, or at the
        features' size if the maps were made to agree.
      reference_features: f16[B,h,w,C]. Raw reference features, see `ReferenceFeatures.raw`; the
        step computes them if they are not kept.
      warmup_target: f16[B,h,w,K+1]. Responses that a warm-up step fits, summing to 1.
      backbone_features: f16[B,h,w,D]. The head's input from the photos, if the segmenter's backbone
        is frozen and is not the reference features.
      view_features: f16[B,h,w,D]. The head's input from one view of each photo, drawn from the
        views that are kept. If none are kept, the step draws a new view.
      view_matrix: f32[B,3,3]. Matrices of the views' spatial transforms; see `warp.Transform`.
      view_displacements: f32[B,n,n,2]. Displacements of the views' spatial transforms, likewise.
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
    """Indices of the photos of a training step, as a pure function of the arguments.

    Each epoch is a permutation drawn from (seed, epoch). The epochs are laid end to end, and step s
    takes the places s·B to (s+1)·B - 1. So a batch may straddle epochs, and a batch larger than the
    set holds photos more than once.

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

    If replicas share a batch, the dataset yields the parts of this process's replicas one after
    another.

    Args:
      store: Photos of the run.
      batch_size: B, at least 1; see `batch_indices` for B larger than the set.
      seed: Seed of the order of the photos.
      num_steps: Number of steps of the whole training, including those before `start_step`.
      start_step: Number of steps already done. The batches that follow are the same as in a run
        that never stopped.
      arrays: Further fields of the batches by name; a `saliency` replaces the store's. A value is
        either an array-like that gives [B, ...] when indexed with int64[B]; or a function of the
        step, int64[B] and the wanted slice of the batch, which must be safe to call from several
        threads.
      context: Place of this process among the replicas that share each batch; None for a single
        replica.

    Returns:
      Dataset of `Batch`es, each of B divided by the number of replicas.

    Raises:
      ValueError: If an argument is out of range, the replicas cannot share the batch evenly, the
        name of an array is not that of a field, or an array has not one row per photo.
    """
    context = context or tf.distribute.InputContext()
    if batch_size < 1 or seed < 0 or not 0 <= start_step <= num_steps:
        raise ValueError('`batch_size` must be at least 1, `seed` at least 0 and `start_step` from '
                         f'0 to `num_steps`; got {batch_size}, {seed}, {start_step}, {num_steps}.')

    size = context.get_per_replica_batch_size(batch_size)
    replicas = context.num_replicas_in_sync // context.num_input_pipelines  # In this process.

    def part(number: int) -> _Part:
        step, replica = divmod(int(number), replicas)
        start = (context.input_pipeline_id * replicas + replica) * size
        return _Part(step, batch_indices(len(store), batch_size=batch_size, seed=seed, step=step),
                     slice(start, start + size))

    numbers = range(start_step * replicas, num_steps * replicas)
    return _batches(store, part, numbers, size, arrays or {})


class _Part(NamedTuple):
    """A replica's part of a batch: the step, the photos int64[B] of the batch, the part's slice."""

    step: int
    indices: np.ndarray
    wanted: slice


def _batches(store: photo_store.PhotoStore, part: Callable[[int], _Part], numbers: range,
             size: int, arrays: Mapping[str, Any]) -> tf.data.Dataset:
    signature: Dict[str, tf.TensorSpec] = {
        'index': tf.TensorSpec([size], tf.int64),
        'image': tf.TensorSpec([size, *store.image_size, 3], tf.uint8),
        'saliency': tf.TensorSpec([size, *store.image_size], tf.float32)}
    for name, array in arrays.items():
        if name in ('index', 'image') or name not in Batch._fields:
            raise ValueError('`arrays` must be named after the fields of a batch that are not the '
                             f"store's, {', '.join(Batch._fields[2:])}; got {name!r}.")
        if hasattr(array, '__len__') and len(array) != len(store):
            raise ValueError(f'`arrays[{name!r}]` must have one row per photo, {len(store)}; '
                             f'got {len(array)}.')
        row = _rows(array, _Part(0, np.zeros(1, np.int64), slice(None)))
        signature[name] = tf.TensorSpec([size, *row.shape[1:]], row.dtype)

    def gather(number: int) -> List[np.ndarray]:
        found = part(number)
        index = found.indices[found.wanted]
        image, saliency = store.batch(index.tolist())
        values = {'index': index, 'image': image, 'saliency': saliency,
                  **{name: _rows(array, found) for name, array in arrays.items()}}
        return [values[name] for name in signature]

    def to_batch(number: tf.Tensor) -> Batch:
        # A Python function, since a constant of all photos would be copied into the graph.
        values = tf.numpy_function(gather, [number], [spec.dtype for spec in signature.values()])
        return Batch(**{name: tf.ensure_shape(value, spec.shape)
                        for (name, spec), value in zip(signature.items(), values)})

    dataset = tf.data.Dataset.range(numbers.start, numbers.stop)
    return dataset.map(to_batch, num_parallel_calls=_WORKERS, deterministic=True).prefetch(2)


def _rows(array: Any, part: _Part) -> np.ndarray:
    return np.asarray(array(*part) if callable(array) else array[part.indices[part.wanted]])
