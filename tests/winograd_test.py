"""Winograd's algorithm gives the sums of a plain convolution."""
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from scops_tf.networks import winograd

RNG = np.random.default_rng(0)


def _values(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('dilation', [1, 2, 4])
@pytest.mark.parametrize('size', [(1, 3), (5, 9), (16, 32), (17, 31)])
def test_results_are_those_of_a_plain_convolution(size, dilation):
    maps, kernel = _values(2, *size, 24), _values(3, 3, 24, 7)
    expected = tf.nn.conv2d(maps.astype(np.float64), kernel.astype(np.float64), 1, 'SAME',
                            dilations=dilation).numpy()
    found = winograd.convolve(
        tf.constant(maps), tf.constant(winograd.transform_kernel(kernel)), dilation=dilation)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize('dilation, size', [(1, (5, 9)), (2, (16, 18)), (4, (17, 31))])
def test_a_trained_kernel_has_the_gradients_of_a_plain_convolution(dilation, size):
    maps, kernel, weights = _values(2, *size, 12), _values(3, 3, 12, 7), _values(2, *size, 7)

    def step(convolve, dtype):
        values = [tf.constant(value, dtype) for value in (maps, kernel)]
        with tf.GradientTape() as tape:
            tape.watch(values)
            results = convolve(*values)
            loss = tf.reduce_sum(results * tf.constant(weights, dtype))
        return results, *tape.gradient(loss, values)

    # In double precision the plain operation has no gradient with dilation on some devices.
    expected = step(lambda maps, kernel: tf.nn.convolution(
        maps, kernel, 1, 'SAME', dilations=dilation), tf.float64)
    found = step(lambda maps, kernel: winograd.convolution(
        maps, kernel, dilation=dilation), tf.float32)
    for value, other in zip(found, expected):
        assert value.shape == other.shape
        np.testing.assert_allclose(value, other, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize('size, dilation, expected', [
    ((32, 48), 4, 1), ((33, 48), 4, 48 / 33), ((40, 40), 4, 1.44), ((40, 40), 2, 1)])
def test_the_excess_is_what_tiles_have_beyond_the_map(size, dilation, expected):
    assert winograd.excess(size, dilation) == pytest.approx(expected)


def test_the_batch_may_be_of_any_length():
    kernel = tf.constant(winograd.transform_kernel(_values(3, 3, 4, 5)))

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 10, 4])])
    def convolve(maps):
        return winograd.convolve(maps, kernel, dilation=2)

    maps = _values(3, 6, 10, 4)
    np.testing.assert_allclose(convolve(maps)[1:2], convolve(maps[1:2]), atol=1e-5)


def test_other_kernels_are_refused():
    with pytest.raises(ValueError, match='`kernel` must be'):
        winograd.transform_kernel(_values(1, 1, 4, 4))


def test_maps_of_unknown_size_are_refused():
    kernel = tf.constant(winograd.transform_kernel(_values(3, 3, 4, 5)))
    convolve = tf.function(lambda maps: winograd.convolve(maps, kernel))
    with pytest.raises(ValueError, match='`maps` must have a height'):
        convolve.get_concrete_function(tf.TensorSpec([1, None, 8, 4]))
