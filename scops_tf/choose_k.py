"""Tells how many parts to take: `python -m scops_tf.choose_k --gin_file=gin/cub.gin --parts=2:8`.

The command trains runs of each number of parts with several seeds, by the quick recipe, and
compares the runs of one number with each other. It writes `choose_k.json` and the plot
`choose_k.png` to the folder, and prints a table and its advice, with how sure that is. No label is
used.

The runs share the features of the photos. The same command goes on after a stop, and runs that are
there are used again, also where `--parts` or `--seeds` grow.
"""
from __future__ import annotations

import os
from typing import List, Optional, Sequence

from absl import flags, logging

from scops_tf import command, config as config_lib, files

FLAGS = flags.FLAGS

# No network has more; see `Run.num_parts`.
_MOST_PARTS = 64


def main(argv: List[str]) -> Optional[int]:
    """Makes the runs, compares them, and writes and prints the result."""
    command.require_no_arguments(argv)
    counts = numbers(FLAGS.parts)
    gin_files = [*FLAGS.gin_file, *([FLAGS.recipe] if FLAGS.recipe else [])]

    def load(num_parts: int, seed: int, shared: Sequence[str]) -> config_lib.Config:
        return config_lib.load(
            gin_files, [*FLAGS.gin_param, f'Run.num_parts={num_parts}', *shared], seed=seed)

    workdir = FLAGS.workdir or config_lib.workdir_for(
        FLAGS.gin_file, load(counts[0], 0, ())) + '_choose_k'
    files.require_no_pattern(workdir, '--workdir')
    files.require_writable(workdir)
    import tensorflow as tf  # Takes seconds, so a wrong flag is reported before.

    from scops_tf.evaluation import part_count_runs
    if not tf.config.list_physical_devices('GPU'):
        tf.config.experimental.enable_op_determinism()  # As in a training.
    choice = part_count_runs.Choice(load, workdir, counts=counts, num_seeds=FLAGS.seeds,
                                    max_photos=FLAGS.max_photos)
    if not choice.make():
        return command.STOPPED
    result = choice.result()
    choice.write(result)
    print(part_count_runs.text(result))
    logging.info('The plot is %s. The features in %s may be removed.',
                 os.path.join(workdir, part_count_runs.PLOT_FILE), os.path.join(workdir, 'cache'))
    return None


def numbers(text: str) -> List[int]:
    """The numbers of parts of `--parts`: '2:12' is 2 to 12, '2,4,8' these.

    Raises:
      CommandError: If it is of another form, or a number is out of range.
    """
    first, colon, last = text.partition(':')
    words = [first, last] if colon else text.split(',')
    if not all(word.strip().isdecimal() for word in words):
        raise command.CommandError('`--parts` must be a range such as 2:12, or numbers such as '
                                   f'2,4,8; got {text!r}.')
    found = list(map(int, words))
    if not 1 <= min(found) <= max(found) <= _MOST_PARTS or (colon and found[0] > found[1]):
        raise command.CommandError(f'`--parts` must be ascending and lie in [1, {_MOST_PARTS}]; '
                                   f'got {text!r}.')
    return list(range(found[0], found[1] + 1)) if colon else sorted(set(found))


if __name__ == '__main__':
    flags.DEFINE_multi_string('gin_file', [], 'Gin file; may be repeated, later ones override '
                              'earlier ones.')
    command.define_gin_param()
    flags.DEFINE_string('workdir', None, 'Folder of the runs; below `runs/` where not given.')
    flags.DEFINE_string('recipe', 'gin/presets/quick.gin', 'Preset after the gin files; empty for '
                        'none.')
    flags.DEFINE_string('parts', '2:8', 'Numbers of parts: a range, or numbers such as 2,4,8.')
    flags.DEFINE_integer('seeds', 3, 'Number of seeds of each number of parts.', lower_bound=2)
    flags.DEFINE_integer('max_photos', 100, 'Most training photos that are compared.',
                         lower_bound=1)
    command.run(main)
