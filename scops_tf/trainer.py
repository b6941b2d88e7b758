"""Owns the networks, the optimisers and the checkpoint; one tf.function step returns a dict of scalars."""
from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Dict, Iterator, List, NamedTuple, Optional

import tensorflow as tf

from scops_tf import (config as config_lib, features, geometry, images as images_lib, losses, part_basis,
                      segmenter, serving, warp)

CHECKPOINT_FOLDER = 'checkpoints'

# Mean colour of ImageNet (RGB, of 255), which fills the pixels of a view that come from outside the photo.
_MEAN_COLOR = (123.68 / 255, 116.779 / 255, 103.939 / 255)


class TrainingError(ValueError):
    """A training that cannot go on; the message is one sentence for the user."""


class Restored(NamedTuple):
    """A trained segmenter, ready to serve, the step it was saved at, and the scales of the features' taps."""

    part_model: serving.PartModel
    step: int
    tap_scales: List[float]


class View(NamedTuple):
    """A transformed view I' = T_s(T_a(I)) of a batch and its spatial transform."""

    images: tf.Tensor
    transform: warp.Transform


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Networks built inside compute in `name`, with float32 variables."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy({'float32': 'float32', 'bfloat16': 'mixed_bfloat16'}[name])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _optimizer(settings: config_lib.Optimizer) -> tf.keras.optimizers.Optimizer:
    # The rate is assigned before every update; compilation by XLA is the whole step's affair, not theirs.
    common = dict(learning_rate=0.0, jit_compile=False)
    if settings.name == 'sgd':
        return tf.keras.optimizers.SGD(momentum=settings.momentum, **common)
    if settings.name == 'adam':
        return tf.keras.optimizers.Adam(**common)
    return tf.keras.optimizers.AdamW(weight_decay=settings.weight_decay, **common)


