"""The loss terms of SCOPS as pure functions of tensors.

Every term is a mean over the batch and over the parts, so that its weight depends neither on B nor
on K. Each docstring names the paper's sum and the factor between the two. Where replicas share a
batch, a term is the mean over them of what each one computes of its share.

Tensors of less than single precision are computed in float32, float64 stays float64. Part responses
R are the soft-max over the K+1 channels of the part logits with the background, channel 0, removed,
unless said otherwise.
"""
from __future__ import annotations

from typing import Any, NamedTuple, Optional

import tensorflow as tf

from scops_tf import geometry
from scops_tf.training import replicas

DIRECTIONS = ('target_to_view', 'view_to_target')


def concentration_loss(part_responses: Any, *, epsilon: float = 1e-3) -> tf.Tensor:
    """Geometric concentration: the spatial variance of the parts (Eq. 2).

    Args:
      part_responses: float[B,H,W,K]. In [0, 1], background removed.
      epsilon: Added to every pixel before normalizing, so that an absent part has a finite centre
        and gradient. Must be at least 0.

    Returns:
      float[]. Averaged over parts and batch; squared units of the frame of `geometry`. The paper
      sums over parts: its term is K times as large.

    Raises:
      ValueError: If `part_responses` is not of rank 4 or `epsilon` is negative.
    """
    return tf.reduce_mean(geometry.spatial_variance(part_responses, epsilon=epsilon))


def equivariance_loss(view_logits: Any, warped_logits: Any, valid_mask: Any, *,
                      direction: str = 'target_to_view') -> tf.Tensor:
    """Equivariance of the part maps (first term of Eq. 3): a divergence between two soft-max maps.

    Args:
      view_logits: float[B,H,W,K+1]. Part logits of the transformed image, with background: R'.
      warped_logits: float[B,H,W,K+1]. Part logits of the image, transformed likewise: T(R), the
        target. No gradient flows into them.
      valid_mask: float or bool[B,H,W]. 1 where the source of the pixel lies inside the image.
      direction: 'target_to_view' is D_KL(T(R) || R'), as in the authors' released code;
        'view_to_target' is D_KL(R' || T(R)), as printed in the paper.

    Returns:
      float[]. In nats, averaged over the K+1 channels and the valid pixels of the whole batch; 0
      where no pixel is valid. The paper's divergence sums over channels: it is K+1 times as large.
      The authors' code averages over them as well.

    Raises:
      ValueError: If the shapes differ or `direction` is unknown.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f'`direction` must be one of {DIRECTIONS}; got {direction!r}.')
    log_view = tf.nn.log_softmax(geometry.as_float(view_logits))
    log_target = tf.stop_gradient(tf.nn.log_softmax(geometry.as_float(warped_logits)))
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
      view_centers: float[B,K,2]. Part centres of the transformed image, in the frame: c'.
      warped_centers: float[B,K,2]. Part centres of the image, moved by the transform: T(c).
        Gradients flow into both, as in the paper.
      visible: float or bool[B,K]. Whether the moved centre lies in the transformed image. The
        others count 0, since no response there could answer them.

    Returns:
      float[]. Squared distance, summed over x and y, averaged over all K parts and the batch. The
      paper sums over parts: its term is K times as large.

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
    """The loss, and what it would be were all pixels background (R = 0), to compare it to."""

    loss: tf.Tensor
    all_background: tf.Tensor


def semantic_consistency_loss(
    reference_features: Any, saliency_map: Optional[Any], part_responses: Any, part_basis: Any
) -> tf.Tensor:
    """The loss alone of `semantic_consistency_terms`."""
    terms = semantic_consistency_terms(reference_features, saliency_map, part_responses, part_basis)
    return terms.loss


def semantic_consistency_terms(
    reference_features: Any, saliency_map: Optional[Any], part_responses: Any, part_basis: Any
) -> SemanticConsistency:
    """Semantic consistency with saliency (Eq. 4 and 6): mean of ||D UV - R W||^2, exact and small.

    U is bilinear up-sampling, corners aligned; linear, it commutes with products over channels:

        ||D UV - R W||^2  =  D^2 ||UV||^2  +  R . (R (W W^T) - 2 D U(V W^T))

    at every pixel. The first term is a constant, quadratic in the features of the four neighbours,
    so their inner products at the features' resolution suffice; the second one up-samples K
    channels instead of C. Nothing of size B*H*W*C is made. The terms are joined at each pixel,
    where they are of one magnitude; joined after summing over the batch they would cancel in
    float32. So they agree with the plain form to 1e-5 in float32; less closely on GPUs where
    TensorFlow takes matrix products in TensorFloat-32.

    Args:
      reference_features: float[B,h,w,C]. V, features of the untransformed image; a constant.
      saliency_map: float[B,H,W]. D in [0, 1]; a constant. None for no saliency constraint (D = 1).
      part_responses: float[B,H,W,K]. R in [0, 1], background removed.
      part_basis: float[K,C]. W, at least 0.

    Returns:
      Both float[], averaged over B*H*W*C; the paper sums over pixels and channels. Neither form
      depends on K. Gradients flow into `part_responses` and `part_basis` only.

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
    # A product with ones sums short rows in half the time of a reduction.
    explained = tf.linalg.matvec(responses * mixed, tf.ones([responses.shape[3]], responses.dtype))
    num_channels = features.shape[3]
    return SemanticConsistency(loss=tf.reduce_mean(energy + explained) / num_channels,
                               all_background=tf.reduce_mean(energy) / num_channels)


