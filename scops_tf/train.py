"""Trains a part segmenter: `python -m scops_tf.train --gin_file=gin/cub.gin`.

Running the same command again continues where the run stopped, to the weights, on a CPU to the bit,
that it would have without the stop. SIGTERM, or Ctrl-C once, saves and ends.
"""
from __future__ import annotations

from typing import List

from absl import flags, logging

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Reads the configuration and trains."""
    command.require_no_arguments(argv)
    config = config_lib.load(FLAGS.gin_file, FLAGS.gin_param, seed=FLAGS.seed,
                             system='segmenter')
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file)
    import tensorflow as tf  # Its start takes seconds; a wrong flag is told at once.

    from scops_tf import training_loop
    if not tf.config.list_physical_devices('GPU'):
        # Threads that add in another order would round otherwise; a resumed run must not. On a GPU
        # there is no such way back through a frozen batch norm, and TensorFlow refuses it.
        tf.config.experimental.enable_op_determinism()
    training_loop.train(config, workdir)
    logging.info('Checkpoints and TensorBoard logs are in %s. Next: '
                 'python -m scops_tf.evaluate --workdir=%s', workdir, workdir)


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
