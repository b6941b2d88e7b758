"""Scores a run beside trivial baselines: `python -m scops_tf.evaluate --workdir=runs/cub`.

The command writes `scores.json`, `scores.csv`, the page `index.html` and the names of the test
photos, `test_photos.txt`, to `<workdir>/eval`. With `Evaluation.step` the scores of that checkpoint
go to `scores_<step>.json`, and the page shows them as learning curves.

With `--other_workdir` the part maps are compared with those of another run on the same photos, such
as one with another seed. With `--crf` the labels are scored after a dense CRF as well.
"""
from __future__ import annotations

from typing import List

from absl import flags

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Reads the run's configuration and scores the run."""
    command.require_no_arguments(argv)
    config = config_lib.load_run(FLAGS.workdir, FLAGS.gin_param)
    from scops_tf.evaluation import run_scores  # TensorFlow's start takes seconds.

    run_scores.evaluate(config, FLAGS.workdir, with_crf=FLAGS.crf,
                        other_workdir=FLAGS.other_workdir)


if __name__ == '__main__':
    command.define_run_flags()
    flags.DEFINE_string('other_workdir', None,
                        'Folder of another run, to compare the part maps with.')
    flags.DEFINE_bool('crf', False,
                      'Score the labels after a dense CRF as well (needs the extra [crf]).')
    command.run(main)
