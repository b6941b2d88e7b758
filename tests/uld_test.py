"""Laws of ULD: what its steps change, what it learns, and that its runs serve as any training's."""
from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib, geometry
from scops_tf.datasets.batches import Batch
from scops_tf.networks import checkpoints
from scops_tf.serving import predictor as predictor_lib
from scops_tf.training import trainer as trainer_lib

ULD = ["Run.method='uld'", 'Run.warmup_steps=0', "Features.cache='none'", "PartBasis.init='random'"]
TERMS = ('concentration', 'separation', 'landmark_equivariance', 'reconstruction')


@pytest.fixture(scope='module')
def build(small):
    """Trainers of `small` by ULD with other bindings on top."""
    return lambda *bindings: trainer_lib.Trainer(config_lib.load([], [*small, *ULD, *bindings]))


def _batch(store, first: int = 0) -> Batch:
    indices = [first, first + 1]
    image, saliency = store.batch(indices)
    return Batch(tf.constant(indices, tf.int64), tf.constant(image), tf.constant(saliency))


# The step.


def test_a_step_moves_segmenter_and_decoder_by_four_terms_and_nothing_of_scops(
        build, eager, store):
    trainer = build("Optimizer.name='sgd'")
    trained = {'head': trainer.model.segmenter.head_variables,
               'backbone': trainer.model.segmenter.backbone_variables,
               'decoder': trainer.objective.decoder.trainable_variables}
    before = {name: [variable.numpy() for variable in variables]
              for name, variables in trained.items()}
    basis = trainer.model.part_basis.raw.numpy()
    scalars = trainer.train_step(_batch(store))
    for name, variables in trained.items():
        assert all(np.any(old != new.numpy()) for old, new in zip(before[name], variables)), name
    np.testing.assert_array_equal(trainer.model.part_basis.raw, basis)
    weights = trainer.config.uld
    for name in TERMS:
        np.testing.assert_allclose(scalars[f'weighted_loss/{name}'],
                                   getattr(weights, name) * scalars[f'loss/{name}'], rtol=1e-6)
    np.testing.assert_allclose(
        scalars['loss/total'], sum(scalars[f'weighted_loss/{name}'] for name in TERMS), rtol=1e-5)
    assert {name for name in scalars if name.startswith('loss/')} == {
        'loss/total', *(f'loss/{name}' for name in TERMS)}
    assert 0 < scalars['part/foreground_share'] < 1


def test_no_saliency_and_no_reference_features_change_a_step(build, eager, store):
    batch = _batch(store)
    # Features of a wrong shape, which nothing may look at.
    other = batch._replace(saliency=1 - batch.saliency, reference_features=tf.zeros((2, 1, 1, 1)))
    trainers = build(), build()
    first, second = (trainer.train_step(each) for trainer, each in zip(trainers, (batch, other)))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_a_restored_trainer_goes_on_to_the_same_bits_with_its_decoder(
        build, eager, store, tmp_path):
    first = build()
    first.train_step(_batch(store))
    first.save(first.manager(str(tmp_path)))
    expected = first.train_step(_batch(store, 2))
    second = build()
    assert second.restore(str(tmp_path))
    found = second.train_step(_batch(store, 2))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for one, other in zip(first.objective.decoder.variables, second.objective.decoder.variables):
        np.testing.assert_array_equal(one, other)


# What is learned.


def _errors(trainer, batch) -> tuple:
    """Equivariance error and least distance of two landmarks, in units of the frame.

    They are means over eight views of the photos that no step has drawn.
    """
    pixels = tf.cast(batch.image, tf.float32) / 255

    def landmarks(images):
        logits = trainer.model.segmenter(images)
        return geometry.part_centers(tf.nn.softmax(
            geometry.upsample(logits, trainer.config.response_size))[..., 1:])

    own, errors = landmarks(pixels), []
    for number in range(8):
        view, transform = trainer.views.draw(pixels, tf.constant([7, 1000 + number]))
        moved = transform.warp_points(own).numpy()
        distances = np.linalg.norm(landmarks(view) - moved, axis=-1)
        errors.append(distances[geometry.is_inside(tf.constant(moved)).numpy()].mean())
    apart = np.linalg.norm(own[:, :, None] - own[:, None], axis=-1)
    apart[:, np.arange(3), np.arange(3)] = np.inf
    return np.mean(errors), apart.min(axis=(1, 2)).mean()


def test_landmarks_of_drawings_become_equivariant_and_stay_apart(build, store):
    trainer, batch = build('Run.steps=200'), _batch(store)
    error, apart = _errors(trainer, batch)
    # Random landmarks lie near the middle of the photo, all of them.
    assert apart < 0.1 and error > apart
    first = trainer.train_step(batch)
    for _ in range(149):
        last = trainer.train_step(batch)
    error, apart = _errors(trainer, batch)
    assert apart > 0.15 and error < 0.5 * apart, (error, apart)
    for name in ('separation', 'reconstruction'):
        assert last[f'loss/{name}'] < 0.6 * first[f'loss/{name}'], name


# A run.


@pytest.fixture(scope='module')
def run(tmp_path_factory, small, run_command):
    """Folder of a run by the command."""
    workdir = tmp_path_factory.mktemp('runs') / 'uld'
    done = run_command('train', f'--workdir={workdir}',
                       bindings=[*small, *ULD, 'Run.steps=3', 'Logging.scalars_every=1'])
    assert done.returncode == 0, done.stderr
    return workdir


def test_a_run_has_what_any_training_leaves(run):
    assert {'config.gin', 'checkpoints', 'tensorboard'} <= {path.name for path in run.iterdir()}
    assert config_lib.load_run(str(run)).run.method == 'uld'
    assert checkpoints.latest_step(str(run)) == 3


def test_a_run_is_evaluated_and_exported_as_any_training(run, run_command, tmp_path):
    done = run_command('evaluate', f'--workdir={run}', bindings=['Evaluation.baselines=False'])
    assert done.returncode == 0, done.stderr
    scores = json.loads((run / 'eval' / 'scores.json').read_text(encoding='utf-8'))
    assert scores['method'] == 'uld' and scores['step'] == 3 and scores['scores']['this run']
    done = run_command('export', f'--workdir={run}', f'--export_dir={tmp_path / "export"}')
    assert done.returncode == 0, done.stderr
    found = predictor_lib.Predictor(str(tmp_path / 'export')).predict(
        np.zeros((1, 50, 70, 3), np.uint8))
    assert found.labels.shape == (1, 50, 70) and found.part_centers.shape == (1, 3, 2)


# What goes wrong is one sentence.


@pytest.mark.parametrize('binding, value', [
    ('Run.warmup_steps=2', '2 and None'), ("Run.teacher='quick.gin'", "0 and 'quick.gin'")])
def test_a_warm_up_is_refused(small, binding, value):
    with pytest.raises(config_lib.ConfigError, match="`Run.warmup_steps` must be 0") as caught:
        config_lib.load([], [*small, *ULD, binding])
    assert value in str(caught.value)


def test_a_baseline_that_is_fitted_is_not_trained(small):
    with pytest.raises(config_lib.ConfigError, match='python -m scops_tf.baselines.dff makes'):
        trainer_lib.Trainer(config_lib.load([], [*small, "Run.method='dff'"]))
