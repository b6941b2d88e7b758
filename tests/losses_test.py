"""Laws of the loss terms."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import geometry
from scops_tf.training import losses

SIZE = (6, 9)
BATCH, PARTS = 2, 3


def _rng(seed=0):
    return np.random.default_rng([seed, 11])


def _logits(seed=0, dtype=np.float64):
    return _rng(seed).normal(size=(BATCH, *SIZE, PARTS + 1)).astype(dtype)


def _semantic_inputs(size=SIZE, small=(2, 4), channels=5, *, saliency=True, seed=0):
    """Features, saliency, responses and basis in float64."""
    rng = _rng(seed)
    responses = rng.dirichlet(np.full(PARTS + 1, 0.5), (BATCH, *size))[..., 1:]
    return (np.maximum(rng.normal(size=(BATCH, *small, channels)), 0),
            rng.uniform(size=(BATCH, *size)) if saliency else None, responses,
            np.maximum(rng.normal(size=(PARTS, channels)), 0))


def _plain_semantic_consistency(features, saliency, responses, basis):
    """The definition, through the full-resolution tensor of all channels."""
    size = responses.shape[1:3]
    target = geometry.upsample(features, size)
    if saliency is not None:
        target *= tf.cast(saliency, target.dtype)[..., None]
    return tf.reduce_mean(tf.square(target - tf.tensordot(responses, basis, 1)))


def _value_and_gradients(function, *arguments):
    arguments = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return value.numpy(), tape.gradient(value, arguments)


def _relative_error(value, expected):
    return np.linalg.norm(np.asarray(value) - np.asarray(expected)) / np.linalg.norm(expected)


# All terms.


@pytest.mark.parametrize(
    'name', ['concentration', 'equivariance', 'center_equivariance', 'semantic_consistency']
)
def test_repeating_the_batch_leaves_the_loss_unchanged(name):
    rng = _rng()
    features, saliency, responses, basis = _semantic_inputs()
    loss, arguments = {
        'concentration': (losses.concentration_loss, [responses]),
        'equivariance': (
            losses.equivariance_loss,
            [_logits(0), _logits(1), rng.uniform(size=(BATCH, *SIZE)) > 0.4],
        ),
        'center_equivariance': (
            losses.center_equivariance_loss,
            [
                rng.normal(size=(BATCH, PARTS, 2)),
                rng.normal(size=(BATCH, PARTS, 2)),
                rng.uniform(size=(BATCH, PARTS)) > 0.3,
            ],
        ),
        'semantic_consistency': (
            lambda features, saliency, responses: losses.semantic_consistency_loss(
                features, saliency, responses, basis
            ),
            [features, saliency, responses],
        ),
    }[name]
    repeated = [np.concatenate([argument] * 3) for argument in arguments]
    value = loss(*arguments).numpy()
    assert value > 0
    np.testing.assert_allclose(loss(*repeated), value, rtol=1e-12)


@pytest.mark.parametrize('times', [2, 3])
def test_repeating_the_parts_leaves_the_means_over_parts_unchanged(times):
    rng = _rng()
    parts = rng.uniform(size=(BATCH, *SIZE, PARTS))
    centers, moved = rng.normal(size=(2, BATCH, PARTS, 2))
    visible = rng.uniform(size=(BATCH, PARTS)) > 0.3
    for loss, arguments, axis in (
            (losses.concentration_loss, [parts], 3),
            (losses.center_equivariance_loss, [centers, moved, visible], 1)):
        value = loss(*arguments).numpy()
        assert value > 0
        repeated = [np.concatenate([argument] * times, axis=axis) for argument in arguments]
        np.testing.assert_allclose(loss(*repeated), value, rtol=1e-12)


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_sharing_a_response_among_equal_channels_divides_equivariance_by_their_number(direction):
    # The divergence of two distributions does not change where both split each channel in two, so
    # that its mean over channels is half of it.
    view, target, valid = _logits(0), _logits(1), _rng(2).uniform(size=(BATCH, *SIZE)) > 0.4
    value = losses.equivariance_loss(view, target, valid, direction=direction).numpy()
    assert value > 0
    split = losses.equivariance_loss(np.repeat(view, 2, axis=-1), np.repeat(target, 2, axis=-1),
                                     valid, direction=direction)
    np.testing.assert_allclose(split, value / 2, rtol=1e-12)


def test_half_precision_inputs_give_float32_losses_and_finite_gradients():
    features, saliency, responses, basis = [tf.cast(x, tf.bfloat16) for x in _semantic_inputs()]
    logits = tf.cast(_logits(), tf.bfloat16)

    def total(responses, basis, logits):
        return (losses.concentration_loss(responses) + losses.orthonormal_loss(basis)
                + losses.semantic_consistency_loss(features, saliency, responses, basis)
                + losses.equivariance_loss(logits, logits, tf.ones([BATCH, *SIZE], tf.bfloat16)))

    value, gradients = _value_and_gradients(total, responses, basis, logits)
    assert value.dtype == np.float32 and np.isfinite(value)
    assert all(np.isfinite(tf.cast(gradient, tf.float32)).all() for gradient in gradients)


# Concentration.


def test_concentration_of_one_pixel_is_zero():
    responses = np.zeros((1, *SIZE, 1))
    responses[0, 2, 7, 0] = 1
    np.testing.assert_allclose(losses.concentration_loss(responses, epsilon=0.0), 0, atol=1e-15)


def test_concentration_of_two_pixels_is_their_mean_squared_distance_to_the_middle():
    responses = np.zeros((1, *SIZE, 1))
    responses[0, 2, [0, 8], 0] = 0.5  # Frame positions -1 and 1.
    np.testing.assert_allclose(losses.concentration_loss(responses, epsilon=0.0), 1, rtol=1e-12)


def test_concentration_is_the_mean_over_parts():
    responses = _rng().uniform(size=(BATCH, *SIZE, PARTS))
    alone = [
        losses.concentration_loss(responses[..., part : part + 1]).numpy() for part in range(PARTS)
    ]
    np.testing.assert_allclose(losses.concentration_loss(responses), np.mean(alone), rtol=1e-12)


def test_concentration_of_an_absent_part_has_finite_gradient():
    _, (gradient,) = _value_and_gradients(
        losses.concentration_loss, np.zeros((1, *SIZE, 1), np.float32)
    )
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


# Equivariance of maps.


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_equivariance_is_zero_for_equal_maps(direction):
    logits = _logits(dtype=np.float32)
    # A constant added to all logits changes no probability.
    value, (gradient, _) = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(
            view, target, np.ones((BATCH, *SIZE)), direction=direction
        ),
        logits,
        logits + 3,
    )
    np.testing.assert_allclose(value, 0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_equivariance_is_the_mean_divergence_of_channels_and_valid_pixels(direction):
    view, target, valid = _logits(0), _logits(1), _rng(2).uniform(size=(BATCH, *SIZE)) > 0.5
    p, q = tf.nn.softmax(target).numpy(), tf.nn.softmax(view).numpy()
    if direction == 'view_to_target':
        p, q = q, p
    expected = (p * np.log(p / q)).mean(-1)[valid].mean()
    np.testing.assert_allclose(
        losses.equivariance_loss(view, target, valid, direction=direction), expected, rtol=1e-12
    )


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_no_gradient_reaches_the_target_or_comes_from_invalid_pixels(direction):
    valid = np.zeros((BATCH, *SIZE), np.float32)
    valid[:, 1:4, 2:7] = 1
    _, (view_gradient, target_gradient) = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(view, target, valid, direction=direction),
        _logits(0), _logits(1))
    assert target_gradient is None
    assert (np.abs(view_gradient).sum(-1) > 0).tolist() == (valid > 0).tolist()


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_with_both_gradients_they_are_those_of_the_divergence(direction):
    view, target, valid = _logits(0), _logits(1), _rng(2).uniform(size=(BATCH, *SIZE)) > 0.5
    value, gradients = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(
            view, target, valid, direction=direction, gradient='both'), view, target)
    # D(p || q) with the logits a of p and b of q: dD/da = p (log p / q - D), dD/db = q - p.
    p, q = (tf.nn.softmax(logits).numpy() for logits in (target, view))
    if direction == 'view_to_target':
        p, q = q, p
    ratio = np.log(p / q)
    expected = [q - p, p * (ratio - (p * ratio).sum(-1, keepdims=True))]
    if direction == 'view_to_target':
        expected.reverse()
    for gradient, plain in zip(gradients, expected):
        plain = plain * valid[..., None] / valid.sum() / (PARTS + 1)
        np.testing.assert_allclose(gradient, plain, rtol=1e-9, atol=1e-14)
        assert np.abs(plain).max() > 0
    alone, (view_gradient, target_gradient) = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(view, target, valid, direction=direction),
        view, target)
    np.testing.assert_array_equal(alone, value)
    np.testing.assert_array_equal(view_gradient, gradients[0])
    assert target_gradient is None


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_both_gradients_are_zero_for_equal_maps(direction):
    _, gradients = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(
            view, target, np.ones((BATCH, *SIZE)), direction=direction, gradient='both'),
        _logits(), _logits() + 3)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0, atol=1e-15)


@pytest.mark.parametrize('option', ['direction', 'gradient'])
def test_an_unknown_form_of_equivariance_is_named(option):
    with pytest.raises(ValueError, match=f'`{option}` must be one of .* got .back'):
        losses.equivariance_loss(_logits(), _logits(), np.ones((BATCH, *SIZE)), **{option: 'back'})


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_equivariance_without_valid_pixels_is_zero_with_zero_gradient(direction):
    value, (gradient, _) = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(view, target, np.zeros((BATCH, *SIZE)),
                                                      direction=direction), _logits(0), _logits(1))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize('direction', losses.DIRECTIONS)
def test_equivariance_of_saturated_logits_is_finite(direction):
    view, target = _logits(0, np.float32) * 1e4, _logits(1, np.float32) * 1e4
    value, (gradient, _) = _value_and_gradients(
        lambda view, target: losses.equivariance_loss(
            view, target, np.ones((BATCH, *SIZE)), direction=direction
        ),
        view,
        target,
    )
    assert np.isfinite(value) and np.isfinite(gradient).all()


# Equivariance of centres.


def test_center_equivariance_is_the_mean_squared_distance_of_parts_invisible_ones_at_zero():
    view, warped = np.zeros((2, 3, 2), np.float32), np.zeros((2, 3, 2), np.float32)
    view[0, 0], warped[0, 1], view[1, 2] = [0.3, 0.4], [1, 0], [5, 5]
    visible = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    np.testing.assert_allclose(
        losses.center_equivariance_loss(view, warped, visible), (0.25 + 1) / (2 * 3), rtol=1e-6
    )


def test_center_equivariance_has_gradients_through_both_views_where_visible():
    view, warped = _rng(0).normal(size=(1, 2, 2)), _rng(1).normal(size=(1, 2, 2))
    _, (view_gradient, warped_gradient) = _value_and_gradients(
        lambda view, warped: losses.center_equivariance_loss(
            view, warped, np.array([[True, False]])
        ),
        view,
        warped,
    )
    # Twice the offset, divided by the two parts.
    np.testing.assert_allclose(view_gradient, [[(view - warped)[0, 0], [0, 0]]], rtol=1e-12)
    np.testing.assert_allclose(warped_gradient, -np.asarray(view_gradient), rtol=1e-12)


# Semantic consistency.

SIZES = [((12, 20), (3, 5)), ((9, 6), (9, 6)), ((7, 5), (1, 4)), ((5, 9), (4, 1)), ((6, 4), (1, 1)),
         ((3, 4), (6, 9)), ((13, 8), (5, 3)), ((4, 7), (2, 2))]


@pytest.mark.parametrize('saliency', [True, False])
@pytest.mark.parametrize('size, small', SIZES)
def test_fast_semantic_consistency_is_the_plain_one_in_value_and_gradients(size, small, saliency):
    features, saliency, responses, basis = _semantic_inputs(size, small, saliency=saliency)
    value, gradients = _value_and_gradients(
        lambda r, w: losses.semantic_consistency_loss(features, saliency, r, w), responses, basis)
    expected, expected_gradients = _value_and_gradients(
        lambda r, w: _plain_semantic_consistency(features, saliency, r, w), responses, basis)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for gradient, expected_gradient in zip(gradients, expected_gradients):
        assert _relative_error(gradient, expected_gradient) < 1e-10


@pytest.mark.parametrize('magnitude', [1e-2, 1.0, 60.0])
@pytest.mark.parametrize('explained', ['little', 'most'])
def test_fast_semantic_consistency_is_exact_in_float32(magnitude, explained):
    features, saliency, responses, basis = _semantic_inputs((96, 64), (12, 8), 256)
    if explained == 'most':
        # Features made of the basis and a fifth of noise: the constant and the rest nearly cancel.
        small = tf.image.resize(responses, (12, 8)).numpy().astype(np.float64)
        features = np.maximum(small @ basis + 0.2 * _rng(3).normal(size=features.shape), 0)
        responses = geometry.upsample(small, (96, 64)).numpy()
        saliency = 0.9 + 0.1 * saliency
    features, basis = features * magnitude, basis * magnitude
    expected, expected_gradients = _value_and_gradients(
        lambda r, w: _plain_semantic_consistency(features, saliency, r, w), responses, basis)
    singles = [x.astype(np.float32) for x in (features, saliency, responses, basis)]
    value, gradients = _value_and_gradients(
        lambda r, w: losses.semantic_consistency_loss(*singles[:2], r, w), *singles[2:])
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for gradient, expected_gradient in zip(gradients, expected_gradients):
        assert _relative_error(gradient, expected_gradient) < 1e-5


def test_semantic_consistency_makes_nothing_of_full_resolution_and_all_channels():
    channels = 64
    features, saliency, responses, basis = [
        tf.cast(x, tf.float32) for x in _semantic_inputs((32, 48), (4, 6), channels)]

    @tf.function
    def step(responses, basis):
        with tf.GradientTape() as tape:
            tape.watch([responses, basis])
            loss = losses.semantic_consistency_loss(features, saliency, responses, basis)
        return tape.gradient(loss, [responses, basis])

    sizes = [output.shape.num_elements() or 0
             for operation in step.get_concrete_function(responses, basis).graph.get_operations()
             for output in operation.outputs]
    assert max(sizes) <= tf.size(responses).numpy() < BATCH * 32 * 48 * channels / 10


def test_semantic_consistency_is_zero_where_the_basis_explains_the_features():
    _, _, responses, basis = _semantic_inputs()
    value = losses.semantic_consistency_loss(responses @ basis, None, responses, basis)
    np.testing.assert_allclose(value, 0, atol=1e-14)


def test_permuting_parts_and_basis_together_leaves_semantic_consistency_unchanged():
    features, saliency, responses, basis = _semantic_inputs()
    order = [2, 0, 1]
    np.testing.assert_allclose(
        losses.semantic_consistency_loss(features, saliency, responses[..., order], basis[order]),
        losses.semantic_consistency_loss(features, saliency, responses, basis), rtol=1e-12)


def test_repeating_the_channels_leaves_semantic_consistency_unchanged():
    features, saliency, responses, basis = _semantic_inputs()
    np.testing.assert_allclose(
        losses.semantic_consistency_loss(
            np.tile(features, 3), saliency, responses, np.tile(basis, 3)
        ),
        losses.semantic_consistency_loss(features, saliency, responses, basis),
        rtol=1e-12,
    )


def test_saliency_of_ones_is_no_saliency():
    features, saliency, responses, basis = _semantic_inputs()
    np.testing.assert_allclose(
        losses.semantic_consistency_loss(features, np.ones_like(saliency), responses, basis),
        losses.semantic_consistency_loss(features, None, responses, basis), rtol=1e-14)


def test_all_background_is_the_loss_without_parts_and_has_finite_gradients():
    features, saliency, responses, basis = _semantic_inputs()
    terms = losses.semantic_consistency_terms(features, saliency, responses, basis)
    value, gradients = _value_and_gradients(
        lambda r, w: losses.semantic_consistency_loss(features, saliency, r, w),
        np.zeros_like(responses),
        basis,
    )
    np.testing.assert_allclose(terms.all_background, value, rtol=1e-14)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_gradients_of_semantic_consistency_stop_at_features_and_saliency():
    _, gradients = _value_and_gradients(losses.semantic_consistency_loss, *_semantic_inputs())
    assert [gradient is None for gradient in gradients] == [True, True, False, False]


# Orthonormality.


def test_orthonormal_loss_is_zero_for_orthonormal_rows_whatever_their_length():
    basis = np.eye(PARTS, 7) * [[1], [30], [5]]
    np.testing.assert_allclose(losses.orthonormal_loss(basis), 0, atol=1e-10)


@pytest.mark.parametrize('num_parts', [2, PARTS, 8])
def test_orthonormal_loss_of_equal_rows_is_one_whatever_their_number(num_parts):
    np.testing.assert_allclose(
        losses.orthonormal_loss(np.full((num_parts, 11), 2.0)), 1, rtol=1e-6)


def test_orthonormal_loss_is_the_mean_square_of_the_cosines_of_different_rows():
    basis = np.abs(_rng().normal(size=(PARTS, 7)))
    rows = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    cosines = (rows @ rows.T)[~np.eye(PARTS, dtype=bool)]
    np.testing.assert_allclose(
        losses.orthonormal_loss(basis, epsilon=0.0), np.mean(cosines ** 2), rtol=1e-12)


def test_orthonormal_loss_of_a_single_part_is_zero_with_zero_gradient():
    for basis in (np.full((1, 7), 2.0, np.float32), np.zeros((1, 7), np.float32)):
        value, (gradient,) = _value_and_gradients(losses.orthonormal_loss, basis)
        assert value == 0 and value.dtype == np.float32
        np.testing.assert_array_equal(gradient, np.zeros_like(basis))


def test_orthonormal_loss_of_a_row_of_zeros_is_one_entry_with_zero_gradient():
    basis = np.eye(PARTS, 7, dtype=np.float32)
    basis[1] = 0
    value, (gradient,) = _value_and_gradients(losses.orthonormal_loss, basis)
    np.testing.assert_allclose(value, 1 / (PARTS * (PARTS - 1)), rtol=1e-5)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[1], 0)


# Errors.


def test_wrong_shapes_are_named():
    features, saliency, responses, basis = _semantic_inputs()
    with pytest.raises(ValueError, match='`part_basis`'):
        losses.semantic_consistency_loss(features, saliency, responses, basis[:2])
    with pytest.raises(ValueError, match='`saliency_map`'):
        losses.semantic_consistency_loss(features, saliency[..., None], responses, basis)
    with pytest.raises(ValueError, match='`reference_features`'):
        losses.semantic_consistency_loss(features[:1], saliency, responses, basis)
    with pytest.raises(ValueError, match='`valid_mask`'):
        losses.equivariance_loss(_logits(), _logits(), np.ones((BATCH, *SIZE, 1)))
    with pytest.raises(ValueError, match='`direction`.*sideways'):
        losses.equivariance_loss(
            _logits(), _logits(), np.ones((BATCH, *SIZE)), direction='sideways'
        )
    with pytest.raises(ValueError, match='`visible`'):
        losses.center_equivariance_loss(np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match='`part_basis`'):
        losses.orthonormal_loss(basis[None])
