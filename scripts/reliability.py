#!/usr/bin/env python
"""Repeats experiments on what may go wrong, and prints their figures as one table.

    python scripts/reliability.py                                   # everything: hours
    python scripts/reliability.py --experiments=photos,arrays,config --count=50 --seed=3
    python scripts/reliability.py --experiments=aflw --case=17 --seed=3   # one case again

Photos, annotations, arrays, settings, exports, checkpoints and caches are damaged at random, and
requests are made that an export must serve or refuse, within one process. Trainings and other
commands are killed, stopped and left without room in processes of their own. A case is answered
right if its result is right, or if one clear sentence says what is wrong. The other outcomes are
counted by their kind, and the first ones are listed with their numbers. A case depends on its
experiment, the seed and its number alone.

docs/reliability.md says what is promised; --write puts the figures into its table.
"""
from __future__ import annotations

import os
import tempfile
from typing import Dict, List, Optional

from absl import flags, logging

import scops_tf
from scops_tf import command, files

# The cases of a group of experiments.
GROUPS = {'annotations': ('cub', 'celeba', 'aflw', 'pascal', 'drawn', 'masks', 'lists')}
_PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                     'docs', 'reliability.md')
_LISTED = 5

FLAGS = flags.FLAGS


def chosen(names: List[str]) -> Dict[str, object]:
    """The experiments of these names, all if there is none.

    Raises:
      CommandError: If a name is unknown.
    """
    import experiments
    known = experiments.all_experiments()
    wanted = [each for name in names for each in GROUPS.get(name, (name,))]
    for name in wanted:
        if name not in known:
            raise command.CommandError(f'`--experiments` must be of {", ".join((*known, *GROUPS))};'
                                       f' got {name!r}.')
    return {name: known[name] for name in known if name in wanted or not wanted}


def main(argv: List[str]) -> Optional[int]:
    """Runs the experiments, prints the table; returns 1 if a case was not answered right."""
    import experiments
    from experiments import isolation, outcome, table

    command.require_no_arguments(argv)
    rows, failed = {}, False
    with tempfile.TemporaryDirectory(prefix='reliability-') as folder:
        for name, experiment in chosen(FLAGS.experiments).items():
            indices = ([FLAGS.case] if FLAGS.case is not None else
                       range(FLAGS.count or experiment.count))
            tally = outcome.Tally()
            for index, found in isolation.outcomes(experiment, FLAGS.seed, indices, folder=folder):
                tally.add(index, found)
                if FLAGS.case is not None or FLAGS.all:
                    print(f'{name} {index}: {found.kind}: {found.detail}', flush=True)
            rows[name] = table.row(experiment, tally, scops_tf.__version__, FLAGS.seed)
            print(f'{rows[name]}', flush=True)
            for index, found in list(tally.failures.items())[:_LISTED]:
                print(f'    {found.kind}: {found.detail}\n        again: --experiments={name} '
                      f'--case={index} --seed={FLAGS.seed}', flush=True)
            failed = failed or bool(tally.failures)
    print(f'\n{table.HEADER}')
    print(*(f'{each} |' for each in rows.values()), sep='\n')
    if FLAGS.write:
        page = files.read(_PAGE).decode()
        files.write(_PAGE, table.merged(page, rows, list(experiments.all_experiments())).encode())
        logging.info('Wrote %d rows to %s.', len(rows), _PAGE)
    return 1 if failed else None


if __name__ == '__main__':
    flags.DEFINE_list('experiments', [], 'Names of experiments; all of them where not given.')
    flags.DEFINE_integer('seed', 0, 'Seed of all cases.', lower_bound=0)
    flags.DEFINE_integer('count', None, 'Number of cases of each experiment, in place of its own.',
                         lower_bound=1)
    flags.DEFINE_integer('case', None, 'The one case to run, by its number.', lower_bound=0)
    flags.DEFINE_bool('all', False, 'Print the outcome of every case.')
    flags.DEFINE_bool('write', False, 'Write the rows to docs/reliability.md.')
    command.run(main)