def _upsampled_energy(features: tf.Tensor, size: geometry.Size) -> tf.Tensor:
    """||UV||^2 [B,H,W] at every pixel of `size`, of features V [B,h,w,C].

    Along an axis a pixel is (1 - t) a + t b of its neighbours a and b, so its square is made of
    (1 - t)^2 and t^2 of their squares and 2 (1 - t) t of their product; two axes give four sums.
    """
    height, width = geometry.static_size('reference_features', features)
    rows = geometry.interpolation_matrix(height, size[0])
    columns = geometry.interpolation_matrix(width, size[1])

    def spread(row_weights: Any, products: tf.Tensor, column_weights: Any) -> tf.Tensor:
        return tf.matmul(tf.matmul(tf.constant(row_weights, features.dtype), products),
                         tf.constant(column_weights, features.dtype), transpose_b=True)

    # Inner products of all cells of a row, and of those of the next row: far more than are needed,
    # but matrix products, which read the features twice instead of ten times.
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
    """Orthonormality of the part basis (Eq. 5): how far its rows' Gram matrix is from the identity.

    Args:
      part_basis: float[K,C]. W.
      epsilon: Added to the squared norm of a row before it is divided by, so that a row of zeros,
        which the ReLU can leave, costs 1 / (K (K - 1)) with a gradient of 0; the authors' constant.

    Returns:
      float[]. Sum of squares over the K*K entries, divided by the K (K - 1) entries off the
      diagonal: 0 for orthogonal rows, 1 for equal ones. The paper has the sum: its term is
      K (K - 1) times as large. A single part has no other to be orthogonal to: 0, with a gradient
      of 0.

    Raises:
      ValueError: If `part_basis` is not of rank 2.
    """
    basis = geometry.as_float(part_basis)
    geometry.require_shape('part_basis', basis, '[K, C]', [None, None])
    num_parts = basis.shape[0]
    if num_parts == 1:
        # A function of the basis all the same, for its gradient to be there.
        return tf.reduce_sum(tf.zeros_like(basis) * basis)
    basis *= tf.math.rsqrt(tf.reduce_sum(tf.square(basis), axis=1, keepdims=True) + epsilon)
    gram = tf.matmul(basis, basis, transpose_b=True)
    deviation = tf.square(gram - tf.eye(num_parts, dtype=basis.dtype))
    return tf.reduce_sum(deviation) / (num_parts * (num_parts - 1))
