"""Robust Background Detection: the saliency map of a single photo, without any training.

    W. Zhu, S. Liang, Y. Wei, J. Sun: Saliency Optimization from Robust Background Detection.
    CVPR 2014.

Names and section numbers in this file are that paper's. The photo is cut into superpixels. A
region is background if much of its outline lies on the photo's border (boundary connectivity,
Sec. 3). A region is salient if it differs from the background (background weighted contrast,
Sec. 4). One quadratic cost combines both cues and makes neighbours agree (Sec. 5).

The module maps an array to an array and needs only NumPy, SciPy and scikit-image.
"""
from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph, linalg as sparse_linalg
from skimage import color, segmentation

# Part of the key of caches. Increase it when maps of the same photo and constants change.
VERSION = 1

# Iterations of SLIC; ten take twice the time for the same scores (docs/saliency.md).
_SLIC_ITERATIONS = 5
# Sigma of the blur before SLIC, in pixels of the reduced photo; it removes JPEG blocks and grass.
_SLIC_BLUR = 1.0
# Distance in Lab below which two colours cannot be told apart (Mahy et al., 1994). If superpixels
# differ by less, nothing stands out, and stretching the contrast would only show noise.
_JUST_NOTICEABLE_DIFFERENCE = 2.3
# A drawn frame consists of lines whose pixels all lie within this many grey levels of one colour.
# Its width is at most this share of the photo's side. It ends at a line of which at least this
# share has another colour.
_FRAME_TOLERANCE = 10.0
_FRAME_LARGEST_SHARE = 0.15
_FRAME_SMALLEST_EDGE = 0.6


class SaliencyError(ValueError):
    """An image or constant that cannot be used; the message is one sentence for the user."""


class _Superpixels(NamedTuple):
    """The nodes of the graph.

    Attributes:
      labels: int[h,w] in 0..N-1. Superpixel of each pixel.
      colors: f64[N,3]. Mean Lab colours.
      positions: f64[N,2]. Mean (x, y), in units of the photo's longer side.
      on_boundary: bool[N]. Whether a superpixel touches the photo's border.
      edges: int[E,2]. Pairs i < j of superpixels that touch each other or both touch the border.
    """

    labels: np.ndarray
    colors: np.ndarray
    positions: np.ndarray
    on_boundary: np.ndarray
    edges: np.ndarray


def saliency_map(image: np.ndarray, *, long_side: int = 300, num_superpixels: int = 200,
                 compactness: float = 30.0, color_sigma: float = 10.0, spatial_sigma: float = 0.25,
                 boundary_sigma: float = 1.0, smoothness: float = 0.1, clip_weights: bool = True,
                 contrast: float = 10.0, remove_frame: bool = True) -> np.ndarray:
    """Saliency of every pixel by Robust Background Detection.

    Args:
      image: uint8[H,W,3]. RGB.
      long_side: Number of pixels on the longer side to which a larger photo is reduced. The map is
        resized to H x W bilinearly. The paper's photos have 400.
      num_superpixels: Approximate number of superpixels, 200 in the paper.
      compactness: SLIC's weight of position against colour. The paper gives no value. With
        scikit-image's default 10, superpixels run along textures and scores fall
        (docs/saliency.md).
      color_sigma: sigma_clr = 10, in units of Lab (Sec. 3.2 and 5).
      spatial_sigma: sigma_spa = 0.25, in units of the longer side (Sec. 4).
      boundary_sigma: sigma_BndCon = 1 (Sec. 4).
      smoothness: mu = 0.1, the least weight between neighbours, which erases small noise (Sec. 5).
      clip_weights: Whether small weights are clipped, so that they do not add up along a long path.
        Distances between neighbours are lowered by a threshold and are 0 below it. The threshold is
        the mean over superpixels of the distance to the most similar neighbour (Wei et al.,
        Geodesic Saliency Using Background Priors, ECCV 2012). False is the plain equation.
      contrast: Slope, beyond the paper, of a sigmoid around 0.5 that is applied to the map after it
        is stretched to [0, 1] (b = 10 in Zhang et al., Minimum Barrier Salient Object Detection at
        80 FPS, ICCV 2015). It changes no order within a photo. 0 leaves the map as it is.
      remove_frame: Whether, beyond the paper, a frame of one colour drawn around the photo is cut
        off and is 0 in the map. Otherwise it would hide the photo's own border from the method.

    Returns:
      f32[H,W] in [0, 1]. All values are 0 if nothing stands out, as in a photo of one colour.

    Raises:
      SaliencyError: If the image is not uint8[H,W,3] or is empty, or a constant is out of range.
    """
    image = _check(image, long_side=long_side, num_superpixels=num_superpixels,
                   compactness=compactness, color_sigma=color_sigma, spatial_sigma=spatial_sigma,
                   boundary_sigma=boundary_sigma, smoothness=smoothness, contrast=contrast)
    size = image.shape[:2]
    reduced = _reduce(image, long_side)
    inside = _frame_interior(reduced) if remove_frame else (slice(None), slice(None))
    nodes = _superpixels(reduced[inside], num_superpixels, compactness)
    saliency = _node_saliency(nodes, color_sigma, spatial_sigma, boundary_sigma, smoothness,
                              clip_weights)
    if contrast and saliency.any():
        # The ends of the sigmoid are scaled back to 0 and 1.
        low, high = _sigmoid(-contrast / 2), _sigmoid(contrast / 2)
        saliency = (_sigmoid(contrast * (saliency - 0.5)) - low) / (high - low)
    found = np.zeros(reduced.shape[:2], np.float32)
    found[inside] = saliency[nodes.labels]
    if found.shape != size:
        scale = [full / small for full, small in zip(size, found.shape)]
        found = ndimage.zoom(found, scale, order=1, mode='nearest', grid_mode=True)
    return np.clip(found, 0.0, 1.0)


