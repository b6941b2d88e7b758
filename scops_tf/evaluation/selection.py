"""Scores of checkpoints without labels, to choose among runs.

Runs with the same number of parts are compared on the same training photos and the same views of
these photos. All scores are in per cent:

* `equivariance`, higher is better: The labels of a photo are warped like its view and compared with
  the labels of the view. The score is the share of equal labels among the pixels that are a part in
  either.
* `reconstruction_error`, lower is better: Semantic consistency (Eq. 4) relative to its value if all
  pixels were background. Above 100 the parts explain less than background alone. Errors of runs
  whose reference features differ in layers, lengths or size cannot be compared; they are None.
* `agreement_nmi` and `agreement_ari`, higher is better: Agreement of the labels with the labels of
  each other run at its latest chosen step, in any order of the parts. The score is the mean over
  the other runs.

These scores have blind spots: parts that are wrong in the same way in every run and every view are
equivariant and agree. So two degenerate states are detected separately: a part that responds
nowhere, and a part that covers nearly all of the foreground.
"""
from __future__ import annotations

import dataclasses
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib, datasets
from scops_tf.evaluation import image_lists, label_scores, reconstruction
from scops_tf.evaluation.candidates import Candidate, add_agreement, rank
from scops_tf.features import photo_features
from scops_tf.networks import checkpoints
from scops_tf.serving import trained_model
from scops_tf.training import diagnoses, views as views_lib, warp

# Seeds of trainings are small numbers, so no training has drawn these views.
_VIEW_SEED = 2 ** 31 - 1


class SelectionError(ValueError):
    """Runs that cannot be compared; the message is one sentence for the user."""


class _Photos(NamedTuple):
    """Photos with a view of each.

    Attributes:
      images: u8[N,H,W,3]. Photos.
      saliency: f32[N,H,W]. Saliency maps, or None.
      views: u8[N,H,W,3]. A view of each photo.
      batches: (start, transforms) of batches of views; the first photo of a batch is `start`.
      names: Names of the photos.
    """

    images: np.ndarray
    saliency: Optional[np.ndarray]
    views: np.ndarray
    batches: List[Tuple[int, warp.Transform]]
    names: List[str]


def select(workdirs: Sequence[str], *, steps: Optional[Sequence[int]] = None,
           all_steps: bool = False, max_photos: int = 100, gin_params: Sequence[str] = ()
           ) -> Dict[str, Any]:
    """Scores checkpoints of runs without labels.

    Args:
      workdirs: Folders of the runs.
      steps: Steps of the checkpoints; None for the latest of each run.
      all_steps: Whether all kept checkpoints are scored.
      max_photos: Largest number of training photos that are used, spread evenly over all of them.
      gin_params: Bindings that override the runs' own, such as of `Evaluation.precision`.

    Returns:
      The result as it is written: 'photos', 'image_list_sha256', 'unit', and 'checkpoints', in the
      order of the number of parts and then the best first.

    Raises:
      SelectionError: If the runs have different photos, or a checkpoint is missing.
      ValueError: If a run, data, checkpoints or weights cannot be used.
      OSError: If a file cannot be read.
    """
    if not workdirs or len({os.path.realpath(workdir) for workdir in workdirs}) < len(workdirs):
        raise SelectionError('`--workdirs` must name at least one run, and each once; got '
                             f'{",".join(workdirs)!r}.')
    configs = {workdir: config_lib.load_run(workdir, gin_params, setting='--workdirs')
               for workdir in workdirs}
    chosen = {workdir: _steps(workdir, steps, all_steps) for workdir in workdirs}
    first = workdirs[0]
    records = _common_records(configs)
    photos = _photos(configs[first], records, first, max_photos)
    features = reconstruction.PhotoFeatures(photos.images)
    if len({config.feature_space for config in configs.values()}) > 1:
        logging.warning('The runs have different reference features: how well parts reconstruct '
                        'them is not compared.')
        features = None

    candidates: List[Candidate] = []
    labels: Dict[Tuple[str, int], np.ndarray] = {}
    pairs = [(workdir, step) for workdir in workdirs for step in chosen[workdir]]
    for workdir, step in tqdm.tqdm(pairs, desc='Checkpoints', unit='checkpoint'):
        found, labels[workdir, step] = _score(configs[workdir], workdir, step, photos, features)
        candidates.append(found)
    add_agreement(candidates, labels)
    return {'photos': len(photos.images),
            'image_list_sha256': image_lists.image_list_hash(photos.names), 'unit': 'per cent',
            'checkpoints': [{**dataclasses.asdict(one), 'is_degenerate': one.is_degenerate,
                             'faults': one.faults} for one in rank(candidates)]}


