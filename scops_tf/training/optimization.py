"""Updates of the trained variables: learning rates, gradient clipping, weight decay."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from absl import logging
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.training import loss_scale, replicas


class Optimization:
    """Optimizers of the groups of variables 'backbone', 'head', 'basis' and 'decoder'.

    All but the basis follow the poly schedule of DeepLab, learning_rate * (1 - step / num_steps) **
    power. The basis has a constant rate and no weight decay, since its scale has a meaning. The
    decoder has the rate of the head, since both start from random weights.

    Args:
      groups: Variables by group.
      num_steps: Number of steps of the whole training.
      settings: Names, rates, decay and limits; see `config.Optimizer`.
      loss_scale: Loss scale for networks that compute in float16. A step whose gradients are not
        finite then updates no variable.

    Attributes:
      groups: Variables by group.
      optimizers: Keras optimizer by group.
    """

    def __init__(self, groups: Mapping[str, List[tf.Variable]], num_steps: int, *,
                 settings: config_lib.Optimizer,
                 loss_scale: Optional[loss_scale.LossScale] = None) -> None:
        for name in settings.unused:
            logging.warning('`Optimizer.%s` (%s) has no effect, since `Optimizer.name` is %r.',
                            name, getattr(settings, name), settings.name)
        self.groups = dict(groups)
        self._strategy = tf.distribute.get_strategy()
        self._num_steps = num_steps
        self._rates = {'backbone': settings.learning_rate,
                       'head': settings.head_multiplier * settings.learning_rate,
                       'decoder': settings.head_multiplier * settings.learning_rate,
                       'basis': settings.basis_learning_rate}
        self._power = settings.power
        self._clip_norm = settings.clip_norm
        self._loss_scale = loss_scale
        self._coupled_decay = settings.weight_decay if settings.name == 'sgd' else 0.0
        # The rate is assigned before every update. XLA is chosen for the whole step, not here.
        common: Dict[str, Any] = {'learning_rate': 0.0, 'jit_compile': False}
        self.optimizers: Dict[str, tf.keras.optimizers.Optimizer] = {}
        for group, variables in self.groups.items():
            if settings.name == 'sgd':
                optimizer = tf.keras.optimizers.SGD(momentum=settings.momentum, **common)
            elif settings.name == 'adamw' and group != 'basis':
                optimizer = tf.keras.optimizers.AdamW(weight_decay=settings.weight_decay, **common)
            else:
                optimizer = tf.keras.optimizers.Adam(**common)
            # Slots must exist before a checkpoint is restored, so that all of them are restored.
            optimizer.build(variables)
            self.optimizers[group] = optimizer

    @property
    def state(self) -> Dict[str, Any]:
        """The objects to checkpoint, by name: the optimizers, and `loss_scale` if there is one."""
        scale = {} if self._loss_scale is None else {'loss_scale': self._loss_scale}
        return {**self.optimizers, **scale}

    def schedule(self, step: tf.Tensor, *, groups: Sequence[str]) -> Dict[str, tf.Tensor]:
        """Sets the learning rates of the next update.

        Args:
          step: i64[]. Number of steps done.
          groups: Groups that the next update changes.

        Returns:
          Scalars f32[]: `learning_rate/<group>`.
        """
        left = 1.0 - tf.cast(step, tf.float32) / self._num_steps
        poly = tf.maximum(left, 0.0) ** self._power
        scalars = {}
        for group in groups:
            rate = tf.constant(self._rates[group])
            if group != 'basis':
                rate *= poly
            self.optimizers[group].learning_rate.assign(rate)
            scalars[f'learning_rate/{group}'] = rate
        return scalars

    def gradients(self, tape: tf.GradientTape, loss: tf.Tensor, *, groups: Sequence[str]
                  ) -> Tuple[Dict[str, List[tf.Tensor]], Dict[str, tf.Tensor]]:
        """Gradients by group. All replicas call this method and get the same gradients.

        Args:
          tape: Tape that recorded the loss.
          loss: f32[]. Loss of this replica; the gradients are those of its mean over the replicas.
          groups: Groups to update; every variable in them must have a gradient.

        Returns:
          The gradients for `update`, and scalars f32[]: `gradient_norm/<group>`. Neither is scaled
          or clipped.
        """
        scale = tf.constant(1.0) if self._loss_scale is None else tf.identity(
            self._loss_scale.value)
        gradients = replicas.mean(tape.gradient(
            loss, {group: self.groups[group] for group in groups}, output_gradients=scale))
        if self._loss_scale is not None:
            gradients = tf.nest.map_structure(lambda gradient: gradient / scale, gradients)
        return gradients, {f'gradient_norm/{group}': tf.linalg.global_norm(gradients[group])
                           for group in groups}

    def update(self, gradients: Mapping[str, Any], norms: Mapping[str, tf.Tensor]
               ) -> Dict[str, tf.Tensor]:
        """Clips and applies all gradients, or none of them; called outside the replicas.

        Args:
          gradients: Gradients from the method `gradients`, as the replicas returned them.
          norms: Norms of the gradients, as one replica returned them.

        Returns:
          Scalar f32[]: `loss_scale` of the gradients, if there is one.
        """

        def apply() -> None:
            self._strategy.run(self._apply, (gradients, norms))

        if self._loss_scale is None:
            apply()
            return {}
        # A gradient that is not finite has a norm that is not finite, the same on all replicas.
        finite = tf.reduce_all(tf.math.is_finite(list(norms.values())))
        scalars = {'loss_scale': tf.identity(self._loss_scale.value)}
        # Outside the replicas, since a replica must not wait for others under a condition.
        tf.cond(finite, apply, lambda: None)
        self._loss_scale.update(finite)
        return scalars

    def _apply(self, gradients: Mapping[str, List[tf.Tensor]], norms: Mapping[str, tf.Tensor]
               ) -> None:
        for group, updates in gradients.items():
            if self._clip_norm is not None:
                updates, _ = tf.clip_by_global_norm(
                    updates, self._clip_norm, use_norm=norms[f'gradient_norm/{group}'])
            if group != 'basis':
                updates = [update + self._coupled_decay * variable
                           for update, variable in zip(updates, self.groups[group])]
            self.optimizers[group].apply_gradients(
                zip(updates, self.groups[group]), skip_gradients_aggregation=True)
