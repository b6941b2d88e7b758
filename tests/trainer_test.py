"""Laws of the training step: what it changes, what it leaves alone, what it reports."""
from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.datasets.batches import Batch
from scops_tf.networks import checkpoints, pretrained
from scops_tf.training import objective, trainer as trainer_lib

SIZE = (64, 96)
HEAD_ONLY = ["Segmenter.backbone='resnet50'", 'Segmenter.weights=None',
             "Segmenter.trained='head'"]


def _batch(seed: int = 0, **more) -> Batch:
    generator = np.random.default_rng(seed)
    return Batch(
        tf.constant([0, 1], tf.int64),
        tf.constant(generator.integers(0, 256, (2, *SIZE, 3)), tf.uint8),
        tf.constant(generator.random((2, *SIZE)), tf.float32))._replace(**more)


def _values(variables) -> list:
    return [variable.numpy() for variable in variables]


def _moved(before, variables) -> list:
    return [not np.array_equal(old, new) for old, new in zip(before, _values(variables))]


@pytest.fixture(scope='module')
def build(small):
    """Trainers of the configuration `small` with other bindings on top."""
    return lambda *bindings: trainer_lib.Trainer(config_lib.load([], [*small, *bindings]))


@pytest.fixture(scope='module')
def trainer(build) -> trainer_lib.Trainer:
    return build()


@pytest.fixture
def small_resnet(monkeypatch):
    """A convolution and a frozen batch norm in the place of the ResNet."""

    def build(network, *, weights, seed, rewrite):
        layers = tf.keras.layers
        maps = images = tf.keras.Input((None, None, 3))
        for number, stride in enumerate((4, 2)):
            maps = layers.Conv2D(8, 3, stride, padding='same', name=f'{number}_conv',
                                 kernel_initializer=tf.keras.initializers.HeNormal(seed + number)
                                 )(maps)
            maps = layers.BatchNormalization(name=f'{number}_bn', trainable=False)(maps)
        return tf.keras.Model(images, maps)

    monkeypatch.setattr(pretrained, 'build', build)


def test_a_step_is_traced_once_and_moves_every_trained_variable(trainer):
    groups = {'head': trainer.model.segmenter.head_variables,
              'backbone': trainer.model.segmenter.backbone_variables,
              'basis': [trainer.model.part_basis.raw]}
    before = {name: _values(variables) for name, variables in groups.items()}
    scales = trainer.model.reference_features.tap_scales.numpy()
    step = int(trainer.step)
    for seed in range(3):
        trainer.train_step(_batch(seed))
    assert trainer.train_step.experimental_get_tracing_count() == 1
    assert int(trainer.step) == step + 3
    for name, variables in groups.items():
        assert variables and all(_moved(before[name], variables)), name
    np.testing.assert_array_equal(trainer.model.reference_features.tap_scales, scales)


def test_the_total_is_the_weighted_sum_of_the_terms_that_are_reported(trainer):
    scalars = trainer.train_step(_batch())
    assert all(value.dtype == tf.float32 and value.shape == () for value in scalars.values())
    weights = trainer.config.losses
    terms = ['concentration', 'equivariance', 'center_equivariance', 'semantic_consistency',
             'orthonormal']
    for name in terms:
        np.testing.assert_allclose(scalars[f'weighted_loss/{name}'],
                                   getattr(weights, name) * scalars[f'loss/{name}'], rtol=1e-6)
    np.testing.assert_allclose(
        scalars['loss/total'], sum(scalars[f'weighted_loss/{name}'] for name in terms), rtol=1e-6)
    assert {f'gradient_norm/{group}' for group in ('backbone', 'head', 'basis')} <= set(scalars)
    assert {f'learning_rate/{group}' for group in ('backbone', 'head', 'basis')} <= set(scalars)
    areas = [float(scalars[f'part_area/{part}']) for part in (1, 2, 3)]
    np.testing.assert_allclose(sum(areas), scalars['part/foreground_share'], rtol=1e-5)
    assert all(0 < float(scalars[f'part_presence/{part}']) <= 1 for part in (1, 2, 3))


