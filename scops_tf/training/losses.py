"""The loss terms of SCOPS as pure functions of tensors.

Every term is a mean over the batch and over the parts, so that its weight depends neither on B nor
on K. Each docstring gives the factor to the paper's sum. If replicas share a batch, each one
computes the term of its part, and the mean over the replicas is the term of the batch.

Inputs of less than single precision are computed in float32; float64 stays float64. Unless said
otherwise, part responses R are the soft-max of the part logits over K+1 channels, from which
channel 0, the background, is removed.
"""
from __future__ import annotations

from typing import Any, NamedTuple, Optional

import tensorflow as tf

from scops_tf import geometry
from scops_tf.training import replicas

DIRECTIONS = ('target_to_view', 'view_to_target')
GRADIENTS = ('view', 'both')


def concentration_loss(part_responses: Any, *, epsilon: float = 1e-3) -> tf.Tensor:
    """Geometric concentration: the spatial variance of the parts (Eq. 2).

    Args:
      part_responses: float[B,H,W,K]. R in [0, 1], background removed.
      epsilon: Constant added to every pixel before normalizing, at least 0. It gives an absent part
        a finite centre and gradient.

    Returns:
      float[]. Mean over parts and batch, in squared units of the frame of `geometry`. The paper
      sums over parts: its term is K times as large.

    Raises:
      ValueError: If `part_responses` is not of rank 4 or `epsilon` is negative.
    """
    return tf.reduce_mean(geometry.spatial_variance(part_responses, epsilon=epsilon))


def equivariance_loss(view_logits: Any, warped_logits: Any, valid_mask: Any, *,
                      direction: str = 'target_to_view', gradient: str = 'view') -> tf.Tensor:
    """Equivariance of the part maps (first term of Eq. 3): a KL divergence of soft-max maps.

    Eq. 3 as printed in the paper is `direction='view_to_target', gradient='both'`. The authors'
    released code computes `direction='target_to_view', gradient='view'`.

    Args:
      view_logits: float[B,H,W,K+1]. Part logits of the transformed image with background; their
        soft-max is R'.
      warped_logits: float[B,H,W,K+1]. Part logits of the image, warped by the same transform; their
        soft-max is the target T(R).
      valid_mask: float or bool[B,H,W]. 1 where the source of the pixel lies inside the image.
      direction: 'target_to_view' is D_KL(T(R) || R'), 'view_to_target' is D_KL(R' || T(R)).
      gradient: 'view' is a gradient into `view_logits` alone, 'both' one into `warped_logits` too.

    Returns:
      float[]. In nats, mean over the K+1 channels and the valid pixels of the whole batch; 0 if no
      pixel is valid. The paper's divergence sums over channels: it is K+1 times as large. The
      authors' code averages over them too.

    Raises:
      ValueError: If the shapes differ, or `direction` or `gradient` is unknown.
    """
    for name, value, known in (
            ('direction', direction, DIRECTIONS), ('gradient', gradient, GRADIENTS)):
        if value not in known:
            raise ValueError(f'`{name}` must be one of {known}; got {value!r}.')
    log_view = tf.nn.log_softmax(geometry.as_float(view_logits))
    log_target = tf.nn.log_softmax(geometry.as_float(warped_logits))
    if gradient == 'view':
        log_target = tf.stop_gradient(log_target)
    valid = tf.cast(valid_mask, log_view.dtype)
    geometry.require_shape('view_logits', log_view, '[B, H, W, K+1]', [None] * 4)
    geometry.require_shape('warped_logits', log_target, '[B, H, W, K+1]', log_view.shape)
    geometry.require_shape('valid_mask', valid, '[B, H, W]', log_view.shape[:3])
    first, second = log_target, log_view
    if direction == 'view_to_target':
        first, second = second, first
    divergence = tf.reduce_mean(tf.exp(first) * (first - second), axis=-1)
    return tf.math.divide_no_nan(tf.reduce_sum(valid * divergence),
                                 replicas.mean(tf.reduce_sum(valid)))


