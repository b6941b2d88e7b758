"""k-means clusters of the reference features as a run.

    python -m scops_tf.baselines.kmeans --gin_file=gin/cub.gin

The command fits the method to the training photos of the gin file and exports the result. Evaluate
and predict accept its folder like that of a trained run. Salient cells are clustered, or whole
photos with `--gin_param=Kmeans.inside_saliency=False`.
"""
from __future__ import annotations

from typing import List

from absl import flags

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Reads the configuration, fits and exports."""
    command.require_no_arguments(argv)
    config = config_lib.load(FLAGS.gin_file, FLAGS.gin_param, seed=FLAGS.seed, method='kmeans')
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file, config)
    from scops_tf.baselines import method  # TensorFlow's start takes seconds.

    method.make(config, workdir)


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
