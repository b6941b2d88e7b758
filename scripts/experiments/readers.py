"""Experiments on annotations: damaged files of each data set, read and then scored with."""
from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import sqlite3
import struct
import tempfile
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple
import zlib

import numpy as np

from experiments import layouts, mutation
from experiments.outcome import Experiment, Outcome, judge
from scops_tf import files
from scops_tf.datasets import aflw, celeba, cub, pascal, synthetic
from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import dataset_scores
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit

NUM_PARTS = 3
_MAP_SIZE = (24, 36)
# Pixels; no photo is as large.
_FARTHEST = 1e6


class _Set(NamedTuple):
    """A data set on the disk: how it is read, and how its files are damaged."""

    root: str
    read: Callable[[], PartDataset]
    damages: Dict[str, Callable[[bytes, np.random.Generator], Tuple[bytes, str]]]


def _prepared(name: str, folder: str) -> _Set:
    """The data set of that name, written below a folder."""
    root, cache = os.path.join(folder, name), os.path.join(folder, 'cache')
    if name == 'drawn':
        synthetic.write(root, num_train=5, num_test=4, size=layouts.SIZE)
        read = functools.partial(synthetic.read, root)
    else:
        getattr(layouts, f'write_{name}')(root)
        read = {'cub': functools.partial(cub.read, root, classes=None),
                'celeba': functools.partial(celeba.read, root, min_object_area=0.1),
                'aflw': functools.partial(aflw.read, root, min_object_area=0.1),
                'pascal': functools.partial(
                    pascal.read, root, category=layouts.category(), cache_folder=cache,
                    min_object_area=0.1, min_part_share=0.1,
                    image_sets=('Main/some', 'Main/more'))}[name]
    read()  # Fills the cache, which is damaged too.
    kinds = {'.txt': mutation.of_text, '.json': mutation.of_json_text, '.npz': _of_npz,
             '.sqlite': _of_database, '.mat': _of_matlab}
    damages = {}
    for base, _, names in os.walk(folder):
        for each in sorted(names):
            suffix = os.path.splitext(each)[1]
            if suffix in kinds:
                damages[os.path.join(base, each)] = kinds[suffix]
    return _Set(root, read, damages)


def _case(found: _Set, index: int, rng: np.random.Generator) -> Outcome:
    path = sorted(found.damages)[rng.integers(len(found.damages))]
    whole = files.read(path)
    changed, how = found.damages[path](whole, rng)
    files.write(path, changed)
    try:
        return judge(lambda: _read_and_score(found.read), _problem_of,
                     f'{os.path.relpath(path, found.root)}: {how}')
    finally:
        if os.path.isdir(path):
            shutil.rmtree(path)
        files.write(path, whole)
        # A cache may have been made of what was damaged; the next case starts from a whole one.
        if not path.endswith('.json') and found.read.func is pascal.read:
            shutil.rmtree(found.read.keywords['cache_folder'], ignore_errors=True)
            found.read()


def _read_and_score(read: Callable[[], PartDataset]
                    ) -> Tuple[PartDataset, Dict[str, float]]:
    """The data set and the scores of random part maps."""
    dataset = read()
    rng = np.random.default_rng(0)

    def split(records: Sequence[Record]) -> Tuple[PhotoSplit, PartMaps]:
        labels = rng.integers(0, NUM_PARTS + 1, (len(records), *_MAP_SIZE)).astype(np.uint8)
        centers = rng.uniform(0, _MAP_SIZE[0], (len(records), NUM_PARTS, 2)).astype(np.float32)
        return (PhotoSplit(tuple(records), np.tile(layouts.SIZE, (len(records), 1))),
                PartMaps(labels, np.maximum(labels, 1), centers,
                         np.ones((len(records), NUM_PARTS), np.float32)))

    (fit, fit_maps), (test, test_maps) = split(dataset.fit), split(dataset.test)
    scorer = dataset_scores.Scorer(dataset, fit, test, _MAP_SIZE)
    values = dict(scorer.scores(NUM_PARTS, fit_maps, test_maps).values)
    for name, row in scorer.trivial(fit_maps, test_maps).items():
        values.update({f'{name}, {score}': value for score, value in row.items()})
    return dataset, values