def center_equivariance_loss(view_centers: Any, warped_centers: Any, visible: Any) -> tf.Tensor:
    """Equivariance of the part centres (second term of Eq. 3).

    Args:
      view_centers: float[B,K,2]. Part centres c' of the transformed image, (x, y) in the frame.
      warped_centers: float[B,K,2]. Part centres of the image moved by the transform, T(c).
        Gradients flow into both arguments, since neither the paper nor the authors' code stops
        one here. That of T(c) goes through T to the centres c of the image.
      visible: float or bool[B,K]. Whether the moved centre lies in the transformed image. Other
        centres count as 0, since the view has no pixel there.

    Returns:
      float[]. Squared distance, summed over x and y; mean over all K parts and the batch. The paper
      sums over parts: its term is K times as large.

    Raises:
      ValueError: If the shapes differ.
    """
    view_centers = geometry.as_float(view_centers)
    warped_centers = geometry.as_float(warped_centers)
    visible = tf.cast(visible, tf.bool)
    geometry.require_shape('view_centers', view_centers, '[B, K, 2]', [None, None, 2])
    geometry.require_shape('warped_centers', warped_centers, '[B, K, 2]', view_centers.shape)
    geometry.require_shape('visible', visible, '[B, K]', view_centers.shape[:2])
    offsets = tf.where(visible[..., None], view_centers - warped_centers, 0)
    return tf.reduce_mean(tf.reduce_sum(tf.square(offsets), axis=2))


class SemanticConsistency(NamedTuple):
    """The loss, and for comparison its value if all pixels were background (R = 0)."""

    loss: tf.Tensor
    all_background: tf.Tensor


def semantic_consistency_loss(
    reference_features: Any, saliency_map: Optional[Any], part_responses: Any, part_basis: Any
) -> tf.Tensor:
    """The loss of `semantic_consistency_terms` alone."""
    terms = semantic_consistency_terms(reference_features, saliency_map, part_responses, part_basis)
    return terms.loss


def semantic_consistency_terms(
    reference_features: Any, saliency_map: Optional[Any], part_responses: Any, part_basis: Any
) -> SemanticConsistency:
    """Semantic consistency with saliency (Eq. 4 and 6): mean of ||D UV - R W||^2.

    U is bilinear up-sampling with the corners aligned. It is linear and commutes with products over
    channels, so at every pixel

        ||D UV - R W||^2  =  D^2 ||UV||^2  +  R . (R (W W^T) - 2 D U(V W^T)).

    The first term has no gradient. It is quadratic in the features of the four neighbouring cells,
    so inner products at the features' resolution suffice. The second term up-samples K channels
    instead of C. So no tensor of size B*H*W*C is made. The terms are added at each pixel, where
    they have the same magnitude; sums over the batch would cancel in float32. The result agrees
    with the plain form to 1e-5 in float32, and less closely on GPUs where TensorFlow computes
    matrix products in TensorFloat-32.

    Args:
      reference_features: float[B,h,w,C]. V, features of the untransformed image.
      saliency_map: float[B,H,W]. D in [0, 1]. None for no saliency constraint (D = 1).
      part_responses: float[B,H,W,K]. R in [0, 1], background removed.
      part_basis: float[K,C]. W, at least 0.

    Returns:
      Two float[], means over B*H*W*C. The paper sums over pixels and channels. Neither form depends
      on K. Gradients flow into `part_responses` and `part_basis` only.

    Raises:
      ValueError: If the shapes do not fit each other or sizes are unknown.
    """
    responses = geometry.as_float(part_responses)
    size = geometry.static_size('part_responses', responses)
    features = tf.stop_gradient(tf.cast(reference_features, responses.dtype))
    basis = tf.cast(part_basis, responses.dtype)
    geometry.require_shape('reference_features', features, '[B, h, w, C]',
                           [responses.shape[0], None, None, None])
    geometry.require_shape('part_basis', basis, '[K, C]', [responses.shape[3], features.shape[3]])

    projections = geometry.upsample_by_products(
        tf.tensordot(features, -2 * basis, [[3], [1]]), size)
    energy = _upsampled_energy(features, size)
    if saliency_map is not None:
        saliency = tf.stop_gradient(tf.cast(saliency_map, responses.dtype))
        geometry.require_shape('saliency_map', saliency, '[B, H, W]', responses.shape[:3])
        projections *= saliency[..., None]
        energy *= tf.square(saliency)
    gram = tf.matmul(basis, basis, transpose_b=True)
    mixed = tf.tensordot(responses, gram, 1) + projections
    # A product with ones sums short rows in half the time that a reduction takes.
    explained = tf.linalg.matvec(responses * mixed, tf.ones([responses.shape[3]], responses.dtype))
    num_channels = features.shape[3]
    return SemanticConsistency(loss=tf.reduce_mean(energy + explained) / num_channels,
                               all_background=tf.reduce_mean(energy) / num_channels)


