"""What the pages show of a run, read from its folder."""
from __future__ import annotations

import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from scops_tf import files
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import curves as curves_lib, report_file
from scops_tf.pages.report_file import Report, ReportError
from scops_tf.pages.score_table import STATISTICS, ScoreTable

FOLDER = 'eval'
SCORES_FILE = 'scores.json'
_RUN_FILE = 'config.gin'


class RunData(NamedTuple):
    """What the pages show of a run.

    Attributes:
      workdir: Folder of the run, as it was given.
      report: Its photos and parts.
      names: Names, merges and drops of its parts, as they are now.
      result: Its scores as `evaluate` wrote them, or None.
      curves: The scalars of its training.
      score_curves: Its scores at the steps evaluated so far.
      config: The configuration as text.
    """

    workdir: str
    report: Report
    names: PartNames
    result: Optional[Dict[str, Any]]
    curves: curves_lib.Curves
    score_curves: curves_lib.Curves
    config: str

    @property
    def folder(self) -> str:
        """Folder of the page."""
        return folder_of(self.workdir)

    @property
    def ours(self) -> Dict[str, float]:
        """The scores of the run itself by name; empty where it is not evaluated."""
        return next(iter(self.result['scores'].values())) if self.result else {}

    @property
    def notices(self) -> List[str]:
        """Sentences on what does not fit together."""
        found = []
        if self.result and self.result['step'] != self.report.step:
            found.append(f'The scores are of step {self.result["step"]}, the photos and parts of '
                         f'step {self.report.step}: evaluate again.')
        if self.result is None and self.report.split == 'test':
            found.append('There are no scores yet: python -m scops_tf.evaluate computes them.')
        if self.report.split == 'train':
            found.append('These are photos that the model was trained on, since the data set has '
                         'no others. So they do not tell how it does on new photos.')
        if tuple(self.names.lookup.tolist()) != self.report.lookup:
            found.append('Parts were merged or dropped since the scores were computed: evaluate '
                         'again.')
        return found

    @property
    def table(self) -> Optional[ScoreTable]:
        """The scores beside those of the baselines; None where it is not evaluated."""
        if self.result is None:
            return None
        title = ', protocol '.join(filter(None, (
            self.result['dataset'], self.result.get('protocol'))))
        directions = self.result.get('directions', {})
        return ScoreTable(
            f'{title}, step {self.result["step"]}; per cent', self.result['counts'],
            [(STATISTICS.get(name, name), directions.get(name, '')) for name in self.ours],
            [(method, [values.get(name) for name in self.ours])
             for method, values in self.result['scores'].items()],
            note=' '.join(self.result['notes']), trivial=self.result.get('trivial', ()))


def folder_of(workdir: str) -> str:
    """The folder of a run's page."""
    return os.path.join(workdir, FOLDER)


def read(workdir: str) -> RunData:
    """Reads what the pages show of a run.

    Args:
      workdir: Folder of the run.

    Raises:
      ReportError: If the report is missing or damaged, or the scores are damaged.
      PartNamesError: If the names cannot be used.
      OSError: If a file cannot be read.
    """
    folder = folder_of(workdir)
    report = report_file.load(folder)
    if report is None:
        raise ReportError(f'{workdir!r} must have a page to be shown, but has none: write it by '
                          f'`python -m scops_tf.report --workdir={workdir}`.')
    result, score_curves = _scores(folder)
    config = os.path.join(workdir, _RUN_FILE)
    return RunData(
        workdir, report, parts_file.load_or_unnamed(workdir, report.num_parts), result,
        curves_lib.finite(curves_lib.of_training(workdir)), curves_lib.finite(score_curves),
        files.read(config).decode(errors='replace') if os.path.isfile(config) else '')


def _scores(folder: str) -> Tuple[Optional[Dict[str, Any]], curves_lib.Curves]:
    path = os.path.join(folder, SCORES_FILE)
    if not os.path.isfile(path):
        return None, {}
    try:
        result = json.loads(files.read(path))
        for name in ('step', 'dataset', 'counts', 'notes', 'scores'):
            result[name]
        ours = next(iter(result['scores']))
        return result, curves_lib.of_scores(folder, ours)
    except (ValueError, KeyError, TypeError, StopIteration):
        raise ReportError(f'The scores in {folder!r} must be as `python -m scops_tf.evaluate` '
                          'writes them, but they are damaged: evaluate again.') from None
