"""Laws of a run that starts from another one, trained in CelebA's layout, continued in AFLW's."""
from __future__ import annotations

import contextlib
import pathlib
import shutil
import sqlite3

import aflw_test
import celeba_test
import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets import aflw, celeba, synthetic
from scops_tf.networks import checkpoints
from scops_tf.serving import trained_model
from scops_tf.training import loop

HEIGHT, WIDTH = SIZE = (64, 96)
# Photos of a split of AFLW follow a hash of their names: enough for both splits to have some.
COUNT = 16


@pytest.fixture(scope='module')
def drawings(tmp_path_factory):
    """Drawn photos, each almost filled by its creature's box, as any face's box does."""
    folder = tmp_path_factory.mktemp('drawn') / 'creatures'
    synthetic.write(str(folder), num_train=COUNT, num_test=0, size=SIZE, seed=3)
    return [pathlib.Path(record.path) for record in synthetic.read(str(folder)).train]


@pytest.fixture(scope='module')
def celeba_root(drawings, tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp('celeba')
    names = [f'{number:06d}.jpg' for number in range(1, COUNT + 1)]
    (root / 'img_celeba').mkdir()
    for name, path in zip(names, drawings):
        shutil.copy(path, root / 'img_celeba' / name)
    box, points = f'2 2 {WIDTH - 4} {HEIGHT - 4}', '20 20 70 20 45 40 30 55 60 55'
    for list_name, columns, row in (
            ('list_bbox_celeba.txt', 'image_id x_1 y_1 width height', box),
            ('list_landmarks_celeba.txt', ' '.join(
                f'{name}_{axis}' for name in celeba.LANDMARK_NAMES for axis in 'xy'), points)):
        celeba_test.write(root, list_name, [
            str(COUNT), columns, *(f'{name} {row}' for name in names)])
    for split, chosen in (('celebA_training', names[:12]), ('training', names[:12]),
                          ('testing', names[12:])):
        celeba_test.write(root, f'MAFL/{split}.txt', chosen)
    return root


@pytest.fixture(scope='module')
def aflw_root(drawings, tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp('aflw')
    with contextlib.closing(sqlite3.connect(root / 'aflw.sqlite')) as database, database:
        database.executescript(aflw_test.SCHEMA)
        database.executemany('INSERT INTO FeatureCoordTypes VALUES (?, ?, ?, 0, 0, 0)', [
            (number, name, name[:4]) for number, name in enumerate(aflw.LANDMARK_NAMES, start=1)])
        for face, path in enumerate(drawings, start=1):
            name = aflw_test.photo_name(face)
            (root / 'flickr' / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / 'flickr' / name)
            database.execute('INSERT INTO FaceImages VALUES (NULL, "aflw", ?, ?, 0, ?, ?)',
                             (str(face), name, WIDTH, HEIGHT))
            database.execute('INSERT INTO Faces VALUES (?, ?, "aflw")', (face, str(face)))
            database.execute('INSERT INTO FaceRect VALUES (?, 2, 2, ?, ?, 5)',
                             (face, WIDTH - 4, HEIGHT - 4))
            database.executemany('INSERT INTO FeatureCoords VALUES (?, ?, ?, ?, 1)', [
                (face, number, 4.0 * number, 60.0 - number) for number in range(1, 22)])
    return root


def _labels(config: config_lib.Config, workdir: pathlib.Path, step: int, photos: np.ndarray
            ) -> np.ndarray:
    at_step = config_lib.load(
        [], [config.operative, f'Evaluation.step={step}'])
    trained = trained_model.load_part_model(at_step, str(workdir))
    assert trained.step == step
    return trained.part_model.predict(tf.constant(photos))['labels'].numpy()


@pytest.fixture(scope='module')
def bindings(small):
    """Of both runs."""
    return [*small, "Data.saliency='rbd'", "PartBasis.init='kmeans'", 'Run.warmup_steps=30']


@pytest.fixture(scope='module')
def source(bindings, celeba_root, tmp_path_factory):
    """The configuration and the folder of a run on faces in CelebA's layout."""
    config = config_lib.load([], [*bindings, "Data.dataset='celeba'",
                                  f'Data.root={str(celeba_root)!r}', 'Run.steps=40'])
    workdir = tmp_path_factory.mktemp('runs') / 'celeba'
    loop.train(config, str(workdir))
    return config, workdir


# The batches are made as ever.
@pytest.mark.filterwarnings('ignore:Even though .* does not apply to tf.data')
def test_a_run_that_starts_from_another_keeps_its_parts_and_fits_no_clusters_again(
        bindings, drawings, source, aflw_root, eager, tmp_path, monkeypatch):
    from scops_tf import images

    photos = np.stack([images.read(str(path)) for path in drawings])
    tuned = config_lib.load([], [
        *bindings, "Data.dataset='aflw'", f'Data.root={str(aflw_root)!r}',
        f'Run.init_from={str(source[1])!r}', 'Run.steps=32',
        'Optimizer.learning_rate=1e-5', 'Optimizer.head_multiplier=1.0'])
    assert tuned.run.warmup_steps == 30 and tuned.warmup_steps == 0
    # It is stopped after its first step; no law is about the others.
    monkeypatch.setattr(loop.replicas, 'any_of', lambda *_: True)
    assert not loop.train(tuned, str(tmp_path / 'aflw'))

    before = _labels(*source, 40, photos)
    assert len(np.unique(before)) > 2
    start, first = (_labels(tuned, tmp_path / 'aflw', step, photos) for step in (0, 1))
    np.testing.assert_array_equal(start, before)
    assert np.mean(first == before) > 0.97
    # The losses that the parts are asked for move them from the first step on, and the basis too,
    # which a warm-up leaves alone.
    bases = [tf.train.load_checkpoint(checkpoints.find(str(tmp_path / 'aflw'), step)).get_tensor(
        'model/part_basis/raw/.ATTRIBUTES/VARIABLE_VALUE') for step in (0, 1)]
    assert np.abs(bases[1] - bases[0]).max() > 0
