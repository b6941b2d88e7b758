"""Exports a trained run as a SavedModel: `python -m scops_tf.export --workdir=runs/cub`."""
from __future__ import annotations

import os
from typing import List

from absl import flags, logging

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Exports the run's latest checkpoint, or the checkpoint of `Evaluation.step`."""
    command.require_no_arguments(argv)
    config = config_lib.load_run(FLAGS.workdir, FLAGS.gin_param)
    from scops_tf.serving import (
        saved_model,
        trained_model,
    )

    trained = trained_model.load_part_model(config, FLAGS.workdir, precision=FLAGS.precision)
    folder = FLAGS.export_dir or os.path.join(FLAGS.workdir, 'export')
    logging.set_verbosity(logging.WARNING)  # TensorFlow logs its own steps while it saves.
    exported = saved_model.export(trained.part_model, folder, metadata={
        'step': trained.step, 'precision': FLAGS.precision, 'tap_scales': trained.tap_scales,
        'config': config.operative})
    logging.set_verbosity(logging.INFO)
    logging.info('Exported step %d to %s.', trained.step, exported)


if __name__ == '__main__':
    command.define_run_flags()
    flags.DEFINE_string('export_dir', None, 'Folder of the numbered SavedModels; `export` in the '
                        'run\'s folder where not given.')
    flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16'], 'Arithmetic of the '
                      'network: bfloat16 is for processors that multiply in it, such as CPUs with '
                      'AMX and GPUs; labels stay the same on 99.9 % of the pixels. It rounds '
                      'the last stage of a ResNet, all but the first one of VGG19.')
    command.run(main)
