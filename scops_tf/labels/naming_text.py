"""Names of parts, and how sure they are, as text for the terminal."""
from __future__ import annotations

from typing import List, Sequence

from scops_tf.labels.assignment import Assignment, NamedPart
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.parts_file import color_text


def of_names(names: PartNames) -> str:
    """A table with a line for each part that is shown, and what is dropped."""
    rows = [['label', 'name', 'colour', 'parts of the model']]
    rows += [[str(part.number), part.name, color_text(part.color),
              ' + '.join(map(str, part.of))] for part in names.parts]
    lines = _table(rows)
    if names.dropped:
        lines.append(f'Dropped: {", ".join(map(str, names.dropped))}')
    return '\n'.join(lines)


def of_assignment(found: Assignment) -> str:
    """A table of how far each part covers its name, and a sentence for all that is unsure."""
    rows = [['part', 'name', 'lies on it', 'next best', 'agreeing photos']]
    for part in found.parts:
        if part.share == part.share:
            other = f'{part.other} {100 * part.other_share:.0f} %' if part.other else '–'
            rows.append([str(part.number), part.name or '–', f'{100 * part.share:.0f} %', other,
                         f'{part.agreeing} of {part.showing}'])
    lines = [*_table(rows), '', *(f'IoU of {name}: {100 * iou:.0f} %'
                                  for name, iou in found.iou.items())]
    return '\n'.join([*lines, *_doubts(found)])


def _doubts(found: Assignment) -> List[str]:
    sentences = [_doubt(part) for part in found.parts if not part.is_sure]
    given = set(found.names.values())
    sentences += [f'No part is {name}: no part covers it better than another name.'
                  for name in found.iou if name not in given]
    return [*([''] if sentences else []), *sentences]


def _doubt(part: NamedPart) -> str:
    if part.share != part.share:
        return f'No named photo shows part {part.number}, so it has no name from them.'
    if not part.name:
        return (f'Part {part.number} has no name, though {100 * (1 - part.share):.0f} % of it lies '
                f'on what is named, most of it on {part.other}.')
    return (f'Part {part.number} is named {part.name}, but this is unsure: {100 * part.share:.0f} '
            f'% of it lies there, {100 * part.other_share:.0f} % on {part.other or "others"}, and '
            f'{part.agreeing} of {part.showing} photos agree; name more photos, or give the name '
            'by `--names`.')


def _table(rows: Sequence[Sequence[str]]) -> List[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows]
