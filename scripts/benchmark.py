#!/usr/bin/env python
"""Time and peak memory of parts of the project, side by side in one run.

Every item runs in a process of its own, so that its peak memory is its own; the items take turns in
several rounds, so that a busy spell of the machine meets all of them. An item with a reference is
printed with how many times faster and smaller it is.

    python scripts/benchmark.py                                  # Everything.
    python scripts/benchmark.py 'semantic_consistency/*' --seconds 5 --output benchmark.json

Add an item by a function that prepares inputs and returns what is to be timed, under `@item(name)`.
"""
from __future__ import annotations

import argparse
import dataclasses
import datetime
import fnmatch
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from scops_tf import files


@dataclasses.dataclass(frozen=True)
class Item:
    """Something to be timed.

    Attributes:
      name: Of the form what/how/size.
      build: Prepares inputs and returns the function to be timed, which returns when all is
        computed.
      reference: Name of the item it is compared with.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    reference: Optional[str] = None


ITEMS: Dict[str, Item] = {}


def item(name: str, *, reference: Optional[str] = None) -> Callable[[Callable], Callable]:
    """Registers the decorated builder under a name."""

    def register(build: Callable) -> Callable:
        ITEMS[name] = Item(name, build, reference)
        return build

    return register


# The items. TensorFlow is imported inside, so that the parent process, whose peak memory its
# children inherit, stays small.


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes of a training step."""

    size: int
    batch: int
    parts: int
    feature_size: int
    channels: int = 1024

    def uniform(self, *shape: int, seed: int = 0) -> Any:
        """f32[B,*shape] in [0, 1]."""
        return _uniform(self.batch, *shape, seed=seed)

    def responses(self) -> Any:
        """f32[B,H,W,K]. Of random logits, without background."""
        import tensorflow as tf
        return tf.nn.softmax(4 * self.uniform(self.size, self.size, self.parts + 1))[..., 1:]

    def basis(self) -> Any:
        """f32[K,C] in [0, 1]."""
        return _uniform(self.parts, self.channels, seed=2)


def _uniform(*shape: int, seed: int) -> Any:
    import tensorflow as tf
    return tf.random.stateless_uniform(shape, [seed, 0])


SETTINGS = (
    Setting(256, batch=6, parts=8, feature_size=16),
    Setting(128, batch=4, parts=4, feature_size=8),
)


def _gradient_step(loss: Callable, *variables: Any) -> Callable[[], Any]:
    """One forward and backward pass of a loss as a graph."""
    import tensorflow as tf

    @tf.function
    def step(variables):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = loss(*variables)
        return value, tape.gradient(value, variables)

    return lambda: step(variables)[0].numpy()  # Waits for a GPU, which works in order.


def _semantic_inputs(setting: Setting) -> tuple:
    features = setting.uniform(setting.feature_size, setting.feature_size, setting.channels)
    saliency = setting.uniform(setting.size, setting.size, seed=1)
    return features, saliency, setting.responses(), setting.basis()


def _register_losses(setting: Setting) -> None:
    size = setting.size

    @item(f'semantic_consistency/plain/{size}')
    def plain_semantic_consistency():
        import tensorflow as tf

        from scops_tf import geometry
        features, saliency, responses, basis = _semantic_inputs(setting)

        def loss(responses, basis):
            target = saliency[..., None] * geometry.upsample(features, (size, size))
            return tf.reduce_mean(tf.square(target - tf.tensordot(responses, basis, 1)))

        return _gradient_step(loss, responses, basis)

    @item(f'semantic_consistency/fast/{size}', reference=f'semantic_consistency/plain/{size}')
    def fast_semantic_consistency():
        from scops_tf import losses
        features, saliency, responses, basis = _semantic_inputs(setting)
        return _gradient_step(
            lambda responses, basis: losses.semantic_consistency_loss(
                features, saliency, responses, basis
            ),
            responses,
            basis,
        )

    @item(f'concentration/{size}')
    def concentration():
        from scops_tf import losses
        return _gradient_step(losses.concentration_loss, setting.responses())

    @item(f'equivariance/{size}')
    def equivariance():
        from scops_tf import losses
        shape = size, size, setting.parts + 1
        target, valid = setting.uniform(*shape), setting.uniform(size, size) > 0.2
        return _gradient_step(lambda view: losses.equivariance_loss(view, target, valid),
                              setting.uniform(*shape, seed=1))

    @item(f'center_equivariance/{size}')
    def center_equivariance():
        from scops_tf import geometry, losses, warp
        transform = warp.RandomWarp().draw([0, 0], setting.batch, (size, size))

        def loss(responses, view_responses):
            warped = transform.warp_points(geometry.part_centers(responses))
            return losses.center_equivariance_loss(geometry.part_centers(view_responses), warped,
                                                   geometry.is_inside(warped))

        return _gradient_step(loss, setting.responses(), setting.responses())

    @item(f'orthonormal/{size}')
    def orthonormal():
        from scops_tf import losses
        return _gradient_step(losses.orthonormal_loss, setting.basis())

    for kind in ('similarity', 'projective', 'tps'):
        @item(f'warp/{kind}/{size}')
        def warp_images(kind=kind):
            import tensorflow as tf

            from scops_tf import warp
            random_warp = warp.RandomWarp(kind)
            images = setting.uniform(size, size, 3)

            @tf.function
            def view(images):
                transform = random_warp.draw([0, 0], setting.batch, (size, size))
                return transform.warp(images), transform.valid_mask((size, size))

            return lambda: view(images)[0].numpy()