def _problem_of(found: Tuple[PartDataset, Dict[str, float]]) -> Optional[str]:
    """What is wrong with a data set and its scores; None if nothing is."""
    dataset, scores = found
    for record in (*dataset.train, *dataset.fit, *dataset.test):
        problem = _problem_of_record(record, len(dataset.landmark_names))
        if problem:
            return f'{record.name} has {problem}'
    # A score that cannot be had is NaN; none is infinite, and none is negative but ARI.
    bad = [f'{name} is {value}' for name, value in scores.items()
           if np.isinf(value) or value < 0 and 'ARI' not in name]
    return bad[0] if bad else None


def _problem_of_record(record: Record, num_landmarks: int) -> Optional[str]:
    if record.box is not None and (
            record.box.shape != (4,) or not np.all(np.abs(record.box) <= _FARTHEST)
            or min(record.box[2:]) <= 0):
        return f'the box {record.box}'
    if record.landmarks is not None:
        if record.landmarks.shape != (num_landmarks, 2) or record.visible.shape != (
                num_landmarks,) or record.visible.dtype != bool:
            return f'landmarks of shape {record.landmarks.shape}'
        if not np.all(np.abs(record.landmarks) <= _FARTHEST):
            return f'landmarks up to {np.abs(record.landmarks).max()}'
    if not os.path.isfile(record.path):
        return 'no photo'
    return None


# Damage by the kind of the file.


def _of_npz(data: bytes, rng: np.random.Generator) -> Tuple[bytes, str]:
    if rng.random() < 0.4:
        return mutation.of_bytes(data, rng)
    with np.load(io.BytesIO(data)) as file:
        arrays, how = mutation.of_arrays(dict(file), rng)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue(), how


_SQL_VALUES = (None, '', 'x', b'\x00\xff', -5, 0, 7, 1e300, float('inf'), -1e-320, 2 ** 62, '1e3',
               '../x', '0/image100.png', 100, 104, 1e7, '\u00e9')


def _of_database(data: bytes, rng: np.random.Generator) -> Tuple[bytes, str]:
    if rng.random() < 0.4:
        return mutation.of_bytes(data, rng)
    with tempfile.NamedTemporaryFile(suffix='.sqlite') as file:
        file.write(data)
        file.flush()
        how = _change_database(file.name, rng)
        return files.read(file.name), how


def _change_database(path: str, rng: np.random.Generator) -> str:
    """Changes a table of a database by one statement, which is returned."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [name for name, in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        table = str(rng.choice(tables))
        columns = [row[1] for row in database.execute(f'PRAGMA table_info({table})')]
        column = str(rng.choice(columns))
        value = _SQL_VALUES[rng.integers(len(_SQL_VALUES))]
        row = f'rowid = (SELECT rowid FROM {table} LIMIT 1 OFFSET {rng.integers(12)})'
        statement, values = [
            (f'UPDATE OR REPLACE {table} SET {column} = ? WHERE {row}', (value,)),
            (f'UPDATE OR REPLACE {table} SET {column} = ?', (value,)),
            (f'DELETE FROM {table} WHERE {row}', ()), (f'DELETE FROM {table}', ()),
            (f'DROP TABLE {table}', ()),
            (f'ALTER TABLE {table} RENAME COLUMN {column} TO other', ()),
            (f'INSERT OR REPLACE INTO {table} ({column}) VALUES (?)', (value,)),
        ][rng.choice(7, p=[0.4, 0.15, 0.1, 0.05, 0.05, 0.1, 0.15])]
        how = f'{statement} {values}'
        try:
            with database:
                database.execute(statement, values)
        except sqlite3.Error as error:
            how += f' (refused: {error})'
        return how


def _of_matlab(data: bytes, rng: np.random.Generator) -> Tuple[bytes, str]:
    """Damages the file; or what is compressed in it, so that all checksums are right."""
    if rng.random() < 0.2:
        return mutation.of_bytes(data, rng)
    header, length = data[:128], struct.unpack('<I', data[132:136])[0]
    inner, how = mutation.of_bytes(zlib.decompress(data[136:136 + length]), rng)
    packed = zlib.compress(inner)
    return (header + struct.pack('<II', 15, len(packed)) + packed,
            f'recompressed after {how}')


def _experiment(name: str, title: str) -> Experiment:
    return Experiment(name, title, 500, functools.partial(_prepared, name), _case)


EXPERIMENTS: List[Experiment] = [
    _experiment('cub', 'lists of CUB-200-2011, damaged'),
    _experiment('celeba', 'lists of CelebA and MAFL, damaged'),
    _experiment('aflw', 'database of AFLW, damaged'),
    _experiment('pascal', '.mat files, lists and index of PASCAL-Part, damaged'),
    _experiment('drawn', 'annotations of the drawn creatures, damaged')]
