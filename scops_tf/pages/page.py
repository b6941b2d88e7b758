"""The page of a run: scores, parts to name, merge and drop, photos to sort, and learning curves.

A page is one file beside its pictures. It loads nothing from elsewhere, so it works from a disk
without a network. Whatever comes from data is escaped, and its Content-Security-Policy lets no
other script run than its own. Pages are written atomically, after their pictures.
"""
from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import os
import shlex
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import jinja2

from scops_tf import files
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.parts_file import color_text
from scops_tf.pages import curves as curves_lib
from scops_tf.pages.report_file import Confusion, PhotoReport, Report
from scops_tf.pages.run_data import RunData
from scops_tf.pages.score_table import ScoreTable

PAGE_FILE = 'index.html'

# A part with less responds only to noise, and no dot is drawn.
_LEAST_PRESENCE = 0.3
# Neighbours and annotated things with a smaller share are not named on a card.
_LEAST_SHARE = 0.05
_MOST_NAMED = 4
# Titles of the groups of TensorBoard tags, by what tags begin with, and whether they are folded.
_GROUPS = ((('loss/total', 'weighted_loss/'), 'Losses, weighted', False),
           (('eval/',), 'Scores of training photos, per cent', False),
           (('loss/',), 'Losses without their weights', True),
           (('gradient_norm/',), 'Gradient norms', True),
           (('learning_rate/',), 'Learning rates', True))


@functools.lru_cache(maxsize=None)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader('scops_tf.pages'), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def rendered(template: str, **values: Any) -> str:
    """A page from a template, in HTML.

    Args:
      template: Name of the template.
      values: What it shows.
    """
    folder = importlib.resources.files('scops_tf.pages') / 'templates'
    script = '\n' + (folder / 'page.js').read_text(encoding='utf-8')
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template(template).render(
        script=script, script_source=f"'sha256-{digest}'", **values)


def write(path: str, page: str) -> str:
    """Writes a page; returns its path.

    Raises:
      OSError: If it cannot be written.
    """
    # A name that is not UTF-8 is shown with question marks.
    files.write(path, page.encode('utf-8', 'replace'))
    return path


def write_tables(folder: str, *, title: str, facts: Mapping[str, Any],
                 tables: Sequence[ScoreTable]) -> str:
    """Writes a page of tables alone, and returns its path.

    Raises:
      ValueError: If a row has not one value per column.
      OSError: If the page cannot be written.
    """
    return write(os.path.join(folder, PAGE_FILE),
                 rendered('tables.html', title=title, facts=facts, tables=tables))


def write_run(run: RunData, *, links: Optional[Mapping[str, str]] = None) -> str:
    """Writes the page of a run beside its report, and returns its path.

    Args:
      run: The run.
      links: Further pages that it links to: file by title.

    Raises:
      OSError: If the page cannot be written.
    """
    return write(os.path.join(run.folder, PAGE_FILE), of_run(run, links=links))


def of_run(run: RunData, *, links: Optional[Mapping[str, str]] = None, token: str = '') -> str:
    """The page of a run, in HTML.

    Args:
      run: The run.
      links: See `write_run`.
      token: What the page must show a server to save names there; '' for a page that is a file,
        which offers them as a download.
    """
    report, names = run.report, run.names
    facts = {**report.facts, 'step': report.step, 'parts': report.num_parts}
    colors = {number: color_text(tuple(names.colors[names.lookup[number] or number].tolist()))
              for number in range(1, report.num_parts + 1)}
    photos = [photo_view(photo, names, photo.file, photo.outlines) for photo in report.photos]
    orders = {'foreground': '', 'mean presence': 'higher', 'parts shown': '', **report.directions}
    return rendered(
        'run.html', title=f'Parts of {report.facts["dataset"]}', facts=facts, links=links or {},
        notices=run.notices, tables=[run.table] if run.table else [],
        colors=colors, hidden=names.dropped, photos=photos, orders=list(orders.items()),
        photos_sentence=photos_sentence(report), config=run.config,
        parts=[_part_view(report, names, number) for number in range(1, report.num_parts + 1)],
        confusion=report.confusion and _confusion_view(report.confusion, names),
        groups=[*groups(run.curves), *_part_groups(run.curves, report.num_parts),
                *([_group('Scores of test photos', run.score_curves)]
                  if run.score_curves else [])],
        data={'num_parts': report.num_parts, 'annotated': list(names.photos), 'token': token,
              'directions': orders, 'command': naming_command(run.workdir),
              'photos': [_photo_data(photo) for photo in report.photos]})


