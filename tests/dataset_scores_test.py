"""Laws of the protocols on synthetic annotations: perfect maps, known errors, frames."""
from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np
import pytest

from scops_tf import images as images_lib
from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import dataset_scores

MAP_SIZE = (32, 48)
# Of the photos, none of them of the maps' aspect.
SIZES = [(64, 64), (50, 120), (90, 30), (40, 70), (81, 55), (33, 97), (60, 61), (75, 140)]


def _squashed(points: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Pixels of a photo as those of the map."""
    return (points + 0.5) * np.array(MAP_SIZE)[::-1] / np.array(size)[::-1] - 0.5


def _split(records: List[Record]) -> dataset_scores.Split:
    return dataset_scores.Split(tuple(records), np.array(SIZES[:len(records)]))


def _maps(labels: np.ndarray, centers: Optional[np.ndarray] = None, num_parts: int = 4
          ) -> dataset_scores.PartMaps:
    if centers is None:
        centers = np.random.default_rng(9).uniform(0, 30, (len(labels), num_parts, 2))
    return dataset_scores.PartMaps(labels, np.maximum(labels, 1), centers,
                                   np.ones((len(labels), num_parts)))


def _true_labels(seed: int, size: Tuple[int, int]) -> np.ndarray:
    """Four parts in bands, shifted from photo to photo, on background."""
    labels = np.zeros(size, np.uint8)
    rows = np.linspace(0.2, 0.8, 5) + np.random.default_rng(seed).uniform(-0.1, 0.1)
    edges = np.rint(rows * size[0]).astype(int)
    for part, (start, stop) in enumerate(zip(edges, edges[1:]), start=1):
        labels[start:stop, size[1] // 4:size[1] // 2] = part
    return labels


# Masks of parts and objects.


@pytest.fixture
def masked(tmp_path):
    """A protocol on part masks and object masks, and the true labels at the maps' size."""
    records, truth = [], []
    for index, size in enumerate(SIZES[:3]):
        labels = _true_labels(index, size)
        parts, mask = str(tmp_path / f'{index}_parts.png'), str(tmp_path / f'{index}_mask.png')
        images_lib.write_png(parts, labels)
        images_lib.write_png(mask, np.where(labels > 0, 255, 0).astype(np.uint8))
        records.append(Record(f'{index}', 'unused', part_mask_path=parts, mask_path=mask))
        truth.append(images_lib.resize_labels(labels, MAP_SIZE))

    def build(protocol: str = 'synthetic') -> dataset_scores.Protocol:
        dataset = PartDataset('drawn', (), (), tuple(records), protocol=protocol,
                              part_names=('head', 'body', 'legs', 'tail'))
        return dataset_scores.Protocol(dataset, _split([]), _split(records), MAP_SIZE)

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


def test_pascal_has_no_part_iou(masked):
    build, truth = masked
    scores = build('pascal').scores(4, None, _maps(truth))
    assert not any('mIoU' in name or name.startswith('IoU') for name in scores.values)
    np.testing.assert_allclose(scores.values['foreground IoU'], 100)


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    record = Record('photo', 'unused', mask_path=str(tmp_path / 'gone.png'))
    with pytest.raises(images_lib.ImageError, match='gone.png'):
        dataset_scores.Protocol(PartDataset('d', (), (), (record,)), _split([]), _split([record]),
                                MAP_SIZE)


def test_a_folder_without_annotations_is_told_its_foreground_alone():
    record = Record('photo', 'unused')
    protocol = dataset_scores.Protocol(PartDataset('folder', (), (), (record,)), _split([]),
                                       _split([record]), MAP_SIZE)
    assert protocol.scores(4, None, _maps(np.zeros((1, *MAP_SIZE), np.uint8))).values == {
        'foreground': 0}
    assert protocol.trivial(None, _maps(np.zeros((1, *MAP_SIZE), np.uint8))) == {}


def test_nothing_to_test_on_is_an_error():
    with pytest.raises(ValueError, match='`test` must hold at least one photo'):
        dataset_scores.Protocol(PartDataset('folder', (), (), ()), _split([]), _split([]), MAP_SIZE)


# Landmarks.


def _landmarked(protocol: str, *, boxes: bool = True, seed: int = 0):
    """A protocol on five landmarks, and part maps whose centres are the first three of them."""
    generator = np.random.default_rng(seed)
    records, centers = [], []
    for index, size in enumerate(SIZES):
        box = np.array([0.1 * size[1], 0.2 * size[0], 0.7 * size[1], 0.6 * size[0]], np.float32)
        shares = np.array([(0.2, 0.2), (0.8, 0.2), (0.5, 0.8), (0, 0), (0, 0)])
        shares += generator.uniform(-0.1, 0.1, (5, 2))
        # The others are linear in the first three, in the frame of the box or of the map alike.
        shares[3], shares[4] = (shares[0] + shares[1]) / 2, 2 * shares[2] / 3 + shares[0] / 3
        frame = box if protocol == 'cub' else np.array([0, 0, size[1], size[0]])
        points = frame[:2] + shares * frame[2:]
        if protocol != 'cub':
            points -= 0.5
        records.append(Record(
            f'{index}.jpg', 'unused', class_id=1 + index % 2, box=box if boxes else None,
            landmarks=points.astype(np.float32), visible=np.ones(5, bool)))
        centers.append(_squashed(points[:3], size))
    dataset = PartDataset('set', tuple(records), tuple(records), tuple(records), protocol=protocol,
                          landmark_names=('a', 'b', 'c', 'd', 'e'))
    # Each landmark in a part of its own; the last two among them.
    labels = np.zeros((len(SIZES), *MAP_SIZE), np.uint8)
    for map_, record, size in zip(labels, records, SIZES):
        for number, (x, y) in enumerate(np.rint(_squashed(record.landmarks, size)).astype(int)):
            map_[y - 1:y + 2, x - 1:x + 2] = number + 1
    maps = _maps(labels, np.array(centers))._replace(
        best_parts=np.maximum(labels, 1), presence=np.ones((len(SIZES), 3)))
    return dataset_scores.Protocol(dataset, _split(records), _split(records), MAP_SIZE), maps


@pytest.mark.parametrize('protocol', ['cub', 'celeba'])
def test_landmarks_that_are_linear_in_the_centres_have_no_error(protocol):
    built, maps = _landmarked(protocol)
    scores = built.scores(5, maps, maps)
    names = ['landmark error', 'landmark error 001', 'landmark error 002']
    assert [scores.values[name] < 1e-3 for name in names] == [True] * 3
    assert scores.directions['landmark error'] == 'lower'
    assert scores.intervals['landmark error'][1] < 1e-3


def test_key_points_with_a_part_each_have_full_nmi_and_ari():
    built, maps = _landmarked('cub')
    scores = built.scores(5, maps, maps).values
    for name in ('NMI', 'ARI', 'FG-NMI', 'FG-ARI', 'key points on parts', 'best-part NMI',
                 'best-part ARI'):
        np.testing.assert_allclose(scores[name], 100, err_msg=name)


def test_an_error_of_birds_is_measured_in_the_frame_of_the_box():
    built, maps = _landmarked('cub')
    # The landmarks of the test photos lie a tenth of the box beside where they are predicted.
    shift = np.array([0.1 * record.box[2:] for record in built.test.records])
    per_map = shift * np.array(MAP_SIZE)[::-1] / np.array(SIZES)[:, ::-1]
    moved = maps._replace(centers=maps.centers + per_map[:, np.newaxis])
    scores = built.scores(5, maps, moved)
    np.testing.assert_allclose(scores.values['landmark error'], 10 * np.sqrt(2), rtol=1e-3)


def test_an_error_of_faces_is_measured_between_the_eyes_of_the_squashed_photo():
    built, maps = _landmarked('celeba', boxes=False)
    shift = np.array([3.0, 4.0])
    moved = maps._replace(centers=maps.centers + shift)
    between_eyes = np.linalg.norm(maps.centers[:, 0] - maps.centers[:, 1], axis=1)
    scores = built.scores(5, maps, moved)
    np.testing.assert_allclose(
        scores.values['landmark error'], np.mean(100 * 5 / between_eyes), rtol=1e-3)


@pytest.mark.parametrize('protocol', ['cub', 'celeba'])
def test_centers_over_the_whole_photo_are_scored_as_any_others(protocol):
    built, maps = _landmarked(protocol)
    whole = maps.centers + np.random.default_rng(2).normal(0, 3, maps.centers.shape)
    both = maps._replace(whole_centers=whole)
    alone = built.scores(5, *[maps._replace(centers=whole)] * 2).values
    errors = built.whole_photo(both, both)
    assert errors == {name: alone[name] for name in alone if name.startswith('landmark error')}
    assert errors['landmark error'] > 0.1
    assert built.whole_photo(maps, maps) == {}


@pytest.mark.parametrize('protocol', ['cub', 'celeba'])
def test_trivial_baselines_stand_beside_the_landmark_error(protocol):
    built, maps = _landmarked(protocol)
    rows = built.trivial(maps, maps, seed=1)
    assert {'constant mean landmark', 'image mid-point', 'random centres',
            'centroid of the true key points'} <= set(rows)
    for name, values in rows.items():
        assert values['landmark error'] > 1, name
    assert rows == built.trivial(maps, maps, seed=1)
    assert rows != built.trivial(maps, maps, seed=2)


def test_without_boxes_birds_have_no_landmark_error():
    built, maps = _landmarked('cub', boxes=False)
    assert set(built.scores(5, maps, maps).values) == {'foreground'}
    assert built.trivial(maps, maps) == {}


def test_parts_inside_the_boxes_do_not_leak():
    built, maps = _landmarked('cub')
    labels = np.zeros_like(maps.labels)
    for map_, record, size in zip(labels, built.test.records, SIZES):
        x, y, width, height = record.box
        (left, top), (right, bottom) = _squashed(
            np.array([[x, y], [x + width, y + height]]), size)
        map_[int(np.ceil(top)):int(bottom), int(np.ceil(left)):int(right)] = 1
    inside = built.scores(5, maps, maps._replace(labels=labels)).values['leakage']
    assert inside == 0
    outside = built.scores(5, maps, maps._replace(labels=(labels == 0).astype(np.uint8)))
    assert outside.values['leakage'] > 80


def test_counts_and_the_hash_of_the_image_list_say_what_was_scored():
    built, _ = _landmarked('cub')
    assert built.counts == {'photos to train': 8, 'photos to fit': 8, 'photos to test': 8}
    assert built.name == 'cub' and len(built.image_list_hash) == 64
    other = dataset_scores.Protocol(built.dataset, built.fit, dataset_scores.Split(
        built.test.records[1:], built.test.sizes[1:]), MAP_SIZE)
    assert other.image_list_hash != built.image_list_hash


def test_clusters_of_positions_are_the_same_for_all_photos():
    fit, test = dataset_scores.position_maps(4, (2, 3), MAP_SIZE, seed=5)
    assert fit.labels.shape == (2, *MAP_SIZE) and test.labels.shape == (3, *MAP_SIZE)
    assert (test.labels == fit.labels[0]).all() and (test.best_parts == test.labels).all()
    areas = np.bincount(fit.labels[0].ravel(), minlength=5)
    assert areas[0] == 0 and areas[1:].min() > 0.1 * np.prod(MAP_SIZE)
    for part in range(4):
        places = np.argwhere(fit.labels[0] == part + 1).mean(axis=0)[::-1]
        np.testing.assert_allclose(fit.centers[1, part], places, atol=1)
    again, _ = dataset_scores.position_maps(4, (2, 3), MAP_SIZE, seed=5)
    np.testing.assert_array_equal(again.labels, fit.labels)