def test_a_warm_up_step_leaves_the_basis_alone_and_fits_the_target(build, eager):
    trainer = build("Optimizer.name='adamw'", 'Optimizer.weight_decay=0.1')
    basis, network = trainer.model.part_basis.raw.numpy(), _values(
        trainer.model.segmenter.head_variables)
    # All of the second part.
    target = np.tile(np.array([0, 0, 1, 0], np.float16), (2, 16, 24, 1))
    batch = _batch(warmup_target=tf.constant(target))
    losses = [float(trainer.warmup_step(batch)['loss/total']) for _ in range(8)]
    assert losses[-1] < losses[0] / 2
    np.testing.assert_array_equal(trainer.model.part_basis.raw, basis)
    assert all(_moved(network, trainer.model.segmenter.head_variables))
    assert int(trainer.step) == 8


@pytest.mark.parametrize('views', [False, True], ids=['drawn views', 'cached views'])
def test_with_a_frozen_backbone_only_the_head_and_the_basis_move(build, small_resnet, eager, views):
    trainer = build(*HEAD_ONLY)
    batch = _batch()
    if views:
        shape = (2, *trainer.model.segmenter.feature_shape(SIZE))
        drawn = np.random.default_rng(0)
        transform = trainer.views.transform(2, tf.constant([0, 1]))
        batch = batch._replace(
            backbone_features=tf.constant(drawn.random(shape), tf.float16),
                     view_features=tf.constant(drawn.random(shape), tf.float16),
                     **{f'view_{name}': value for name, value in transform._asdict().items()})
    backbone = _values(trainer.model.segmenter.backbone.variables)
    head, basis = _values(
        trainer.model.segmenter.head.variables), trainer.model.part_basis.raw.numpy()
    assert trainer.model.segmenter.backbone.non_trainable_variables
    scalars = trainer.train_step(batch)
    assert math.isfinite(scalars['loss/total'])
    assert not any(_moved(backbone, trainer.model.segmenter.backbone.variables))
    assert all(_moved(head, trainer.model.segmenter.head.variables))
    assert all(_moved([basis], [trainer.model.part_basis.raw]))
    assert 'gradient_norm/backbone' not in scalars


def test_statistics_of_batch_norm_stay_while_the_whole_network_is_trained(
        build, small_resnet, eager):
    trainer = build("Segmenter.backbone='resnet50'", 'Segmenter.weights=None')
    backbone = trainer.model.segmenter.backbone
    frozen, kernels = _values(backbone.non_trainable_variables), _values(
        backbone.trainable_variables)
    trainer.train_step(_batch())
    assert frozen and not any(_moved(frozen, backbone.non_trainable_variables))
    assert all(_moved(kernels, backbone.trainable_variables))


def test_cached_reference_features_give_the_step_of_computed_ones(build, eager):
    computed, cached = build(), build()
    batch = _batch()
    features = cached.model.reference_features.raw(tf.cast(batch.image, tf.float32) / 255)
    first = computed.train_step(batch)
    second = cached.train_step(batch._replace(
        reference_features=tf.cast(features, tf.float16)))
    # As of the rounding to half precision.
    np.testing.assert_allclose(first['loss/total'], second['loss/total'], rtol=1e-3)


def test_a_view_is_a_function_of_photos_and_seed_and_its_transform_of_the_seed(trainer):
    images = tf.cast(_batch().image, tf.float32) / 255
    first, again, other = (trainer.views.draw(images, tf.constant(seed)) for seed in (
        [3, 4], [3, 4], [3, 5]))
    np.testing.assert_array_equal(first.images, again.images)
    assert np.abs(first.images - other.images).max() > 0.1
    np.testing.assert_array_equal(
        trainer.views.transform(2, tf.constant([3, 4])).matrix, first.transform.matrix)
    # What comes from outside the photo is the mean colour of ImageNet.
    outside = first.transform.valid_mask(SIZE).numpy() == 0
    assert outside.any()
    np.testing.assert_allclose(first.images.numpy()[outside] * 255, np.broadcast_to(
        [123.68, 116.779, 103.939], (outside.sum(), 3)), rtol=1e-5)


def test_every_step_draws_views_of_its_own(trainer):
    seeds = []
    for step in (0, 1, 0):
        trainer.step.assign(step)
        seeds.append(trainer.seed(0).numpy().tolist())
    assert seeds[0] == seeds[2] != seeds[1]
    assert trainer.seed(1).numpy().tolist() != seeds[0]


