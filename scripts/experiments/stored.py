"""Experiments on what a run keeps: damaged checkpoints, caches of features and of saliency maps."""
from __future__ import annotations

import hashlib
import os
import shutil
from typing import Any, Dict, List, Optional

import numpy as np

from experiments import layouts, mutation
from experiments.outcome import Experiment, Outcome, judge
from scops_tf import files, images

_STEPS = (1, 2, 3)


def content_of(folder: str) -> Dict[str, bytes]:
    """The files below a folder by their relative paths."""
    return {os.path.relpath(os.path.join(base, name), folder): files.read(os.path.join(base, name))
            for base, _, names in os.walk(folder) for name in names}


def put(folder: str, content: Dict[str, bytes]) -> None:
    """Makes a folder hold these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in content.items():
        files.write(os.path.join(folder, name), data)


def damage(folder: str, content: Dict[str, bytes], rng: np.random.Generator) -> str:
    """Damages one to three files of a folder, or removes them; returns what was done."""
    told = []
    for name in rng.permutation(sorted(content))[:int(rng.choice([1, 1, 2, 3]))]:
        path = os.path.join(folder, name)
        if rng.random() < 0.15:
            os.remove(path)
            told.append(f'without {name}')
        else:
            changed, how = mutation.of_bytes(content[name], rng)
            files.write(path, changed)
            told.append(f'{name}: {how}')
    return ', '.join(told)


# Checkpoints.


def _variables(step: float) -> Dict[str, Any]:
    import tensorflow as tf
    # Of several sizes: small ones lie within one block of the file, large ones do not.
    return {'one': tf.Variable(step), 'row': tf.Variable(tf.fill([300], step)),
            'map': tf.Variable(tf.fill([40, 50], step)), 'number': tf.Variable(int(step))}


def _prepare_checkpoints(folder: str) -> Dict[str, Any]:
    import tensorflow as tf

    from scops_tf.networks import checkpoints
    workdir = os.path.join(folder, 'run')
    variables = _variables(0.0)
    checkpoint = tf.train.Checkpoint(**variables)
    manager = checkpoints.manager(checkpoint, workdir, keep=5)
    for step in _STEPS:
        for variable in variables.values():
            variable.assign(tf.cast(tf.fill(variable.shape, step), variable.dtype))
        checkpoints.save(manager, step)
    return {'workdir': workdir, 'content': content_of(workdir)}


def _checkpoint(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    import tensorflow as tf

    from scops_tf.networks import checkpoints
    put(state['workdir'], state['content'])
    what = damage(state['workdir'], state['content'], rng)
    variables = _variables(-1.0)

    def attempt() -> Optional[int]:
        path = checkpoints.restore_newest(tf.train.Checkpoint(**variables), state['workdir'])
        return None if path is None else int(path.rsplit('-', 1)[1])

    def problem_of(step: Optional[int]) -> Optional[str]:
        if step is None:
            # Only where no checkpoint has both of its files.
            paths = {step: os.path.join(checkpoints.folder_of(state['workdir']), f'ckpt-{step}')
                     for step in _STEPS}
            left = [step for step, path in paths.items() if os.path.exists(f'{path}.index')
                    and os.path.exists(f'{path}.data-00000-of-00001')]
            return f'none was found, and {left} are there' if left else None
        values = {float(each) for variable in variables.values()
                  for each in np.unique(variable.numpy())}
        return None if values == {float(step)} else f'step {step} has the values {values}'

    return judge(attempt, problem_of, what)


# Caches.


def _prepare_caches(folder: str) -> Dict[str, Any]:
    from scops_tf.features import cache
    rows = np.random.default_rng(0).normal(size=(21, 4, 5)).astype(np.float16)
    photos = []
    for index, picture in enumerate(layouts.drawings()[:4]):
        photos.append(os.path.join(folder, f'{index}.png'))
        images.write_png(photos[-1], picture.image)
    state = {'cache': os.path.join(folder, 'cache'), 'rows': rows, 'photos': photos,
             'maps': os.path.join(folder, 'maps')}
    cache.filled(rows.shape, lambda indices: rows[indices], key='key', folder=state['cache'])
    state['content'] = content_of(state['cache'])
    state['expected_maps'] = _maps(state)
    state['map_content'] = content_of(state['maps'])
    return state


def _maps(state: Dict[str, Any]) -> List[str]:
    """Hashes of the values of the maps from the cache."""
    from scops_tf.saliency import maps
    found = maps.cached_maps(state['photos'], state['maps'], num_workers=1)
    return [hashlib.sha256(images.read_map(path).tobytes()).hexdigest() for path in found.paths]


def _cache(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    from scops_tf.features import cache
    if index % 5 == 0:
        # The marker of the folder holds nothing.
        content = {name: data for name, data in state['map_content'].items() if name != files.MARK}
        put(state['maps'], state['map_content'])
        what = damage(state['maps'], content, rng)
        return judge(lambda: _maps(state), lambda found: None if found == state['expected_maps']
                     else 'other maps', f'saliency, {what}')
    content, rows = dict(state['content']), state['rows']
    if index % 5 == 1:
        # What a killed process leaves: a beginning, the end of which may never have been written.
        whole = content.pop('key.npy')
        length = int(rng.integers(len(whole)))
        content['key.npy.partial'] = whole[:length]
        put(state['cache'], content)
        what = f'the first {length} bytes'
    else:
        put(state['cache'], content)
        what = damage(state['cache'], content, rng)
    return judge(
        lambda: np.array(cache.filled(rows.shape, lambda indices: rows[indices], key='key',
                                      folder=state['cache'])),
        lambda found: None if np.array_equal(found, rows) else 'other features', what)


EXPERIMENTS: List[Experiment] = [
    Experiment('checkpoints', 'one to three files of three checkpoints, damaged or removed, and '
               'the run continued', 300, _prepare_checkpoints, _checkpoint),
    Experiment('caches', 'a cache of features or of saliency maps, damaged or half written', 200,
               _prepare_caches, _cache)]