for _setting in SETTINGS:
    _register_losses(_setting)


# Measuring.


# Linux forgets the peak of a process on demand; elsewhere the peak of preparing the inputs counts
# too.
_CLEAR_PEAK, _STATUS = '/proc/self/clear_refs', '/proc/self/status'


def _forget_peak() -> None:
    if os.path.exists(_CLEAR_PEAK):
        with open(_CLEAR_PEAK, 'w', encoding='ascii') as file:
            file.write('5')


def _peak_mebibytes() -> float:
    if os.path.exists(_CLEAR_PEAK):
        with open(_STATUS, encoding='ascii') as file:
            (line,) = [line for line in file if line.startswith('VmHWM')]
        return int(line.split()[1]) / 2 ** 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** 20 if sys.platform == 'darwin' else peak / 2 ** 10


def _measure(name: str, seconds: float) -> Dict[str, Any]:
    """Runs in the item's own process: seconds of every call and mebibytes on top of its inputs.

    Memory that preparing the inputs freed may be used again without counting, so a few tens of
    mebibytes mean little.
    """
    run = ITEMS[name].build()
    _forget_peak()
    before = _peak_mebibytes()
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    run()  # TensorFlow still grows its buffers in the second call.
    times: List[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {
        'first': first,
        'times': times,
        'peak': _peak_mebibytes() - before,
        'process_peak': _peak_mebibytes(),
    }


def _measure_apart(name: str, seconds: float) -> Dict[str, Any]:
    """As `_measure`, in a new process; {'error': text} if that fails."""
    process = subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--item', name, '--seconds', str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={'TF_CPP_MIN_LOG_LEVEL': '2', **os.environ})
    if process.returncode:
        last = (process.stderr.strip().split('\n') or [''])[-1]
        return {'error': f'exit code {process.returncode}: {last}'}
    return json.loads(process.stdout.strip().split('\n')[-1])


def _summary(name: str, rounds: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    errors = [measured['error'] for measured in rounds if 'error' in measured]
    if errors:
        return {'name': name, 'error': errors[0]}
    times = sorted(seconds for measured in rounds for seconds in measured['times'])
    quartiles = statistics.quantiles(times, n=4)
    return {'name': name, 'calls': len(times), 'median_ms': 1e3 * statistics.median(times),
            'lower_quartile_ms': 1e3 * quartiles[0], 'upper_quartile_ms': 1e3 * quartiles[2],
            'first_call_s': statistics.median(measured['first'] for measured in rounds),
            'peak_mib': max(measured['peak'] for measured in rounds),
            'process_peak_mib': max(measured['process_peak'] for measured in rounds)}


def _compare(summaries: Dict[str, Dict[str, Any]]) -> None:
    """Adds to each item with a measured reference how many times faster and smaller it is."""
    for name, summary in summaries.items():
        reference = summaries.get(ITEMS[name].reference or '')
        if reference is None or 'error' in summary or 'error' in reference:
            continue
        summary['reference'] = reference['name']
        summary['times_faster'] = reference['median_ms'] / summary['median_ms']
        summary['times_smaller'] = reference['peak_mib'] / max(summary['peak_mib'], 1.0)


def _table(summaries: Dict[str, Dict[str, Any]]) -> str:
    lines = ['| item | median ms | quartiles ms | peak MiB | times faster | times smaller |',
             '|---|---:|---:|---:|---:|---:|']
    for name, summary in summaries.items():
        if 'error' in summary:
            lines.append(f'| {name} | failed: {summary["error"]} | | | | |')
            continue
        cells = [name, f'{summary["median_ms"]:.2f}',
                 f'{summary["lower_quartile_ms"]:.2f}–{summary["upper_quartile_ms"]:.2f}',
                 f'{summary["peak_mib"]:.0f}']
        cells += [f'{summary[key]:.1f}' if key in summary else ''
                  for key in ('times_faster', 'times_smaller')]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _machine() -> Dict[str, Any]:
    return {
        'platform': platform.platform(),
        'python': platform.python_version(),
        'cores': os.cpu_count(),
        'load_before': os.getloadavg(),
        'date': datetime.datetime.now().isoformat(timespec='seconds'),
    }


def _write(path: str, results: Dict[str, Any]) -> None:
    files.write(path, json.dumps(results, indent=2).encode())


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the items asked for; returns 1 if one failed or none matches."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('patterns', nargs='*', default=['*'], help='items to run, such as warp/*')
    parser.add_argument('--seconds', type=float, default=3.0, help='time per item and round')
    parser.add_argument('--rounds', type=int, default=2, help='turns of every item')
    parser.add_argument('--output', help='file for the results as JSON')
    parser.add_argument('--list', action='store_true', help='print the names of the items')
    parser.add_argument('--item', choices=sorted(ITEMS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.item:
        print(json.dumps(_measure(options.item, options.seconds)))
        return 0
    names = [name for name in ITEMS
             if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)]
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
            rounds[name].append(_measure_apart(name, options.seconds))
    machine['load_after'] = os.getloadavg()
    summaries = {name: _summary(name, measured) for name, measured in rounds.items()}
    _compare(summaries)
    if options.output:
        _write(options.output, {'machine': machine, 'items': list(summaries.values())})
    print(_table(summaries))
    print(f'\n{machine["cores"]} cores, load {machine["load_before"][0]:.1f} before and '
          f'{machine["load_after"][0]:.1f} after; peak memory is on top of the inputs.')
    return 1 if any('error' in summary for summary in summaries.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
