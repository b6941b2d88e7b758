"""Laws of readers and protocols together: from each dataset's own files to its scores."""
from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image
import pytest

from scops_tf import datasets
from scops_tf.datasets import aflw, celeba
from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import dataset_scores

MAP_SIZE = (48, 64)


def part_maps(centers: np.ndarray, labels=None) -> dataset_scores.PartMaps:
    """Maps with these centres; all background where no labels are given."""
    count, num_parts = centers.shape[:2]
    labels = np.zeros((count, *MAP_SIZE), np.uint8) if labels is None else labels
    return dataset_scores.PartMaps(labels, np.maximum(labels, 1), centers,
                                   np.ones((count, num_parts)))


def split(records) -> dataset_scores.Split:
    sizes = [Image.open(record.path).size[::-1] for record in records]
    return dataset_scores.Split(tuple(records), np.array(sizes, np.float64))


def protocol_of(dataset: PartDataset) -> dataset_scores.Protocol:
    return dataset_scores.Protocol(dataset, split(dataset.fit), split(dataset.test), MAP_SIZE)


def squashed_landmarks(part: dataset_scores.Split) -> np.ndarray:
    points = np.stack([record.landmarks for record in part.records]).astype(np.float64)
    return (points + 0.5) * (np.array(MAP_SIZE[::-1]) / part.sizes[:, ::-1])[:, None] - 0.5


def face_dataset(root: pathlib.Path, names, *, protocol: str, hidden: bool) -> PartDataset:
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
    return PartDataset(name=protocol, protocol=protocol, train=tuple(records[:60]),
                       fit=tuple(records[:60]), test=tuple(records[60:]), landmark_names=names)


@pytest.mark.parametrize('names, protocol, hidden', [
    (celeba.LANDMARK_NAMES, 'celeba', False), (aflw.LANDMARK_NAMES, 'aflw', True)])
def test_centres_that_are_the_landmarks_in_the_squashed_frame_have_no_error(
        tmp_path, names, protocol, hidden):
    scored = protocol_of(face_dataset(tmp_path, names, protocol=protocol, hidden=hidden))
    fit, test = (squashed_landmarks(part) for part in (scored.fit, scored.test))
    num_parts = len(names)
    exact = scored.scores(num_parts, part_maps(fit), part_maps(test))
    assert exact.values['landmark error'] < 1e-3
    moved = test.copy()
    moved[:, 2, 0] += 5
    worse = scored.scores(num_parts, part_maps(fit), part_maps(moved))
    assert worse.values['landmark error'] > 1


def test_the_error_of_faces_is_relative_to_the_eyes_of_their_protocol(tmp_path):
    dataset = face_dataset(tmp_path, aflw.LANDMARK_NAMES, protocol='aflw', hidden=False)
    scored = protocol_of(dataset)
    fit, test = (squashed_landmarks(part) for part in (scored.fit, scored.test))
    moved = test.copy()
    moved[:, 3] += (3, 4)
    found = scored.scores(21, part_maps(fit), part_maps(moved)).values['landmark error']
    eyes = np.linalg.norm(test[:, aflw.EYES[0]] - test[:, aflw.EYES[1]], axis=1)
    assert found == pytest.approx(100 * np.mean(5 / 21 / eyes), rel=1e-3)


def test_pascal_is_scored_by_foreground_alone_pooled_and_mean(tmp_path):
    records = []
    for index, width in enumerate((8, 16)):
        paths = [tmp_path / f'{kind}{index}.png' for kind in ('photo', 'mask', 'parts')]
        mask = np.zeros(MAP_SIZE, np.uint8)
        mask[:24, :width] = 255
        Image.new('RGB', MAP_SIZE[::-1]).save(paths[0])
        Image.fromarray(mask).save(paths[1])
        Image.fromarray(mask // 255).save(paths[2])
        records.append(Record(name=f'{index}', path=str(paths[0]), mask_path=str(paths[1]),
                              part_mask_path=str(paths[2]), box=np.array([0, 0, width, 24.0])))
    dataset = PartDataset(name='pascal', protocol='pascal', train=tuple(records), fit=(),
                          test=tuple(records), part_names=('body', 'tail'))
    labels = np.zeros((2, *MAP_SIZE), np.uint8)
    labels[0, :24, :8] = 1
    labels[1, :24, :8] = 2
    scored = protocol_of(dataset)
    values = scored.scores(2, part_maps(np.zeros((0, 2, 2))),
                           part_maps(np.zeros((2, 2, 2)), labels)).values
    assert values['foreground IoU'] == pytest.approx(75)
    assert values['foreground IoU, pooled'] == pytest.approx(100 * 2 / 3)
    assert values['leakage'] == 0 and not any('mIoU' in name for name in values)
    assert scored.counts == {'photos to train': 2, 'photos to fit': 0, 'photos to test': 2}


def test_faces_in_the_layout_of_celeba_are_scored_from_their_files(shared):
    dataset = datasets.load('celeba', root=str(shared / 'data' / 'faces'), min_object_area=0.2)
    scored = protocol_of(dataset)
    fit, test = (np.repeat(squashed_landmarks(part)[:, 2:3], 2, axis=1)
                 for part in (scored.fit, scored.test))
    # The nose alone places a face, not its size.
    nose = scored.scores(2, part_maps(fit), part_maps(test)).values['landmark error']
    constant = scored.trivial(part_maps(fit), part_maps(test))['constant mean landmark']
    assert 5 < nose < 0.7 * constant['landmark error']
