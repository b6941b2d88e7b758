"""The table of figures: Markdown rows between two markers of a page."""
from __future__ import annotations

import re
from typing import Dict, List

from experiments.outcome import CRASH, HANG, TRACEBACK, WRONG, Experiment, Tally
from scops_tf import command

BEGIN, END = '<!-- figures: begin -->', '<!-- figures: end -->'
HEADER = ('| experiment | a case | cases | answered right | tracebacks | silent wrong results '
          '| hangs | crashes | version, seed | before |\n|---|---|---|---|---|---|---|---|---|---|')


def row(experiment: Experiment, tally: Tally, version: str, seed: int) -> str:
    """The row of an experiment; what was before is left out."""
    counts = tally.counts
    cells = [f'`{experiment.name}`', experiment.title, tally.cases, tally.answered,
             counts[TRACEBACK], counts[WRONG], counts[HANG], counts[CRASH],
             f'{version}, {seed}']
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def merged(page: str, rows: Dict[str, str], order: List[str]) -> str:
    """A page with new rows in its table.

    Args:
      page: Text of the page, which has the markers.
      rows: New rows by the names of their experiments. The last cell of an old row, what was
        before, stays.
      order: Names of all experiments in the order of the table. Rows of other names are dropped.

    Raises:
      CommandError: If the page lacks the markers.
    """
    found = re.search(f'{re.escape(BEGIN)}\n(.*?){re.escape(END)}', page, re.DOTALL)
    if not found:
        raise command.CommandError(f'The page must have the lines {BEGIN} and {END}, between which '
                                   'the table is written; it has none.')
    old = {name.group(1): line for line in found.group(1).splitlines()
           for name in [re.match(r'\| `([\w ]+)` \|', line)] if name}
    lines = []
    for name in order:
        if name in rows:
            cells = old.get(name, '').split('|')
            before = cells[-2].strip() if len(cells) == HEADER.split('\n')[0].count('|') + 1 else ''
            lines.append(f'{rows[name]} {before} |'.replace('  |', ' |'))
        elif name in old:
            lines.append(old[name])
    table = '\n'.join([BEGIN, HEADER, *lines, END])
    return page[:found.start()] + table + page[found.end():]
