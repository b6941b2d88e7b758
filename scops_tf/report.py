"""Writes the page of a run: `python -m scops_tf.report --workdir=runs/cub`.

`evaluate` writes the page too, with scores. This command writes it without them, for photos to
train on where there are no others, or anew for other names of the parts. Photos are predicted only
where the page is missing or of another step than the checkpoint, or with `--fresh` or
`--gin_param`.

With `--compare=runs/a,runs/b` there is a second page, `compare.html`, with these runs beside this
one. With `--serve` the page is served on this machine and saves the names of the parts itself;
else it offers them as a download, for `python -m scops_tf.name --parts_file=parts.json`.
"""
from __future__ import annotations

import os
import re
from typing import List

from absl import flags, logging

from scops_tf import command, config as config_lib
from scops_tf.pages import comparison, page, report_file, run_data, server

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Writes the page, and serves it if that is asked for."""
    command.require_no_arguments(argv)
    if FLAGS['port'].present and not FLAGS.serve:
        raise command.CommandError('`--port` must come with `--serve`; it is missing.')
    config = config_lib.load_run(FLAGS.workdir, FLAGS.gin_param)
    # Before a minute of work, so that a misspelt one is told at once.
    others = [run_data.read(workdir) for workdir in FLAGS.compare]
    # A page does not keep the bindings that its photos were predicted with.
    if FLAGS.fresh or FLAGS.gin_param or not is_current(FLAGS.workdir, config):
        from scops_tf.evaluation import run_page  # TensorFlow's start takes seconds.

        run_page.gather(config, FLAGS.workdir)
    run = run_data.read(FLAGS.workdir)
    if others:
        logging.info('Wrote %s.', comparison.write([run, *others]))
    path = page.write_run(run, links=server.links(FLAGS.workdir))
    logging.info('Wrote %s.', path)
    if FLAGS.serve:
        server.serve(FLAGS.workdir, FLAGS.port)


def is_current(workdir: str, config: config_lib.Config) -> bool:
    """Whether a run has a report, of its newest checkpoint or of that of `Evaluation.step`.

    Raises:
      ReportError: If the report is damaged.
    """
    report = report_file.load(run_data.folder_of(workdir))
    folder = os.path.join(workdir, 'checkpoints')
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = [int(found.group(1)) for found in (
        re.fullmatch(r'ckpt-(\d+)\.index', name) for name in names) if found]
    if report is None or report.num_parts != config.run.num_parts:
        return False
    wanted = config.evaluation.step
    return report.step == (max(steps, default=report.step) if wanted is None else wanted)


if __name__ == '__main__':
    command.define_run_flags()
    flags.DEFINE_bool('fresh', False, 'Predict the photos anew.')
    flags.DEFINE_list('compare', [], 'Folders of other runs, to be shown beside this one.')
    flags.DEFINE_bool('serve', False, 'Serve the page on this machine until Ctrl-C, so that it '
                      'saves the names of the parts itself.')
    flags.DEFINE_integer('port', 0, 'Port of `--serve`; one that is free unless given.',
                         lower_bound=0, upper_bound=65535)
    command.run(main)
