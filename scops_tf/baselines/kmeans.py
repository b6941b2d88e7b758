"""k-means clusters of the reference features as a run.

    python -m scops_tf.baselines.kmeans --gin_file=gin/cub.gin

It is fitted to the training photos of the gin file and exported; evaluate and predict take its
folder as they take that of a trained run.
Clusters are of salient places, or with `--gin_param=Kmeans.inside_saliency=False` of whole photos.
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
