"""Counts the photos of a gin file's dataset beside those of the paper.

    python -m scops_tf.datasets --gin_file=gin/paper/celeba_k8.gin --gin_param="Data.root='CelebA'"

The lists are read and the photos are chosen as a training does it. No photo is decoded. Where the
gin file chooses the photos as the paper does and their numbers are others, the exit code is 1.
"""
from __future__ import annotations

from typing import List

from absl import flags

from scops_tf import command, config as config_lib, datasets
from scops_tf.datasets import counts

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Prints the numbers of photos; the exit code is 1 if they are not those expected."""
    command.require_no_arguments(argv)
    config = config_lib.load(FLAGS.gin_file, FLAGS.gin_param, seed=FLAGS.seed)
    # The training finds the masks that are extracted from PASCAL-Part beside this folder.
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file, config)
    dataset = datasets.load_for(config, workdir)
    print(counts.report(dataset))
    differing = counts.difference(dataset)
    if differing:
        raise datasets.DatasetError(differing)
    if dataset.expected_counts:
        print('The numbers are those expected.')
    else:
        print('No numbers are known for this choice of photos, so none are compared.')


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