def _steps(workdir: str, steps: Optional[Sequence[int]], all_steps: bool) -> List[int]:
    """Steps of a run's chosen checkpoints, ascending."""
    kept = sorted(checkpoints.kept(workdir))
    if not kept:
        raise SelectionError('`--workdirs` must name runs that have saved checkpoints; there is '
                             f'none in {workdir!r}.')
    if all_steps:
        return kept
    missing = set(steps or ()) - set(kept)
    if missing:
        raise SelectionError(
            f"`--steps` must be 'all' or steps of checkpoints in {workdir!r}, which are "
            f'{", ".join(map(str, kept))}; got {min(missing)}.')
    return sorted(set(steps)) if steps else kept[-1:]


def _common_records(configs: Dict[str, config_lib.Config]) -> Sequence[datasets.Record]:
    """The training photos, which must be the same in all runs."""
    records, names, first = None, None, None
    for workdir, config in configs.items():
        found = datasets.load_for(config, workdir).train
        if records is None:
            records, names, first = found, sorted(record.name for record in found), workdir
        elif sorted(record.name for record in found) != names:
            raise SelectionError(
                '`--workdirs` must be of runs with the same training photos, but those of '
                f'{workdir!r} ({len(found)}) are not those of {first!r} ({len(names)}).')
    return records


def _photos(config: config_lib.Config, records: Sequence[datasets.Record], workdir: str,
            max_photos: int) -> _Photos:
    """Photos spread evenly over the records, with a view of each that no training has seen."""
    store = photo_features.open_store(
        config, [records[place] for place in photo_features.spread(len(records), max_photos)],
        workdir)
    images = np.stack([store.image(index) for index in range(len(store))])
    saliency = None
    if config.data.saliency is not None:
        saliency = np.stack([store.saliency(index) for index in range(len(store))])
    drawn, views, batches = views_lib.Views(config), np.empty_like(images), []
    size = config.evaluation.batch_size
    for start in range(0, len(images), size):
        pixels = tf.constant(images[start:start + size], tf.float32) / 255.0
        view = drawn.draw(pixels, tf.constant([_VIEW_SEED, start], tf.int32))
        views[start:start + size] = np.rint(view.images.numpy() * 255)
        batches.append((start, view.transform))
    return _Photos(images, saliency, views, batches, [record.name for record in store.records])


def _score(config: config_lib.Config, workdir: str, step: int, photos: _Photos,
           features: Optional[reconstruction.PhotoFeatures]) -> Tuple[Candidate, np.ndarray]:
    """A checkpoint with the scores that need no other run, and its labels u8[N,H,W].

    If `features` is None, the reconstruction error is None.
    """
    config = dataclasses.replace(
        config, evaluation=dataclasses.replace(config.evaluation, step=step))
    trained = trained_model.load_part_model(config, workdir, precision=config.evaluation.precision)
    num_parts, predict = config.run.num_parts, trained.part_model.predict
    reconstructed = None if features is None else reconstruction.Reconstruction(
        trained.model, features.of(config))
    labels, presence = [], []
    same = either = 0
    for start, transform in photos.batches:
        batch = slice(start, start + len(transform.matrix))
        found = predict(tf.constant(photos.images[batch]))
        labels.append(found['labels'].numpy())
        presence.append(found['presence'].numpy())
        agreeing, parts = equivariance_counts(
            found['labels'], predict(tf.constant(photos.views[batch]))['labels'], transform,
            num_parts=num_parts)
        same, either = same + agreeing, either + parts
        if reconstructed is not None:
            saliency_maps = None if photos.saliency is None else photos.saliency[batch]
            reconstructed.add(batch, saliency_maps, found['part_responses'][..., 1:])
    maps = np.concatenate(labels)
    area = label_scores.part_statistics(maps, num_parts=num_parts)['area']
    dead = np.flatnonzero(np.concatenate(presence).mean(axis=0) < diagnoses.LEAST_PRESENCE) + 1
    return Candidate(
        workdir, step, num_parts,
        equivariance=100.0 * same / either if either else 0.0,
        reconstruction_error=None if reconstructed is None else reconstructed.error,
        dead_parts=dead.tolist(),
        largest_share=100.0 * float(area.max() / area.sum()) if area.sum() else 100.0), maps


def equivariance_counts(labels: Any, view_labels: Any, transform: warp.Transform, *,
                        num_parts: int) -> Tuple[int, int]:
    """Counts how often the labels of photos and of their views agree.

    Args:
      labels: u8[B,H,W]. Labels of the photos.
      view_labels: u8[B,H,W]. Labels of the views.
      transform: Spatial transforms from photos to views.
      num_parts: K.

    Returns:
      The number of pixels with equal labels, and the number of compared pixels. A pixel of a view
      is compared if its source lies inside the photo and it is a part in the warped labels or in
      the view's labels.
    """
    moved = tf.argmax(transform.warp(tf.one_hot(labels, num_parts + 1)), axis=-1,
                      output_type=tf.int32)
    view_labels = tf.cast(view_labels, tf.int32)
    either = (transform.valid_mask(moved.shape[1:3]) > 0) & ((moved > 0) | (view_labels > 0))
    return (int(tf.math.count_nonzero(either & (moved == view_labels))),
            int(tf.math.count_nonzero(either)))
