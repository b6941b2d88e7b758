"""Dense CRF: part labels that follow the photo's edges, from part responses of a network.

    P. Krähenbühl, V. Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials. NIPS 2011.

The package pydensecrf2 (the extra `crf`) does the mean-field inference.
"""
from __future__ import annotations

from types import ModuleType
from typing import Optional, Union

import numpy as np

# Least probability in the unary term. It keeps the logarithm finite, and a part without any
# response may still win by its surroundings.
_LEAST_PROBABILITY = 1e-5

# Side of the square photo in whose pixels lengths are given.
_SIDE = 512


class CrfError(ValueError):
    """Unusable input or a missing package; the message is one sentence for the user."""


def library() -> ModuleType:
    """The module that does the inference.

    Raises:
      CrfError: If pydensecrf2 is not installed.
    """
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise CrfError('The dense CRF must have the package pydensecrf2, which cannot be imported '
                       f'({error}); install it with `pip install pydensecrf2` (a C++ compiler is '
                       'needed), or go without the CRF.') from error
    return densecrf


def refine_labels(part_responses: np.ndarray, image: Optional[np.ndarray], *,
                  background: float = 0.1, iterations: int = 10, bilateral: bool = True,
                  spatial_sigma: float = 3.0, spatial_weight: float = 1.0,
                  bilateral_sigma: float = 60.0, color_sigma: float = 6.0,
                  bilateral_weight: float = 5.0) -> np.ndarray:
    """Part labels by fully connected CRFs over the pixels (Krähenbühl & Koltun, Eq. 1 to 3).

    The first CRF tells the foreground from the background, the second one its parts from each
    other. A single CRF of all labels would erase small parts: at the object's border a pixel has
    more neighbours of the background than of its own part.

    The unary term is -log of the maps that plain decoding compares (Hung et al., CVPR 2019, Sec.
    3.1), divided by their sum at every pixel. These maps are the parts, each divided by its largest
    response, and a constant background; the foreground's map is the largest of its parts. So
    without pairwise terms the labels are those of plain decoding. Pairwise terms are Potts models.

    The standard deviations of positions grow with the square root of the photo's area, so that
    labels hardly depend on the photo's size.

    Args:
      part_responses: f[H,W,K+1], at least 0. Channel 0, the network's own background, is not used.
      image: uint8[H,W,3]. RGB; may be None if `bilateral` is False.
      background: Value of the background map, more than 0 and at most 1.
      iterations: Number of mean-field steps, at least 0.
      bilateral: Whether the bilateral (appearance) term is used. False leaves only the spatial
        (smoothness) term, as in the evaluation of the paper's authors.
      spatial_sigma: theta_gamma, in pixels of a photo of 512x512.
      spatial_weight: w(2).
      bilateral_sigma: theta_alpha, in pixels of a photo of 512x512.
      color_sigma: theta_beta, in grey levels of 0 to 255.
      bilateral_weight: w(1).

    Returns:
      uint8[H,W]. 0 is background, k is the k-th part.

    Raises:
      CrfError: If an argument is out of range or pydensecrf2 is not installed.
    """
    part_responses = np.asarray(part_responses)
    _check(part_responses, image if bilateral else None, bilateral)
    for name, value, above in (
            ('spatial_sigma', spatial_sigma, True), ('spatial_weight', spatial_weight, False),
            ('bilateral_sigma', bilateral_sigma, True), ('color_sigma', color_sigma, True),
            ('bilateral_weight', bilateral_weight, False), ('iterations', iterations, False)):
        if not (np.isfinite(value) and (value > 0 if above else value >= 0)):
            law = 'more than' if above else 'at least'
            raise CrfError(f'`{name}` must be {law} 0; got {value}.')
    if not 0 < background <= 1:
        raise CrfError(f'`background` must be more than 0 and at most 1; got {background}.')
    densecrf = library()

    # Of each pixel, in rows: what the kernels of the pairwise terms compare, and their weights.
    height, width = part_responses.shape[:2]
    positions = np.indices((height, width), np.float32)[::-1].reshape(2, -1)
    positions *= np.float32(_SIDE / np.sqrt(height * width))
    kernels = [(positions / spatial_sigma, spatial_weight)]
    if bilateral:
        colors = image.reshape(-1, 3).T / np.float32(color_sigma)
        kernels.append((np.concatenate([positions / bilateral_sigma, colors]), bilateral_weight))

    def labels_of(maps: np.ndarray, pixels: Union[slice, np.ndarray]) -> np.ndarray:
        """Index i64[n] of the map that wins at each of n pixels, of maps f[n,L]."""
        probabilities = maps / maps.sum(axis=1, keepdims=True)
        unary = -np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
        field = densecrf.DenseCRF(*maps.shape)
        field.setUnaryEnergy(np.ascontiguousarray(unary.T, np.float32))
        for features, weight in kernels:
            if weight:
                field.addPairwiseEnergy(
                    np.ascontiguousarray(features[:, pixels], np.float32), weight)
        return np.array(field.inference(iterations)).argmax(axis=0)

    parts = _normalized(part_responses[..., 1:])
    labels = np.zeros(len(parts), np.uint8)
    foreground = parts.max(axis=1)
    inside = np.flatnonzero(labels_of(
        np.stack([np.full_like(foreground, background), foreground], axis=1), slice(None)))
    if inside.size:
        labels[inside] = 1 if parts.shape[1] == 1 else 1 + labels_of(parts[inside], inside)
    return labels.reshape(height, width)


def _normalized(parts: np.ndarray) -> np.ndarray:
    """Parts [H,W,K], each divided by its largest response: f64[H W,K].

    A part without any response is `_LEAST_PROBABILITY` everywhere, for the sum not to be 0.
    """
    rows = parts.reshape(-1, parts.shape[-1]).astype(np.float64)
    largest = rows.max(axis=0)
    return np.maximum(rows / np.where(largest > 0, largest, 1.0), _LEAST_PROBABILITY)


def _check(part_responses: np.ndarray, image: Optional[np.ndarray], bilateral: bool) -> None:
    shape = part_responses.shape
    if len(shape) != 3 or not part_responses.size or not 2 <= shape[2] <= 256:
        raise CrfError('`part_responses` must be [H,W,K+1] with 1 to 255 parts; got '
                       f'{list(shape)}.')
    if not (np.isfinite(part_responses).all() and part_responses.min() >= 0):
        raise CrfError('`part_responses` must be finite and at least 0, as after a soft-max; got '
                       f'values from {part_responses.min()} to {part_responses.max()}.')
    wanted = (*shape[:2], 3)
    if bilateral and (image is None or image.dtype != np.uint8 or image.shape != wanted):
        got = 'None' if image is None else f'{image.dtype}{list(image.shape)}'
        raise CrfError(f'`image` must be uint8{list(wanted)}, RGB, of the size of the responses; '
                       f'got {got}; bring one to the size of the other.')
