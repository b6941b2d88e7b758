"""Exports a trained run as a SavedModel: `python -m scops_tf.export --workdir=runs/cub`."""
from __future__ import annotations

import os
from typing import List

from absl import app, flags, logging

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f'Every argument must be a flag; got {argv[1]!r}.')
    from scops_tf import serving, trainer  # TensorFlow starts only after the flags are known to be right.
    config = config_lib.load_run(FLAGS.workdir, FLAGS.gin_param)
    restored = trainer.load_part_model(config, FLAGS.workdir)
    folder = FLAGS.export_dir or os.path.join(FLAGS.workdir, 'export')
    serving.export(restored.part_model, folder, metadata={
        'step': restored.step, 'tap_scales': restored.tap_scales, 'config': config.operative})
    logging.info('Exported step %d to %s.', restored.step, folder)


if __name__ == '__main__':
    command.define_run_flags()
    flags.DEFINE_string('export_dir', None, 'Folder of the SavedModel; `export` in the run\'s folder if not given.')
    flags.mark_flag_as_required('workdir')
    command.run(main)
