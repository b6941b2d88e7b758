"""Gathers the measures of a training while it runs, or of its last checkpoint."""
from __future__ import annotations

import collections
import dataclasses
from typing import Any, Deque, List, Mapping, Optional, Set, Tuple

from absl import logging
import numpy as np
import tensorflow as tf

from scops_tf import geometry
from scops_tf.datasets.batches import Batch
from scops_tf.features import photo_features
from scops_tf.pictures import tensorboard
from scops_tf.training import (
    diagnoses,
    measures as measures_lib,
    preparation,
    trainer as trainer_lib,
)

# Most photos whose features are compared with each other.
_COMPARED = 200
# Number of logged steps that are kept, to see whether gradients are clipped.
_KEPT_STEPS = 20
# Largest number of views that are drawn, and the purpose of their seed; see `Trainer.seed`.
_VIEWS, _PURPOSE = 64, 5


class CheckUp:
    """Measures a training on a few of its photos, spread evenly over all.

    Args:
      trainer: Trainer of the run.
      prepared: Photos and what is kept of them.
      workdir: Folder of the run.

    Raises:
      OSError: If kept features cannot be read.
    """

    def __init__(self, trainer: trainer_lib.Trainer, prepared: preparation.Prepared,
                 workdir: str) -> None:
        self._trainer, self._prepared, self._workdir = trainer, prepared, workdir
        self._found_before: Set[str] = set()
        store = prepared.store
        self._indices = photo_features.spread(len(store), trainer.config.logging.doctor_photos)
        self._names = [record.name for record in store.records]
        self._logged: Deque[Tuple[int, Mapping[str, float]]] = collections.deque(
            maxlen=_KEPT_STEPS)
        self._unlike = self._unlike_photos()

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Remembers the scalars of a step, as they are logged."""
        self._logged.append((step, scalars))

    def report(self, batch: Batch, step: int, writer: tensorboard.SummaryWriter) -> None:
        """Logs the measures and what they tell.

        TensorBoard has everything. The log of the training warns of what was found at the check-up
        before, too, or at the last step, since much of what a young run shows passes.

        Args:
          batch: See `measures`.
          step: Number of steps done.
          writer: Writer of the run's TensorBoard logs.
        """
        config, found = self._trainer.config, self.measures(batch)
        findings = diagnoses.diagnose(found, config)
        writer.scalars({**found.scalars(), 'doctor/findings': len(findings)}, step)
        if findings or self._found_before:
            text = '\n\n'.join('\n'.join(each.lines(config)) for each in findings)
            writer.text('doctor', f'```\n{text or "Nothing is wrong any more."}\n```', step)
        kinds = {each.kind for each in findings}
        for each in findings:
            if each.kind in self._found_before or step >= config.run.steps:
                logging.warning('Doctor, step %d: %s Try first: %s. More: python -m '
                                'scops_tf.doctor --workdir=%s', step, each.fact, each.first(config),
                                self._workdir)
        self._found_before = kinds

    def measures(self, batch: Batch) -> measures_lib.Measures:
        """The measures of the model as it is.

        Args:
          batch: Batch of one replica, whose gradients are looked at.
        """
        config, trainer = self._trainer.config, self._trainer
        collected = measures_lib.PhotoMeasures(
            config.run.num_parts, least_presence=diagnoses.LEAST_PRESENCE)
        centers: List[np.ndarray] = []
        size = config.evaluation.batch_size
        with trainer.model.as_served():
            for start in range(0, len(self._indices), size):
                chosen = self._indices[start:start + size]
                found = {name: value.numpy() for name, value in trainer.predict(
                    self._prepared.photos(chosen)).items()}
                maps = self._saliency(chosen, found['labels'].shape[1:])
                for place, index in enumerate(chosen.tolist()):
                    collected.add(self._names[index], found['part_responses'][place],
                                  found['labels'][place], None if maps is None else maps[place])
                centers.append(found['part_centers'])
        in_sight, covered = self._sight(np.concatenate(centers))
        basis = trainer.model.part_basis().numpy() if config.run.method == 'segmenter' else None
        return dataclasses.replace(
            collected.measures(), unlike=self._unlike, in_sight=in_sight, covered=covered,
            basis_likeness=None if basis is None else measures_lib.cosines(basis),
            pulls={name: float(norm) for name, norm in trainer.gradient_norms(batch).items()},
            clipped=measures_lib.clipped_share(
                self._logged, config.optimizer.clip_norm, after=config.warmup_steps))

    def _saliency(self, indices: np.ndarray, size: Tuple[int, int]) -> Optional[np.ndarray]:
        """Saliency maps f32[n,h,w] of photos as the training sees them; None without them."""
        prepared = self._prepared
        if prepared.config.data.saliency is None:
            return None
        agreed = prepared.arrays.get('saliency')
        maps = (agreed[indices] if agreed is not None
                else np.stack([prepared.store.saliency(index) for index in indices.tolist()]))
        maps = tf.cast(maps, tf.float32)[..., tf.newaxis]
        return tf.image.resize(maps, size).numpy()[..., 0].clip(0, 1)

    def _sight(self, centers: np.ndarray) -> Tuple[float, float]:
        """How much of the parts' centres f[n,K,2], in pixels, and of the photos views show."""
        trainer = self._trainer
        count = min(len(centers), _VIEWS)
        transform = trainer.views.transform(count, trainer.seed(_PURPOSE))
        height, width = trainer.config.run.image_size
        frame = 2 * centers[:count] / np.array([width - 1, height - 1]) - 1
        inside = geometry.is_inside(transform.warp_points(tf.constant(frame, tf.float32)))
        valid = transform.valid_mask(trainer.config.response_size)
        return (float(tf.reduce_mean(tf.cast(inside, tf.float32))), float(tf.reduce_mean(valid)))

    def _unlike_photos(self) -> Tuple[str, ...]:
        """Names of the photos whose objects' features are unlike those of the other photos."""
        raw: Any = self._prepared.arrays.get('reference_features')
        if raw is None:
            return ()
        scaled, rows = photo_features.ScaledFeatures(
            self._trainer.model.reference_features.scale, raw), []
        chosen = photo_features.spread(len(self._prepared.store), _COMPARED)
        for index in chosen.tolist():
            features = scaled[index].astype(np.float32)
            maps = self._saliency(np.array([index]), features.shape[:2])
            rows.append(features.mean(axis=(0, 1)) if maps is None
                        else np.tensordot(maps[0], features, 2))
        found = measures_lib.outliers(
            np.stack(rows), ratio=diagnoses.UNLIKE_RATIO,
            distance=diagnoses.UNLIKE_DISTANCE) if rows else ()
        return tuple(self._names[chosen[place]] for place in found)
