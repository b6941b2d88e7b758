"""The maths of landmarks in ULD, as pure functions of tensors.

ULD is the baseline of the SCOPS paper: the losses of Thewlis et al. (ICCV 2017, "Unsupervised
learning of object landmarks by factorized spatial embeddings") and of Zhang et al. (CVPR 2018,
"Unsupervised discovery of object landmarks as structural representations"). Two of them are losses
of SCOPS as well. Concentration is `losses.concentration_loss`, of which Zhang et al. take the
exponential entropy of an isotropic Gaussian: 2 pi e sigma^2 per landmark, where 2 sigma^2 is the
spatial variance, so pi e times ours, as a sum over landmarks. Landmark equivariance is
`losses.center_equivariance_loss`, which they sum over landmarks too. The others are here.

Every loss is a mean over the batch, over landmarks or pairs of them, and over pixels. Inputs of
less than single precision are computed in float32; float64 stays float64. Landmarks are (x, y) in
the frame of `geometry`, whose sides are 2; those of Zhang et al. have sides of 1, so a length of
theirs is half of ours.
"""
from __future__ import annotations

from typing import Any

import tensorflow as tf

from scops_tf import geometry


def separation_loss(landmarks: Any, *, width: float) -> tf.Tensor:
    """Separation of the landmarks of a photo (Zhang et al.): exp(-||l - l'||^2 / (2 width^2)).

    It takes the place of the diversity loss of Thewlis et al., which counts how much the response
    maps overlap after sum pooling, and has the same aim. Its gradient reaches landmarks whose maps
    do not overlap.

    Args:
      landmarks: float[B,K,2]. (x, y) in the frame.
      width: Distance at which two landmarks are apart, above 0. Zhang et al. have 0.08 of a side,
        so 0.16 here.

    Returns:
      float[]. In [0, 1], mean over the K (K - 1) ordered pairs of two landmarks and over the batch:
      1 if all coincide, towards 0 as they move apart. Zhang et al. sum over pairs: their term is
      K (K - 1) times as large. For a single landmark the result and its gradient are 0.

    Raises:
      ValueError: If `landmarks` is not of shape [B, K, 2] or `width` is not positive.
    """
    landmarks = _landmarks(landmarks)
    _require_width(width)
    num_landmarks = landmarks.shape[1]
    offsets = landmarks[:, :, None] - landmarks[:, None]
    nearness = tf.exp(-tf.reduce_sum(tf.square(offsets), axis=-1) / (2 * width ** 2))
    # On the diagonal the nearness is 1 and has no gradient.
    others = nearness - tf.eye(num_landmarks, dtype=nearness.dtype)
    pairs = max(num_landmarks * (num_landmarks - 1), 1)
    return tf.reduce_mean(tf.reduce_sum(others, axis=(1, 2))) / pairs


def gaussian_maps(landmarks: Any, size: geometry.Size, *, width: float) -> tf.Tensor:
    """Gaussian maps of the landmarks (Zhang et al.): exp(-||u - l||^2 / (2 width^2)) at pixels u.

    Args:
      landmarks: float[B,K,2]. (x, y) in the frame; gradients flow into them.
      size: (height, width) of the maps.
      width: Standard deviation in the frame, above 0. It is the same along both sides of the frame,
        so on a photo that is not square the maps are ellipses.

    Returns:
      float[B,H,W,K]. In (0, 1]; 1 at the landmark.

    Raises:
      ValueError: If `landmarks` is not of shape [B, K, 2] or `width` is not positive.
    """
    landmarks = _landmarks(landmarks)
    _require_width(width)

    def along(axis: int, length: int) -> tf.Tensor:
        places = tf.constant(geometry.axis_coordinates(length)[:, None], landmarks.dtype)
        return tf.exp(-tf.square(places - landmarks[:, None, :, axis]) / (2 * width ** 2))

    return along(1, size[0])[:, :, None] * along(0, size[1])[:, None]


def local_features(features: Any, maps: Any) -> tf.Tensor:
    """Local features of the landmarks (Zhang et al.): means of the features under Gaussian maps.

    Args:
      features: float[B,h,w,C].
      maps: float[B,h,w,K]. `gaussian_maps` at the features' size.

    Returns:
      float[B,K+1,C]. Row 0 is the mean over all cells, which stands for the background; row k is
      the mean weighted by map k. A map of zeros gives zeros.

    Raises:
      ValueError: If the shapes do not fit each other or sizes are unknown.
    """
    maps = geometry.as_float(maps)
    features = tf.cast(features, maps.dtype)
    size = geometry.static_size('features', features)
    geometry.require_shape('maps', maps, '[B, h, w, K]', [features.shape[0], *size, None])
    weights = tf.concat([tf.ones_like(maps[..., :1]), maps], axis=-1)
    sums = tf.einsum('bhwk,bhwc->bkc', weights, features)
    return tf.math.divide_no_nan(sums, tf.reduce_sum(weights, axis=(1, 2))[..., None])


def reconstruction_loss(reconstructions: Any, images: Any) -> tf.Tensor:
    """Reconstruction of photos from their landmarks (Zhang et al.): squared error of the colours.

    Args:
      reconstructions: float[B,H,W,3]. RGB in [0, 1].
      images: float[B,H,W,3]. The photos, RGB in [0, 1]; no gradient flows into them.

    Returns:
      float[]. In [0, 1], mean over photos, pixels and channels. Zhang et al. sum over pixels and
      channels.

    Raises:
      ValueError: If the shapes differ.
    """
    reconstructions = geometry.as_float(reconstructions)
    images = tf.stop_gradient(tf.cast(images, reconstructions.dtype))
    geometry.require_shape('reconstructions', reconstructions, '[B, H, W, 3]', [None] * 3 + [3])
    geometry.require_shape('images', images, '[B, H, W, 3]', reconstructions.shape)
    return tf.reduce_mean(tf.square(reconstructions - images))


def _landmarks(landmarks: Any) -> tf.Tensor:
    landmarks = geometry.as_float(landmarks)
    geometry.require_shape('landmarks', landmarks, '[B, K, 2]', [None, None, 2])
    return landmarks


def _require_width(width: float) -> None:
    if width <= 0:
        raise ValueError(f'`width` must be positive; got {width}.')
