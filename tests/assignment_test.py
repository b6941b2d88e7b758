"""Laws of naming parts from a few annotated photos."""
from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from scops_tf.labels import assignment, clicked_points, naming_text
from scops_tf.labels.annotation import Annotation, AnnotationError
from scops_tf.labels.clicked_points import Point

_NAMES = ['head', 'body', 'tail']
# True labels: head, body and tail from left to right on a strip.
_TRUE = np.repeat(np.array([[0, 1, 1, 2, 2, 2, 2, 2, 3, 0]], np.uint8), 6, axis=0)
_ANNOTATION = Annotation('a.jpg', _TRUE, {1: 'head', 2: 'body', 3: 'tail'})


def _table(row) -> np.ndarray:
    labels = np.repeat(np.array([row], np.uint8), 6, axis=0)
    return assignment.mask_table(labels, _ANNOTATION, _NAMES, 5)


def test_each_part_has_the_name_that_it_covers_and_several_may_have_one():
    found = assignment.assign([_table([0, 4, 4, 2, 2, 2, 5, 5, 1, 3])], _NAMES)
    assert found.names == {4: 'head', 2: 'body', 5: 'body', 1: 'tail'}
    assert found.iou == {'head': 1.0, 'body': 1.0, 'tail': 1.0}
    third = found.parts[2]
    assert third.name == '' and third.share == 1.0 and third.is_sure
    assert all(part.is_sure and part.share == 1.0 for part in found.parts)


def test_the_mean_iou_of_the_names_is_the_largest_of_all_choices():
    generator = np.random.default_rng(0)
    for _ in range(10):
        table = generator.random((4, 3)) ** 4
        found = assignment.assign([table], ['a', 'b'])
        best = max(
            np.mean([_iou(table, choice, column) for column in (1, 2)])
            for choice in itertools.product(range(3), repeat=3))
        # A search by single changes; on small tables it finds the best.
        assert np.mean(list(found.iou.values())) == pytest.approx(best)


def _iou(table, choice, column):
    rows = [part + 1 for part, chosen in enumerate(choice) if chosen == column]
    inside = table[rows, column].sum()
    return inside / (table[rows].sum() + table[:, column].sum() - inside)


def test_what_is_unsure_is_told():
    clear, other = [0, 1, 1, 2, 2, 2, 2, 2, 3, 0], [0, 1, 1, 3, 3, 2, 2, 2, 2, 0]
    found = assignment.assign([_table(clear), _table(other)], _NAMES)
    assert found.names == {1: 'head', 2: 'body', 3: 'tail'}
    tail = found.parts[2]
    assert (tail.agreeing, tail.showing, tail.other) == (1, 2, 'body') and not tail.is_sure
    text = naming_text.of_assignment(found)
    assert 'Part 3 is named tail, but this is unsure: 33 % of it lies there, 67 % on body' in text
    assert 'No named photo shows part 4' in text


def test_a_name_without_a_part_is_told():
    found = assignment.assign([_table([0, 1, 1, 1, 1, 1, 1, 1, 1, 0])], _NAMES)
    assert found.names == {1: 'body'}
    assert 'No part is head' in naming_text.of_assignment(found)


def test_photos_count_alike_whatever_their_size():
    labels = np.repeat(_TRUE, 7, axis=0).repeat(5, axis=1)
    large = assignment.mask_table(
        labels, Annotation('b', labels, _ANNOTATION.names), _NAMES, 5)
    np.testing.assert_allclose(large, _table(_TRUE[0]))


def test_clicked_points_name_parts_too(tmp_path):
    path = tmp_path / 'points.csv'
    path.write_text('photo,x,y,name\na.jpg,2.5,3,head\na.jpg,5,0.2,body\na.jpg,10,6,background\n')
    points = clicked_points.read(str(path))
    assert points == {'a.jpg': [Point(2.5, 3, 'head'), Point(5, 0.2, 'body'),
                                Point(10, 6, 'background')]}
    (tmp_path / 'points.json').write_text(json.dumps(
        [{'photo': photo, **one._asdict()} for photo, every in points.items() for one in every]))
    assert clicked_points.read(str(tmp_path / 'points.json')) == points
    path.write_bytes(path.read_bytes().replace(b'\n', b'\r'))
    assert clicked_points.read(str(path)) == points
    names = assignment.listed_names([one.name for one in points['a.jpg']])
    assert names == ['head', 'body']
    table = assignment.point_table(_TRUE, 'a.jpg', points['a.jpg'], names, 3)
    assert assignment.assign([table], names).names == {1: 'head', 2: 'body'}
    with pytest.raises(AnnotationError, match=r'photo of 10 x 6 pixels; got \(11, 2\)'):
        assignment.point_table(_TRUE, 'a.jpg', [Point(11, 2, 'head')], names, 3)


@pytest.mark.parametrize('content, words', [
    ('photo,x,y,name\n', 'at least one point'), ('photo,x,y\na,1,2\n', 'Point 1'),
    ('photo,x,y,name\na,1,nan,head\n', 'Point 1'), ('photo,x,y,name\na,1,2,\n', 'Point 1'),
    ('a,1,2,head\nb,1,2,head\n', 'Point 1'),
    (f'photo,x,y,name\n{"a" * 200_000},1,2,head\n', 'must be a CSV')])
def test_points_that_cannot_be_used_are_one_sentence(tmp_path, content, words):
    path = tmp_path / 'points.csv'
    path.write_text(content)
    with pytest.raises(AnnotationError, match=words) as caught:
        clicked_points.read(str(path))
    assert str(path) in str(caught.value)


def test_annotations_that_do_not_fit_their_photo_are_refused():
    with pytest.raises(AnnotationError, match='size of its photo, 4 x 3; it has 10 x 6'):
        assignment.mask_table(np.zeros((3, 4), np.uint8), _ANNOTATION, _NAMES, 5)
    with pytest.raises(AnnotationError, match='it names nothing'):
        assignment.mask_table(_TRUE, Annotation('a', 0 * _TRUE, {1: 'head'}), _NAMES, 5)
