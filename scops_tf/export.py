"""Exports a trained run as a SavedModel: `python -m scops_tf.export --workdir=runs/cub`.

The first export of a run is in `<workdir>/export/1`, the next one in `<workdir>/export/2`. Beside
the SavedModel a version holds `scops_tf.json` and the model card, `MODEL_CARD.md`, with the scores
of the step if `evaluate` has measured them. `--format=savedmodel,onnx,tflite` adds `model.onnx` and
`model.tflite` for other runtimes; see docs/serving.md.
"""
from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional

from absl import flags, logging

from scops_tf import command, config as config_lib, files
from scops_tf.labels import parts_file

FLAGS = flags.FLAGS


def scores(workdir: str, step: int) -> Optional[Dict[str, Any]]:
    """What `evaluate` wrote on a step, with the scores of the run alone; None if it has not.

    Raises:
      CommandError: If the file is damaged.
    """
    path = os.path.join(workdir, 'eval', f'scores_{step}.json')
    if not os.path.exists(path):
        return None
    try:
        found = json.loads(files.read(path))
        return {**{name: found[name] for name in ('protocol', 'unit', 'counts')},
                'scores': found['scores']['this run']}
    except (ValueError, KeyError, TypeError) as error:
        raise command.CommandError(
            f'{path!r} must be as `evaluate` wrote it, but it is damaged '
            f'({type(error).__name__}): evaluate again, or remove it.') from error


def main(argv: List[str]) -> None:
    """Exports the run's latest checkpoint, or the checkpoint of `Evaluation.step`."""
    command.require_no_arguments(argv)
    if FLAGS.target == 'cpu' and FLAGS.precision == 'float16':
        raise command.CommandError(
            '`--precision` must be float32 or bfloat16 with --target=cpu, since CPUs are slow in '
            'float16; got float16: give --target=gpu.')
    others = [name for name in dict.fromkeys(FLAGS.format) if name != 'savedmodel']
    if others and FLAGS.precision != 'float32':
        raise command.CommandError(
            f'`--precision` must be float32 with --format={",".join(others)}, which are written in '
            f'it; got {FLAGS.precision}: leave the precision out, or make an export of each.')
    config = config_lib.load_run(FLAGS.workdir, FLAGS.gin_param)
    parts = parts_file.load_or_unnamed(FLAGS.workdir, config.run.num_parts)
    from scops_tf.serving import (
        portable,
        saved_model,
        trained_model,
    )

    for name in others:
        portable.require(name)
    trained = trained_model.load_part_model(
        config, FLAGS.workdir, precision=FLAGS.precision, target=FLAGS.target, parts=parts)
    plain = trained if not others or FLAGS.target == 'gpu' else trained_model.load_part_model(
        config, FLAGS.workdir, target='gpu', parts=parts)
    folder = FLAGS.export_dir or os.path.join(FLAGS.workdir, 'export')
    logging.set_verbosity(logging.WARNING)  # TensorFlow logs its own steps while it saves.
    converted = {name: portable.convert(name, plain.part_model, like=trained.part_model)
                 for name in others}
    exported = saved_model.export(
        trained.part_model, folder, config=config, parts=parts, others=converted, metadata={
            'step': trained.step, 'precision': FLAGS.precision, 'target': FLAGS.target,
            'tap_scales': trained.tap_scales, 'reference_network': trained.reference_network,
            'scores': scores(FLAGS.workdir, trained.step)})
    # Names that were given to earlier versions no longer hold.
    aside = parts_file.replace(parts, folder)
    logging.set_verbosity(logging.INFO)
    if aside:
        logging.warning('The run has no names of parts, so those of the older exports are now in '
                        '%s.', aside)
    logging.info('Exported step %d to %s.', trained.step, exported)


if __name__ == '__main__':
    command.define_run_flags()
    flags.DEFINE_string('export_dir', None, 'Folder of the numbered SavedModels; `export` in the '
                        'run\'s folder where not given.')
    flags.DEFINE_list('format', ['savedmodel'], 'Formats of the export, separated by commas: '
                      'savedmodel, which every export has; onnx and tflite are written beside it '
                      'for other runtimes. onnx needs the extra [onnx].')
    flags.DEFINE_enum('target', 'cpu', ['cpu', 'gpu'], 'Device that the network is arranged for: '
                      'in float32 wide convolutions become matrix products for a CPU, and all stay '
                      'as they are for a GPU. Both run on either device.')
    flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16', 'float16'], 'Arithmetic of '
                      'the network; inputs and outputs are the same. bfloat16 is for CPUs with AMX '
                      'and GPUs from Ampere on, and rounds the last stage of a ResNet, all but the '
                      'first one of VGG19. float16 is for GPUs, and rounds all. Labels stay the '
                      'same on 99.9 % of the pixels.')
    command.run(main)
