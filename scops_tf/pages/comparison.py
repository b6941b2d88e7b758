"""The page of several runs side by side: scores, parts, learning curves, and the same photos."""
from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np
import scipy.optimize

from scops_tf.labels.parts_file import color_text
from scops_tf.pages import curves as curves_lib, outlines, page
from scops_tf.pages.report_file import PhotoReport, ReportError
from scops_tf.pages.run_data import RunData
from scops_tf.pages.score_table import STATISTICS, ScoreTable
from scops_tf.pictures.palette import palette

COMPARISON_FILE = 'compare.html'
# Largest number of photos that are shown.
_MOST_PHOTOS = 60


def write(runs: Sequence[RunData]) -> str:
    """Writes the page beside that of the first run, and returns its path.

    Args:
      runs: At least two runs.

    Raises:
      ReportError: If runs have no photo in common.
      OSError: If the page cannot be written.
    """
    first = runs[0]
    photos = common_photos(runs)
    overlaps = [overlap(photos, index, (first.report.num_parts, run.report.num_parts))
                for index, run in enumerate(runs[1:], start=1)]
    matches = [matched(table) for table in overlaps]
    # The parts of another run have the keys of those of the first run that they match.
    keys = [{number: f'p{number}' for number in range(1, first.report.num_parts + 1)}]
    for index, (run, found) in enumerate(zip(runs[1:], matches), start=1):
        keys.append({number: f'p{found[number]}' if number in found else f'r{index}-{number}'
                     for number in range(1, run.report.num_parts + 1)})
    titles = _titles(runs)
    return page.write(os.path.join(first.folder, COMPARISON_FILE), page.rendered(
        'compare.html', title='Runs side by side', facts={}, hidden=[],
        notices=[f'{title}: {notice}' for run, title in zip(runs, titles)
                 for notice in run.notices],
        runs=[{'title': title, 'key': f'c{index}'} for index, title in enumerate(titles)],
        tables=[_facts(runs, titles), *_scores(runs, titles)],
        colors=_colors(runs, keys), groups=_groups(runs, titles),
        matches=_rows(runs, overlaps, matches), photos=_photo_views(runs, titles, photos, keys),
        photos_sentence=f'{len(photos)} photos that the pages of all runs show.'))


def common_photos(runs: Sequence[RunData]) -> List[Tuple[PhotoReport, ...]]:
    """The photos that all runs show, in the order of the first run: one entry per run.

    Raises:
      ReportError: If there is none.
    """
    by_name = [{photo.name: photo for photo in run.report.photos} for run in runs]
    names = [photo.name for photo in runs[0].report.photos
             if all(photo.name in photos for photos in by_name)]
    if not names:
        raise ReportError('Runs that are compared must show at least one photo in common; '
                          f'{", ".join(run.workdir for run in runs)} have none: write their pages '
                          'of one data set.')
    chosen = np.unique(np.linspace(0, len(names) - 1, min(len(names), _MOST_PHOTOS)).astype(int))
    return [tuple(photos[names[index]] for photos in by_name) for index in chosen]


def overlap(photos: Sequence[Tuple[PhotoReport, ...]], index: int, num_parts: Tuple[int, int]
            ) -> np.ndarray:
    """Pixels of each part of the first run and of another one, in their common photos.

    Args:
      photos: See `common_photos`.
      index: Index of the other run.
      num_parts: K of the first run and L of the other one.

    Returns:
      i64[K+1,L+1]. The background has number 0. A photo whose pictures have other sizes, since the
      photo was replaced between the two, is left out.
    """
    rows, columns = num_parts[0] + 1, num_parts[1] + 1
    found = np.zeros((rows, columns), np.int64)
    for of_runs in photos:
        labels = [outlines.labels(photo.outlines, photo.size).astype(np.int64)
                  for photo in (of_runs[0], of_runs[index])]
        if labels[0].shape == labels[1].shape:
            codes = labels[0].ravel() * columns + labels[1].ravel()
            found += np.bincount(codes, minlength=rows * columns).reshape(rows, columns)
    return found


def matched(overlaps: np.ndarray) -> Dict[int, int]:
    """The part of the first run for each part of another one, one to one.

    The sum of the IoU is the largest (Hungarian method); parts that do not overlap are not matched.

    Args:
      overlaps: i64[K+1,L+1]. See `overlap`.
    """
    union = overlaps.sum(1, keepdims=True) + overlaps.sum(0, keepdims=True) - overlaps
    iou = overlaps[1:, 1:] / np.maximum(union[1:, 1:], 1)
    return {int(column) + 1: int(row) + 1 for row, column in zip(
        *scipy.optimize.linear_sum_assignment(iou, maximize=True)) if iou[row, column] > 0}


