#!/usr/bin/env python
"""Time and peak memory of parts of the project, side by side in one run.

Every item runs in a process of its own, so that its peak memory is its own; the items take turns in
several rounds, so that a busy spell of the machine meets all of them. An item with a reference is
printed with how many times faster and smaller it is; that of a step is its floor, the bare network.

    python scripts/benchmark.py                                  # Everything.
    python scripts/benchmark.py 'train_step/*' 'inference/*' --sizes 256 --output benchmark.json

Add an item to a module of scripts/benchmarks by a function that prepares inputs and returns what is
to be timed, under `@items.item(name)`.
"""
from __future__ import annotations

import argparse
import datetime
import fnmatch
import json
import os
import platform
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence

import benchmarks
from benchmarks import items as items_lib, measurement, table

from scops_tf import files


def _measure_apart(name: str, backbone: str, seconds: float) -> Dict[str, Any]:
    """As `measurement.measure`, in a new process; {'error': text} if that fails."""
    process = subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--item', name, '--seconds', str(seconds),
         '--backbone', backbone],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={'TF_CPP_MIN_LOG_LEVEL': '2', **os.environ})
    if process.returncode:
        last = (process.stderr.strip().split('\n') or [''])[-1]
        return {'error': f'exit code {process.returncode}: {last}'}
    return json.loads(process.stdout.strip().split('\n')[-1])


def _machine() -> Dict[str, Any]:
    return {
        'platform': platform.platform(),
        'python': platform.python_version(),
        'cores': os.cpu_count(),
        'load_before': os.getloadavg(),
        'date': datetime.datetime.now().isoformat(timespec='seconds'),
    }


def _size_of(name: str) -> Optional[int]:
    """Side of the photos of an item; of points of a curve None."""
    sides = {str(setting.size): setting.size for setting in items_lib.SETTINGS}
    found = [sides[part] for part in name.split('/') if part in sides]
    return found[0] if found and not name.startswith('curve/') else None


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the items asked for; returns 1 if one failed or none matches."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('patterns', nargs='*', default=['*'], help='items to run, such as warp/*')
    parser.add_argument('--seconds', type=float, default=3.0, help='time per item and round')
    parser.add_argument('--rounds', type=int, default=2, help='turns of every item')
    parser.add_argument('--sizes', type=int, nargs='+', help='sides of photos to keep to: '
                        'items of another one are left out')
    parser.add_argument('--backbone', default='resnet50', choices=('resnet50', 'resnet101', 'tiny'),
                        help='of the segmenter')
    parser.add_argument('--output', help='file for the results as JSON')
    parser.add_argument('--markdown', help='file for the table')
    parser.add_argument('--list', action='store_true', help='print the names of the items')
    parser.add_argument('--item', help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    items = benchmarks.all_items(options.backbone)
    if options.item:
        print(json.dumps(measurement.measure(items[options.item], options.seconds)))
        return 0
    names = [name for name in items
             if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)
             and (options.sizes is None or _size_of(name) in options.sizes)]
    if options.list:
        print('\n'.join(names))
        return 0
    if not names or options.rounds < 1:
        parser.error('`patterns` must match an item and `--rounds` must be at least 1; got '
                     f'{options.patterns} and {options.rounds}; `--list` prints the items.')

    machine = _machine()
    rounds: Dict[str, List[Dict[str, Any]]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for name in names:
            print(f'round {turn + 1} of {options.rounds}: {name}', file=sys.stderr)
            rounds[name].append(_measure_apart(name, options.backbone, options.seconds))
    machine['load_after'] = os.getloadavg()
    summaries = {name: table.summary(items[name], measured) for name, measured in rounds.items()}
    table.compare(items, summaries)
    machine['devices'] = sorted({measured['device'] for taken in rounds.values()
                                 for measured in taken if 'device' in measured})
    text = (f'{table.text(summaries)}\n\n{", ".join(machine["devices"])}; {machine["cores"]} '
            f'cores, load {machine["load_before"][0]:.1f} before and '
            f'{machine["load_after"][0]:.1f} after; peak memory is on top of the inputs, of the '
            'process with them.\n')
    if options.output:
        results = {'machine': machine, 'items': list(summaries.values())}
        files.write(options.output, json.dumps(results, indent=2).encode())
    if options.markdown:
        files.write(options.markdown, text.encode())
    print(text, end='')
    return 1 if any('error' in summary for summary in summaries.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