def _upsampled_energy(features: tf.Tensor, size: geometry.Size) -> tf.Tensor:
    """||UV||^2 [B,H,W] at every pixel of `size`, for features V [B,h,w,C].

    Along an axis a pixel is (1 - t) a + t b, where a and b are its neighbours. So its square is
    (1 - t)^2 a^2 + t^2 b^2 + 2 (1 - t) t a b. Two axes give four sums of this kind.
    """
    height, width = geometry.static_size('reference_features', features)
    rows = geometry.interpolation_matrix(height, size[0])
    columns = geometry.interpolation_matrix(width, size[1])

    def spread(row_weights: Any, products: tf.Tensor, column_weights: Any) -> tf.Tensor:
        return tf.matmul(tf.matmul(tf.constant(row_weights, features.dtype), products),
                         tf.constant(column_weights, features.dtype), transpose_b=True)

    # Inner products of all cells in a row with each other and with all cells in the next row. These
    # are far more than needed, but matrix products read the features twice instead of ten times.
    same = tf.matmul(features, features, transpose_b=True)
    below = tf.matmul(features[:, :-1], features[:, 1:], transpose_b=True)
    row_pairs, column_pairs = 2 * rows[:, :-1] * rows[:, 1:], 2 * columns[:, :-1] * columns[:, 1:]
    energy = spread(rows ** 2, tf.linalg.diag_part(same), columns ** 2)
    if height > 1:
        energy += spread(row_pairs, tf.linalg.diag_part(below), columns ** 2)
    if width > 1:
        energy += spread(rows ** 2, tf.linalg.diag_part(same, k=1), column_pairs)
    if height > 1 and width > 1:
        diagonals = tf.linalg.diag_part(below, k=1) + tf.linalg.diag_part(below, k=-1)
        energy += spread(row_pairs, diagonals, column_pairs / 2)
    return energy


def orthonormal_loss(part_basis: Any, *, epsilon: float = 1e-6) -> tf.Tensor:
    """Orthonormality of the part basis (Eq. 5): distance of its Gram matrix from the identity.

    Args:
      part_basis: float[K,C]. W.
      epsilon: Constant added to the squared norm of each row before dividing by the norm, as in the
        authors' code. A row of zeros, which the ReLU can produce, then costs 1 / (K (K - 1)) and
        has a gradient of 0.

    Returns:
      float[]. Sum of squares over the K*K entries of the difference, divided by K (K - 1), the
      number of entries off the diagonal: 0 for orthogonal rows, 1 for equal rows. The paper has the
      sum: its term is K (K - 1) times as large. For a single part the result and its gradient are
      0.

    Raises:
      ValueError: If `part_basis` is not of rank 2.
    """
    basis = geometry.as_float(part_basis)
    geometry.require_shape('part_basis', basis, '[K, C]', [None, None])
    num_parts = basis.shape[0]
    if num_parts == 1:
        # The result must be a function of the basis, so that its gradient exists.
        return tf.reduce_sum(tf.zeros_like(basis) * basis)
    basis *= tf.math.rsqrt(tf.reduce_sum(tf.square(basis), axis=1, keepdims=True) + epsilon)
    gram = tf.matmul(basis, basis, transpose_b=True)
    deviation = tf.square(gram - tf.eye(num_parts, dtype=basis.dtype))
    return tf.reduce_sum(deviation) / (num_parts * (num_parts - 1))
