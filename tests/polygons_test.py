"""Laws of the outlines of masks and of run lengths."""
from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, spatial

from scops_tf.labels import label_studio, polygons, run_lengths


def _masks(count: int = 60):
    generator = np.random.default_rng(0)
    for _ in range(count):
        height, width = generator.integers(1, 14, 2)
        yield generator.random((height, width)) < generator.random()


def _iou(first, second) -> float:
    return (first & second).sum() / (first | second).sum()


def test_exact_polygons_hold_the_mask_piece_by_piece():
    for mask in _masks():
        filled = [polygons.fill([one], mask.shape) for one in polygons.polygons(mask)]
        assert len(filled) == ndimage.label(mask)[1]
        np.testing.assert_array_equal(np.sum(filled, axis=0, dtype=int)
                                      if filled else np.zeros(mask.shape), mask)
        if mask.any():
            np.testing.assert_array_equal(
                polygons.fill([polygons.one_polygon(mask)], mask.shape), mask)


def test_a_pixel_is_a_square_from_its_corner():
    mask = np.zeros((4, 7), bool)
    mask[2, 5] = True
    (outer, holes), = polygons.rings(mask)
    assert not holes
    assert sorted(map(tuple, outer.tolist())) == [(5, 2), (5, 3), (6, 2), (6, 3)]


def test_holes_are_rings_of_their_own_and_corners_that_touch_do_not_join():
    mask = np.ones((6, 9), bool)
    mask[2, 2] = mask[3, 5:7] = False
    (outer, holes), = polygons.rings(mask)
    assert len(outer) == 4 and len(holes) == 2
    mask = np.eye(2, dtype=bool)
    assert len(polygons.rings(mask)) == 2


def test_simplified_polygons_have_fewer_points_and_cover_the_mask():
    y, x = np.mgrid[:150, :210]
    mask = np.hypot((x - 90) / 80, (y - 70) / 50) < 1
    mask &= np.hypot(x - 110, y - 75) > 20
    exact, simple = polygons.polygons(mask), polygons.polygons(mask, 1.0)
    assert sum(map(len, simple)) < 0.3 * sum(map(len, exact))
    assert _iou(polygons.fill(simple, mask.shape), mask) >= polygons.LEAST_IOU
    for small in _masks():
        if small.any():
            found = polygons.fill([polygons.one_polygon(small, 2.0)], small.shape)
            assert _iou(found, small) >= polygons.LEAST_IOU


def test_joining_many_pieces_asks_for_few_distances(monkeypatch):
    mask = np.zeros((41, 67), bool)
    mask[::2, ::2] = True
    asked = []

    class Tree(spatial.cKDTree):
        def query(self, points):
            asked.append(len(points))
            return super().query(points)

    monkeypatch.setattr(polygons.spatial, 'cKDTree', Tree)
    np.testing.assert_array_equal(
        polygons.fill([polygons.one_polygon(mask)], mask.shape), mask)
    # Each piece asks once, for those of the 4 * 21 * 34 points that may be nearer to it.
    assert len(asked) == 21 * 34 - 1 and sum(asked) < 300 * len(asked)


def test_polygons_may_reach_beyond_the_photo():
    outline = np.array([(-5, -3), (4, -3), (4, 90), (-5, 90)])
    np.testing.assert_array_equal(
        polygons.fill([outline], (3, 8)), np.arange(8)[np.newaxis].repeat(3, 0) < 4)


def test_run_lengths_hold_the_mask():
    for mask in _masks():
        values = mask.ravel()
        lengths = run_lengths.encode(values)
        assert sum(lengths) == values.size and 0 not in lengths[1:]
        np.testing.assert_array_equal(run_lengths.decode(lengths, values.size), values)
        np.testing.assert_array_equal(
            label_studio.decode(label_studio.encode(mask), mask.shape), mask)
    assert run_lengths.encode(np.array([True, True, False])) == [0, 2, 1]


def test_long_runs_of_label_studio_are_split():
    mask = np.zeros((300, 411), bool)
    mask[100:, 5] = True
    np.testing.assert_array_equal(
        label_studio.decode(label_studio.encode(mask), mask.shape), mask)


@pytest.mark.parametrize('lengths', [[3, 4], [-1, 7], [[6]]])
def test_runs_of_another_size_are_named(lengths):
    with pytest.raises(ValueError, match='add up to 6'):
        run_lengths.decode(lengths, 6)


def test_compressed_run_lengths_are_those_of_pycocotools():
    mask_tools = pytest.importorskip('pycocotools.mask')
    for mask in [*_masks(), np.pad(np.ones((90, 70), bool), 300)]:
        text = mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))['counts'].decode()
        assert run_lengths.decode_text(text) == run_lengths.encode(mask.ravel(order='F'))


def test_compressed_run_lengths_without_pycocotools():
    # Of a mask of 20 x 30; pycocotools wrote the text.
    assert run_lengths.decode_text('[16>000^2:a3AH') == [
        43, 6, 14, 6, 14, 6, 92, 16, 205, 1, 197]
    with pytest.raises(ValueError, match='ends within a number'):
        run_lengths.decode_text('[')
