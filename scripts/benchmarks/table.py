"""The table of the benchmark: medians of each item, and ratios to its reference."""
from __future__ import annotations

import statistics
from typing import Any, Dict, Sequence

from benchmarks.items import Item, Items


def summary(item: Item, rounds: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Medians, quartiles and peaks of an item's rounds; its first error, if one failed."""
    errors = [measured['error'] for measured in rounds if 'error' in measured]
    if errors:
        return {'name': item.name, 'error': errors[0]}
    times = sorted(seconds for measured in rounds for seconds in measured['times'])
    quartiles = statistics.quantiles(times, n=4)
    median = statistics.median(times)
    found = {
        'name': item.name, 'calls': len(times), 'median_ms': 1e3 * median,
        'lower_quartile_ms': 1e3 * quartiles[0], 'upper_quartile_ms': 1e3 * quartiles[2],
        'processor_ms': 1e3 * statistics.median(measured['processor'] for measured in rounds),
        'first_call_s': statistics.median(measured['first'] for measured in rounds),
        'peak_mib': max(measured['peak'] for measured in rounds),
        'process_peak_mib': max(measured['process_peak'] for measured in rounds)}
    if item.examples:
        found['per_example_ms'] = 1e3 * median / item.examples
    if rounds[0].get('device_peak') is not None:
        found['device_peak_mib'] = max(measured['device_peak'] for measured in rounds)
    for key in rounds[0].get('figures', ()):
        found[key] = max(measured['figures'][key] for measured in rounds)
    return found


def compare(items: Items, summaries: Dict[str, Dict[str, Any]]) -> None:
    """Adds to each item with a measured reference how many times faster and smaller it is."""
    for name, summary in summaries.items():
        reference = summaries.get(items[name].reference or '')
        if reference is None or 'error' in summary or 'error' in reference:
            continue
        summary['reference'] = reference['name']
        summary['times_faster'] = reference['median_ms'] / summary['median_ms']
        summary['times_smaller'] = reference['peak_mib'] / max(summary['peak_mib'], 1.0)


def text(summaries: Dict[str, Dict[str, Any]]) -> str:
    """The table in Markdown."""
    columns = {'median_ms': ('median ms', '.2f'), 'quartiles': ('quartiles ms', ''),
               'processor_ms': ('processor ms', '.1f'),
               'per_example_ms': ('ms per photo', '.2f'), 'peak_mib': ('peak MiB', '.0f'),
               'process_peak_mib': ('of the process', '.0f'),
               'device_peak_mib': ('of the GPU', '.0f'), 'times_faster': ('times faster', '.2f'),
               'times_smaller': ('times smaller', '.1f'), 'growth_mib': ('growth MiB', '.1f')}
    rows = [dict(summary) for summary in summaries.values()]
    for row in rows:
        if 'error' not in row:
            row['quartiles'] = f'{row["lower_quartile_ms"]:.2f}–{row["upper_quartile_ms"]:.2f}'
    shown = [key for key in columns if any(key in row for row in rows)]
    lines = [f'| item | {" | ".join(columns[key][0] for key in shown)} |',
             f'|---|{"---:|" * len(shown)}']
    for row in rows:
        cells = [format(row[key], columns[key][1]) if key in row else '' for key in shown]
        if 'error' in row:
            cells[:1] = [f'failed: {row["error"]}']
        lines.append(f'| {row["name"]} | {" | ".join(cells)} |')
    return '\n'.join(lines)
