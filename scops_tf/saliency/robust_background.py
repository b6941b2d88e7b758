"""Robust Background Detection: where the object stands in one photo, without any training.

    W. Zhu, S. Liang, Y. Wei, J. Sun: Saliency Optimization from Robust Background Detection.
    CVPR 2014.

Names and section numbers in this file are that paper's. The photo is cut into superpixels. A
region that holds on to the photo's border along much of its outline is background (boundary
connectivity, Sec. 3); what differs from the background stands out (background weighted contrast,
Sec. 4); one quadratic cost reconciles both cues and makes neighbours agree (Sec. 5).

NumPy, SciPy and scikit-image only: an array in, an array out.
"""
from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph, linalg as sparse_linalg
from skimage import color, segmentation

# Of the method: raised whenever a map of the same photo and constants changes, for caches.
VERSION = 1

# Iterations of SLIC; ten cost twice the time for the same scores (docs/saliency.md).
_SLIC_ITERATIONS = 5
# Smoothing before SLIC in pixels of the reduced photo, against JPEG blocks and grass.
_SLIC_BLUR = 1.0
# Distance in Lab below which two colours cannot be told apart (Mahy et al., 1994): a photo whose
# superpixels all differ by less shows nothing, and stretching its contrast would show noise.
_JUST_NOTICEABLE_DIFFERENCE = 2.3
# A drawn frame: lines whose pixels all keep within this many grey levels of one colour, at most
# this share of the photo's side wide, ended by a line that leaves that colour along most of it.
_FRAME_TOLERANCE = 10.0
_FRAME_LARGEST_SHARE = 0.15
_FRAME_SMALLEST_EDGE = 0.6


class SaliencyError(ValueError):
    """An image or a constant that no map can be computed with; one sentence for the user."""


class _Superpixels(NamedTuple):
    """The nodes of the graph.

    Attributes:
      labels: int[h,w] in 0..N-1.
      colors: f64[N,3]. Mean Lab colour.
      positions: f64[N,2]. Mean (x, y); the longer side of the photo is 1.
      on_boundary: bool[N]. Whether it touches the photo's border.
      edges: int[E,2]. Pairs i < j that touch each other or that both touch the border.
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
      image: uint8[H,W,3], RGB.
      long_side: The photo is reduced to this many pixels on its longer side, never enlarged, and
        the map is brought back to H x W bilinearly. The paper's photos have 400.
      num_superpixels: About so many; the paper's 200.
      compactness: SLIC's weight of position against colour. Not given in the paper; with
        scikit-image's default 10 superpixels run along textures and scores fall
        (docs/saliency.md).
      color_sigma: sigma_clr = 10, in units of Lab (Sec. 3.2 and 5).
      spatial_sigma: sigma_spa = 0.25, in units of the longer side (Sec. 4).
      boundary_sigma: sigma_BndCon = 1 (Sec. 4).
      smoothness: mu = 0.1, the least weight between neighbours, which erases small noise (Sec. 5).
      clip_weights: Against small weights that add up along a long path: distances between
        neighbours are lowered by the mean, over superpixels, of the distance to the most alike
        neighbour, and are 0 below it (Wei et al., Geodesic Saliency Using Background Priors, ECCV
        2012). False is the plain equation.
      contrast: Beyond the paper: slope of the sigmoid around 0.5 that the map, stretched to
        [0, 1], is passed through (b = 10 of Zhang et al., Minimum Barrier Salient Object Detection
        at 80 FPS, ICCV 2015). It changes no order within a photo. 0 leaves the map as it is.
      remove_frame: Beyond the paper's text: a frame of one colour drawn around the photo is cut
        off before and is 0 in the map; it would hide the photo's own border from the method.

    Returns:
      f32[H,W] in [0, 1]; all 0 where nothing stands out, as in a photo of one colour.

    Raises:
      SaliencyError: If the image is not a uint8[H,W,3] with pixels, or a constant is out of range.
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
        # Ends of the sigmoid are brought back to 0 and 1.
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
    """To [0, 1]; values that are all equal become 0."""
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _reduce(image: np.ndarray, long_side: int) -> np.ndarray:
    """uint8 image to at most `long_side` by exact means over areas, row by row to spare memory."""
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
    """f32[small,full]: the share of each source pixel in each target pixel; rows sum to 1."""
    edges = np.linspace(0, full, small + 1)
    cuts = np.unique(np.concatenate([edges, np.arange(full + 1)]))
    middles = (cuts[1:] + cuts[:-1]) / 2
    places = np.searchsorted(edges, middles) - 1, middles.astype(int)
    return sparse.csr_matrix((np.diff(cuts) * small / full, places), (small, full), np.float32)


def _frame_interior(image: np.ndarray) -> Tuple[slice, slice]:
    """What a drawn frame encloses; everything where there is none on two sides at least."""
    height, width = image.shape[:2]
    margins = [_frame_width(view) for view in (
        image, image[::-1], image.transpose(1, 0, 2), image[:, ::-1].transpose(1, 0, 2))]
    if np.count_nonzero(margins) < 2:
        return slice(None), slice(None)
    top, bottom, left, right = margins
    return slice(top, height - bottom), slice(left, width - right)


def _frame_width(image: np.ndarray) -> int:
    """Rows from the top that a frame covers, 0 where they do not end in a long straight edge."""
    most = int(_FRAME_LARGEST_SHARE * len(image))
    frame_color = np.median(image[0], axis=0)
    other = (np.abs(image[:most + 3] - frame_color) > _FRAME_TOLERANCE).any(-1).mean(-1)
    rows = int(np.argmax(other > 0)) if other.any() else 0
    # The edge may lie between two pixels: two mixed rows are let pass.
    edges = np.flatnonzero(other[rows:rows + 3] >= _FRAME_SMALLEST_EDGE)
    return rows + int(edges[0]) if 0 < rows <= most and len(edges) else 0


def _superpixels(image: np.ndarray, num_superpixels: int, compactness: float) -> _Superpixels:
    height, width = image.shape[:2]
    if height * width <= num_superpixels:
        labels = np.arange(height * width).reshape(height, width)
    else:
        # Given RGB and left to convert; Lab with `convert2lab=False` gives squares.
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
    """f64[N] in [0, 1]: Sec. 3 to 5 on the graph of superpixels."""
    color_distances = _distances(nodes.colors)
    if color_distances.max() < _JUST_NOTICEABLE_DIFFERENCE:
        return np.zeros(len(nodes.colors))
    first, second = nodes.edges.T
    edge_distances = color_distances[first, second]

    # Boundary connectivity: length on the border over the root of the area, both soft (Sec. 3.2).
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

    # Contrast, the closer the more, weighted by how surely the other is background (Sec. 4).
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
