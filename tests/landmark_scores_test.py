"""Laws of landmark errors on the photos of a dataset: frames, eyes, boxes, trivial baselines."""
from __future__ import annotations

import dataclasses
import pathlib
from typing import List, Optional, Tuple

import numpy as np
from PIL import Image
import pytest

from scops_tf import datasets
from scops_tf.datasets import aflw, celeba
from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import dataset_scores, landmark_regression, landmark_scores, part_maps

MAP_SIZE = (32, 48)
# Of the photos, none of them of the maps' aspect.
SIZES = [(64, 64), (50, 120), (90, 30), (40, 70), (81, 55), (33, 97), (60, 61), (75, 140)]


def _squashed(points: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Pixels of a photo as those of the map."""
    return (points + 0.5) * np.array(MAP_SIZE)[::-1] / np.array(size)[::-1] - 0.5


def _split(records: List[Record]) -> part_maps.PhotoSplit:
    return part_maps.PhotoSplit(tuple(records), np.array(SIZES[:len(records)]))


def _maps(labels: np.ndarray, centers: Optional[np.ndarray] = None, num_parts: int = 4
          ) -> part_maps.PartMaps:
    if centers is None:
        centers = np.random.default_rng(9).uniform(0, 30, (len(labels), num_parts, 2))
    return part_maps.PartMaps(labels, np.maximum(labels, 1), centers,
                                   np.ones((len(labels), num_parts)))


def _landmarked(kind: str, *, boxes: bool = True, seed: int = 0):
    """A scorer on five landmarks, and part maps whose centres are the first three of them."""
    generator = np.random.default_rng(seed)
    records, centers = [], []
    for index, size in enumerate(SIZES):
        box = np.array([0.1 * size[1], 0.2 * size[0], 0.7 * size[1], 0.6 * size[0]], np.float32)
        shares = np.array([(0.2, 0.2), (0.8, 0.2), (0.5, 0.8), (0, 0), (0, 0)])
        shares += generator.uniform(-0.1, 0.1, (5, 2))
        # The others are linear in the first three, in the frame of the box or of the map alike.
        shares[3], shares[4] = (shares[0] + shares[1]) / 2, 2 * shares[2] / 3 + shares[0] / 3
        frame = box if kind == 'boxed_landmarks' else np.array([0, 0, size[1], size[0]])
        points = frame[:2] + shares * frame[2:]
        if kind != 'boxed_landmarks':
            points -= 0.5
        records.append(Record(
            f'{index}.jpg', 'unused', class_id=1 + index % 2, box=box if boxes else None,
            landmarks=points.astype(np.float32), visible=np.ones(5, bool)))
        centers.append(_squashed(points[:3], size))
    dataset = PartDataset('set', tuple(records), tuple(records), tuple(records),
                          annotation_kind=kind, eyes=(0, 1) if kind == 'faces' else None,
                          landmark_names=('a', 'b', 'c', 'd', 'e'))
    # Each landmark in a part of its own; the last two among them.
    labels = np.zeros((len(SIZES), *MAP_SIZE), np.uint8)
    for map_, record, size in zip(labels, records, SIZES):
        for number, (x, y) in enumerate(np.rint(_squashed(record.landmarks, size)).astype(int)):
            map_[y - 1:y + 2, x - 1:x + 2] = number + 1
    maps = _maps(labels, np.array(centers))._replace(
        best_parts=np.maximum(labels, 1), presence=np.ones((len(SIZES), 3)))
    return dataset_scores.Scorer(dataset, _split(records), _split(records), MAP_SIZE), maps


@pytest.mark.parametrize('kind', ['boxed_landmarks', 'faces'])
def test_landmarks_that_are_linear_in_the_centres_have_no_error(kind):
    built, maps = _landmarked(kind)
    scores = built.scores(5, maps, maps)
    names = ['landmark error', 'landmark error 001', 'landmark error 002']
    assert [scores.values[name] < 1e-3 for name in names] == [True] * 3
    assert scores.directions['landmark error'] == 'lower'
    assert scores.intervals['landmark error'][1] < 1e-3


def test_key_points_with_a_part_each_have_full_nmi_and_ari():
    built, maps = _landmarked('boxed_landmarks')
    scores = built.scores(5, maps, maps).values
    for name in ('NMI', 'ARI', 'FG-NMI', 'FG-ARI', 'key points on parts', 'best-part NMI',
                 'best-part ARI'):
        np.testing.assert_allclose(scores[name], 100, err_msg=name)


def _moved(built, moved):
    """The scorer with key points, by photo and number, far outside of their photos."""
    records = []
    for index, record in enumerate(built.test.records):
        points = record.landmarks.copy()
        points[[number for photo, number in moved if photo == index]] += 1000
        records.append(dataclasses.replace(record, landmarks=points))
    return dataset_scores.Scorer(
        built.dataset, _split(records), _split(records), MAP_SIZE)


def test_key_points_outside_of_their_photos_are_left_out_and_counted():
    built, maps = _landmarked('boxed_landmarks')
    scores = _moved(built, [(2, 0), (2, 3), (5, 1)]).scores(5, maps, maps)
    for name in ('NMI', 'ARI', 'key points on parts', 'best-part NMI'):
        np.testing.assert_allclose(scores.values[name], 100, err_msg=name)
    assert any(note.startswith('3 visible key points of the test photos lie more than a pixel')
               for note in scores.notes)
    assert not any('outside' in note for note in built.scores(5, maps, maps).notes)


def test_an_annotation_most_of_which_is_outside_of_the_photos_is_refused():
    built, _ = _landmarked('boxed_landmarks')
    with pytest.raises(ValueError, match='must lie in their photos, but 48 of 80 visible ones of '
                                         'set lie outside: the annotation is of photos of another'):
        _moved(built, [(index, number) for index in range(8) for number in range(3)])


def test_an_error_of_birds_is_measured_in_the_frame_of_the_box():
    built, maps = _landmarked('boxed_landmarks')
    # The landmarks of the test photos lie a tenth of the box beside where they are predicted.
    shift = np.array([0.1 * record.box[2:] for record in built.test.records])
    per_map = shift * np.array(MAP_SIZE)[::-1] / np.array(SIZES)[:, ::-1]
    moved = maps._replace(centers=maps.centers + per_map[:, np.newaxis])
    scores = built.scores(5, maps, moved)
    np.testing.assert_allclose(scores.values['landmark error'], 10 * np.sqrt(2), rtol=1e-3)


def test_an_error_of_faces_is_measured_between_the_eyes_of_the_squashed_photo():
    built, maps = _landmarked('faces', boxes=False)
    shift = np.array([3.0, 4.0])
    moved = maps._replace(centers=maps.centers + shift)
    between_eyes = np.linalg.norm(maps.centers[:, 0] - maps.centers[:, 1], axis=1)
    scores = built.scores(5, maps, moved)
    np.testing.assert_allclose(
        scores.values['landmark error'], np.mean(100 * 5 / between_eyes), rtol=1e-3)


@pytest.mark.parametrize('kind', ['boxed_landmarks', 'faces'])
def test_centers_over_the_whole_photo_are_scored_as_any_others(kind):
    built, maps = _landmarked(kind)
    whole = maps.centers + np.random.default_rng(2).normal(0, 3, maps.centers.shape)
    both = maps._replace(whole_centers=whole)
    alone = built.scores(5, *[maps._replace(centers=whole)] * 2).values
    errors = built.whole_photo(both, both)
    assert errors == {name: alone[name] for name in alone if name.startswith('landmark error')}
    assert errors['landmark error'] > 0.1
    assert built.whole_photo(maps, maps) == {}


@pytest.mark.parametrize('kind', ['boxed_landmarks', 'faces'])
def test_trivial_baselines_stand_beside_the_landmark_error(kind):
    built, maps = _landmarked(kind)
    rows = built.trivial(maps, maps, seed=1)
    assert {'constant mean landmark', 'image mid-point', 'random centres',
            'centroid of the true key points'} <= set(rows)
    for name, values in rows.items():
        assert values['landmark error'] > 1, name
    assert rows == built.trivial(maps, maps, seed=1)
    assert rows != built.trivial(maps, maps, seed=2)


def test_without_boxes_birds_have_no_landmark_error_and_a_note_says_so():
    built, maps = _landmarked('boxed_landmarks', boxes=False)
    scores = built.scores(5, maps, maps)
    assert set(scores.values) == {'foreground'}
    assert any('no landmark error' in note for note in scores.notes)
    assert built.trivial(maps, maps) == {}


def test_parts_inside_the_boxes_do_not_leak():
    built, maps = _landmarked('boxed_landmarks')
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
    built, _ = _landmarked('boxed_landmarks')
    assert built.counts == {'photos to train': 8, 'photos to fit': 8, 'photos to test': 8}
    assert built.protocol == 'cub' and len(built.image_list_hash) == 64
    other = dataset_scores.Scorer(built.dataset, built.fit, part_maps.PhotoSplit(
        built.test.records[1:], built.test.sizes[1:]), MAP_SIZE)
    assert other.image_list_hash != built.image_list_hash


# Faces of several datasets.


def _face_dataset(root: pathlib.Path, names, eyes, *, hidden: bool) -> PartDataset:
    """Photos of many shapes, with landmarks anywhere in them."""
    draw = np.random.default_rng([3, len(names)])
    records = []
    for index in range(70):
        size = (30 + index, 90 - index // 2)
        path = root / f'{index}.png'
        Image.new('RGB', size[::-1]).save(path)
        visible = np.ones(len(names), bool)
        if hidden:
            visible[index % 7] = False
        landmarks = draw.uniform(0, np.array(size[::-1]), (len(names), 2)).astype(np.float32)
        records.append(Record(name=path.name, path=str(path), visible=visible,
                              landmarks=np.where(visible[:, None], landmarks, 0)))
    return PartDataset(name='faces', annotation_kind='faces', eyes=eyes, train=tuple(records[:60]),
                       fit=tuple(records[:60]), test=tuple(records[60:]), landmark_names=names)


def _scorer(dataset: PartDataset) -> dataset_scores.Scorer:
    splits = [part_maps.PhotoSplit(records, np.array(
        [Image.open(record.path).size[::-1] for record in records], np.float64))
        for records in (dataset.fit, dataset.test)]
    return dataset_scores.Scorer(dataset, *splits, MAP_SIZE)


def _squashed_landmarks(split: part_maps.PhotoSplit) -> np.ndarray:
    return np.stack([_squashed(record.landmarks.astype(np.float64), size)
                     for record, size in zip(split.records, split.sizes)])


def _background(centers: np.ndarray) -> part_maps.PartMaps:
    return _maps(np.zeros((len(centers), *MAP_SIZE), np.uint8), centers,
                 num_parts=centers.shape[1])


@pytest.mark.parametrize('names, eyes, hidden', [
    (celeba.LANDMARK_NAMES, celeba.EYES, False), (aflw.LANDMARK_NAMES, aflw.EYES, True)])
def test_centres_that_are_the_landmarks_in_the_squashed_frame_have_no_error(
        tmp_path, names, eyes, hidden):
    scored = _scorer(_face_dataset(tmp_path, names, eyes, hidden=hidden))
    fit, test = (_squashed_landmarks(part) for part in (scored.fit, scored.test))
    num_parts = len(names)
    exact = scored.scores(num_parts, _background(fit), _background(test))
    assert exact.values['landmark error'] < 1e-3
    moved = test.copy()
    moved[:, 2, 0] += 5
    worse = scored.scores(num_parts, _background(fit), _background(moved))
    assert worse.values['landmark error'] > 1


@pytest.mark.parametrize('names, eyes', [
    (aflw.LANDMARK_NAMES, aflw.EYES),
    # A dataset that no module knows: its reader says which landmarks are the eyes.
    (('chin', 'left eye', 'mouth', 'nose', 'right eye', 'forehead'), (1, 4))])
def test_the_error_of_faces_is_relative_to_the_eyes_of_their_dataset(tmp_path, names, eyes):
    scored = _scorer(_face_dataset(tmp_path, names, eyes, hidden=False))
    fit, test = (_squashed_landmarks(part) for part in (scored.fit, scored.test))
    moved = test.copy()
    moved[:, 3] += (3, 4)
    found = scored.scores(len(names), _background(fit), _background(moved))
    between_eyes = np.linalg.norm(test[:, eyes[0]] - test[:, eyes[1]], axis=1)
    assert found.values['landmark error'] == pytest.approx(
        100 * np.mean(5 / len(names) / between_eyes), rel=1e-3)
    assert scored.protocol == 'scops'


def test_every_kind_with_landmarks_has_a_protocol_of_the_regression():
    assert set(landmark_scores.PROTOCOLS.values()) <= set(landmark_regression.PROTOCOLS)


def test_faces_in_the_layout_of_celeba_are_scored_from_their_files(shared):
    dataset = datasets.load('celeba', root=str(shared / 'data' / 'faces'), min_object_area=0.2)
    scored = _scorer(dataset)
    fit, test = (np.repeat(_squashed_landmarks(part)[:, 2:3], 2, axis=1)
                 for part in (scored.fit, scored.test))
    # The nose alone places a face, not its size.
    nose = scored.scores(2, _background(fit), _background(test)).values['landmark error']
    constant = scored.trivial(_background(fit), _background(test))['constant mean landmark']
    assert 5 < nose < 0.7 * constant['landmark error']