class Trainer:
    """Self-supervised training of a part segmenter (§3).

    Args:
      config: Of the run; read here and nowhere below.

    Attributes:
      step: i64[]. Steps done.
      segmenter, reference_features, part_basis: The three networks.
    """

    def __init__(self, config: config_lib.Config) -> None:
        self.config = config
        run, optimizer = config.run, config.optimizer
        with _precision(run.precision):
            self.segmenter = segmenter.Segmenter(
                run.num_parts, backbone=config.segmenter.backbone, weights=config.segmenter.weights,
                seed=run.seed)
        self.reference_features = reference_network(config)
        self.part_basis = part_basis.PartBasis(
            run.num_parts, self.reference_features.num_channels, seed=run.seed)
        self.random_warp = warp.RandomWarp(**dataclasses.asdict(config.warp))
        self.color_jitter = images_lib.ColorJitter(**dataclasses.asdict(config.color_jitter))
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name='step')

        self._groups: Dict[str, List[tf.Variable]] = {
            'head': self.segmenter.head_variables, 'basis': [self.part_basis.raw]}
        if config.segmenter.trained == 'all':
            self._groups['backbone'] = self.segmenter.backbone_variables
        self._optimizers = {group: _optimizer(optimizer) for group in self._groups}
        for group, variables in self._groups.items():
            # Slots exist before a checkpoint is restored, so that it can be checked for completeness.
            self._optimizers[group].build(variables)
        self._model = tf.train.Checkpoint(
            segmenter=self.segmenter, part_basis=self.part_basis,
            tap_scales=self.reference_features.tap_scales)
        self._checkpoint = tf.train.Checkpoint(step=self.step, model=self._model, **self._optimizers)

    # Checkpoints.

    def manager(self, workdir: str) -> tf.train.CheckpointManager:
        """Manager of the run's checkpoints, which are written atomically."""
        return tf.train.CheckpointManager(
            self._checkpoint, os.path.join(workdir, CHECKPOINT_FOLDER),
            max_to_keep=self.config.checkpoint.keep)

    def save(self, manager: tf.train.CheckpointManager) -> str:
        """Saves everything under the number of the step.

        Raises:
          OSError: If the disk is full or the folder cannot be written; earlier checkpoints are untouched.
        """
        try:
            return manager.save(checkpoint_number=self.step.numpy())
        except (tf.errors.OpError, OSError) as error:
            reason = getattr(error, 'message', None) or str(error)
            latest = manager.latest_checkpoint
            kept = f'the checkpoint {latest} is untouched, so' if latest else 'after that'
            raise OSError(
                f'The checkpoint of step {self.step.numpy()} could not be written to {manager.directory!r} '
                f'({reason}); free disk space or make the folder writable: {kept} the same command '
                'continues.') from None

    def restore(self, workdir: str, step: Optional[int] = None) -> bool:
        """Restores the latest checkpoint of a run, or that of `step`; False where there is none.

        Raises:
          ValueError: If there is none of `step`, or it is of networks of another shape.
        """
        path = _checkpoint_path(workdir, step)
        if path is None:
            return False
        _restore(self._checkpoint, path)
        return True

    def restore_model(self, workdir: str, step: Optional[int] = None) -> None:
        """Restores segmenter, basis and tap scales of a run, not its step or optimisers.

        Raises:
          ValueError: If the run has no checkpoint (of `step`), or it is of networks of another shape.
        """
        path = _checkpoint_path(workdir, step)
        if path is None:
            raise ValueError(f'A run to start from must have a checkpoint; there is none in {workdir!r}.')
        _restore(tf.train.Checkpoint(model=self._model), path)

    # The step.

    def seed(self, purpose: int) -> tf.Tensor:
        """i32[2], a function of the run's seed, the step and what the draw is for."""
        base = tf.constant([self.config.run.seed, purpose], tf.int32)
        return tf.random.experimental.stateless_fold_in(base, self.step)

    def view(self, images: tf.Tensor, seed: tf.Tensor) -> View:
        """I' = T_s(T_a(I)), §3.3; pixels from outside the photo take the mean colour of ImageNet.

        Args:
          images: f32[B,H,W,3]. RGB in [0, 1].
          seed: i32[2]. The view is a pure function of it and of the photos.
        """
        seeds = tf.random.experimental.stateless_split(seed, 2)
        transform = self.random_warp.draw(seeds[0], images.shape[0], self.config.data.image_size)
        jittered = self.color_jitter(images, seeds[1])
        return View(transform.warp(jittered, fill=tf.constant(_MEAN_COLOR)), transform)

    @tf.function
    def train_step(self, batch: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
        """One update of all trained variables.

        Args:
          batch: `image` u8[B,H,W,3], `saliency` f32[B,H,W], `reference_features` f16[B,h,w,C] where they
            are cached; with cached views `backbone_features`, `view_features` f16[B,h,w,D] and the fields
            of the views' spatial transforms, `view_matrix` and `view_displacements`.

        Returns:
          Scalars by their TensorBoard names.
        """
        with tf.GradientTape() as tape:
            terms = self._terms(batch)
            total = tf.add_n([weight * terms[name] for name, weight in self._loss_weights().items()])
        scalars = {f'loss/{name}': terms[name] for name in self._loss_weights()}
        scalars.update({f'weighted_loss/{name}': weight * terms[name]
                        for name, weight in self._loss_weights().items()})
        scalars.update({name: value for name, value in terms.items() if '/' in name})
        scalars['loss/total'] = total
        scalars.update(self._update(tape, total))
        return scalars

    @tf.function
    def warmup_step(self, batch: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
        """One step towards `warmup_target`, the reference features' projection on the starting basis.

        The responses so have the parts' shapes before the losses, which diffuse responses satisfy best by
        vanishing, are asked for. The transformed view is fitted to the warped target.

        Args:
          batch: As of `train_step`, and `warmup_target` f32[B,h,w,K+1], responses summing to 1.
        """
        with tf.GradientTape() as tape:
            logits, view_logits, transform = self._both_logits(batch)
            size = logits.shape[1:3]
            target = geometry.upsample(tf.cast(batch['warmup_target'], tf.float32), size)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
            valid = transform.valid_mask(size)
            view_loss = tf.nn.softmax_cross_entropy_with_logits(transform.warp(target), view_logits)
            loss += tf.math.divide_no_nan(tf.reduce_sum(valid * view_loss), tf.reduce_sum(valid))
        scalars = {'loss/warmup': loss, 'loss/total': loss}
        scalars.update(_part_scalars(tf.nn.softmax(logits)))
        scalars.update(self._update(tape, loss))
        return scalars

    def _loss_weights(self) -> Dict[str, float]:
        weights = self.config.losses
        return {name: getattr(weights, name) for name in (
            'concentration', 'equivariance', 'center_equivariance', 'semantic_consistency', 'orthonormal')}

    def _both_logits(self, batch: Dict[str, tf.Tensor]):
        """Logits f32[B,h,w,K+1] of the photos and of their views, from one pass of the segmenter."""
        if 'view_features' in batch:
            transform = warp.Transform(*(batch[f'view_{name}'] for name in warp.Transform._fields))
            inputs = tf.concat([batch['backbone_features'], batch['view_features']], axis=0)
            both = self.segmenter.head(tf.cast(inputs, tf.float32))
        else:
            images = tf.cast(batch['image'], tf.float32) / 255.0
            view, transform = self.view(images, self.seed(0))
            both = self.segmenter(tf.concat([images, view], axis=0))
        logits, view_logits = tf.split(tf.cast(both, tf.float32), 2)
        return logits, view_logits, transform

    def _terms(self, batch: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
        """The unweighted loss terms by name, and figures on the parts under names with a slash."""
        settings = self.config.losses
        size = self.config.response_size
        logits, view_logits, transform = self._both_logits(batch)
        logits, view_logits = geometry.upsample(logits, size), geometry.upsample(view_logits, size)
        responses, view_responses = tf.nn.softmax(logits), tf.nn.softmax(view_logits)
        parts, view_parts = responses[..., 1:], view_responses[..., 1:]

        centers = geometry.part_centers(parts, epsilon=settings.concentration_epsilon)
        view_centers = geometry.part_centers(view_parts, epsilon=settings.concentration_epsilon)
        warped_centers = transform.warp_points(centers)

        if 'reference_features' in batch:
            reference = self.reference_features.scale(batch['reference_features'])
        else:
            reference = self.reference_features(images_at(batch['image'], self.config))
        saliency = None
        if self.config.data.saliency is not None:
            saliency = geometry.upsample(batch['saliency'][..., tf.newaxis], size)[..., 0]
        basis = self.part_basis()
        consistency = losses.semantic_consistency_terms(reference, saliency, parts, basis)
        return {
            'concentration': losses.concentration_loss(parts, epsilon=settings.concentration_epsilon),
            'equivariance': losses.equivariance_loss(
                view_logits, transform.warp(tf.stop_gradient(logits)), transform.valid_mask(size),
                direction=settings.equivariance_direction),
            'center_equivariance': losses.center_equivariance_loss(
                view_centers, warped_centers, geometry.is_inside(warped_centers)),
            'semantic_consistency': consistency.loss,
            'orthonormal': losses.orthonormal_loss(basis),
            # Says little in itself; below 1 the parts explain features that all-background would not.
            'loss/semantic_consistency_relative': tf.math.divide_no_nan(
                consistency.loss, consistency.all_background),
            **_part_scalars(responses),
        }

    def _update(self, tape: tf.GradientTape, total: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Clips and applies the gradients of each group; returns their norms and learning rates."""
        settings = self.config.optimizer
        progress = tf.cast(self.step, tf.float32) / self.config.run.steps
        rate = settings.learning_rate * tf.maximum(1.0 - progress, 0.0) ** settings.power
        rates = {'backbone': rate, 'head': settings.head_multiplier * rate,
                 'basis': tf.constant(settings.basis_learning_rate)}
        gradients = tape.gradient(total, self._groups)
        scalars = {}
        for group, variables in self._groups.items():
            # The basis has no gradient where no loss on it is switched on.
            clipped = [tf.zeros_like(variable) if gradient is None else gradient
                       for gradient, variable in zip(gradients[group], variables)]
            norm = tf.linalg.global_norm(clipped)
            if settings.clip_norm is not None:
                clipped, _ = tf.clip_by_global_norm(clipped, settings.clip_norm, use_norm=norm)
            if settings.name == 'sgd' and group != 'basis':
                clipped = [gradient + settings.weight_decay * variable
                           for gradient, variable in zip(clipped, variables)]
            self._optimizers[group].learning_rate.assign(rates[group])
            self._optimizers[group].apply_gradients(zip(clipped, variables))
            scalars[f'gradient_norm/{group}'] = norm
            scalars[f'learning_rate/{group}'] = rates[group]
        self.step.assign_add(1)
        return scalars

    # What is looked at.

    @tf.function
    def pictures(self, images: tf.Tensor) -> Dict[str, tf.Tensor]:
        """Photos u8[B,H,W,3], a view of theirs, and responses and centres (pixels) of both."""
        pixels = tf.cast(images, tf.float32) / 255.0
        view, _ = self.view(pixels, self.seed(1))
        size = self.config.data.image_size
        network = serving.SegmenterResponses(self.segmenter)
        found = {'view': view}
        for name, inputs in (('', pixels), ('view_', view)):
            responses = network.part_responses(inputs)
            centers = geometry.part_centers(responses[..., 1:], epsilon=1e-12)
            found[f'{name}part_responses'] = responses
            found[f'{name}part_centers'] = geometry.frame_to_pixels(centers, size)
            found[f'{name}labels'] = serving.decode(
                responses, size, background=self.config.decode.background)
        return found


def has_checkpoint(workdir: str) -> bool:
    """Whether a run in this folder has saved a checkpoint."""
    return tf.train.latest_checkpoint(os.path.join(workdir, CHECKPOINT_FOLDER)) is not None


def reference_network(config: config_lib.Config) -> features.ReferenceFeatures:
    """The frozen network of the reference features, its tap scales not measured yet."""
    with _precision(config.run.precision):
        return features.ReferenceFeatures(
            config.features.network, weights=config.features.weights, layers=config.features.layers,
            layer_weights=config.features.layer_weights)


def load_part_model(config: config_lib.Config, workdir: str) -> Restored:
    """The segmenter of a run's checkpoint, that of `Evaluation.step` or the latest, in float32.

    Raises:
      ValueError: If there is no such checkpoint, or it is of a network of another shape.
    """
    path = _checkpoint_path(workdir, config.evaluation.step)
    if path is None:
        raise ValueError(f'`--workdir` must be the folder of a run with a checkpoint; there is none in {workdir!r}.')
    network = segmenter.Segmenter(config.run.num_parts, backbone=config.segmenter.backbone, weights=None)
    step = tf.Variable(0, dtype=tf.int64)
    tap_scales = tf.Variable([], shape=[None], dtype=tf.float32)
    model = tf.train.Checkpoint(segmenter=network, tap_scales=tap_scales)
    _restore(tf.train.Checkpoint(step=step, model=model), path)
    part_model = serving.PartModel(
        serving.SegmenterResponses(network), num_parts=config.run.num_parts,
        input_size=config.data.image_size, background=config.decode.background)
    return Restored(part_model, int(step.numpy()), [float(scale) for scale in tap_scales.numpy()])


def images_at(images: tf.Tensor, config: config_lib.Config) -> tf.Tensor:
    """u8[B,H,W,3] photos as the reference network sees them: f32 in [0, 1], at the features' size."""
    pixels = tf.cast(images, tf.float32) / 255.0
    size = config.features.image_size
    return pixels if size is None or size == config.data.image_size else tf.image.resize(pixels, size)


def _part_scalars(responses: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Area (share of the picture) and presence (largest response) of each part, batch means."""
    area = tf.reduce_mean(responses, axis=(0, 1, 2))
    presence = tf.reduce_mean(tf.reduce_max(responses, axis=(1, 2)), axis=0)
    scalars = {'part/foreground_share': 1.0 - area[0]}
    for part in range(1, responses.shape[-1]):
        scalars[f'part_area/{part}'] = area[part]
        scalars[f'part_presence/{part}'] = presence[part]
    return scalars


def _checkpoint_path(workdir: str, step: Optional[int]) -> Optional[str]:
    folder = os.path.join(workdir, CHECKPOINT_FOLDER)
    if step is None:
        return tf.train.latest_checkpoint(folder)
    state = tf.train.get_checkpoint_state(folder)
    paths = list(state.all_model_checkpoint_paths) if state else []
    for path in paths:
        if path.endswith(f'-{step}'):
            return path
    kept = ', '.join(path.rsplit('-', 1)[-1] for path in paths) or 'none'
    raise ValueError(f'There is no checkpoint of step {step} in {folder!r}; kept are those of {kept}.')


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
    except (ValueError, AssertionError, tf.errors.OpError) as error:
        reason = str(getattr(error, 'message', error)).split('\n')[0]
        raise ValueError(
            f'The checkpoint {path!r} must be of the networks that the configuration builds; it is not '
            f'({reason}): restore it with its own `Run.num_parts`, `Segmenter.backbone` and `Features`, '
            'or start in another folder.') from None