def _equivariance(trainer, transform, logits, view_logits) -> tf.Tensor:
    """The unweighted term of given maps, in the trainer's form."""
    seen = objective.Observation(_batch(), tf.zeros(()), logits, view_logits, transform)
    return trainer.objective.terms(seen)[0]['equivariance']


@pytest.mark.parametrize('kind', ['similarity', 'tps'])
def test_equivariance_changes_the_photo_s_maps_only_where_both_gradients_are_wanted(
        build, eager, kind):
    logits, view_logits, direction = (
        tf.random.stateless_normal([2, 16, 24, 4], [seed, 0]) for seed in range(3))
    values, gradients = [], []
    for gradient in ('view', 'both'):
        trainer = build(f'Losses.equivariance_gradient={gradient!r}', f'Warp.kind={kind!r}')
        transform = trainer.views.transform(2, tf.constant([3, 4]))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values.append(_equivariance(trainer, transform, logits, view_logits))
        gradients.append(tape.gradient(values[-1], logits))
    np.testing.assert_array_equal(*values)
    assert gradients[0] is None
    step = 1e-2
    above, below = (_equivariance(trainer, transform, logits + sign * step * direction, view_logits)
                    for sign in (1, -1))
    slope = (above - below) / (2 * step)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(
        tf.reduce_sum(gradients[1] * direction), slope, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize('kind', ['projective', 'tps'])
def test_all_kinds_of_transforms_train(build, eager, kind):
    trainer = build(f'Warp.kind={kind!r}')
    scalars = trainer.train_step(_batch())
    assert all(np.isfinite(value) for value in scalars.values())


def _scale_loss(trainer, scale: float) -> None:
    """Sets the loss scale of the next step in float16; these photos' gradients bear about 2^13."""
    trainer._optimization.state['loss_scale'].value.assign(scale)


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_in_half_precision_networks_compute_and_losses_and_variables_stay_float32(
        build, eager, precision):
    trainer = build(f'Run.precision={precision!r}')
    assert trainer.model.segmenter.backbone.output.dtype == precision
    images = tf.zeros((1, *SIZE, 3))
    assert trainer.model.segmenter(images).dtype == tf.float32
    assert trainer.model.reference_features(images).dtype == tf.float32
    before = _values(trainer.model.segmenter.head_variables)
    if precision == 'float16':
        _scale_loss(trainer, 2.0 ** 8)
    scalars = trainer.train_step(_batch())
    assert all(value.dtype == tf.float32 for value in scalars.values())
    assert all(np.isfinite(value) for value in scalars.values())
    assert all(variable.dtype == tf.float32 for variable in trainer.model.segmenter.variables)
    assert all(_moved(before, trainer.model.segmenter.head_variables))
    assert ('loss_scale' in scalars) == (precision == 'float16')
    assert tf.keras.mixed_precision.global_policy().name == 'float32'


def test_a_step_in_float16_has_the_gradients_of_float32_but_for_its_rounding(build, eager):
    half, single = (build(f'Run.precision={name!r}') for name in ('float16', 'float32'))
    _scale_loss(half, 2.0 ** 8)
    found, expected = half.train_step(_batch()), single.train_step(_batch())
    assert float(found['loss_scale']) == 2 ** 8
    for name, value in expected.items():
        if name.startswith(('gradient_norm/', 'loss/')):
            np.testing.assert_allclose(found[name], value, rtol=0.02, err_msg=name)


def _state(trainer, folder) -> dict:
    """All that a checkpoint holds, by name."""
    reader = tf.train.load_checkpoint(trainer.save(trainer.manager(str(folder))))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name.endswith('VARIABLE_VALUE') and not name.startswith('save_counter')
            and 'learning_rate' not in name}


def test_a_step_in_float16_that_overflows_changes_nothing_but_the_scale_and_the_step(
        build, tmp_path):
    trainer = build("Run.precision='float16'")
    _scale_loss(trainer, 2.0 ** 8)
    trainer.train_step(_batch())
    value, finite_steps = (f'loss_scale/{name}/.ATTRIBUTES/VARIABLE_VALUE'
                           for name in ('value', 'finite_steps'))
    before = _state(trainer, tmp_path / 'before')
    assert before[value] == 2 ** 8 and before[finite_steps] == 1
    _scale_loss(trainer, 2.0 ** 24)
    scalars = trainer.train_step(_batch())
    assert np.isfinite(scalars['loss/total'])
    assert not np.isfinite(scalars['gradient_norm/backbone'])
    after = _state(trainer, tmp_path / 'after')
    assert before.keys() == after.keys() and len(before) > 30
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert set(changed) == {value, finite_steps, 'step/.ATTRIBUTES/VARIABLE_VALUE'}
    assert after[value] == 2 ** 23 and after[finite_steps] == 0
    assert trainer.train_step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('precision', ['float32', 'float16'])
