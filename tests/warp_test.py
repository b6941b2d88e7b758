"""Laws of the spatial transforms."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib, geometry
from scops_tf.training import warp

SIZE = (40, 60)
SEED = (3, 5)

KINDS = ('similarity', 'projective', 'tps')


def _random_warp(kind='similarity', **ranges):
    return warp.RandomWarp(config_lib.Warp(kind=kind, **ranges))


# Ranges far beyond the defaults, to make errors large.
WIDE = {
    'similarity': _random_warp('similarity'),
    'projective': _random_warp('projective', projective_jitter=0.3),
    'tps': _random_warp('tps', tps_jitter=0.05),
}
STILL = {'max_rotation': 0.0, 'inverse_scale': (1.0, 1.0), 'max_shift': 0.0}


def _similarity(angle, inverse_scale=1.0, *, size=SIZE):
    """The first drawn transform of 10,000 that turns by an angle in degrees, without shift."""
    random_warp = _random_warp(
        max_rotation=180.0, inverse_scale=(inverse_scale,) * 2, max_shift=0.0
    )
    matrix = random_warp.draw(SEED, 10000, size).matrix
    aspect = (size[0] - 1) / (size[1] - 1)
    angles = np.degrees(np.arctan2(matrix[:, 1, 0] * aspect, matrix[:, 0, 0]))
    nearest = np.argmin(np.abs(angles - angle))
    assert abs(angles[nearest] - angle) < 0.1
    return warp.Transform(matrix[nearest:nearest + 1], tf.zeros([1, 0, 0, 2]))


def _blobs(centers, size, sigma=0.05):
    """Gaussian spots f32[B,H,W,K], round in pixels, at points [B,K,2]; sigma in heights."""
    grid = geometry.frame_to_pixels(geometry.coordinate_grid(size).numpy(), size)
    spots = geometry.frame_to_pixels(np.asarray(centers), size)
    squared = np.square(grid[None, :, :, None] - spots[:, None, None]).sum(-1)
    return np.exp(-squared / (2 * (sigma * size[0]) ** 2)).astype(np.float32)


def _draw_in_view(random_warp, size, seed=0):
    """A batch of four transforms and points [4,2,2] well inside the source and the view."""
    transform = random_warp.draw((seed, 1), 4, size)
    points = np.random.default_rng(seed).uniform(-0.6, 0.6, (4, 200, 2)).astype(np.float32)
    inside = np.abs(transform.warp_points(points)).max(-1) < 0.6
    assert (inside.sum(1) >= 2).all()
    return transform, np.stack([row[keep][:2] for row, keep in zip(points, inside)])


# Identity and known transforms.


@pytest.mark.parametrize('kind', KINDS)
def test_ranges_of_nothing_draw_the_identity(kind):
    transform = _random_warp(kind, **STILL, projective_jitter=0.0, tps_jitter=0.0).draw(
        SEED, 2, SIZE
    )
    maps = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype(np.float32)
    points = maps[:, :4, 0, :2]
    np.testing.assert_allclose(transform.warp(maps), maps, atol=1e-4)
    np.testing.assert_allclose(transform.warp_points(points), points, atol=1e-6)
    np.testing.assert_array_equal(transform.valid_mask(SIZE), 1)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(23, 31), (61, 90)])
def test_a_view_of_another_size_shows_the_same_sources(kind, size):
    transform = WIDE[kind].draw(SEED, 3, SIZE)
    ramps = tf.repeat(geometry.coordinate_grid(SIZE)[None], 3, axis=0)
    view, valid = transform.warp(ramps, size=size), transform.valid_mask(size).numpy() > 0
    sources = transform.source_points(tf.reshape(geometry.coordinate_grid(size), [1, -1, 2]))
    assert view.shape == (3, *size, 2) and 0.1 < valid.mean() < 1
    np.testing.assert_allclose(
        view[valid], tf.reshape(sources, view.shape)[valid], atol=2e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_a_mirrored_view_reads_the_photo_from_right_to_left(kind):
    maps = np.random.default_rng(0).normal(size=(3, *SIZE, 2)).astype(np.float32)
    ranges = {**STILL, 'projective_jitter': 0.0, 'tps_jitter': 0.0, 'mirror': 1.0}
    transform = _random_warp(kind, **ranges).draw(SEED, 3, SIZE)
    # The outermost columns may lie outside by rounding.
    np.testing.assert_allclose(
        transform.warp(maps)[:, 1:-1, 1:-1], maps[:, 1:-1, -2:0:-1], atol=1e-4)


def test_views_are_mirrored_by_chance_and_otherwise_the_same():
    plain, mirrored = (_random_warp(mirror=share).draw(SEED, 4000, SIZE).matrix.numpy()
                       for share in (0.0, 0.25))
    signs = np.sign(np.linalg.det(mirrored) / np.linalg.det(plain))
    assert abs(np.mean(signs < 0) - 0.25) < 0.03
    np.testing.assert_array_equal(mirrored[:, :, 1:], plain[:, :, 1:])
    np.testing.assert_array_equal(mirrored[:, :, 0], signs[:, np.newaxis] * plain[:, :, 0])


def test_rotation_by_ninety_degrees_is_one_in_pixels():
    size = (31, 51)
    image = np.zeros((1, *size, 1), np.float32)
    image[0, 15, 25 + 10, 0] = 1  # Ten pixels right of the centre.
    # The view shows at v what lies at v turned from x towards y: the spot goes from right to top.
    view = _similarity(90.0, size=size).warp(image).numpy()[0, ..., 0]
    expected = np.zeros(size)
    expected[15 - 10, 25] = 1
    # The drawn angle is right to 0.1 degrees.
    np.testing.assert_allclose(view, expected, atol=0.02)


@pytest.mark.parametrize('angle', [0.0, 30.0])
def test_distances_in_pixels_scale_by_one_factor_whatever_the_aspect(angle):
    transform = _similarity(angle, 0.5)
    points = np.random.default_rng(0).uniform(-1, 1, (1, 6, 2)).astype(np.float32)
    before = geometry.frame_to_pixels(points, SIZE)[0]
    after = geometry.frame_to_pixels(transform.warp_points(points), SIZE)[0].numpy()
    distances = np.linalg.norm(before[:, None] - before, axis=-1)
    moved = np.linalg.norm(after[:, None] - after, axis=-1)
    np.testing.assert_allclose(moved, 2 * distances, atol=1e-3)


def test_linear_ramps_are_warped_exactly():
    # x and y themselves, as a map: the warped map holds the source of each pixel.
    grid = tf.repeat(geometry.coordinate_grid(SIZE)[None], 4, axis=0)
    for random_warp in WIDE.values():
        transform = random_warp.draw(SEED, 4, SIZE)
        sources = tf.reshape(transform.source_points(tf.reshape(grid, [4, -1, 2])), grid.shape)
        valid = transform.valid_mask(SIZE).numpy() > 0
        np.testing.assert_allclose(transform.warp(grid)[valid], sources[valid], atol=1e-5)


def test_spline_through_an_affine_map_is_that_map():
    affine = np.array([[0.9, 0.1, 0.05], [-0.15, 1.1, -0.02], [0, 0, 1]], np.float32)
    controls = geometry.coordinate_grid((5, 5)).numpy()
    moved = controls @ affine[:2, :2].T + affine[:2, 2]
    spline = warp.Transform(np.eye(3, dtype=np.float32)[None], (moved - controls)[None])
    straight = warp.Transform(affine[None], np.zeros((1, 0, 0, 2), np.float32))
    points = np.random.default_rng(0).uniform(-1, 1, (1, 50, 2)).astype(np.float32)
    np.testing.assert_allclose(
        spline.source_points(points), straight.source_points(points), atol=1e-5
    )
    image = _blobs([[[0.1, -0.2], [-0.5, 0.4]]], SIZE)
    np.testing.assert_allclose(spline.warp(image), straight.warp(image), atol=1e-4)


def test_spline_passes_through_its_displaced_control_points():
    transform = WIDE['tps'].draw(SEED, 2, SIZE)
    unturned = transform._replace(matrix=np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)))
    controls = tf.reshape(geometry.coordinate_grid((5, 5)), [1, 25, 2])
    np.testing.assert_allclose(
        unturned.source_points(controls),
        controls + tf.reshape(transform.displacements, [2, 25, 2]),
        atol=2e-5,
    )


# Images, maps and points move alike.


@pytest.mark.parametrize('kind', KINDS)
def test_points_go_back_to_where_they_came_from(kind):
    for seed in range(5):
        transform = WIDE[kind].draw((seed, 0), 8, SIZE)
        points = np.random.default_rng(seed).uniform(-1, 1, (8, 20, 2)).astype(np.float32)
        moved = transform.warp_points(points)
        np.testing.assert_allclose(transform.source_points(moved), points, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(200, 300), (240, 160)])
def test_center_of_a_warped_blob_is_the_warped_center(kind, size):
    # A bend stretches one side of a blob more than the other, so it is small here.
    random_warp = _random_warp(kind, projective_jitter=0.1, tps_jitter=0.01)
    transform, points = _draw_in_view(random_warp, size)
    centers = geometry.part_centers(transform.warp(_blobs(points, size, sigma=0.015)))
    tolerance = 3e-4 if kind == 'similarity' else 2e-3
    np.testing.assert_allclose(centers, transform.warp_points(points), atol=tolerance)


@pytest.mark.parametrize('kind', KINDS)
def test_one_transform_moves_maps_of_any_resolution_alike(kind):
    image_size, map_size = (200, 300), (50, 75)
    transform, points = _draw_in_view(WIDE[kind], image_size)
    at_image = geometry.part_centers(transform.warp(_blobs(points, image_size)))
    at_map = geometry.part_centers(transform.warp(_blobs(points, map_size)))
    np.testing.assert_allclose(at_map, at_image, atol=5e-3)
    upsampled = geometry.upsample(transform.valid_mask(map_size)[..., None], image_size)[..., 0]
    differing = tf.abs(upsampled - transform.valid_mask(image_size)) > 0.5
    assert np.mean(differing) < 0.02  # Along the border alone.


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_of_warped_points_is_the_inverse_of_the_sampling_maps(kind):
    transform = WIDE[kind].draw(SEED, 2, SIZE)
    points = tf.constant([[[0.2, -0.3]], [[-0.4, 0.1]]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        moved = transform.warp_points(points)
        back = transform.source_points(moved)
    # source(warp(p)) = p, so the product of the Jacobians is the identity.
    np.testing.assert_allclose(
        tape.batch_jacobian(back, points)[:, 0, :, 0], np.tile(np.eye(2), (2, 1, 1)), atol=1e-3
    )


def test_points_behind_the_horizon_stay_finite_and_out_of_view():
    matrix = np.array([[[1, 0, 0], [0, 1, 0], [0.4, 0.4, 1]]], np.float32)
    transform = warp.Transform(matrix, np.zeros((1, 0, 0, 2), np.float32))
    points = np.array([[[1.25, 1.25], [1.5, 1.5], [3.0, 0.0], [2.5, 0.0]]], np.float32)
    moved = transform.warp_points(points)
    assert np.isfinite(moved).all()
    assert not geometry.is_inside(moved).numpy().any()


# The border.


@pytest.mark.parametrize('kind', KINDS)
def test_mask_is_one_exactly_where_the_source_lies_inside(kind):
    transform = WIDE[kind].draw(SEED, 4, SIZE)
    grid = tf.reshape(geometry.coordinate_grid(SIZE), [1, -1, 2])
    sources = tf.reshape(transform.source_points(grid), [4, *SIZE, 2]).numpy()
    mask = transform.valid_mask(SIZE).numpy()
    np.testing.assert_array_equal(mask, (np.abs(sources).max(-1) <= 1 + 1e-5).astype(np.float32))
    assert 0.2 < mask.mean() < 1


@pytest.mark.parametrize('kind', KINDS)
def test_pixels_from_outside_take_the_fill_and_the_others_never_do(kind):
    transform = WIDE[kind].draw(SEED, 4, SIZE)
    mask = transform.valid_mask(SIZE).numpy()[..., None]
    view = transform.warp(np.ones((4, *SIZE, 3)), fill=[5.0, 6.0, 7.0])
    np.testing.assert_allclose(view, mask + (1 - mask) * [5, 6, 7], atol=1e-6)


# Draws.


@pytest.mark.parametrize('kind', KINDS)
def test_a_draw_is_a_pure_function_of_its_seed(kind):
    first, again, other = [WIDE[kind].draw(seed, 3, SIZE) for seed in (SEED, SEED, (3, 6))]
    for values, repeated in zip(first, again):
        np.testing.assert_array_equal(values, repeated)
    assert not np.allclose(first.matrix, other.matrix)
    for one, two in [(0, 1), (1, 2), (0, 2)]:
        assert not np.allclose(first.matrix[one], first.matrix[two])


@pytest.mark.parametrize('kind', KINDS)
def test_draws_keep_to_their_ranges_and_fill_them(kind):
    transform = _random_warp(kind).draw(SEED, 2000, SIZE)
    matrix = transform.matrix.numpy().astype(np.float64)
    if kind == 'projective':
        tilt = matrix[:, 2, :2].copy()
        np.testing.assert_allclose([tilt.min(), tilt.max()], [-0.2, 0.2], atol=1e-3)
        matrix[:, :2, :2] -= matrix[:, :2, 2:] @ tilt[:, None]  # Undoes the product with the tilt.
    aspect = (SIZE[0] - 1) / (SIZE[1] - 1)
    cosine, sine = matrix[:, 0, 0], matrix[:, 1, 0] * aspect
    np.testing.assert_allclose(matrix[:, 1, 1], cosine, atol=1e-6)
    np.testing.assert_allclose(matrix[:, 0, 1], -sine * aspect, atol=1e-6)
    angle, scale = np.degrees(np.arctan2(sine, cosine)), np.hypot(sine, cosine)
    np.testing.assert_allclose([angle.min(), angle.max()], [-60, 60], atol=0.3)
    np.testing.assert_allclose([scale.min(), scale.max()], [0.5, 1 / 0.7], atol=5e-3)
    shift = matrix[:, :2, 2] / 2  # Of the side.
    np.testing.assert_allclose([shift.min(), shift.max()], [-0.05, 0.05], atol=5e-4)
    assert abs(np.corrcoef(angle, scale)[0, 1]) < 0.1 and abs(np.corrcoef(shift.T)[0, 1]) < 0.1
    if kind == 'tps':
        displacements = transform.displacements.numpy()
        assert displacements.shape == (2000, 5, 5, 2)
        np.testing.assert_allclose(
            [displacements.min(), displacements.max()], [-0.04, 0.04], atol=1e-4
        )
    else:
        assert transform.displacements.shape == (2000, 0, 0, 2)


def _sources_of_grid(transform, side):
    """Sources f32[B,side,side,2] of a grid over the view."""
    grid = tf.reshape(geometry.coordinate_grid((side, side)), [1, -1, 2])
    count = len(transform.matrix)
    return tf.reshape(transform.source_points(tf.repeat(grid, count, axis=0)),
                      [count, side, side, 2]).numpy()


def _slopes(values, axis):
    """Derivatives along x (axis 2) or y (axis 1) of values f[B,side,side,...] on such a grid."""
    slopes = np.diff(values, axis=axis) * (values.shape[1] - 1) / 2
    return slopes[:, :-1] if axis == 2 else slopes[:, :, :-1]


@pytest.mark.parametrize('ranges', [
    {}, {'tps_jitter': 0.05, 'projective_jitter': 0.4}], ids=['default', 'largest'])
@pytest.mark.parametrize('kind', KINDS)
def test_the_determinant_of_the_sampling_map_is_positive_everywhere(kind, ranges):
    # Where the map folds, two pixels of the view share a source and points have no image.
    sources = _sources_of_grid(_random_warp(kind, **ranges).draw(SEED, 200, SIZE), 41)
    along_x, along_y = _slopes(sources, 2), _slopes(sources, 1)
    determinants = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    # A similarity has the square of its scale, at least 0.25.
    assert determinants.min() > (0.2 if kind == 'similarity' else 0.01)


@pytest.mark.parametrize('points', [2, 3, 5, 8])
def test_no_spline_of_the_largest_jitter_can_fold(points):
    # The displacement is linear in those of the control points. So the sum over the control points
    # of the slopes of their own splines, times the jitter, bounds its Lipschitz constant in the
    # maximum norm. Below 1, no two points of the view have one source.
    count = points ** 2
    units = np.eye(count, dtype=np.float32).reshape(count, points, points, 1)
    alone = warp.Transform(np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
                           units * np.array([1, 0], np.float32))
    side = 61
    still = geometry.coordinate_grid((side, side)).numpy()
    shifts = (_sources_of_grid(alone, side) - still)[..., 0]
    slopes = sum(np.abs(_slopes(shifts, axis)).sum(0) for axis in (1, 2))
    assert 0.1 < 0.2 / (points - 1) * slopes.max() < 0.9


@pytest.mark.parametrize('kind', ['projective', 'tps'])
def test_default_views_of_other_kinds_bend_by_what_an_eye_sees(kind):
    sources = _sources_of_grid(_random_warp(kind, **STILL).draw(SEED, 50, SIZE), 21)
    grid = geometry.coordinate_grid((21, 21)).numpy().reshape(-1, 2)
    affine = np.concatenate([grid, np.ones((len(grid), 1))], axis=1)
    points = sources.reshape(50, -1, 2)
    nearest = affine @ (np.linalg.pinv(affine) @ points)
    # In shares of the side, which is 2.
    largest = np.linalg.norm(points - nearest, axis=-1).max(axis=1) / 2
    assert largest.mean() > 0.02


@pytest.mark.parametrize('kind', KINDS)
def test_stored_and_stacked_transforms_work_as_the_drawn_ones(kind):
    drawn = [WIDE[kind].draw((seed, 0), 1, SIZE) for seed in range(4)]
    bank = warp.Transform(*(np.concatenate(values) for values in zip(*drawn)))
    picked = tf.nest.map_structure(lambda values: tf.gather(values, [2, 0]), bank)
    maps = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype(np.float32)
    expected = tf.concat([drawn[2].warp(maps[:1]), drawn[0].warp(maps[1:])], axis=0)
    np.testing.assert_allclose(picked.warp(maps), expected, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_graph_is_traced_once_and_equals_eager(kind):
    maps = np.random.default_rng(0).uniform(size=(3, *SIZE, 2)).astype(np.float32)
    points = maps[:, 0, :4]
    random_warp = WIDE[kind]

    def view(maps, seed):
        transform = random_warp.draw(seed, 3, SIZE)
        return transform.warp(maps), transform.valid_mask(SIZE), transform.warp_points(points)

    graph = tf.function(view)
    for seed in range(3):
        for result, expected in zip(graph(maps, tf.constant([seed, 1])), view(maps, (seed, 1))):
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, atol=1e-4)
    assert graph.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('in_graph', [False, True])
def test_gradient_of_a_warped_map_is_the_transpose_of_the_sampling(kind, in_graph):
    # Warping is linear in the maps: <warp(m), w> = <m, gradient> for any maps and weights.
    transform = WIDE[kind].draw(SEED, 2, SIZE)
    maps, others, weights = (tf.random.stateless_normal([2, *SIZE, 3], [seed, 0])
                             for seed in range(3))

    def gradient(maps, weights):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            total = tf.reduce_sum(weights * transform.warp(maps))
        return tape.gradient(total, maps)

    found = (tf.function(gradient) if in_graph else gradient)(maps, weights)
    np.testing.assert_allclose(tf.reduce_sum(found * others, axis=(1, 2)),
                               tf.reduce_sum(weights * transform.warp(others), axis=(1, 2)),
                               atol=2e-2)
    # What no pixel of the view shows has no gradient: scaled up, a view shows less.
    assert np.abs(found).max() > 0.1


def test_no_gradient_comes_from_pixels_whose_source_lies_outside():
    transform = WIDE['similarity'].draw(SEED, 2, SIZE)
    maps = tf.ones([2, *SIZE, 1])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(transform.warp(maps, fill=3.0)
                              * (1 - transform.valid_mask(SIZE)[..., None]))
    assert total > 0
    np.testing.assert_array_equal(tape.gradient(total, maps), 0)


# Errors and the import.


@pytest.mark.parametrize(
    'name, value',
    [
        ('kind', 'mirror'),
        ('max_rotation', 181.0),
        ('inverse_scale', (0.0, 1.0)),
        ('inverse_scale', (2.0, 1.0)),
        ('max_shift', -0.1),
        ('projective_jitter', 0.5),
        ('tps_jitter', 0.06),
        ('tps_points', 1),
    ],
)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(config_lib.ConfigError, match=f'`Warp.{name}`'):
        _random_warp(**{name: value})


def test_maps_of_one_pixel_height_are_refused():
    with pytest.raises(ValueError, match='`maps`.*2 pixels'):
        WIDE['similarity'].draw(SEED, 1, SIZE).warp(np.ones((1, 1, 5, 2)))


def test_import_of_warp_alone_says_nothing_of_end_of_life():
    result = subprocess.run(
        [sys.executable, '-W', 'always', '-c', 'from scops_tf.training import warp'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'Addons' not in result.stderr
