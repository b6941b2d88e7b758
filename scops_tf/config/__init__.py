"""Configuration: frozen dataclasses bound by gin. Only this package imports gin.

A gin file binds fields of the sections (`Run.num_parts = 8`). Parsing is strict: an unknown name, a
wrong type or a value out of range raises a `ConfigError` with the binding, the law and the value.
"""
from scops_tf.config.configuration import Config
from scops_tf.config.gin_files import load, workdir_for
from scops_tf.config.laws import ConfigError
from scops_tf.config.run_file import RUN_FILE, load_crf, load_recipe, load_run, require_same, save
from scops_tf.config.sections import (
    Checkpoint,
    ColorJitter,
    Crf,
    Data,
    Decode,
    Dff,
    Evaluation,
    Features,
    Kmeans,
    Logging,
    Losses,
    Optimizer,
    PartBasis,
    Run,
    Segmenter,
    Synthetic,
    Uld,
    Warp,
)

__all__ = [
    'Checkpoint', 'ColorJitter', 'Config', 'ConfigError', 'Crf', 'Data', 'Decode', 'Dff',
    'Evaluation', 'Features', 'Kmeans', 'Logging', 'Losses', 'Optimizer', 'PartBasis', 'RUN_FILE',
    'Run', 'Segmenter', 'Synthetic', 'Uld', 'Warp', 'load', 'load_crf', 'load_recipe', 'load_run',
    'require_same', 'save', 'workdir_for'
]