def test_a_restored_trainer_goes_on_to_the_same_bits(build, eager, tmp_path, precision):
    bindings = "Optimizer.name='sgd'", f'Run.precision={precision!r}'
    first = build(*bindings)
    if precision == 'float16':
        _scale_loss(first, 2.0 ** 8)
    first.train_step(_batch(0))
    first.save(first.manager(str(tmp_path)))
    expected = first.train_step(_batch(1))
    second = build(*bindings)
    assert second.restore(str(tmp_path)) and int(second.step) == 1
    found = second.train_step(_batch(1))
    assert ('loss_scale' in found) == (precision == 'float16')
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    for one, other in zip(first.model.segmenter.variables, second.model.segmenter.variables):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.model.part_basis.raw, second.model.part_basis.raw)


def test_a_folder_without_checkpoints_restores_nothing(trainer, tmp_path):
    assert not trainer.restore(str(tmp_path))


@pytest.mark.parametrize('binding', ['Run.num_parts=2', 'Features.layer_weights=(1.0,1.0)'])
def test_a_checkpoint_of_other_networks_is_one_sentence(
        build, small_resnet, trained_run, binding):
    other = HEAD_ONLY if 'Features' in binding else [binding]
    with pytest.raises(checkpoints.CheckpointError, match='must be of the networks') as caught:
        build(*other).restore(str(trained_run))
    assert 'Run.num_parts' in str(caught.value) and '\n' not in str(caught.value)


def test_a_run_may_start_from_the_networks_of_another(build, trained_run, tmp_path):
    trainer = build()
    trainer.model.restore(checkpoints.require(str(trained_run), 'Run.init_from'))
    assert int(trainer.step) == 0
    reader = tf.train.load_checkpoint(checkpoints.find(str(trained_run)))
    for name, variable in (('model/part_basis/raw', trainer.model.part_basis.raw),
                           ('model/tap_scales', trainer.model.reference_features.tap_scales),
                           ('model/segmenter/head/kernel', trainer.model.segmenter.head.kernel)):
        np.testing.assert_array_equal(
            reader.get_tensor(f'{name}/.ATTRIBUTES/VARIABLE_VALUE'), variable)
    with pytest.raises(checkpoints.CheckpointError, match='`Run.init_from` must be .* there is '):
        checkpoints.require(str(tmp_path), 'Run.init_from')


def test_pictures_show_photo_and_view_with_centres_in_pixels(trainer):
    found = trainer.pictures(_batch().image)
    assert found['view'].shape == (2, *SIZE, 3)
    for name in ('', 'view_'):
        assert found[f'{name}labels'].shape == (2, *SIZE)
        assert found[f'{name}part_responses'].shape == (2, *SIZE, 4)
        centers = found[f'{name}part_centers'].numpy()
        assert centers.shape == (2, 3, 2)
        assert (centers >= 0).all() and (centers <= [SIZE[1] - 1, SIZE[0] - 1]).all()


def _assert_predicted_as_in_pictures(trainer, batch) -> None:
    found, expected = trainer.predict(batch), trainer.pictures(batch.image)
    assert found['presence'].shape == (2, 3)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_prediction_is_of_the_photos_alone_and_draws_nothing(trainer):
    _assert_predicted_as_in_pictures(trainer, _batch())
    first = trainer.predict(_batch())
    trainer.step.assign_add(1)
    for name, value in trainer.predict(_batch()).items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)


def test_a_prediction_from_features_that_are_kept_is_that_of_the_photos(
        build, small_resnet, linear, eager):
    trainer = build(*linear)
    batch = _batch()
    raw = trainer.model.reference_features.raw(tf.cast(batch.image, tf.float32) / 255)
    _assert_predicted_as_in_pictures(trainer, batch._replace(reference_features=raw))
    trainer = build(*HEAD_ONLY)
    features = trainer.model.segmenter.backbone(tf.cast(batch.image, tf.float32) / 255)
    _assert_predicted_as_in_pictures(trainer, batch._replace(backbone_features=features))


