"""Laws of the frame, part centres, spatial variance and up-sampling."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import geometry

SIZE = (5, 8)


def _responses(shape=(2, *SIZE, 3), seed=0):
    return np.random.default_rng([seed, 7]).uniform(size=shape)


def test_grid_runs_from_first_to_last_pixel_center_with_x_first():
    grid = geometry.coordinate_grid(SIZE).numpy()
    assert grid.shape == (5, 8, 2)
    np.testing.assert_allclose(grid[0, 0], [-1, -1])
    np.testing.assert_allclose(grid[4, 7], [1, 1])
    np.testing.assert_allclose(grid[0, 1], [-1 + 2 / 7, -1], rtol=1e-6)
    np.testing.assert_allclose(grid[1, 0], [-1, -1 + 2 / 4], rtol=1e-6)


def test_single_pixel_of_an_axis_is_its_center():
    np.testing.assert_array_equal(
        geometry.coordinate_grid((1, 3)).numpy()[0], [[-1, 0], [0, 0], [1, 0]]
    )


def test_center_and_variance_are_the_moments_of_the_normalized_map():
    responses, epsilon = _responses(), 0.1
    grid = geometry.coordinate_grid(SIZE).numpy().astype(np.float64)
    weights = (responses + epsilon) / (responses + epsilon).sum((1, 2), keepdims=True)
    centers = np.einsum('bhwk,hwd->bkd', weights, grid)
    distances = np.square(grid[None, :, :, None] - centers[:, None, None]).sum(-1)
    variance = (weights * distances).sum((1, 2))
    np.testing.assert_allclose(
        geometry.part_centers(responses, epsilon=epsilon), centers, rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(
        geometry.spatial_variance(responses, epsilon=epsilon), variance, rtol=1e-6
    )


def test_center_of_one_pixel_is_that_pixel_and_its_variance_is_zero():
    responses = np.zeros((1, *SIZE, 1), np.float32)
    responses[0, 3, 6, 0] = 0.25
    center = geometry.part_centers(responses)
    np.testing.assert_allclose(geometry.frame_to_pixels(center, SIZE)[0, 0], [6, 3], atol=1e-5)
    np.testing.assert_allclose(geometry.spatial_variance(responses), 0, atol=1e-12)


def test_center_of_uniform_map_is_the_middle():
    np.testing.assert_allclose(geometry.part_centers(np.full((1, *SIZE, 2), 0.3)), 0, atol=1e-12)


def test_mirrored_map_has_its_center_mirrored():
    responses = _responses()
    centers = geometry.part_centers(responses).numpy()
    np.testing.assert_allclose(
        geometry.part_centers(responses[:, :, ::-1]), centers * [-1, 1], atol=1e-12
    )
    np.testing.assert_allclose(
        geometry.part_centers(responses[:, ::-1]), centers * [1, -1], atol=1e-12
    )


@pytest.mark.parametrize('measure', [geometry.part_centers, geometry.spatial_variance])
def test_map_of_zeros_has_finite_value_and_gradient(measure):
    responses = tf.zeros((1, *SIZE, 2))
    with tf.GradientTape() as tape:
        tape.watch(responses)
        value = measure(responses)
    np.testing.assert_array_equal(value, np.zeros(value.shape))
    assert np.isfinite(tape.gradient(value, responses)).all()


def test_small_precision_is_summed_in_float32():
    # In bfloat16 the sum over 1000 pixels would stop growing at 256.
    responses = tf.cast(np.ones((1, 20, 50, 1)), tf.bfloat16)
    centers = geometry.part_centers(responses)
    assert centers.dtype == tf.float32
    np.testing.assert_allclose(centers, 0, atol=1e-6)


@pytest.mark.parametrize('convert', [np.asarray, tf.constant])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_points_of_the_frame_are_pixels_from_the_first_to_the_last(convert, dtype):
    points = convert(np.array([[-1, -1], [1, 1], [0.25, -0.5]], dtype))
    pixels = geometry.frame_to_pixels(points, SIZE)
    np.testing.assert_allclose(pixels, [[0, 0], [7, 4], [4.375, 1]], rtol=1e-6)
    assert pixels.dtype == points.dtype


def test_every_point_is_the_pixel_of_a_map_of_one():
    assert geometry.frame_to_pixels(np.zeros(2), (1, 1)).tolist() == [0, 0]


def test_border_is_inside_and_beyond_it_is_not():
    inside = geometry.is_inside(tf.constant([[1.0, -1.0], [1.0, 0.0], [1.001, 0.0], [0.0, -1.001]]))
    assert inside.numpy().tolist() == [True, True, False, False]


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_upsampled_grid_is_the_grid_of_the_larger_size(dtype):
    grid = geometry.coordinate_grid((3, 5)).numpy().astype(dtype)[None]
    upsampled = geometry.upsample(grid, (7, 16))
    assert upsampled.dtype == dtype
    np.testing.assert_allclose(upsampled[0], geometry.coordinate_grid((7, 16)), atol=1e-6)


@pytest.mark.parametrize(
    'small, large', [((3, 5), (7, 16)), ((1, 4), (6, 4)), ((6, 8), (3, 4)), ((4, 3), (1, 5))]
)
def test_upsampling_is_the_same_in_both_precisions(small, large):
    maps = _responses((2, *small, 3))
    np.testing.assert_allclose(geometry.upsample(maps.astype(np.float32), large),
                               geometry.upsample(maps, large), atol=2e-6)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match='`part_responses`'):
        geometry.part_centers(np.zeros((5, 8, 3)))
    with pytest.raises(ValueError, match='`epsilon`.*-1'):
        geometry.spatial_variance(_responses(), epsilon=-1.0)

    @tf.function(input_signature=[tf.TensorSpec([1, None, 8, 2])])
    def centers_of_unknown_height(responses):
        return geometry.part_centers(responses)

    with pytest.raises(ValueError, match='`part_responses` must have a height'):
        centers_of_unknown_height(np.zeros((1, 5, 8, 2)))


@pytest.mark.parametrize('size', [(16, 41), (50, 130), (7, 130), (60, 20)])
def test_downsampling_is_antialiased_resizing(size):
    maps = np.random.default_rng(0).uniform(size=(2, 50, 130, 3)).astype(np.float32)
    np.testing.assert_allclose(
        geometry.downsample(maps, size), tf.image.resize(maps, size, antialias=True), atol=1e-5)
    traced = tf.function(lambda given: geometry.downsample(given, size), autograph=False)
    np.testing.assert_array_equal(traced(maps), geometry.downsample(maps, size))
    # TensorFlow warns of saved gradients when it loads an export.
    graph = traced.get_concrete_function(maps).graph
    assert not any('_gradient_op_type' in node.attr for node in graph.as_graph_def().node)
