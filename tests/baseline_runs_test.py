"""Laws of the baselines as commands: what they write serves as what a training writes."""
from __future__ import annotations

import json
import pathlib
import shutil
import threading
import types

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from scops_tf import config as config_lib, datasets
from scops_tf.baselines import clusters, dff, factors, kmeans, method
from scops_tf.features import cache as feature_cache, photo_features
from scops_tf.serving import predictor as predictor_lib

NAMES = ('dff', 'kmeans')


@pytest.fixture(scope='module')
def runs(tmp_path_factory, small, run_command):
    """{name: folder} of a run of each baseline, made by its command."""
    folder = tmp_path_factory.mktemp('runs')
    for name in NAMES:
        done = run_command(f'baselines.{name}', f'--workdir={folder / name}', bindings=small)
        assert done.returncode == 0, done.stderr
    return {name: folder / name for name in NAMES}


def _error(done) -> str:
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert 'Traceback' not in done.stderr
    *_, last = done.stderr.strip().replace('\r', '\n').splitlines()
    assert last.startswith('Error: '), done.stderr
    return last


@pytest.mark.parametrize('name', NAMES)
def test_a_run_is_its_configuration_and_its_export(runs, name):
    assert sorted(path.name for path in runs[name].iterdir()) == ['config.gin', 'export']
    config = config_lib.load_run(str(runs[name]))
    assert config.run.method == name and config.run.num_parts == 3
    loaded = predictor_lib.Predictor(str(runs[name] / 'export'))
    assert loaded.metadata['config'] == config.operative and loaded.num_parts == 3
    # Photos of any size.
    found = loaded.predict(np.zeros((1, 50, 70, 3), np.uint8))
    assert found.labels.shape == (1, 50, 70) and found.part_responses.shape == (1, 64, 96, 4)


def test_the_scores_of_a_run_stand_beside_k_means_on_the_same_features(
        runs, run_command, tmp_path):
    for name in NAMES:
        workdir = shutil.copytree(runs[name], tmp_path / name)
        done = run_command('evaluate', f'--workdir={workdir}')
        assert done.returncode == 0, done.stderr
        scores = json.loads((workdir / 'eval' / 'scores.json').read_text(encoding='utf-8'))
        rows = scores['scores']
        assert scores['method'] == name and scores['counts']['photos to test'] == 3
        assert rows['this run']['part mIoU'] > rows['k-means on pixel positions']['part mIoU']
        # The served clusters are those that evaluate finds on its own.
        same = rows['this run'] == pytest.approx(rows['k-means on the same features'], abs=0.5)
        assert same == (name == 'kmeans')
        page = (workdir / 'eval' / 'index.html').read_text(encoding='utf-8')
        assert page.count('<img') > 3


def test_an_export_is_scored_with_the_background_that_is_asked_for(runs, run_command, tmp_path):
    workdir = shutil.copytree(runs['dff'], tmp_path / 'dff')
    foreground = []
    for background in (0.1, 0.9):
        done = run_command('evaluate', f'--workdir={workdir}', bindings=[
            f'Decode.background={background}', 'Evaluation.baselines=False'])
        assert done.returncode == 0, done.stderr
        scores = json.loads((workdir / 'eval' / 'scores.json').read_text(encoding='utf-8'))
        foreground.append(scores['scores']['this run']['foreground'])
    assert foreground[1] < 0.5 * foreground[0]


@pytest.mark.parametrize('name', NAMES)
def test_photos_are_predicted_as_by_a_trained_run(runs, creatures, run_command, tmp_path, name):
    photo = creatures / 'test' / 'photos' / '00000.png'
    done = run_command('predict', f'--export_dir={runs[name] / "export"}',
                       f'--out={tmp_path / "out"}', str(photo))
    assert done.returncode == 0, done.stderr
    labels = np.array(Image.open(next((tmp_path / 'out' / 'labels').rglob('*.png'))))
    expected = predictor_lib.Predictor(str(runs[name] / 'export')).predict(
        np.array(Image.open(photo).convert('RGB'))[np.newaxis])
    np.testing.assert_array_equal(labels, expected.labels[0])


@pytest.mark.parametrize('bindings', [(), ('Kmeans.inside_saliency=False',),
                                      ('Data.saliency=None',)], ids=str)
def test_a_fit_repeats_to_the_bit_and_places_are_those_asked_for(load, tmp_path, bindings):
    config = load(*bindings, "Run.method='kmeans'")
    records = datasets.load_for(config, None).train
    first, again = (method.fit('kmeans', config, method.observe(
        'kmeans', config, records, str(tmp_path))) for _ in range(2))
    np.testing.assert_array_equal(first.centers, again.centers)
    # Inside the map the background has as many clusters as parts are.
    assert np.sum(first.labels.numpy() == 0) == (1 if bindings else 3)


def _factors(config, tmp_path) -> np.ndarray:
    records = datasets.load_for(config, None).train
    observed = method.observe('dff', config, records, str(tmp_path))
    assert (observed.saliency_maps is None) == (
        config.data.saliency is None or not config.dff.num_background)
    return method.fit('dff', config, observed).factors.numpy()