def _check(image: np.ndarray, **constants: float) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise SaliencyError('`image` must be a uint8[H,W,3] array with at least one pixel, RGB; '
                            f'got {image.dtype}{list(image.shape)}; decode it with `images.read`.')
    for name, value in constants.items():
        least = 1 if name in ('long_side', 'num_superpixels') else 0
        may_be_least = name in ('long_side', 'num_superpixels', 'smoothness', 'contrast')
        if not (np.isfinite(value) and (value >= least if may_be_least else value > least)):
            law = 'at least' if may_be_least else 'more than'
            raise SaliencyError(f'`{name}` must be {law} {least}; got {value}.')
    return image


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def _stretch(values: np.ndarray) -> np.ndarray:
    """The values stretched to [0, 1]; equal values become 0."""
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _reduce(image: np.ndarray, long_side: int) -> np.ndarray:
    """The uint8 image reduced to at most `long_side` pixels by exact means over areas.

    Rows are computed one by one to save memory.
    """
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(height * scale)), max(1, round(width * scale))
    rows, columns = _area_weights(height, size[0]), _area_weights(width, size[1])
    reduced = np.empty((*size, 3), np.float32)
    for row in range(size[0]):
        entries = slice(rows.indptr[row], rows.indptr[row + 1])
        sources = rows.indices[entries]
        lines = image[sources[0]:sources[-1] + 1].reshape(len(sources), -1).astype(np.float32)
        reduced[row] = columns @ (rows.data[entries] @ lines).reshape(width, 3)
    return np.rint(reduced).astype(np.uint8)


def _area_weights(full: int, small: int) -> sparse.csr_matrix:
    """Share of each source pixel in each target pixel, f32[small,full]; rows sum to 1."""
    edges = np.linspace(0, full, small + 1)
    cuts = np.unique(np.concatenate([edges, np.arange(full + 1)]))
    middles = (cuts[1:] + cuts[:-1]) / 2
    places = np.searchsorted(edges, middles) - 1, middles.astype(int)
    return sparse.csr_matrix((np.diff(cuts) * small / full, places), (small, full), np.float32)


def _frame_interior(image: np.ndarray) -> Tuple[slice, slice]:
    """Slices of the area inside a drawn frame; the whole image unless two sides have a frame."""
    height, width = image.shape[:2]
    margins = [_frame_width(view) for view in (
        image, image[::-1], image.transpose(1, 0, 2), image[:, ::-1].transpose(1, 0, 2))]
    if np.count_nonzero(margins) < 2:
        return slice(None), slice(None)
    top, bottom, left, right = margins
    return slice(top, height - bottom), slice(left, width - right)


def _frame_width(image: np.ndarray) -> int:
    """Number of rows that a frame covers at the top; 0 if they do not end in a straight edge."""
    most = int(_FRAME_LARGEST_SHARE * len(image))
    frame_color = np.median(image[0], axis=0)
    other = (np.abs(image[:most + 3] - frame_color) > _FRAME_TOLERANCE).any(-1).mean(-1)
    rows = int(np.argmax(other > 0)) if other.any() else 0
    # The edge may lie between two pixels, so up to two mixed rows may come before it.
    edges = np.flatnonzero(other[rows:rows + 3] >= _FRAME_SMALLEST_EDGE)
    return rows + int(edges[0]) if 0 < rows <= most and len(edges) else 0


