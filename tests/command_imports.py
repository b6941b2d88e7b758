"""What the server of `command_process.py` imports after `scops_tf.command`, for all commands."""
from __future__ import annotations

import tensorflow as tf

from scops_tf.baselines import method  # noqa: F401
from scops_tf.evaluation import (  # noqa: F401
    part_count_runs,
    run_scores,
    selection,
    training_scores,
)
from scops_tf.serving import predictor, saved_model  # noqa: F401
from scops_tf.training import examination, loop  # noqa: F401

tf.keras.Model  # noqa: B018  TensorFlow imports Keras when it is first asked for.
