"""Our terms against those of the paper's authors, computed by their functions, and the factors.

Theirs are laid out [B, C, H, W], have x = 2 j / W - 1 for pixel j in centres and concentration,
where ours has 2 j / (W - 1) - 1, and reduce over other axes; every test states its own factor.
"""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import geometry
from scops_tf.training import losses, warp

BATCH, PARTS, SIDE = 2, 3, 16
STRETCH = SIDE / (SIDE - 1)  # One unit of their coordinates in ours.

# Ours divided by theirs.
CONCENTRATION = BATCH / PARTS * STRETCH ** 2  # They divide by the batch size twice and sum parts.
EQUIVARIANCE = 1  # They average over channels and pixels, as we do.
CENTER_EQUIVARIANCE = 2 * STRETCH ** 2  # They average over parts, x and y, we sum x and y.
ORTHONORMAL = 1 / (PARTS * (PARTS - 1))  # They have the sum.


@pytest.fixture
def authors(shared):
    path = shared / 'golden' / 'authors_values.npz'
    if not path.exists():
        pytest.skip(f'no golden values at {path}')
    with np.load(path) as file:
        return dict(file)


def _channels_last(maps):
    return np.moveaxis(maps, 1, -1)


def _parts(logits):
    return tf.nn.softmax(logits)[..., 1:]


def _value_and_gradient(function, argument):
    argument = tf.constant(argument)
    with tf.GradientTape() as tape:
        tape.watch(argument)
        value = function(argument)
    return value, tape.gradient(value, argument)


def _transform(authors, *, perturbed):
    """Theirs: rows from view to source, control points with x slowest, displaced before that."""
    rows = authors['theta_fixed'].reshape(BATCH, 2, 3)
    matrix = np.concatenate([rows, np.tile([[[0, 0, 1]]], (BATCH, 1, 1))], axis=1)
    displacements = np.swapaxes(authors['tps_perturb'].reshape(BATCH, 5, 5, 2), 1, 2)
    return warp.Transform(tf.constant(matrix, tf.float32),
                          tf.constant(displacements * perturbed, tf.float32))


def test_centers_are_theirs_in_other_coordinates(authors):
    centers = geometry.part_centers(_parts(_channels_last(authors['pred'])), epsilon=1e-3)
    np.testing.assert_allclose(centers, (authors['centers_train'] + 1) * STRETCH - 1, atol=1e-12)


def test_centers_without_epsilon_are_theirs_in_pixels(authors):
    centers = geometry.part_centers(_parts(_channels_last(authors['pred'])))
    np.testing.assert_allclose(
        geometry.frame_to_pixels(centers, (SIDE, SIDE)), authors['centers_eval'], rtol=1e-12
    )


def test_concentration_is_theirs_times_batch_over_parts_and_squared_stretch(authors):
    value, gradient = _value_and_gradient(
        lambda logits: losses.concentration_loss(_parts(logits), epsilon=1e-3),
        _channels_last(authors['pred']))
    np.testing.assert_allclose(value, authors['con_loss'] * CONCENTRATION, rtol=1e-12)
    np.testing.assert_allclose(gradient, _channels_last(authors['con_grad_pred']) * CONCENTRATION,
                               rtol=1e-8, atol=1e-14)


def test_semantic_consistency_is_theirs(authors):
    features = _channels_last(authors['features'])

    def loss(logits, raw_basis):
        return losses.semantic_consistency_loss(features, authors['saliency'], _parts(logits),
                                                tf.nn.relu(raw_basis))

    logits, raw_basis = _channels_last(authors['pred']), authors['w_raw']
    value, gradient = _value_and_gradient(lambda logits: loss(logits, raw_basis), logits)
    _, basis_gradient = _value_and_gradient(lambda raw_basis: loss(logits, raw_basis), raw_basis)
    np.testing.assert_allclose(value, authors['sc_loss'], rtol=1e-12)
    np.testing.assert_allclose(
        gradient, _channels_last(authors['sc_grad_pred']), rtol=1e-8, atol=1e-14
    )
    np.testing.assert_allclose(basis_gradient, authors['sc_grad_w'], rtol=1e-8, atol=1e-14)


