"""Laws of the scores on masks of objects and of true parts, and of what is scored at all."""
from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np
import pytest

from scops_tf import images as images_lib
from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import dataset_scores, part_maps

MAP_SIZE = (32, 48)
# Of the photos, none of them of the maps' aspect.
SIZES = [(64, 64), (50, 120), (90, 30)]


def _split(records: List[Record]) -> part_maps.PhotoSplit:
    return part_maps.PhotoSplit(tuple(records), np.array(SIZES[:len(records)]))


def _maps(labels: np.ndarray, centers: Optional[np.ndarray] = None, num_parts: int = 4
          ) -> part_maps.PartMaps:
    if centers is None:
        centers = np.random.default_rng(9).uniform(0, 30, (len(labels), num_parts, 2))
    return part_maps.PartMaps(labels, np.maximum(labels, 1), centers,
                                   np.ones((len(labels), num_parts)))


def _true_labels(seed: int, size: Tuple[int, int]) -> np.ndarray:
    """Four parts in bands, shifted from photo to photo, on background."""
    labels = np.zeros(size, np.uint8)
    rows = np.linspace(0.2, 0.8, 5) + np.random.default_rng(seed).uniform(-0.1, 0.1)
    edges = np.rint(rows * size[0]).astype(int)
    for part, (start, stop) in enumerate(zip(edges, edges[1:]), start=1):
        labels[start:stop, size[1] // 4:size[1] // 2] = part
    return labels


@pytest.fixture
def masked(tmp_path):
    """A scorer on part masks and object masks, and the true labels at the maps' size."""
    records, truth = [], []
    for index, size in enumerate(SIZES[:3]):
        labels = _true_labels(index, size)
        parts, mask = str(tmp_path / f'{index}_parts.png'), str(tmp_path / f'{index}_mask.png')
        images_lib.write_png(parts, labels)
        images_lib.write_png(mask, np.where(labels > 0, 255, 0).astype(np.uint8))
        records.append(Record(f'{index}', 'unused', part_mask_path=parts, mask_path=mask))
        truth.append(images_lib.resize_labels(labels, MAP_SIZE))

    def build(kind: str = 'part_masks') -> dataset_scores.Scorer:
        dataset = PartDataset('drawn', (), (), tuple(records), annotation_kind=kind,
                              part_names=('head', 'body', 'legs', 'tail'))
        return dataset_scores.Scorer(dataset, _split([]), _split(records), MAP_SIZE)

    return build, np.stack(truth)


@pytest.mark.parametrize('order', [(0, 1, 2, 3, 4), (0, 3, 1, 4, 2)])
def test_perfect_part_maps_have_full_scores_in_any_order_of_the_parts(masked, order):
    build, truth = masked
    scores = build().scores(4, None, _maps(np.array(order, np.uint8)[truth]))
    for name in ('part mIoU', 'IoU head', 'IoU body', 'IoU legs', 'IoU tail', 'pixel NMI',
                 'pixel ARI', 'pixel FG-NMI', 'pixel FG-ARI', 'foreground IoU',
                 'foreground IoU, pooled'):
        np.testing.assert_allclose(scores.values[name], 100, err_msg=name)
        assert scores.directions[name] == 'higher'
    assert scores.values['leakage'] == 0 and scores.directions['leakage'] == 'lower'
    np.testing.assert_allclose(scores.values['foreground'], 100 * np.mean(truth > 0))
    assert not any('landmark' in name for name in scores.values)


def test_a_part_merged_with_another_loses_its_iou(masked):
    build, truth = masked
    scores = build().scores(4, None, _maps(np.where(truth == 4, 3, truth).astype(np.uint8)))
    np.testing.assert_allclose(scores.values['foreground IoU'], 100)
    np.testing.assert_allclose(scores.values['IoU head'], 100)
    first, second = sorted([scores.values['IoU legs'], scores.values['IoU tail']])
    assert first == 0 and 40 < second < 60
    np.testing.assert_allclose(scores.values['part mIoU'], (200 + second) / 4)


def test_parts_everywhere_leak_by_the_share_of_the_background(masked):
    build, truth = masked
    scores = build().scores(4, None, _maps(np.full_like(truth, 2)))
    np.testing.assert_allclose(scores.values['leakage'], 100 * np.mean(truth == 0))
    np.testing.assert_allclose(scores.values['foreground'], 100)


def test_parts_within_each_other_have_no_part_iou(masked):
    build, truth = masked
    scores = build('nested_part_masks').scores(4, None, _maps(truth))
    assert not any('mIoU' in name or name.startswith('IoU') for name in scores.values)
    np.testing.assert_allclose(scores.values['foreground IoU'], 100)


def test_masks_that_are_stretched_over_their_photos_are_a_note(tmp_path):
    records = []
    for index, size in enumerate((SIZES[0], (120, 50), (30, 30))):
        path = str(tmp_path / f'{index}.png')
        images_lib.write_png(path, np.full(size, 255, np.uint8))
        records.append(Record(f'photo {index}', 'unused', mask_path=path))
    dataset = PartDataset('folder', (), (), tuple(records))
    maps = _maps(np.zeros((3, *MAP_SIZE), np.uint8))
    found = dataset_scores.Scorer(dataset, _split([]), _split(records), MAP_SIZE)
    assert found.scores(4, None, maps).notes == (
        '2 of 3 masks of objects have another size than their photo and are stretched over it: '
        'that of photo 1 is 120 x 50 and the photo 50 x 120 (height x width); of 1 of them height '
        'and width are exchanged, so that they lie on their side.',)
    right = dataset_scores.Scorer(dataset, _split([]), _split(records[:1]), MAP_SIZE)
    assert not right.scores(4, None, _maps(np.zeros((1, *MAP_SIZE), np.uint8))).notes


def test_a_box_on_the_maps_covers_the_pixels_that_it_covers_of_the_photo():
    # Twice as large on the map, so each pixel of the photo is two of the map.
    size, box = (16, 24), np.array([3.0, 5.0, 7.0, 4.0])
    record = Record('a', 'unused', box=box)
    split = part_maps.PhotoSplit((record,), np.array([size]))
    scorer = dataset_scores.Scorer(
        PartDataset('d', (), (), (record,)), _split([]), split, MAP_SIZE)
    inside = np.zeros(size, np.uint8)
    inside[5:9, 3:10] = 1
    labels = images_lib.resize_labels(inside, MAP_SIZE)[np.newaxis]
    np.testing.assert_array_equal(scorer.boxes_on_maps(), [2 * box])
    assert scorer.scores(1, None, _maps(labels)).values['leakage'] == 0
    # All of the box, and one row of 14 pixels beside it.
    labels[0, 9, 6:20] = 1
    assert scorer.scores(1, None, _maps(labels)).values['leakage'] == pytest.approx(
        100 * 14 / (14 * 8 + 14))


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    record = Record('photo', 'unused', mask_path=str(tmp_path / 'gone.png'))
    with pytest.raises(images_lib.ImageError, match='gone.png'):
        dataset_scores.Scorer(
            PartDataset('d', (), (), (record,)), _split([]), _split([record]), MAP_SIZE)


def test_a_folder_without_annotations_is_told_its_foreground_alone():
    record = Record('photo', 'unused')
    scorer = dataset_scores.Scorer(
        PartDataset('folder', (), (), (record,)), _split([]), _split([record]), MAP_SIZE)
    assert scorer.scores(4, None, _maps(np.zeros((1, *MAP_SIZE), np.uint8))).values == {
        'foreground': 0}
    assert scorer.trivial(None, _maps(np.zeros((1, *MAP_SIZE), np.uint8))) == {}
    assert scorer.protocol is None


def test_nothing_to_test_on_is_an_error():
    with pytest.raises(ValueError, match='`test` must hold at least one photo'):
        dataset_scores.Scorer(PartDataset('folder', (), (), ()), _split([]), _split([]), MAP_SIZE)


def test_pascal_is_scored_by_foreground_alone_pooled_and_mean(tmp_path):
    records = []
    for index, width in enumerate((8, 16)):
        paths = [tmp_path / f'{kind}{index}.png' for kind in ('mask', 'parts')]
        mask = np.zeros(MAP_SIZE, np.uint8)
        mask[:24, :width] = 255
        images_lib.write_png(str(paths[0]), mask)
        images_lib.write_png(str(paths[1]), mask // 255)
        records.append(Record(name=f'{index}', path='unused', mask_path=str(paths[0]),
                              part_mask_path=str(paths[1]), box=np.array([0, 0, width, 24.0])))
    dataset = PartDataset(name='pascal', annotation_kind='nested_part_masks',
                          train=tuple(records), fit=(), test=tuple(records),
                          part_names=('body', 'tail'))
    labels = np.zeros((2, *MAP_SIZE), np.uint8)
    labels[0, :24, :8] = 1
    labels[1, :24, :8] = 2
    scored = dataset_scores.Scorer(dataset, _split([]), _split(records), MAP_SIZE)
    values = scored.scores(2, None, _maps(labels, num_parts=2)).values
    assert values['foreground IoU'] == pytest.approx(75)
    assert values['foreground IoU, pooled'] == pytest.approx(100 * 2 / 3)
    assert values['leakage'] == 0 and not any('mIoU' in name for name in values)
    assert scored.counts == {'photos to train': 2, 'photos to fit': 0, 'photos to test': 2}
