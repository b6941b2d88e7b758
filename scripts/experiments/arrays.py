"""The experiment on arrays of any method that `evaluate_arrays` scores: damaged `.npz` files."""
from __future__ import annotations

import io
import itertools
import json
import os
from typing import Any, Dict, List, Optional, Tuple

import damaged_files
import numpy as np

from experiments import layouts, mutation
from experiments.outcome import Experiment, Outcome, judge
from scops_tf import evaluate_arrays, files
from scops_tf.evaluation import text_report

# To fit and to test.
_PHOTOS = 24, 15
# Number of first files of `damaged_files.npz` that have all of its kinds of damage.
_KINDS = 15


def _prepare(folder: str) -> Dict[str, Any]:
    """Arrays of both files."""
    pred, truth = layouts.arrays_to_score(0, *_PHOTOS)
    return {'folder': folder, 'pred': pred, 'truth': truth}


def _npz(arrays: Dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _damaged(arrays: Dict[str, np.ndarray], rng: np.random.Generator) -> Tuple[bytes, str]:
    """A damaged file of the arrays, and what was done."""
    if rng.random() < 0.4:
        # The archive, its members and their headers; every kind is among the first files.
        files_of_kinds = damaged_files.npz(arrays, count=_KINDS, seed=int(rng.integers(2 ** 31)))
        how, data = next(itertools.islice(files_of_kinds, int(rng.integers(_KINDS)), None))
        return data, how
    told = []
    # Most files have one thing wrong with them, some have two.
    for _ in range(1 + int(rng.random() < 0.2)):
        arrays, one = mutation.of_arrays(arrays, rng)
        told.append(one)
    return _npz(arrays), ', '.join(told)


def _case(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    which = 'pred' if rng.random() < 0.4 else 'truth'
    content = {name: _npz(state[name]) for name in ('pred', 'truth')}
    content[which], how = _damaged(state[which], rng)
    paths = {name: os.path.join(state['folder'], f'{name}.npz') for name in content}
    for name, path in paths.items():
        files.write(path, content[name])
    protocol = str(rng.choice(['scops', 'cub']))
    out = os.path.join(state['folder'], 'scores.json')

    def attempt() -> Dict[str, Any]:
        result = evaluate_arrays.evaluate(paths['pred'], paths['truth'], protocol=protocol,
                                          keypoint=0)
        files.write_json(out, result)
        text_report.of_arrays(result)
        json.loads(files.read(out))
        return result

    return judge(attempt, _problem_of, f'{protocol}, {which}: {how}')


def _problem_of(result: Dict[str, Any]) -> Optional[str]:
    for name, entry in result['scores'].items():
        values = [entry['test'], entry['train'], *entry['landmarks'],
                  *(each['test'] for each in entry.get('classes', {}).values())]
        # A score that is undefined is NaN, and null in the file.
        bad = [value for value in values if not (np.isnan(value) or 0 <= value < np.inf)]
        if bad:
            return f'{name} scores {bad[0]}'
    if any(value < 1 for name, value in result['counts'].items() if name.endswith('images')):
        return f'counts {result["counts"]}'
    return None


EXPERIMENTS: List[Experiment] = [
    Experiment('arrays', '`.npz` files for `evaluate_arrays`, with other values, types, shapes or '
               'names, or damaged', 600, _prepare, _case)]
