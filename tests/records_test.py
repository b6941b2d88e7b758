"""Laws of what a dataset says of its annotations."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.datasets import records
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import PartDataset, Record

_FACE = Record('a', 'a.png', landmarks=np.zeros((3, 2)), visible=np.ones(3, bool))
_NAMES = ('left eye', 'right eye', 'nose')


def test_an_unknown_kind_of_annotations_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(DatasetError, match='`annotation_kind` must be one of') as raised:
        PartDataset('mine', (), (), (), annotation_kind='face')
    assert "'face'" in str(raised.value) and "'mine'" in str(raised.value)
    for kind in records.ANNOTATION_KINDS:
        assert kind in str(raised.value)


@pytest.mark.parametrize('kind', ['none', 'part_masks', 'nested_part_masks'])
def test_landmarks_need_a_kind_that_has_them(kind):
    for test, names in (((_FACE,), ()), ((), _NAMES)):
        with pytest.raises(DatasetError, match='must be faces or boxed_landmarks where there are'):
            PartDataset('mine', (), (), test, landmark_names=names, annotation_kind=kind)


@pytest.mark.parametrize('kind, eyes', [('faces', (0, 1)), ('boxed_landmarks', None)])
def test_a_kind_with_landmarks_needs_their_names(kind, eyes):
    with pytest.raises(DatasetError, match='with 0 names'):
        PartDataset('mine', (), (), (_FACE,), annotation_kind=kind, eyes=eyes)
    dataset = PartDataset('mine', (), (), (_FACE,), landmark_names=_NAMES, annotation_kind=kind,
                          eyes=eyes, part_names=('chin',))
    assert dataset.landmark_names == _NAMES


@pytest.mark.parametrize('eyes', [None, (0, 3), (1, 1), (-1, 0)])
def test_eyes_are_two_landmarks_of_a_face(eyes):
    with pytest.raises(DatasetError, match='`eyes` must be the numbers of two of the 3 landmarks'):
        PartDataset('mine', (), (), (), landmark_names=_NAMES, annotation_kind='faces', eyes=eyes)


def test_what_is_no_face_has_no_eyes():
    with pytest.raises(DatasetError, match='`eyes` must be None'):
        PartDataset('mine', (), (), (), landmark_names=_NAMES, annotation_kind='boxed_landmarks',
                    eyes=(0, 1))


def test_true_parts_need_a_kind_that_has_them():
    with pytest.raises(DatasetError, match='`part_names` must be'):
        PartDataset('mine', (), (), (), part_names=('head', 'tail'))
    dataset = PartDataset('mine', (), (), (), part_names=('head', 'tail'),
                          annotation_kind='part_masks')
    assert dataset.part_names == ('head', 'tail')