def test_random_weights_are_warned_of_where_they_are_trained_on(build, small_resnet, caplog):
    build(*HEAD_ONLY)
    assert 'resnet50 starts from random weights, since `Segmenter.weights` is None' in caplog.text
    caplog.clear()
    build()
    assert 'random weights' not in caplog.text


def test_steps_that_compute_activations_again_are_the_same_steps(build, eagerly, tmp_path):
    again, plain = build('Segmenter.recompute=True'), build()
    with eagerly():
        expected = plain.train_step(_batch())
        plain.save(plain.manager(str(tmp_path)))
        next_loss = plain.train_step(_batch(1))['loss/total']
    found = again.train_step(_batch())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    # A run goes on either way.
    assert again.restore(str(tmp_path))
    np.testing.assert_allclose(again.train_step(_batch(1))['loss/total'], next_loss, rtol=1e-5)


# The head on fewer channels.


@pytest.fixture(scope='module')
def dropping(build) -> trainer_lib.Trainer:
    return build('Segmenter.dropout=0.25')


def _kept(trainer: trainer_lib.Trainer, num_channels: int = 4000) -> np.ndarray:
    """f32[photos + views,h,w,C]. What is left of ones."""
    return trainer._without_some_channels(tf.ones((4, 2, 3, num_channels))).numpy()


def test_whole_channels_are_dropped_others_for_each_photo_and_view(dropping):
    kept = _kept(dropping)
    np.testing.assert_array_equal(kept, np.broadcast_to(kept[:, :1, :1], kept.shape))
    rows = kept[:, 0, 0]
    assert set(rows.ravel()) == {np.float32(0), np.float32(1 / 0.75)}
    for one in range(4):
        for other in range(one):
            # Of independent draws 2 * 0.25 * 0.75 differ.
            assert np.mean(rows[one] != rows[other]) == pytest.approx(0.375, abs=0.05)


def test_dropped_features_are_on_average_what_they_are(dropping):
    np.testing.assert_allclose(_kept(dropping).mean(axis=(1, 2, 3)), 1, atol=0.04)


def test_channels_are_dropped_by_seed_and_step(dropping, build):
    step = int(dropping.step)
    first = _kept(dropping)
    np.testing.assert_array_equal(_kept(dropping), first)
    dropping.step.assign(step + 1)
    assert (_kept(dropping) != first).any()
    dropping.step.assign(step)
    again = build('Segmenter.dropout=0.25')
    again.step.assign(step)
    np.testing.assert_array_equal(_kept(again), first)
    other = build('Segmenter.dropout=0.25', 'Run.seed=1')
    other.step.assign(step)
    assert (_kept(other) != first).any()


def test_without_dropout_features_are_left_alone(trainer):
    features = tf.random.stateless_uniform((4, 2, 3, 7), [0, 1])
    np.testing.assert_array_equal(trainer._without_some_channels(features), features)


def test_only_training_goes_without_some_channels(dropping, trainer):
    dropping.model.segmenter.head.set_weights(trainer.model.segmenter.head.get_weights())
    for own, others in zip(dropping.model.segmenter.backbone.variables,
                           trainer.model.segmenter.backbone.variables):
        own.assign(others)
    dropping.step.assign(trainer.step)
    image = _batch().image
    expected, found = trainer.pictures(image), dropping.pictures(image)
    np.testing.assert_allclose(found['part_responses'], expected['part_responses'], atol=1e-6)


# Saliency that agrees over the collection.


def test_agreed_saliency_takes_the_place_of_the_photos_own(build, eager):
    batch = _batch()
    agreed = tf.cast(batch.saliency[:, ::4, ::4], tf.float16)

    def loss(**more) -> float:
        # Of a new trainer, so that all are asked for the same step of the same weights.
        trainer = build()
        return float(trainer.train_step(batch._replace(**more))['loss/semantic_consistency'])

    found = loss(saliency=agreed)
    assert loss(saliency=agreed) == pytest.approx(found, rel=1e-6)
    assert loss(saliency=agreed / 2) != pytest.approx(found, rel=1e-3)
    assert loss() != pytest.approx(found, rel=1e-5)
