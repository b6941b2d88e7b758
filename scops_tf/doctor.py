"""Tells what goes wrong in a training: `python -m scops_tf.doctor --workdir=runs/cub`.

The command looks at some training photos with the run's newest checkpoint, and at what the run has
logged. For each finding it says what was measured, why it matters, and which setting to move which
way. A healthy run gets one line. Nothing is written, so a run may be examined while it trains.

The exit code is 0 for a healthy run and 2 where there are findings.
"""
from __future__ import annotations

from typing import List

from absl import flags

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS

# Exit code of a run with findings; 1 is that of an error.
_FINDINGS = 2


def main(argv: List[str]) -> int:
    """Examines the run and prints what was found."""
    command.require_no_arguments(argv)
    config = config_lib.load_run(FLAGS.workdir, FLAGS.gin_param)
    from scops_tf.training import examination  # TensorFlow's start takes seconds.

    found = examination.examine(config, FLAGS.workdir, max_photos=FLAGS.max_photos)
    print(f'{FLAGS.workdir}, step {found.step}, {found.measures.num_photos} training photos.')
    if FLAGS.measures:
        for name, value in found.measures.scalars().items():
            print(f'  {name} {value:.4g}')
    if not found.findings:
        print('Nothing is wrong.')
        return 0
    for finding in found.findings:
        print('', *finding.lines(config), sep='\n')
    return _FINDINGS


if __name__ == '__main__':
    command.define_run_flags()
    flags.DEFINE_integer('max_photos', 64, 'Most training photos that are looked at.',
                         lower_bound=1)
    flags.DEFINE_bool('measures', False, 'Print all measures too.')
    command.run(main)
