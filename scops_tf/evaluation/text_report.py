"""Results of evaluations as text for the terminal; all scores are in per cent."""
from __future__ import annotations

from typing import Any, Dict, List, Sequence

from scops_tf.pages.score_table import STATISTICS

# Name of the run among the methods that are scored, and of the run with labels refined by a CRF.
OURS = 'this run'
REFINED = f'{OURS}, dense CRF'
# What follows a method's name where its part centres are those of the whole photo.
WHOLE_PHOTO = ', centres over the whole photo'
# More categories than this do not fit on a screen; the file of the result has all of them.
_MOST_COLUMNS = 8


def of_run(result: Dict[str, Any]) -> str:
    """The result of `run_scores.evaluate` as text, with a line for each score and method."""
    counts = ', '.join(f'{count} {what}' for what, count in result['counts'].items())
    protocol = f', protocol {result["protocol"]}' if result['protocol'] else ''
    lines = [f'Dataset {result["dataset"]}{protocol}, step {result["step"]}, seed '
             f'{result["seed"]}: {counts}; per cent.',
             'SHA-256 of the sorted names of the test photos: ' + result['image_list_sha256']]
    width = max(map(len, result['scores']))
    for name in result['scores'][OURS]:
        lines += ['', STATISTICS.get(name, name)]
        for method, values in result['scores'].items():
            if name in values:
                interval = result['intervals_95'].get(name) if method == OURS else None
                between = '' if interval is None else '  (95 %: {:.2f} to {:.2f})'.format(*interval)
                lines.append(f'  {method:{width}}  {values[name]:6.2f}{between}')
    if 'consistency' in result:
        found = result['consistency']
        lines += ['', f'consistency with {found["workdir"]}, step {found["step"]}, seed '
                  f'{found["seed"]}, {found["num_parts"]} parts']
        lines += [f'  {name.upper().replace("_", "-"):{width}}  {found[name]:6.2f}'
                  for name in ('nmi', 'ari', 'fg_nmi', 'fg_ari')]
    return '\n'.join(lines + _notes(result))


def of_selection(result: Dict[str, Any]) -> str:
    """The result of `selection.select` as a table with a row for each checkpoint."""
    rows = [['run', 'step', 'K', 'rank score', 'equivariance', 'reconstruction error',
             'agreement NMI', 'ARI', 'state']]
    for one in result['checkpoints']:
        scores = (one[name] for name in ('equivariance', 'reconstruction_error', 'agreement_nmi',
                                         'agreement_ari'))
        rows.append([one['workdir'], str(one['step']), str(one['num_parts']),
                     f'{one["rank_score"]:.3f}',
                     *('-' if score is None else f'{score:.2f}' for score in scores),
                     ', '.join(one['faults']) or 'sound'])
    return '\n'.join([
        f'{result["photos"]} training photos (SHA-256 of their sorted names '
        f'{result["image_list_sha256"]}); per cent; the best first.', '', *_table(rows)])


def of_arrays(result: Dict[str, Any]) -> str:
    """The result of `evaluate_arrays` as a table with six significant digits."""
    counts = ', '.join(f'{count} {name}' for name, count in result['counts'].items())
    lines = [f'Protocol `{result["protocol"]}`: {result["description"]}.', f'{counts}.']
    lines += [f'SHA-256 of the sorted names of the {which} images: {digest or "no names given"}'
              for which, digest in result['image_list_sha256'].items()]
    classes = list(result['scores']['predictions'].get('classes', {}))
    if len(classes) > _MOST_COLUMNS:
        classes = []
    rows = [['error in %', *(f'class {number}' for number in classes), 'test', '95 % interval',
             'train']]
    for name, entry in result['scores'].items():
        low, high = entry['interval']
        rows.append([name, *(_digits(entry['classes'][number]['test']) for number in classes),
                     _digits(entry['test']), f'{_digits(low)} to {_digits(high)}',
                     _digits(entry['train'])])
    lines += ['', *_table(rows)]
    if result['notes']:
        lines.append('')
    return '\n'.join(lines + _notes(result))


def _notes(result: Dict[str, Any]) -> List[str]:
    return [f'Note: {note}' for note in result['notes']]


def _digits(value: float) -> str:
    return f'{value:#.6g}'


def _table(rows: Sequence[Sequence[str]]) -> List[str]:
    """Lines of a table; the first column is aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows]
