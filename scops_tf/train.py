"""Trains a part segmenter: `python -m scops_tf.train --gin_file=gin/cub.gin`.

Running the same command again continues where the run stopped, to the weights, on a CPU to the bit,
that it would have without the stop. SIGTERM, or Ctrl-C once, saves and ends. One of several workers
that has lost another ends with exit code 75, to be started again; see docs/distributed.md.
"""
from __future__ import annotations

import os
from typing import List, Optional

from absl import flags, logging

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> Optional[int]:
    """Reads the configuration and trains; the exit code where it is not 0."""
    command.require_no_arguments(argv)
    config = config_lib.load(FLAGS.gin_file, FLAGS.gin_param, seed=FLAGS.seed,
                             method='segmenter')
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file, config)
    import tensorflow as tf  # Its start takes seconds; a wrong flag is told at once.

    from scops_tf.training import loop, replicas
    if not tf.config.list_physical_devices('GPU'):
        # Threads that add in another order would round otherwise; a resumed run must not. On a GPU
        # there is no such way back through a frozen batch norm, and TensorFlow refuses it.
        tf.config.experimental.enable_op_determinism()
    try:
        loop.train(config, workdir)
    except replicas.WorkerLostError as error:
        logging.error('%s', error)
        return os.EX_TEMPFAIL
    logging.info('Checkpoints and TensorBoard logs are in %s. Next: '
                 'python -m scops_tf.evaluate --workdir=%s', workdir, workdir)
    return None


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