def naming_command(workdir: str) -> str:
    """The command that takes the names which a page has saved."""
    return f'python -m scops_tf.name --workdir={shlex.quote(workdir)} --parts_file=parts.json'


def photos_sentence(report: Report) -> str:
    """A sentence on which photos are shown."""
    kind = {'test': 'test photos', 'train': 'training photos'}[report.split]
    if len(report.photos) == report.num_photos:
        return f'All {report.num_photos} {kind}.'
    return f'{len(report.photos)} of {report.num_photos} {kind}, spread evenly over all of them.'


def photo_view(photo: PhotoReport, names: PartNames, file: str, paths: Mapping[int, str],
               keys: Optional[Mapping[int, Any]] = None) -> Dict[str, Any]:
    """What a template shows of a photo.

    Args:
      photo: The photo.
      names: Names of the parts.
      file: Its picture, relative to the page.
      paths: Outlines of the parts by their numbers.
      keys: Keys of the colours by number; None for the numbers themselves.
    """
    keys = keys or {number: number for number in range(1, names.num_parts + 1)}
    shown = [number for number in sorted(paths) if names.lookup[number]]
    titles = list(dict.fromkeys(names.names[int(names.lookup[number])] for number in shown))
    return {
        'name': photo.name, 'file': file, 'height': photo.size[0], 'width': photo.size[1],
        'alt': f'{photo.name}: {", ".join(titles) or "no part"}',
        'outlines': {keys[number]: paths[number] for number in sorted(paths)},
        # As large on each picture, which is scaled to its column.
        'scale': f'{max(photo.size) / 250:.3g}',
        'dots': [{'number': keys[number], 'text': names.lookup[number] or '',
                  'x': f'{photo.centers[number - 1][0]:.1f}',
                  'y': f'{photo.centers[number - 1][1]:.1f}'}
                 for number in sorted(paths) if photo.presence[number - 1] >= _LEAST_PRESENCE]}


def _photo_data(photo: PhotoReport) -> Dict[str, Any]:
    """What the script sorts and filters a photo by."""
    shown = [area > 0 for area in photo.areas]
    return {'scores': {'foreground': 100 * sum(photo.areas),
                       'mean presence': 100 * sum(photo.presence) / len(photo.presence),
                       'parts shown': sum(shown), **photo.scores},
            'area': [100 * area for area in photo.areas], 'presence': photo.presence}


def _part_view(report: Report, names: PartNames, number: int) -> Dict[str, Any]:
    part, leader = report.parts[number - 1], int(names.lookup[number])
    name = names.names[leader] if leader == number else ''
    return {
        'number': number, 'title': part_title(names, number), 'option': _option(names, number),
        # Also of a merged part its own, which it has again if the page takes it out of the merge.
        'color': color_text(tuple(names.colors[number].tolist())),
        'name': '' if name == f'part {number}' else name, 'dropped': not leader,
        'into': leader if leader not in (0, number) else 0,
        'area': f'{100 * part.area:.1f}', 'presence': f'{part.presence:.2f}',
        'shown': f'{100 * part.shown:.0f}', 'mean': part.mean,
        'touches': _named(part.touches, ['background', *(
            part_title(names, other) for other in range(1, report.num_parts + 1))]),
        'lies_on': _lies_on(report.confusion, number),
        **{kind: [{'file': place.file, 'photo': place.photo, 'outline': place.outline,
                   'response': f'{place.response:.2f}'} for place in getattr(part, kind)]
           for kind in ('strongest', 'weakest')}}


