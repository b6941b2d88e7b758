"""Compares checkpoints without labels: `python -m scops_tf.select --workdirs=runs/a,runs/b`.

The command prints a table with the best checkpoint first and writes it to `--output`. The scores
say how well parts move with the photo, how well they reconstruct its features, and how far runs
agree, all on training photos; see `scops_tf.evaluation.selection`. `--steps=all` compares all
checkpoints that the runs have kept.
"""
from __future__ import annotations

import os
from typing import List

from absl import flags

from scops_tf import command, files

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Scores the checkpoints, prints the table and writes it."""
    command.require_no_arguments(argv)
    everything = FLAGS.steps == ['all']
    if not everything and not all(step.strip().isdecimal() for step in FLAGS.steps or ()):
        raise command.CommandError("`--steps` must be 'all' or numbers such as 300,600; got "
                                   f'{",".join(FLAGS.steps)!r}.')
    files.require_writable(os.path.dirname(FLAGS.output) or '.')
    from scops_tf.evaluation import selection, text_report  # TensorFlow's start takes seconds.

    result = selection.select(
        FLAGS.workdirs, steps=None if everything else list(map(int, FLAGS.steps or ())),
        all_steps=everything, max_photos=FLAGS.max_photos, gin_params=FLAGS.gin_param)
    files.write_json(FLAGS.output, result)
    print(text_report.of_selection(result))


if __name__ == '__main__':
    command.define_gin_param()
    flags.DEFINE_list('workdirs', None, 'Folders of trained runs of the same photos.',
                      required=True)
    flags.DEFINE_list('steps', None, "Steps of the checkpoints, or 'all'; the latest of each run "
                      'where not given.')
    flags.DEFINE_integer('max_photos', 100, 'Most training photos that are looked at.',
                         lower_bound=1)
    flags.DEFINE_string('output', 'selection.json', 'JSON file for the scores.')
    command.run(main)
