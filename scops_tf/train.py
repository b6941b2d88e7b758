"""Trains a part segmenter: `python -m scops_tf.train --gin_file=gin/cub.gin`.

The losses are those of SCOPS, or of its baseline ULD with `gin/presets/uld.gin` after the gin file.

The same command continues a run that stopped. The weights become those of a run without the stop,
on a CPU bit by bit. SIGTERM, or Ctrl-C once, saves a checkpoint and ends the command with exit code
79: the same command continues. A worker that has lost another worker ends with exit code 75 and
should be started again; see docs/distributed.md.
"""
from __future__ import annotations

import os
from typing import List, Optional

from absl import flags, logging

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> Optional[int]:
    """Reads the configuration and trains; returns the exit code if it is not 0."""
    command.require_no_arguments(argv)
    config = config_lib.load(FLAGS.gin_file, FLAGS.gin_param, seed=FLAGS.seed)
    workdir = FLAGS.workdir or config_lib.workdir_for(FLAGS.gin_file, config)
    import tensorflow as tf  # Takes seconds, so a wrong flag is reported before.

    from scops_tf.evaluation import training_scores
    from scops_tf.training import loop, replicas
    if not tf.config.list_physical_devices('GPU'):
        # Threads that add in another order round differently, which a resumed run must not do. On a
        # GPU the gradient of a frozen batch norm has no deterministic kernel: TensorFlow refuses.
        tf.config.experimental.enable_op_determinism()
    try:
        if not loop.train(config, workdir, training_scores.scorer):
            return command.STOPPED
    except replicas.WorkerLostError as error:
        logging.error('%s', error)
        return os.EX_TEMPFAIL
    logging.info('Checkpoints and TensorBoard logs are in %s. Next: '
                 'python -m scops_tf.evaluate --workdir=%s', workdir, workdir)
    return None


if __name__ == '__main__':
    command.define_config_flags()
    command.run(main)