def test_orthonormal_loss_is_theirs_over_the_pairs_of_parts(authors):
    value, gradient = _value_and_gradient(
        lambda raw_basis: losses.orthonormal_loss(tf.nn.relu(raw_basis)), authors['w_raw'])
    np.testing.assert_allclose(value, authors['orth_loss'] * ORTHONORMAL, rtol=1e-12)
    np.testing.assert_allclose(gradient, authors['orth_grad_w'] * ORTHONORMAL,
                               rtol=1e-8, atol=1e-14)


def test_upsampling_is_theirs(authors):
    upsampled = geometry.upsample(_channels_last(authors['up_in']), (SIDE, SIDE))
    np.testing.assert_allclose(upsampled, _channels_last(authors['up_out']), atol=1e-12)


def test_sampling_grid_of_a_similarity_is_theirs(authors):
    grid = tf.reshape(geometry.coordinate_grid((SIDE, SIDE)), [1, -1, 2])
    for perturbed, expected in [(False, 'grid_fixed_f64'), (True, 'grid_perturbed_f64')]:
        sources = _transform(authors, perturbed=perturbed).source_points(grid)
        np.testing.assert_allclose(
            tf.reshape(sources, [BATCH, SIDE, SIDE, 2]), authors[expected], atol=1e-5
        )


def test_warped_logits_are_theirs_where_the_source_lies_inside(authors):
    transform = _transform(authors, perturbed=True)
    valid = transform.valid_mask((SIDE, SIDE)).numpy()
    np.testing.assert_allclose(1 - valid.mean((1, 2)), authors['frac_outside'], atol=1e-6)
    warped = transform.warp(_channels_last(authors['pred'])).numpy()
    np.testing.assert_allclose(
        warped[valid > 0], _channels_last(authors['pred_tps_org'])[valid > 0], atol=2e-5
    )


def test_equivariance_is_theirs(authors):
    target = _channels_last(authors['pred_tps_org'])
    value, gradient = _value_and_gradient(
        lambda logits: losses.equivariance_loss(logits, target, np.ones((BATCH, SIDE, SIDE))),
        _channels_last(authors['pred_tps']))
    np.testing.assert_allclose(value, authors['eqv_loss'] * EQUIVARIANCE, rtol=1e-12)
    np.testing.assert_allclose(
        gradient, _channels_last(authors['eqv_grad_pred_tps']) * EQUIVARIANCE, rtol=1e-8, atol=1e-14
    )


def _center_equivariance(authors, view_logits):
    # Theirs compares with the centre of the warped map, ours with the warped centre: given theirs
    # here.
    warped_centers = geometry.part_centers(
        _parts(_channels_last(authors['pred_tps_org'])), epsilon=1e-3
    )
    view_centers = geometry.part_centers(_parts(view_logits), epsilon=1e-3)
    return losses.center_equivariance_loss(view_centers, warped_centers, np.ones((BATCH, PARTS)))


def test_center_equivariance_is_theirs_times_axes_and_squared_stretch(authors):
    value, gradient = _value_and_gradient(lambda logits: _center_equivariance(authors, logits),
                                          _channels_last(authors['pred_tps']))
    np.testing.assert_allclose(value, authors['lmeqv_loss'] * CENTER_EQUIVARIANCE, rtol=1e-10)
    np.testing.assert_allclose(
        gradient,
        _channels_last(authors['lmeqv_grad_pred_tps']) * CENTER_EQUIVARIANCE,
        rtol=1e-7,
        atol=1e-13,
    )


def test_their_total_is_ours_with_their_weights_divided_by_the_factors(authors):
    logits, view_logits = _channels_last(authors['pred']), _channels_last(authors['pred_tps'])
    terms = [
        losses.concentration_loss(_parts(logits)) / CONCENTRATION,
        losses.equivariance_loss(view_logits, _channels_last(authors['pred_tps_org']),
                                 np.ones((BATCH, SIDE, SIDE))) / EQUIVARIANCE,
        _center_equivariance(authors, view_logits) / CENTER_EQUIVARIANCE,
        losses.semantic_consistency_loss(_channels_last(authors['features']), authors['saliency'],
                                         _parts(logits), authors['basis']),
        losses.orthonormal_loss(authors['basis']) / ORTHONORMAL]
    np.testing.assert_allclose(np.dot(authors['lambdas'], terms), authors['total_loss'], rtol=1e-12)
