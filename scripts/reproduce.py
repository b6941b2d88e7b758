#!/usr/bin/env python
"""Makes a table of the paper: trains and scores what it needs, and writes it beside the paper's.

    python scripts/reproduce.py --table=3 --data=CUB_200_2011 --recipe=quick --seeds=0,1,2

Tables: 1, faces of CelebA with the ablations; 2, faces of AFLW, fine-tuned after Table 1 (two
folders, --data=CelebA,AFLW); 3, birds; 4, foregrounds of PASCAL VOC. Photos that are not the
paper's, such as other faces in CelebA's layout, are named in the title as a stand-in; for Table 4 a
folder with <category>/images and <category>/masks may stand in.

The table is in <out>/table_<number>_<recipe>: table.md, table.csv, index.html and, as parts.png,
the first test photos as each system cuts them. Runs are below <out> too, and tables share them.
Features that runs share are in <out>/<recipe>/cache, which may be removed at the end. A run that is
done is used again, and the same command goes on after a stop. --dry_run lists the runs with their
state and commands, and what is missing.
"""
from __future__ import annotations

import os
import shlex
from typing import List, Optional

from absl import flags
import tqdm

from scops_tf import command
from scops_tf.tables import execution, paper, report, runs as runs_lib

FLAGS = flags.FLAGS


def _settings(table: paper.Table) -> runs_lib.Settings:
    """The settings in the flags.

    Raises:
      CommandError: If a flag cannot be used.
    """
    if len(FLAGS.data) != len(table.datasets):
        raise command.CommandError(
            f'`--data` must name {len(table.datasets)} folder(s) for Table {table.number}, of '
            f'{", ".join(table.datasets.values())}; got {FLAGS.data}.')
    if not all(seed.isdigit() for seed in FLAGS.seeds) or not FLAGS.seeds:
        raise command.CommandError(f'`--seeds` must be whole numbers such as 0,1,2; got '
                                   f'{FLAGS.seeds}.')
    return runs_lib.Settings(
        FLAGS.recipe, dict(zip(table.datasets, FLAGS.data)), sorted({*map(int, FLAGS.seeds)}),
        FLAGS.gin_param, os.path.join(FLAGS.out, FLAGS.recipe), table.has_refined)


def _print_plan(runs: List[runs_lib.Run], missing: List[str]) -> None:
    """Prints the runs with their state and their commands, and what is missing."""
    for run in runs:
        print(f'{run.state():8}{run.name}')
        for line in run.commands():
            print(f'        {shlex.join(line)}')
    done = sum(run.state() == runs_lib.DONE for run in runs)
    rest = execution.remaining_seconds(runs, execution.read_times(os.path.dirname(runs[0].workdir)))
    print(f'{done} of {len(runs)} runs are done.'
          + (f' The others take about {tqdm.tqdm.format_interval(rest)}.' if rest else ''))
    for sentence in missing:
        print(f'Missing: {sentence}')


def main(argv: List[str]) -> Optional[int]:
    """Reads the flags, makes the runs and writes the table."""
    command.require_no_arguments(argv)
    table = paper.TABLES[int(FLAGS.table)]
    settings = _settings(table)
    runs = runs_lib.plan(table, settings)
    stood_in, missing = report.stand_ins(table, runs)
    if FLAGS.dry_run:
        _print_plan(runs, missing)
        return None
    if missing:
        raise command.CommandError(f'Every data set of Table {table.number} must be there before '
                                   f'its first run; {missing[0]}')
    heading = report.title(table, FLAGS.recipe, stood_in)
    folder = os.path.join(FLAGS.out, f'table_{FLAGS.table}_{FLAGS.recipe}')

    def write() -> None:
        done = sum(run.state() == runs_lib.DONE for run in runs)
        report.write(folder, table, heading, report.lines(table, runs), {
            'runs': f'{done} of {len(runs)}',
            **({'bindings': ' '.join(FLAGS.gin_param)} if FLAGS.gin_param else {})},
            report.pictures(table, runs))

    execution.make(runs, settings.folder, write)
    write()
    print(report.markdown(table, heading, report.lines(table, runs)))
    print(f'The page is {os.path.join(folder, "index.html")}.')
    return None


if __name__ == '__main__':
    flags.DEFINE_enum('table', None, list(map(str, paper.TABLES)),
                      'Number of the table in the paper.', required=True)
    flags.DEFINE_list('data', None, 'Folder of each data set of the table, separated by commas.',
                      required=True)
    flags.DEFINE_enum('recipe', 'default', runs_lib.RECIPES, 'Training of SCOPS: that of the gin '
                      'file of the data, the quick one, or the paper\'s.')
    flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of the runs.')
    command.define_gin_param()
    flags.DEFINE_string('out', 'tables', 'Folder of the runs and of the table.')
    flags.DEFINE_bool('dry_run', False, 'List the runs and what is missing; make none of '
                      'them, and no table. Masks of PASCAL-Part are extracted below the folder of '
                      'the runs, to see what is missing.')
    command.run(main)
