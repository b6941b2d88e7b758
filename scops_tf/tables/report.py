"""A table of the paper beside ours, from the results of the runs: Markdown, CSV and a page."""
from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from scops_tf import datasets, files, images
from scops_tf.datasets import counts
from scops_tf.evaluation.text_report import OURS, REFINED, WHOLE_PHOTO
from scops_tf.pages import page, report_file, run_data
from scops_tf.pages.score_table import ScoreTable
from scops_tf.pictures import sheets
from scops_tf.tables import paper, runs as runs_lib

# Number of test photos in the picture.
_SHOWN_PHOTOS = 8
_NOTE = ('The number in brackets is the paper\'s. \u00b1 is the standard deviation over the seeds. '
         'Scores are in per cent. Photos are those to train, to fit and to test.')


class Cell(NamedTuple):
    """Scores of one system in one column.

    Attributes:
      published: The paper's number, or None.
      values: Our numbers, one per finished seed.
    """

    published: Optional[float]
    values: Tuple[float, ...]

    @property
    def text(self) -> str:
        """Such as '9.3 \u00b1 0.2 (18.50)'; a dash stands for what is missing."""
        ours = f'{np.mean(self.values):.1f}' if self.values else '\u2013'
        if len(self.values) > 1:
            ours += f' \u00b1 {np.std(self.values, ddof=1):.1f}'
        return ours if self.published is None else f'{ours} ({self.published:.2f})'


class Line(NamedTuple):
    """A line of the table.

    Attributes:
      title: Name of the system.
      cells: One for each column.
      steps: Steps of the runs, 0 where nothing is trained in steps; None if no run is finished.
      photos: Numbers of photos, as `evaluate` counts them; empty if no run is finished.
      seeds: Seeds of the finished runs.
    """

    title: str
    cells: Tuple[Cell, ...]
    steps: Optional[int]
    photos: Mapping[str, int]
    seeds: Tuple[int, ...]


def lines(table: paper.Table, runs: Sequence[runs_lib.Run]) -> List[Line]:
    """The lines of a table from the runs that are finished.

    What `evaluate` scores beside SCOPS, k-means and trivial baselines, comes last.

    Raises:
      ConfigError: If a folder holds a run of another configuration.
    """
    results: Dict[paper.Job, Dict[int, Dict[str, Any]]] = {}
    for run in runs:
        found = run.result()
        if found is not None:
            results.setdefault(run.job, {})[run.seed] = found
    columns = table.columns + table.further
    first = table.rows[0].jobs
    found = [_line(row.title, row.jobs, REFINED if row.refined else OURS,
                   row.published, columns, results) for row in table.rows]
    beside = dict.fromkeys(
        name for job in first.values() for result in results.get(job, {}).values()
        for name in result['scores'] if not name.startswith(OURS) and WHOLE_PHOTO not in name)
    return found + [_line(name, first, name, {}, columns, results)._replace(steps=0)
                    for name in beside]


def _line(title: str, jobs: Mapping[str, paper.Job], method: str, published: Mapping[str, float],
          columns: Sequence[paper.Column], results: Mapping[paper.Job, Dict[int, Dict[str, Any]]]
          ) -> Line:
    cells, seeds, counted, steps = [], set(), {}, None
    for column in columns:
        # Columns that the paper does not have are those of the row's only job.
        job = jobs.get(column.title, next(iter(jobs.values())))
        values = {seed: _score(result, method, column)
                  for seed, result in results.get(job, {}).items()}
        known = {seed: value for seed, value in values.items() if value is not None}
        cells.append(Cell(published.get(column.title), tuple(known.values())))
        if known and job not in counted:
            result = results[job][next(iter(known))]
            seeds.update(known)
            steps, counted[job] = result['step'], result['counts']
    photos = {name: sum(of_job.get(name, 0) for of_job in counted.values())
              for name in dict.fromkeys(name for of_job in counted.values() for name in of_job)}
    return Line(title, tuple(cells), steps, photos, tuple(sorted(seeds)))


def _score(result: Mapping[str, Any], method: str, column: paper.Column) -> Optional[float]:
    scores = result['scores']
    if column.whole_photo and method + WHOLE_PHOTO in scores:
        return scores[method + WHOLE_PHOTO].get(column.score)
    return scores.get(method, {}).get(column.score)