def _superpixels(image: np.ndarray, num_superpixels: int, compactness: float) -> _Superpixels:
    height, width = image.shape[:2]
    if height * width <= num_superpixels:
        labels = np.arange(height * width).reshape(height, width)
    else:
        # The input is RGB, which slic converts. Lab with `convert2lab=False` would give squares.
        labels = segmentation.slic(image, n_segments=num_superpixels, compactness=compactness,
                                   sigma=_SLIC_BLUR, max_num_iter=_SLIC_ITERATIONS, start_label=0)
        labels = np.unique(labels, return_inverse=True)[1].reshape(height, width)
    num_nodes = int(labels.max()) + 1
    index = labels.ravel()

    def means(values: np.ndarray) -> np.ndarray:
        sums = np.stack([np.bincount(index, values[..., channel].ravel(), num_nodes)
                         for channel in range(values.shape[-1])], axis=-1)
        return sums / np.bincount(index, minlength=num_nodes)[:, np.newaxis]

    rows, columns = np.mgrid[:height, :width]
    positions = np.stack([columns, rows], axis=-1) / max(height, width)
    boundary = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    pairs = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]),
             (labels[:-1, :-1], labels[1:, 1:]), (labels[:-1, 1:], labels[1:, :-1]),
             np.meshgrid(boundary, boundary)]
    linked = np.zeros((num_nodes, num_nodes), bool)
    for first, second in pairs:
        linked[first.ravel(), second.ravel()] = True
    return _Superpixels(
        labels=labels, colors=means(color.rgb2lab(image)), positions=means(positions),
        on_boundary=np.bincount(boundary, minlength=num_nodes) > 0,
        edges=np.argwhere(np.triu(linked | linked.T, k=1)))


def _node_saliency(nodes: _Superpixels, color_sigma: float, spatial_sigma: float,
                   boundary_sigma: float, smoothness: float, clip_weights: bool) -> np.ndarray:
    """Saliency f64[N] in [0, 1] of the superpixels (Sec. 3 to 5)."""
    color_distances = _distances(nodes.colors)
    if color_distances.max() < _JUST_NOTICEABLE_DIFFERENCE:
        return np.zeros(len(nodes.colors))
    first, second = nodes.edges.T
    edge_distances = color_distances[first, second]

    # Boundary connectivity: soft length on the border over the root of the soft area (Sec. 3.2).
    path_weights = edge_distances
    if clip_weights:
        nearest = np.full(len(nodes.colors), np.inf)
        for end in (first, second):
            np.minimum.at(nearest, end, edge_distances)
        path_weights = np.maximum(edge_distances - nearest.mean(), 0.0)
    geodesics = csgraph.dijkstra(_symmetric(path_weights, nodes), directed=False)
    similarity = np.exp(-geodesics ** 2 / (2 * color_sigma ** 2))
    area = similarity.sum(axis=1)
    length = similarity[:, nodes.on_boundary].sum(axis=1)
    background = 1.0 - np.exp(-(length / np.sqrt(area)) ** 2 / (2 * boundary_sigma ** 2))

    # Contrast, weighted by closeness and by the other superpixel's background probability (Sec. 4).
    closeness = np.exp(-_distances(nodes.positions) ** 2 / (2 * spatial_sigma ** 2))
    foreground = _stretch((color_distances * closeness) @ background)

    # argmin_s sum w_bg s^2 + sum w_fg (s - 1)^2 + sum w_ij (s_i - s_j)^2, a linear system (Sec. 5).
    weights = np.exp(-edge_distances ** 2 / (2 * color_sigma ** 2)) + smoothness
    system = (csgraph.laplacian(_symmetric(weights, nodes))
              + sparse.diags(background + foreground))
    return _stretch(sparse_linalg.spsolve(system.tocsc(), foreground))


def _distances(points: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(points[:, np.newaxis] - points).sum(axis=-1))


def _symmetric(edge_weights: np.ndarray, nodes: _Superpixels) -> sparse.csr_matrix:
    first, second = nodes.edges.T
    num_nodes = len(nodes.colors)
    return sparse.csr_matrix((np.concatenate([edge_weights, edge_weights]),
                              (np.concatenate([first, second]), np.concatenate([second, first]))),
                             (num_nodes, num_nodes))
