"""The training step (§3) as a `tf.function`: losses, gradients, updates, and scalars to log."""
from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import tensorflow as tf

from scops_tf import config as config_lib, geometry
from scops_tf.datasets.batches import Batch
from scops_tf.networks import checkpoints, model as model_lib
from scops_tf.serving import decoding, part_model as part_model_lib
from scops_tf.training import (
    loss_scale,
    objective as objective_lib,
    optimization,
    replicas,
    scops,
    uld,
    views,
    warp,
)

# Function from a replica's part of a batch to f32[] scalars, of which `loss/total` is the loss.
Loss = Callable[[Batch], Dict[str, tf.Tensor]]

# The objectives of the methods that are trained, by `Run.method`.
_OBJECTIVES = {'segmenter': scops.Scops, 'uld': uld.Uld}


class Trainer:
    """Self-supervised training of a part segmenter (§3) by the objective of `Run.method`.

    It runs on the replicas of the strategy in whose scope it is made.

    Args:
      config: Configuration of the run.

    Attributes:
      config: Configuration of the run.
      strategy: Strategy whose replicas share each batch.
      model: Networks of the run.
      objective: The losses, and what is trained for them beside the segmenter.
      views: Generator of the photos' views.
      step: i64[] variable. Number of steps done.

    Raises:
      ConfigError: If the run's method is not one that is trained.
      ReplicasError: If the replicas cannot share a batch evenly.
      WeightsError: See `pretrained.build`.
    """

    def __init__(self, config: config_lib.Config) -> None:
        self.config = config
        self.strategy = tf.distribute.get_strategy()
        run = config.run
        if run.method not in _OBJECTIVES:
            raise config_lib.ConfigError(
                f"`Run.method` of a training must be one of {', '.join(_OBJECTIVES)}; got "
                f'{run.method!r}, which python -m scops_tf.baselines.{run.method} makes.')
        replicas.require_shared(run.batch_size, self.strategy.num_replicas_in_sync)
        self.model = model_lib.Model(config)
        self.objective: objective_lib.Objective = _OBJECTIVES[run.method](config, self.model)
        self.views = views.Views(config)
        self._part_model = part_model_lib.PartModel(
            part_model_lib.SegmenterResponses(self.model.segmenter),
            num_parts=run.num_parts, input_size=run.image_size,
            **dataclasses.asdict(config.decode))
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name='step')

        groups = {**self.model.trained_variables, **self.objective.trained_variables}
        self._optimization = optimization.Optimization(
            groups, run.steps, settings=config.optimizer,
            loss_scale=loss_scale.LossScale() if run.precision == 'float16' else None)
        self._checkpoint = self.model.checkpoint(
            self.step, **self._optimization.state, **self.objective.saved)

    # Checkpoints.

    def manager(self, workdir: str) -> tf.train.CheckpointManager:
        """Manager of the run's checkpoints."""
        return checkpoints.manager(self._checkpoint, workdir, keep=self.config.checkpoint.keep)

    def save(self, manager: tf.train.CheckpointManager) -> str:
        """Saves a checkpoint numbered by the step; see `checkpoints.save`."""
        return checkpoints.save(manager, int(self.step.numpy()))

    def restore(self, workdir: str) -> bool:
        """Restores the newest whole checkpoint of a run; returns False if there is none.

        Raises:
          CheckpointError: See `checkpoints.restore_newest`.
        """
        return checkpoints.restore_newest(self._checkpoint, workdir) is not None

    # The step. Nothing branches on tensors, and without autograph tracing takes half the time.

    def seed(self, purpose: int) -> tf.Tensor:
        """Seed i64[2], a pure function of the run's seed, the step and the purpose of the draw."""
        base = tf.constant([self.config.run.seed, purpose], tf.int32)
        return tf.random.experimental.stateless_fold_in(base, self.step)

    @tf.function(autograph=False)
    def train_step(self, batch: Batch) -> Dict[str, tf.Tensor]:
        """Updates all trained variables once.

        Args:
          batch: Batch of the step. If replicas share it, their parts, as the strategy distributes
            them.

        Returns:
          f32[] scalars of the whole batch by their TensorBoard names.
        """
        return self._update(self._weighted_terms, batch, tuple(self._optimization.groups))

    @tf.function(autograph=False)
    def warmup_step(self, batch: Batch, *, small: bool = False) -> Dict[str, tf.Tensor]:
        """Fits the part responses once to `warmup_target`, from the starting basis or a teacher.

        Diffuse responses minimize the losses best by vanishing. So the responses learn the parts'
        shapes before the losses are used. A transformed view is fitted to the warped target. With
        a teacher, two views that are drawn in the step take the place of photo and view. Only the
        segmenter is updated.

        Args:
          batch: Batch as in `train_step`, with `warmup_target`.
          small: Whether the views of a warm-up by a teacher have the size `Run.small_views`.

        Returns:
          f32[] scalars of the whole batch by their TensorBoard names.
        """
        groups = tuple(self.model.trained_variables)
        size = self.config.run.small_views if small else None
        return self._update(functools.partial(self._warmup_loss, size=size), batch, groups)

    def _update(self, loss: Loss, batch: Batch, groups: Sequence[str]
                ) -> Dict[str, tf.Tensor]:
        """Updates groups of variables and the step; returns scalars of the whole batch."""

        def of_replica(part: Batch) -> Any:
            with tf.GradientTape() as tape:
                scalars = loss(part)
            gradients, norms = self._optimization.gradients(
                tape, scalars['loss/total'], groups=groups)
            return gradients, norms, replicas.mean(scalars)

        def one_of_all(scalars: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
            return {name: self.strategy.experimental_local_results(value)[0]
                    for name, value in scalars.items()}

        rates = self._optimization.schedule(self.step, groups=groups)
        gradients, norms, scalars = self.strategy.run(of_replica, (batch,))
        # They are the same on each replica.
        norms, scalars = one_of_all(norms), one_of_all(scalars)
        scale = self._optimization.update(gradients, norms)
        if self.model.averages is not None:
            self.model.averages.update(self.step)
        self.step.assign_add(1)
        return {**scalars, **norms, **rates, **scale}

    def _weighted_terms(self, batch: Batch) -> Dict[str, tf.Tensor]:
        """The loss of `train_step`, its terms and figures, for a replica's part of the batch."""
        terms, figures = self.objective.terms(self._observe(batch))
        weighted = {name: getattr(self.objective.weights, name) * term
                    for name, term in terms.items()}
        return {
            'loss/total': tf.add_n(list(weighted.values())),
            **{f'loss/{name}': term for name, term in terms.items()},
            **{f'weighted_loss/{name}': term for name, term in weighted.items()},
            **figures,
        }

    def _warmup_loss(self, batch: Batch, size: Optional[geometry.Size]) -> Dict[str, tf.Tensor]:
        """The loss of `warmup_step` and figures, for a replica's part of the batch."""
        logits, pairs = self._warmup_logits(batch, size)
        cells = logits.shape[1:3]
        target = geometry.upsample(tf.cast(batch.warmup_target, tf.float32), cells)
        loss = tf.constant(0.0)
        for own, transform in pairs:
            expected = target if transform is None else transform.warp(target)
            valid = tf.ones(own.shape[:3]) if transform is None else transform.valid_mask(cells)
            entropy = tf.nn.softmax_cross_entropy_with_logits(expected, own)
            loss += tf.math.divide_no_nan(tf.reduce_sum(valid * entropy),
                                          replicas.mean(tf.reduce_sum(valid)))
        return {'loss/total': loss, 'loss/warmup': loss,
                **objective_lib.part_figures(tf.nn.softmax(logits))}

    def _warmup_logits(self, batch: Batch, size: Optional[geometry.Size]
                       ) -> Tuple[tf.Tensor, List[Any]]:
        """Logits that a warm-up step fits: pairs of f32[B,h,w,K+1] and a transform or None.

        The first logits come before them, to be looked at.
        """
        if not self.config.run.teacher:
            seen = self._observe(batch)
            return seen.logits, [(seen.logits, None), (seen.view_logits, seen.transform)]
        images = tf.cast(batch.image, tf.float32) / 255.0
        drawn = [self.views.draw(images, self.seed(purpose), size) for purpose in (0, 4)]
        both = self._logits(self._features(tf.concat([view.images for view in drawn], axis=0)))
        return both[0], [(logits, view.transform) for logits, view in zip(both, drawn)]

    def _features(self, images: tf.Tensor) -> tf.Tensor:
        """What the head reads of 2B images, in one pass."""
        return self.model.segmenter.backbone(images, training=False)

    def _logits(self, features: tf.Tensor) -> List[tf.Tensor]:
        """Logits f32[B,h,w,K+1] of each half of the features of 2B images, with dropout."""
        both = self.model.segmenter.head(self._without_some_channels(features))
        return tf.split(tf.cast(both, tf.float32), 2)

    def _observe(self, batch: Batch) -> objective_lib.Observation:
        """The networks' results for photos and for one view of each."""
        if batch.view_features is None:
            images = tf.cast(batch.image, tf.float32) / 255.0
            view, transform = self.views.draw(images, self.seed(0))
            features = self._features(tf.concat([images, view], axis=0))
        else:
            transform = warp.Transform(batch.view_matrix, batch.view_displacements)
            features = tf.concat(
                [self._own_features(batch), tf.cast(batch.view_features, tf.float32)], axis=0)
        logits, view_logits = self._logits(features)
        return objective_lib.Observation(
            batch, features[:batch.image.shape[0]], logits, view_logits, transform)

    def _own_features(self, batch: Batch) -> tf.Tensor:
        """What the head reads of the photos themselves; it is computed unless the batch has it."""
        if batch.backbone_features is not None:
            return tf.cast(batch.backbone_features, tf.float32)
        if self.model.segmenter.reads_reference_features:
            return self.model.segmenter.of_features(
                objective_lib.reference_features(self.model, batch))
        return self._features(tf.cast(batch.image, tf.float32) / 255.0)

    def _without_some_channels(self, features: tf.Tensor) -> tf.Tensor:
        """Dropout of whole channels (Tompson et al., CVPR 2015), drawn for each photo and view."""
        rate = self.config.segmenter.dropout
        if rate == 0:
            return features
        size, channels = features.shape[0] // 2, features.shape[-1]
        # A photo's row and its view's row are drawn together, so that any replica draws the same.
        drawn = replicas.own(lambda count: tf.random.stateless_uniform(
            (count, 2, channels), self.seed(3)), size)
        kept = tf.concat([drawn[:, 0], drawn[:, 1]], axis=0) >= rate
        return features * (tf.cast(kept, features.dtype) / (1 - rate))[:, tf.newaxis, tf.newaxis]

    # For the log.

    @tf.function(autograph=False)
    def predict(self, batch: Batch) -> Dict[str, tf.Tensor]:
        """Parts of photos, from their features where the batch has them.

        Args:
          batch: Photos without views, any number of them; see `Prepared.photos`.

        Returns:
          The outputs of `PartModel.predict`, at the photos' size.
        """
        size = self._part_model.input_size
        logits = self.model.segmenter.head(self._own_features(batch))
        return self._part_model.decoded(decoding.part_responses_from_logits(logits, size), size)

    def gradient_norms(self, batch: Batch) -> Dict[str, tf.Tensor]:
        """Norm f32[] of the gradient of each weighted loss in the head's variables, by name.

        It runs operation by operation, since it is called too rarely to be worth a trace.

        Args:
          batch: Batch of one replica as in `train_step`.
        """
        variables = self.model.trained_variables['head']
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(variables)
            scalars = self._weighted_terms(batch)
        prefix = 'weighted_loss/'
        return {name[len(prefix):]: tf.linalg.global_norm(tape.gradient(
                    value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO))
                for name, value in scalars.items() if name.startswith(prefix)}

    @tf.function(autograph=False)
    def pictures(self, images: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Parts of photos u8[B,H,W,3] and of a view of each, for pictures.

        Returns:
          'view' f32[B,H,W,3] in [0, 1]; and the outputs of `PartModel.predict`, for the photos and,
          with the prefix 'view_', for the views.
        """
        pixels = tf.cast(images, tf.float32) / 255.0
        view, _ = self.views.draw(pixels, self.seed(1))
        served, found = self._part_model, {'view': view}
        for prefix, inputs in (('', pixels), ('view_', view)):
            decoded = served.of_resized(inputs)
            found.update((f'{prefix}{name}', value) for name, value in decoded.items())
        return found
