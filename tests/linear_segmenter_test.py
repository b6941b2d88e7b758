"""Laws of the segmenter that is linear in the reference features, by itself and as a run."""
from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib, datasets
from scops_tf.datasets.batches import Batch
from scops_tf.evaluation import photo_batches, run_predictions, run_scores
from scops_tf.features import photo_features
from scops_tf.networks import (
    checkpoints,
    fixed_filters,
    linear_segmenter,
    model as model_lib,
    reference_features as features_lib,
)
from scops_tf.serving import (
    decoding,
    predictor as predictor_lib,
    saved_model,
    trained_model,
)
from scops_tf.training import loop, trainer as trainer_lib

# Of steps that run operation by operation. The batches are made as ever.
pytestmark = pytest.mark.filterwarnings('ignore:Even though .* does not apply to tf.data')


def _photos(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


@pytest.fixture
def network() -> linear_segmenter.LinearSegmenter:
    reference = features_lib.ReferenceFeatures('filters', normalization=0.75)
    reference.tap_scales.assign([0.5, 2.0])
    return linear_segmenter.LinearSegmenter(3, reference, seed=1)


def test_part_logits_are_one_linear_map_of_the_scaled_features(network):
    photos = tf.constant(_photos(33, 49), tf.float32) / 255
    network.head.bias.assign([0.5, -1.0, 0.25, 2.0])
    found = network(photos)
    assert found.dtype == tf.float32
    assert found.shape == (2, *network.feature_shape((33, 49))[:2], 4)
    kernel, bias = (weights.numpy() for weights in network.head_variables)
    expected = network.reference_features(photos).numpy() @ kernel[0, 0] + bias
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(network(photos, training=True), found)


def test_context_adds_the_mean_over_the_cells_of_a_window_that_lie_within_the_map():
    head = linear_segmenter.LinearHead(2, context=5)
    head.build((None, None, None, 3))
    head.bias.assign([0.5, -1.0])
    features = np.random.default_rng(0).normal(size=(1, 6, 9, 3)).astype(np.float32)
    expected = features @ head.kernel[0, 0].numpy() + [0.5, -1.0]
    for y, x in np.ndindex(6, 9):
        window = features[0, max(y - 2, 0):y + 3, max(x - 2, 0):x + 3]
        expected[0, y, x] += window.mean(axis=(0, 1)) @ head.context_kernel[0, 0].numpy()
    np.testing.assert_allclose(head(features), expected, rtol=1e-4, atol=1e-5)
    assert (head.kernel.numpy() != head.context_kernel.numpy()).all()


def test_the_window_is_the_odd_number_of_cells_next_to_its_share_of_the_shorter_side():
    sizes = [linear_segmenter.window_of(share, size) for share, size in (
        (0.4, (32, 40)), (0.4, (40, 24)), (0.0, (32, 40)), (0.01, (32, 40)), (1.0, (9, 12)))]
    assert sizes == [13, 9, 1, 1, 9]


def test_only_the_head_is_trained(network):
    assert network.backbone_variables == []
    assert [variable.shape for variable in network.head_variables] == [
        (1, 1, network.reference_features.num_channels, 4), (4,)]
    photos = tf.constant(_photos(33, 49), tf.float32) / 255
    with tf.GradientTape() as tape:
        tape.watch([photos, network.reference_features.tap_scales])
        total = tf.reduce_sum(network(photos) ** 2)
    gradients = tape.gradient(total, [photos, network.reference_features.tap_scales,
                                      *network.head_variables])
    assert gradients[:2] == [None, None]
    assert all(np.abs(gradient).max() > 0 for gradient in gradients[2:])


def test_the_head_starts_small_and_by_its_seed(network):
    def kernel(seed: int) -> np.ndarray:
        return linear_segmenter.LinearSegmenter(
            3, network.reference_features, seed=seed).head.kernel.numpy()

    np.testing.assert_array_equal(kernel(1), network.head.kernel)
    assert (kernel(2) != kernel(1)).any()
    assert kernel(1).std() == pytest.approx(0.01, rel=0.3)


def test_no_parts_are_refused(network):
    with pytest.raises(ValueError, match='`num_parts` must be at least 1; got 0'):
        linear_segmenter.LinearSegmenter(0, network.reference_features)


def test_what_is_left_of_lengths_is_what_both_exponents_leave(network):
    photos = tf.constant(_photos(33, 49), tf.float32) / 255
    plain = features_lib.ReferenceFeatures('filters')
    plain.tap_scales.assign(network.reference_features.tap_scales)
    halved = linear_segmenter.LinearSegmenter(
        3, features_lib.ReferenceFeatures('filters', normalization=0.5), normalization=0.5)
    halved.reference_features.tap_scales.assign(plain.tap_scales)
    further = linear_segmenter.LinearSegmenter(3, plain, normalization=0.75)
    expected = network.reference_features(photos)  # Of the exponent 0.75.
    assert np.abs(expected - plain(photos)).max() > 0.1
    np.testing.assert_allclose(further.backbone(photos), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(halved.backbone(photos), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(further.of_features(plain(photos)), further.backbone(photos))
    np.testing.assert_array_equal(further(photos), further.head(further.backbone(photos)))


# A run.


@pytest.fixture(scope='module')
def config(small, linear) -> config_lib.Config:
    return config_lib.load(
        [], [*small, *linear, 'Segmenter.context=0.2', 'Segmenter.normalization=0.5'])


@pytest.fixture(scope='module')
def workdir(config, eagerly, tmp_path_factory) -> pathlib.Path:
    """Folder of a run that trained to its end."""
    folder = tmp_path_factory.mktemp('runs') / 'linear'
    with eagerly():
        loop.train(config, str(folder))
    return folder


def _variables(workdir: pathlib.Path, step: int) -> dict:
    reader = tf.train.load_checkpoint(checkpoints.find(str(workdir), step))
    # How often the run was saved is no part of the training.
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name != '_CHECKPOINTABLE_OBJECT_GRAPH' and not name.startswith('save_counter')}


def test_head_and_basis_are_trained_and_the_scales_stay(workdir):
    start, warm, end = (_variables(workdir, step) for step in (0, 3, 8))
    kernel, basis, scales = (f'model/{name}/.ATTRIBUTES/VARIABLE_VALUE' for name in (
        'segmenter/head/kernel', 'part_basis/raw', 'tap_scales'))
    assert np.abs(warm[kernel] - start[kernel]).max() > 1e-3
    assert np.abs(end[kernel] - warm[kernel]).max() > 1e-3
    np.testing.assert_array_equal(warm[basis], start[basis])
    assert (end[basis] != start[basis]).any()
    np.testing.assert_array_equal(end[scales], start[scales])
    assert (start[scales] != 1).all()


@pytest.mark.parametrize('step', [2, 5], ids=['in the warm-up', 'after it'])
def test_a_continued_run_has_the_variables_of_one_never_stopped(
        config, workdir, eager, tmp_path, step):
    continued = tmp_path / 'run'
    shutil.copytree(workdir, continued)
    for path in (continued / 'checkpoints').glob('ckpt-*'):
        if int(path.name.split('-')[1].split('.')[0]) > step:
            path.unlink()
    assert checkpoints.latest_step(str(continued)) == step
    loop.train(config, str(continued))
    whole, again = _variables(workdir, 8), _variables(continued, 8)
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_logits_of_cached_features_are_those_that_are_served(config, workdir):
    still = dataclasses.replace(
        config, segmenter=dataclasses.replace(config.segmenter, dropout=0.0))
    trained = trainer_lib.Trainer(still)
    trained.restore(str(workdir))
    photos = _photos(64, 96)
    reference = trained.model.reference_features.raw(tf.constant(photos, tf.float32) / 255)
    transform = trained.views.transform(2, trained.seed(0))
    read = trained.model.segmenter.backbone(tf.constant(photos, tf.float32) / 255)
    seen = trained._observe(Batch(
        tf.constant([0, 1], tf.int64), tf.constant(photos), tf.ones((2, 64, 96)), reference,
        view_features=read, view_matrix=transform.matrix,
        view_displacements=transform.displacements))
    np.testing.assert_allclose(seen.logits, seen.view_logits, atol=1e-4)
    served = trained_model.load_part_model(config, str(workdir)).part_model
    np.testing.assert_allclose(
        served.predict(tf.constant(photos))['part_responses'],
        decoding.part_responses_from_logits(seen.logits, (64, 96)), atol=1e-4)


def test_an_export_predicts_as_the_trained_model(config, workdir, tmp_path):
    trained = trained_model.load_part_model(config, str(workdir))
    assert trained.step == 8 and min(trained.tap_scales) > 0
    export = saved_model.export(
        trained.part_model, str(tmp_path), metadata={'step': trained.step})
    # Photos of another size than the training's.
    photos = _photos(50, 110)
    found = predictor_lib.Predictor(export).predict(photos)
    assert found.labels.shape == (2, 50, 110) and found.part_responses.shape == (2, 64, 96, 4)
    np.testing.assert_allclose(found.part_responses.sum(axis=-1), 1, rtol=1e-4)
    expected = trained.part_model.predict(tf.constant(photos))
    np.testing.assert_allclose(found.part_responses, expected['part_responses'], atol=1e-5)
    kernel = _variables(workdir, 8)['model/segmenter/head/kernel/.ATTRIBUTES/VARIABLE_VALUE']
    assert any(np.array_equal(variable, kernel) for variable in trained.part_model.variables)


# Its evaluation.


def _scores(config: config_lib.Config, folder: pathlib.Path) -> dict:
    run_scores.evaluate(config, str(folder))
    return json.loads((folder / 'eval' / 'scores.json').read_text(encoding='utf-8'))


def test_its_scores_are_those_of_its_checkpoint(config, workdir, tmp_path):
    folder = shutil.copytree(workdir, tmp_path / 'run')
    scores = _scores(config, folder)
    assert scores['step'] == 8
    assert {'this run', 'k-means on the same features'} <= scores['scores'].keys()
    assert all(np.isfinite(value) for value in scores['scores']['this run'].values())
    assert os.path.exists(folder / 'eval' / 'index.html')


def test_a_head_on_shared_features_predicts_as_what_is_exported(config, workdir):
    run = run_predictions.load(config, str(workdir))
    network, raw = run_predictions.reference_networks(config, run)
    features = network.scale(raw(tf.constant(_photos(64, 96), tf.float32) / 255))
    batch = photo_batches.PhotoBatch((), _photos(64, 96), lambda: features)
    found = batch.outputs(run_predictions.of_features(run, config))
    for name, expected in batch.outputs(run.predict).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-3, err_msg=name)


@pytest.fixture
def passes(monkeypatch) -> collections.Counter:
    """How often each photo has passed the network of the reference features."""
    counter, taps = collections.Counter(), fixed_filters.taps

    def count(images: tf.Tensor) -> None:
        counter.update(np.rint(255 * image).astype(np.uint8).tobytes() for image in images.numpy())

    def counted(images: tf.Tensor) -> list:
        tf.py_function(count, [images], [])
        return taps(images)

    monkeypatch.setattr(fixed_filters, 'taps', counted)
    return counter


def _images(config: config_lib.Config, split: str) -> list:
    """The photos of a split as the counter knows them."""
    opened = photo_features.open_store(
        config, getattr(datasets.load_for(config, None), split), 'unused', with_saliency=False)
    return [opened.image(index).tobytes() for index in range(len(opened))]


def test_a_photo_passes_the_reference_network_once_for_all_methods(
        config, workdir, tmp_path, passes, small, trained_run):
    tiny = config_lib.load([], small)
    for number, (settings, folder) in enumerate(((config, workdir), (tiny, trained_run))):
        passes.clear()
        _scores(settings, shutil.copytree(folder, tmp_path / str(number)))
        # The training photos are those to fit on too.
        expected = [*_images(settings, 'train'), *_images(settings, 'test')]
        assert passes == dict.fromkeys(expected, 1)


def test_photos_whose_features_the_run_has_cached_pass_no_network_and_have_the_same_scores(
        config, workdir, tmp_path, passes):
    folder = shutil.copytree(workdir, tmp_path / 'run')
    uncached = _scores(config, folder)
    on_disk = dataclasses.replace(
        config, features=dataclasses.replace(config.features, cache='disk'))
    network = model_lib.reference_features(on_disk)
    store = photo_features.open_store(
        on_disk, datasets.load_for(on_disk, None).train, str(folder), with_saliency=False)
    photo_features.reference_features(on_disk, network, store, str(folder / 'cache'))
    passes.clear()
    # One row per score, each of values that are equal to the last bit.
    assert _scores(on_disk, folder)['scores'] == uncached['scores']
    assert passes == dict.fromkeys(_images(config, 'test'), 1)


def test_a_cache_of_other_photos_is_not_read(config, workdir, tmp_path, passes):
    folder = shutil.copytree(workdir, tmp_path / 'run')
    on_disk = dataclasses.replace(
        config, features=dataclasses.replace(config.features, cache='disk'))
    network = model_lib.reference_features(on_disk)
    store = photo_features.open_store(
        on_disk, datasets.load_for(on_disk, None).train[1:], str(folder), with_saliency=False)
    photo_features.reference_features(on_disk, network, store, str(folder / 'cache'))
    passes.clear()
    _scores(on_disk, folder)
    assert passes == dict.fromkeys([*_images(config, 'train'), *_images(config, 'test')], 1)
