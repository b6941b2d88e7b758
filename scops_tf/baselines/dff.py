"""Deep feature factorization (Collins et al., ECCV 2018) as a run.

    python -m scops_tf.baselines.dff --gin_file=gin/cub.gin

The command fits the method to the training photos of the gin file and exports the result. Evaluate
and predict accept its folder like that of a trained run. Two factors beside the K parts are the
background; `--gin_param=Dff.num_background=0` sets none aside. Features keep their own lengths
unless `--gin_param` says otherwise.
"""
from __future__ import annotations

from typing import List

from absl import flags

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS

# As published. Normalized features give the background as much weight as objects: on birds at
# 512x512, with the quick preset's exponent, one factor then wins nearly everywhere.
_LENGTHS_KEPT = 'Features.normalization = 0.0'


def main(argv: List[str]) -> None:
    """Reads the configuration, fits and exports."""
    command.require_no_arguments(argv)
    config = config_lib.load(FLAGS.gin_file, [_LENGTHS_KEPT, *FLAGS.gin_param], seed=FLAGS.seed,
                             method='dff')
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file, config)
    from scops_tf.baselines import method  # TensorFlow's start takes seconds.

    method.make(config, workdir)


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
