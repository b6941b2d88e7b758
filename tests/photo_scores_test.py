"""Laws of the scores of single photos, and of what parts fall on."""
from __future__ import annotations

import numpy as np
from PIL import Image
import pytest

from scops_tf.datasets.records import PartDataset, Record
from scops_tf.evaluation import photo_scores
from scops_tf.evaluation.dataset_scores import Scorer
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit

_SIZE = (8, 12)
_NO_PHOTOS = PhotoSplit((), np.zeros((0, 2)))


def _maps(*labels):
    labels = np.stack(labels)
    count = len(labels)
    return PartMaps(labels, np.maximum(labels, 1), np.zeros((count, 2, 2)), np.ones((count, 2)))


def _halves(left, right):
    labels = np.zeros(_SIZE, np.uint8)
    labels[:, :6], labels[:, 6:] = left, right
    return labels


@pytest.fixture
def masked(tmp_path):
    """A scorer of two photos with masks: two true parts, and the first of them alone."""
    records = []
    for index, mask in enumerate((_halves(1, 2), _halves(1, 0))):
        path = tmp_path / f'{index}.png'
        Image.fromarray(mask).save(path)
        records.append(Record(f'{index}', str(path), mask_path=str(path), part_mask_path=str(path)))
    dataset = PartDataset('a', (), (), tuple(records), part_names=('head', 'tail'),
                          annotation_kind='part_masks')
    return Scorer(dataset, _NO_PHOTOS, PhotoSplit(tuple(records), np.tile(_SIZE, (2, 1))), _SIZE)


def test_photos_are_scored_by_the_matching_of_all_photos(masked):
    # Part 2 is the head. The second photo has no part at all.
    found = photo_scores.of_photos(masked, 2, None, _maps(_halves(2, 0), _halves(0, 0)))
    assert set(found.values) == {'part mIoU', 'foreground IoU', 'leakage'}
    assert found.values['part mIoU'].tolist() == [50, 0]
    assert found.values['foreground IoU'].tolist() == [50, 0]
    assert found.values['leakage'][0] == 0 and np.isnan(found.values['leakage'][1])
    assert found.directions == {
        'part mIoU': 'higher', 'foreground IoU': 'higher', 'leakage': 'lower'}


def test_pixels_of_parts_are_counted_by_true_part(masked):
    found = photo_scores.confusion(masked, 2, _maps(_halves(2, 0), _halves(1, 1)).labels)
    assert found.kind == 'annotated parts' and found.names == ('background', 'head', 'tail')
    assert found.counts == ((0, 0, 48), (48, 48, 0), (0, 48, 0))


def _with_key_points(visible):
    records = tuple(Record(
        f'{index}', 'unused', landmarks=np.array([[1, 3], [19, 3]], np.float32),
        visible=np.array(seen), box=np.array([0, 0, 12, 16], np.float32))
        for index, seen in enumerate(visible))
    dataset = PartDataset('a', (), (), records, landmark_names=('beak', 'tail'),
                          annotation_kind='boxed_landmarks')
    return Scorer(dataset, _NO_PHOTOS, PhotoSplit(records, np.tile((16, 24), (2, 1))), _SIZE)


def test_key_points_and_boxes_are_in_the_frame_of_the_labels():
    scorer = _with_key_points([[True, True], [False, False]])
    maps = _maps(_halves(1, 0), _halves(2, 2))
    found = photo_scores.of_photos(scorer, 2, None, maps)
    assert found.values['key points on parts'][0] == 50
    assert np.isnan(found.values['key points on parts'][1])
    assert found.values['leakage'].tolist() == [0, 50]
    table = photo_scores.confusion(scorer, 2, maps.labels)
    assert table.kind == 'key points' and table.counts == ((0, 1), (1, 0), (0, 0))


def test_photos_without_annotations_have_no_scores():
    scorer = _with_key_points([[False, False], [False, False]])
    assert photo_scores.confusion(scorer, 2, _maps(_halves(1, 0), _halves(1, 0)).labels) is None
    records = (Record('a', 'unused'),)
    plain = Scorer(PartDataset('a', (), (), records), _NO_PHOTOS,
                   PhotoSplit(records, np.array([_SIZE])), _SIZE)
    maps = _maps(_halves(1, 0))
    assert photo_scores.of_photos(plain, 2, None, maps).values == {}
    assert photo_scores.confusion(plain, 2, maps.labels) is None