def part_title(names: PartNames, number: int) -> str:
    """A part of the model and what it is called, as the page's script writes it too."""
    leader = int(names.lookup[number])
    if not leader:
        return f'part {number}, dropped'
    part = next(part for part in names.parts if part.number == leader)
    is_own = part.name == f'part {leader}'
    if len(part.of) > 1:
        numbers = f'parts {" + ".join(map(str, part.of))}'
        return numbers if is_own else f'{part.name}: {numbers}'
    return names.title(leader)


def _option(names: PartNames, number: int) -> str:
    """What stands for a part where each part of the model is chosen, also of merged ones."""
    leader = int(names.lookup[number])
    if not leader:
        return f'part {number}, dropped'
    name = names.names[leader]
    return f'part {number}' if name == f'part {leader}' else f'{name} (part {number})'


def _named(shares: Sequence[float], titles: Sequence[str]) -> str:
    """The largest shares with their titles; those of one title, of merged parts, are one."""
    sums: Dict[str, float] = {}
    for share, title in zip(shares, titles):
        sums[title] = sums.get(title, 0) + share
    order = sorted(sums, key=lambda title: -sums[title])[:_MOST_NAMED]
    return ', '.join(f'{title} {100 * sums[title]:.0f}\u00a0%' for title in order
                     if sums[title] >= _LEAST_SHARE)


def _lies_on(confusion: Optional[Confusion], number: int) -> str:
    if confusion is None:
        return ''
    counts = confusion.counts[number]
    total = sum(counts)
    return _named([count / total for count in counts], confusion.names) if total else ''


def _confusion_view(confusion: Confusion, names: PartNames) -> Dict[str, Any]:
    rows = []
    for number, counts in enumerate(confusion.counts):
        total = sum(counts)
        shares = [count / total if total else 0.0 for count in counts]
        title = part_title(names, number) if number else 'background'
        rows.append({'number': number, 'title': title, 'total': total, 'cells': [
            (f'{share:.2f}', f'{100 * share:.0f}' if total else '\u2013') for share in shares]})
    return {'kind': confusion.kind, 'names': confusion.names, 'rows': rows,
            'counted': 'key points' if confusion.kind == 'key points' else 'pixels'}


def _group(title: str, curves: curves_lib.Curves, *, folded: bool = False) -> Dict[str, Any]:
    """One chart for each curve."""
    return {'name': title, 'folded': folded, 'charts': [
        curves_lib.chart(name, {name: points}, {name: 0}) for name, points in curves.items()]}


def groups(curves: curves_lib.Curves) -> List[Dict[str, Any]]:
    """The charts of a training's scalars, group by group; other tags are left out."""
    return [_group(title, {name.split('/', 1)[1]: curves[name] for name in found}, folded=folded)
            for title, found, folded in grouped(curves)]


def grouped(names: Iterable[str]) -> List[Tuple[str, List[str], bool]]:
    """(title, tags, whether it is folded) of each group of tags that is not empty."""
    left, found = list(names), []
    for beginnings, title, folded in _GROUPS:
        chosen = [name for name in left if name.startswith(beginnings)]
        left = [name for name in left if name not in chosen]
        if chosen:
            found.append((title, chosen, folded))
    return found


def _part_groups(curves: curves_lib.Curves, num_parts: int) -> List[Dict[str, Any]]:
    """Charts of what is logged for each part, all parts in one chart."""
    charts = []
    for tag, title in (('part_area', 'area'), ('part_presence', 'presence')):
        found = {f'part {number}': curves[f'{tag}/{number}'] for number in range(1, num_parts + 1)
                 if f'{tag}/{number}' in curves}
        if found:
            charts.append(curves_lib.chart(
                title, found, {f'part {number}': number for number in range(1, num_parts + 1)}))
    return [{'name': 'Parts', 'folded': False, 'charts': charts}] if charts else []