def stand_ins(table: paper.Table, runs: Sequence[runs_lib.Run]) -> Tuple[List[str], List[str]]:
    """What is said of photos that are not the paper's, and of data sets that cannot be read.

    The first is a phrase for each data set that others stand in for, the second sentences.

    Args:
      table: The table.
      runs: All of its runs.
    """
    notes: Dict[str, List[str]] = {name: [] for name in table.datasets.values()}
    missing = []
    first: Dict[Tuple[str, Optional[str]], runs_lib.Run] = {}
    for run in runs:
        first.setdefault((run.job.dataset, run.job.category), run)
    for (reader, category), run in first.items():
        name, config = table.datasets[reader], run.config()
        try:
            dataset = datasets.load_for(config, run.workdir)
        except (ValueError, OSError) as error:
            missing.append(f'{" ".join(filter(None, (name, category)))}: '
                           f'{" ".join(str(error).split())}')
            continue
        found = counts.of(dataset)
        told = ', '.join(f'{found[split]} {verb}' for split, verb in (
            ('train', 'to train'), ('fit', 'to fit'), ('test', 'to test'))
            if found[split] and (split != 'fit' or dataset.landmark_names))
        differs = counts.difference(dataset) is not None or (
            not dataset.expected_counts and not dataset.is_whole)
        if differs:
            notes[name].append(f'{category}: {told}' if category else told)
    return [f'a stand-in for {name} ({"; ".join(told)})' for name, told in notes.items() if told
            ], missing


def title(table: paper.Table, recipe: str, stood_in: Sequence[str]) -> str:
    """Heading of a table; it names every stand-in."""
    photos = f', on {"; ".join(stood_in)}' if stood_in else ''
    return f'Table {table.number} of the paper, {table.subject}{photos}; recipe {recipe}'


def markdown(table: paper.Table, heading: str, found: Sequence[Line]) -> str:
    """The table in Markdown, under its heading."""
    names = [column.title + {'lower': ' \u2193', 'higher': ' \u2191'}[column.direction]
             for column in table.columns + table.further]
    rows = [['system', *names, 'photos', 'steps', 'seeds']]
    rows.append(['---'] * len(rows[0]))
    rows += [[line.title, *(cell.text for cell in line.cells), *_facts(line)] for line in found]
    body = '\n'.join(f'| {" | ".join(row)} |' for row in rows)
    return f'# {heading}\n\n{_NOTE}\n\n{body}\n'


def _facts(line: Line) -> List[str]:
    """Photos, steps and seeds of a line, as text."""
    photos = ' / '.join(str(line.photos[name]) if name in line.photos else '\u2013' for name in (
        'photos to train', 'photos to fit', 'photos to test')) if line.photos else ''
    return [photos, str(line.steps) if line.steps else '', ', '.join(map(str, line.seeds))]


def write(folder: str, table: paper.Table, heading: str, found: Sequence[Line],
          facts: Mapping[str, Any], picture: Optional[np.ndarray]) -> None:
    """Writes `table.md`, `table.csv`, the page `index.html` and, if there is one, `parts.png`.

    Raises:
      OSError: If a file cannot be written.
    """
    columns = table.columns + table.further
    files.write(os.path.join(folder, 'table.md'), markdown(table, heading, found).encode())
    files.write_csv(
        os.path.join(folder, 'table.csv'),
        ['table', 'system', 'score', 'paper', 'mean', 'standard deviation', 'seeds', 'steps',
         'photos to train', 'photos to fit', 'photos to test'],
        [[table.number, line.title, column.title, _number(cell.published),
          _number(np.mean(cell.values) if cell.values else None),
          _number(np.std(cell.values, ddof=1) if len(cell.values) > 1 else None),
          ' '.join(map(str, line.seeds)), '' if line.steps is None else line.steps,
          *(line.photos.get(f'photos to {verb}', '') for verb in ('train', 'fit', 'test'))]
         for line in found for column, cell in zip(columns, line.cells)])
    page.write_tables(folder, title=heading, facts=facts, tables=[ScoreTable(
        '', {}, [*((column.title, column.direction) for column in columns),
                 ('photos', ''), ('steps', ''), ('seeds', '')],
        [(line.title, [*(cell.text for cell in line.cells), *_facts(line)]) for line in found],
        note=_NOTE)])
    if picture is not None:
        images.write_png(os.path.join(folder, 'parts.png'), picture)


def pictures(table: paper.Table, runs: Sequence[runs_lib.Run]) -> Optional[np.ndarray]:
    """The first test photos as each system cuts them, uint8[H,W,3]; None if no run is finished.

    A row is a system. Its pictures are those of the page of its run with the first seed.

    Raises:
      ReportError: If the page of a run is damaged.
      ImageError: If a picture of it cannot be read.
    """
    first = {run.job: run for run in reversed(runs)}
    rows, captions = [], []
    for row in table.rows:
        # The pages show the labels without the CRF.
        for job in dict.fromkeys(row.jobs.values()) if not row.refined else ():
            folder = run_data.folder_of(first[job].workdir)
            found = report_file.load(folder)
            if found:
                rows.append([report_file.picture(folder, found, index)
                             for index in range(min(_SHOWN_PHOTOS, len(found.photos)))])
                captions.append(', '.join(filter(None, (row.title, job.category))))
    return sheets.sheet(rows, row_captions=captions) if rows else None


def _number(value: Optional[float]) -> str:
    return '' if value is None else f'{value:.6g}'