def _titles(runs: Sequence[RunData]) -> List[str]:
    """Names of the runs: those of their folders, or their paths where these are the same."""
    names = [os.path.basename(os.path.abspath(run.workdir)) for run in runs]
    return names if len(set(names)) == len(names) else [run.workdir for run in runs]


def _facts(runs: Sequence[RunData], titles: Sequence[str]) -> ScoreTable:
    names = list(dict.fromkeys(name for run in runs for name in run.report.facts))
    rows = [(title, [*(run.report.facts.get(name) for name in names), str(run.report.step),
                     str(run.report.num_parts),
                     f'{len(run.report.photos)} of {run.report.num_photos}'])
            for run, title in zip(runs, titles)]
    return ScoreTable('', {}, [(name, '') for name in (*names, 'step', 'parts', 'photos shown')],
                      rows, head='run')


def _scores(runs: Sequence[RunData], titles: Sequence[str]) -> List[ScoreTable]:
    """The scores of the runs that are evaluated; none if none is."""
    names = list(dict.fromkeys(name for run in runs for name in run.ours))
    directions: Dict[str, str] = {}
    for run in runs:
        directions.update((run.result or {}).get('directions', {}))
    return [ScoreTable(
        'Scores of test photos, per cent', {},
        [(STATISTICS.get(name, name), directions.get(name, '')) for name in names],
        [(title, [run.ours.get(name) for name in names]) for run, title in zip(runs, titles)],
        head='run')] if names else []


def _colors(runs: Sequence[RunData], keys: Sequence[Mapping[int, str]]) -> Dict[str, str]:
    """Colours of the parts of the first run, of those that match none of them, and of the runs."""
    names = runs[0].names
    found = {key: color_text(tuple(names.colors[names.lookup[number] or number].tolist()))
             for number, key in keys[0].items()}
    # Colours of further parts are those that the palette has next.
    further = [key for of_run in keys[1:] for key in of_run.values() if key not in found]
    every = palette(min(255, max(len(runs), len(found) + len(further))))
    found.update((key, color_text(tuple(color.tolist())))
                 for key, color in zip(further, every[len(found) + 1:]))
    found.update((f'c{index}', color_text(tuple(every[index + 1].tolist())))
                 for index in range(len(runs)))
    return found


def _groups(runs: Sequence[RunData], titles: Sequence[str]) -> List[Dict[str, Any]]:
    """The charts of the scalars that runs have logged, all runs in one chart."""
    tags = list(dict.fromkeys(tag for run in runs for tag in run.curves))
    found = []
    for title, names, folded in page.grouped(tags):
        charts = []
        for name in names if not folded else ():
            lines = {of_run: run.curves[name] for run, of_run in zip(runs, titles)
                     if name in run.curves}
            charts.append(curves_lib.chart(name.split('/', 1)[1], lines, {
                of_run: f'c{index}' for index, of_run in enumerate(titles)}))
        if charts:
            found.append({'name': title, 'charts': charts})
    return found


def _rows(runs: Sequence[RunData], overlaps: Sequence[np.ndarray],
          matches: Sequence[Mapping[int, int]]) -> List[Dict[str, Any]]:
    """A row for each part of the first run, and one for those of the others without a match."""
    rows = []
    for number in range(1, runs[0].report.num_parts + 1):
        cells = []
        for run, table, found in zip(runs[1:], overlaps, matches):
            mine = [other for other, of_first in found.items() if of_first == number]
            cells.append('\u2013' if not mine else '{}, {:.0f} %'.format(
                page.part_title(run.names, mine[0]),
                100 * table[number, mine[0]] / max(table[:, mine[0]].sum(), 1)))
        rows.append({'key': f'p{number}', 'title': page.part_title(runs[0].names, number),
                     'cells': cells})
    left = [', '.join(page.part_title(run.names, number)
                      for number in range(1, run.report.num_parts + 1) if number not in found)
            for run, found in zip(runs[1:], matches)]
    if any(left):
        rows.append({'key': '', 'title': 'without a match', 'cells': left})
    return rows


def _photo_views(runs: Sequence[RunData], titles: Sequence[str],
                 photos: Sequence[Tuple[PhotoReport, ...]], keys: Sequence[Mapping[int, str]]
                 ) -> List[Dict[str, Any]]:
    views = []
    for of_runs in photos:
        pictures = []
        for run, title, photo, own in zip(runs, titles, of_runs, keys):
            # The picture of the first run, so that the page needs no other folder.
            shown = {number: path for number, path in photo.outlines.items()
                     if run.names.lookup[number]}
            view = page.photo_view(photo, run.names, of_runs[0].file, shown, own)
            pictures.append({**view, 'caption': title})
        views.append({'name': of_runs[0].name, 'pictures': pictures})
    return views
