"""Updates of the trained variables: learning rates, gradient clipping, weight decay."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import tensorflow as tf

from scops_tf import replicas

NAMES = ('sgd', 'adam', 'adamw')


class Optimization:
    """Optimisers of the groups 'backbone', 'head' and 'basis'.

    Backbone and head follow the poly schedule of DeepLab, learning_rate * (1 - step / num_steps) **
    power; the basis has a constant rate and no weight decay, since its scale means something.

    Args:
      groups: Variables by group.
      num_steps: Of the whole training.
      name: Of all optimisers, one of `NAMES`. 'sgd' has momentum, and its weight decay is part of
        the gradient; that of 'adamw' is decoupled; 'adam' has none.
      learning_rate: Of the backbone at step 0.
      head_multiplier: Factor of the head's learning rate.
      basis_learning_rate: Of the basis.
      power: Of the schedule.
      momentum: Of 'sgd'.
      weight_decay: Of 'sgd' and 'adamw'.
      clip_norm: Largest gradient norm of each group; None for no limit.

    Attributes:
      groups: As given.
      optimizers: Keras optimiser by group, to be checkpointed.

    Raises:
      ValueError: If `name` is unknown.
    """

    def __init__(self, groups: Mapping[str, List[tf.Variable]], num_steps: int, *, name: str,
                 learning_rate: float, head_multiplier: float, basis_learning_rate: float,
                 power: float, momentum: float, weight_decay: float,
                 clip_norm: Optional[float]) -> None:
        if name not in NAMES:
            raise ValueError(f'`name` must be one of {", ".join(NAMES)}; got {name!r}.')
        self.groups = dict(groups)
        self._num_steps = num_steps
        self._rates = {'backbone': learning_rate, 'head': head_multiplier * learning_rate,
                       'basis': basis_learning_rate}
        self._power = power
        self._clip_norm = clip_norm
        self._coupled_decay = weight_decay if name == 'sgd' else 0.0
        # The rate is assigned before every update; XLA is the affair of the whole step.
        common: Dict[str, Any] = {'learning_rate': 0.0, 'jit_compile': False}
        self.optimizers: Dict[str, tf.keras.optimizers.Optimizer] = {}
        for group, variables in self.groups.items():
            if name == 'sgd':
                optimizer = tf.keras.optimizers.SGD(momentum=momentum, **common)
            elif name == 'adamw' and group != 'basis':
                optimizer = tf.keras.optimizers.AdamW(weight_decay=weight_decay, **common)
            else:
                optimizer = tf.keras.optimizers.Adam(**common)
            # Slots are there before a checkpoint is restored, so that none can be missed.
            optimizer.build(variables)
            self.optimizers[group] = optimizer

    def schedule(self, step: tf.Tensor, *, groups: Sequence[str]) -> Dict[str, tf.Tensor]:
        """Sets the learning rates of the next update.

        Args:
          step: i64[]. Steps done.
          groups: That will be updated.

        Returns:
          f32[]: `learning_rate/<group>`.
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

    def update(self, tape: tf.GradientTape, loss: tf.Tensor, *, groups: Sequence[str]
               ) -> Dict[str, tf.Tensor]:
        """Clips and applies gradients; called by each replica.

        Args:
          tape: That recorded the loss.
          loss: f32[]. Its mean over the replicas is descended.
          groups: That are updated; each must have a gradient.

        Returns:
          f32[]: `gradient_norm/<group>`, before clipping.
        """
        gradients = replicas.mean(
            tape.gradient(loss, {group: self.groups[group] for group in groups}))
        scalars = {}
        for group in groups:
            updates = gradients[group]
            norm = tf.linalg.global_norm(updates)
            if self._clip_norm is not None:
                updates, _ = tf.clip_by_global_norm(updates, self._clip_norm, use_norm=norm)
            if group != 'basis':
                updates = [update + self._coupled_decay * variable
                           for update, variable in zip(updates, self.groups[group])]
            self.optimizers[group].apply_gradients(
                zip(updates, self.groups[group]), skip_gradients_aggregation=True)
            scalars[f'gradient_norm/{group}'] = norm
        return scalars