def test_factors_repeat_to_the_bit_and_are_as_many_as_asked_for(load, tmp_path):
    for bindings, count in ((), 5), (('Data.saliency=None',), 5), (('Dff.num_background=3',), 6):
        first, again = (_factors(load(*bindings), tmp_path) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert len(first) == count


def test_factors_without_a_background_see_no_saliency(load, tmp_path):
    first, again = (_factors(load('Dff.num_background=0', *bindings), tmp_path)
                    for bindings in ((), ('Data.saliency=None',)))
    np.testing.assert_array_equal(first, again)
    assert len(first) == 3


@pytest.mark.parametrize('name, bindings, exponent', [
    ('dff', [], 0.0), ('dff', ['Features.normalization=0.5'], 0.5), ('kmeans', [], 0.75)])
def test_factors_are_of_features_with_their_lengths_unless_bound(
        name, bindings, exponent, small, monkeypatch, tmp_path):
    (tmp_path / 'file.gin').write_text('Features.normalization = 0.75', encoding='utf-8')
    others = [binding for binding in small if not binding.startswith('Features.normalization')]
    assert len(others) == len(small) - 1
    made = []
    monkeypatch.setattr(method, 'make', lambda config, workdir: made.append((config, workdir)))
    program = {'dff': dff, 'kmeans': kmeans}[name]
    monkeypatch.setattr(program, 'FLAGS', types.SimpleNamespace(
        gin_file=[str(tmp_path / 'file.gin')], gin_param=[*others, *bindings], seed=None,
        workdir='/unused'))
    program.main([name])
    (config, workdir), = made
    assert (config.run.method, config.features.normalization, workdir) == (
        name, exponent, '/unused')


# What goes wrong is one sentence, and the folder stays as it was.


@pytest.mark.parametrize('name', NAMES)
def test_a_folder_of_another_run_is_refused(name, runs, small, run_command, tmp_path, trained_run):
    other = NAMES[1 - NAMES.index(name)]
    for folder, held in ((trained_run, 'segmenter'), (runs[other], other)):
        copy = shutil.copytree(folder, tmp_path / held)
        before = {path: path.stat().st_mtime_ns for path in copy.rglob('*')}
        sentence = _error(run_command(f'baselines.{name}', f'--workdir={copy}', bindings=small))
        assert f'`Run.method` was {held!r}' in sentence and f'is {name!r} now' in sentence
        assert 'give another `--workdir`' in sentence
        assert {path: path.stat().st_mtime_ns for path in copy.rglob('*')} == before


def test_a_training_does_not_go_on_in_the_folder_of_a_baseline(runs, small, run_command):
    sentence = _error(run_command('train', f'--workdir={runs["dff"]}', bindings=small))
    assert "`Run.method` was 'dff'" in sentence


@pytest.mark.parametrize('name, bindings, words', [
    ('dff', ['Run.num_parts=64'], '`num_factors` must lie in [1, '),
    ('dff', ['Dff.num_background=-1'], '`Dff.num_background` must lie in [0, 64]; got -1'),
    ('kmeans', ["Features.network='vgg19'", "Features.weights='/nowhere.h5'"],
     "there is no file '/nowhere.h5'"),
    ('dff', ["Data.dataset='folder'"], 'no photos below'),
])
def test_what_cannot_be_fitted_is_one_sentence(name, bindings, words, small, run_command, tmp_path):
    if "Data.dataset='folder'" in bindings:
        bindings = [*bindings, f'Data.root={str(tmp_path)!r}', 'Data.saliency=None']
    workdir = tmp_path / 'run'
    done = run_command(f'baselines.{name}', f'--workdir={workdir}', bindings=[*small, *bindings])
    assert words in _error(done)
    assert not (workdir / 'config.gin').exists()


def test_a_flag_is_told_before_tensorflow_starts(run_command):
    for name in NAMES:
        done = run_command(f'baselines.{name}', '--gin_param=Kmeans.inside=3', '--workdir=/unused')
        assert 'it has inside_saliency' in _error(done)
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_is_named_after_the_gin_file_and_the_baseline():
    config = config_lib.load([], method='dff')
    assert config_lib.workdir_for(['gin/cub.gin'], config) == 'runs/cub_dff'


# Memory.


def _peak(fit, features) -> int:
    """KiB of memory, mapped pages among it, that a fit adds at most to those before."""
    def resident() -> int:
        status = pathlib.Path('/proc/self/status').read_text(encoding='ascii')
        return int(status.split('VmRSS:')[1].split()[0])

    before, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        fit(features)
    finally:
        done.set()
        watcher.join()
    return peak - before


def test_memory_does_not_grow_with_the_collection(tmp_path):
    shape = (3000, 8, 12, 512)  # 281 MiB.
    generator = np.random.default_rng(0)
    photo = generator.random(shape[1:])
    raw = feature_cache.filled(
        shape, lambda indices: np.repeat(photo[np.newaxis], len(indices), axis=0), key='k',
        folder=str(tmp_path), batch_size=100)
    features = photo_features.ScaledFeatures(tf.constant, raw)
    factors.fit(features, None, 3, max_rows=100)  # Imports what takes memory once.
    clusters.fit(features, None, 3, max_rows=100)
    for fit in (lambda rows: factors.fit(rows, None, 3, max_rows=4000),
                lambda rows: clusters.fit(rows, None, 3, max_rows=4000)):
        # Rows take 8 MiB; the least of mapping the file would be 35 times that.
        assert _peak(fit, features) < 100 * 1024
