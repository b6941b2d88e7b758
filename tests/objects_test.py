"""Laws of objects: which pixels belong together, their parts' centres, and how they are scored."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.datasets import creature
from scops_tf.evaluation import object_scores
from scops_tf.serving import objects

SIZE = (40, 70)


def blank() -> np.ndarray:
    return np.zeros(SIZE, np.uint8)


def stand(labels: np.ndarray, left: int, *, width: int = 24) -> np.ndarray:
    """Draws an animal: a head (1), a body (2), four legs (3) and a tail (4)."""
    labels[10:20, left + 4:left + width - 4] = 2
    labels[6:14, left + width - 4:left + width] = 1
    labels[10:13, left:left + 4] = 4
    for leg in range(4):
        x = left + 4 + leg * (width - 10) // 3
        labels[20:28, x:x + 2] = 3
    return labels


# Grouping.


def test_background_alone_has_no_object():
    assert objects.separate(blank()).max() == 0


def test_an_animal_with_four_legs_is_one_object():
    found = objects.separate(stand(blank(), 5))
    np.testing.assert_array_equal(found, stand(blank(), 5) > 0)


def test_animals_that_do_not_touch_are_two_and_the_larger_is_the_first():
    labels = stand(stand(blank(), 2, width=20), 30, width=36)
    found = objects.separate(labels)
    assert found.max() == 2 and found.dtype == np.int32
    np.testing.assert_array_equal(found == 1, (labels > 0) & (np.arange(SIZE[1]) >= 30))
    np.testing.assert_array_equal(found == 2, (labels > 0) & (np.arange(SIZE[1]) < 30))


@pytest.mark.parametrize('gap', [0, -3])
def test_animals_that_touch_are_parted_at_their_border(gap):
    labels = stand(blank(), 4)
    other = stand(blank(), 28 + gap)
    labels[other > 0] = other[other > 0]
    found = objects.separate(labels)
    assert found.max() == 2
    wrong = (found > 0) & ((found == found[8, 50 + gap]) != (np.arange(SIZE[1]) >= 28 + gap))
    assert wrong.sum() < 0.06 * (labels > 0).sum()


def test_certain_pixels_keep_objects_apart_whose_labels_touch():
    labels = np.zeros(SIZE, np.uint8)
    labels[10:30, 5:65] = 1
    certain = np.zeros(SIZE, bool)
    certain[12:28, 8:30], certain[12:28, 42:62] = True, True
    assert objects.separate(labels).max() == 1
    found = objects.separate(labels, certain)
    assert found.max() == 2 and ((found > 0) == (labels > 0)).all()
    assert (found[10:30, 5:35] == 1).all() and (found[10:30, 37:65] == 2).all()
    # Without any certain pixel on a part all are.
    np.testing.assert_array_equal(objects.separate(labels, ~(labels > 0)), labels > 0)


def test_certain_pixels_are_those_with_less_than_half_of_the_background():
    responses = np.zeros((4, 7, 3), np.float32)
    responses[..., 0], responses[1:3, 2:5, 0] = 0.9, 0.2
    np.testing.assert_array_equal(objects.certain_pixels(responses, (4, 7)),
                                  responses[..., 0] < 0.5)
    assert objects.certain_pixels(responses, (8, 21)).shape == (8, 21)


def test_a_fragment_joins_the_nearest_object():
    labels = stand(stand(blank(), 2), 42)
    labels[34:37, 44:47] = 2
    found = objects.separate(labels)
    assert found.max() == 2 and found[35, 45] == found[8, 65]
    assert objects.separate(labels, least_share=0).max() == 3


def test_every_part_pixel_and_no_other_has_an_object_in_any_labels():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 4, SIZE).astype(np.uint8) * (rng.random(SIZE) < 0.5)
        found = objects.separate(labels)
        np.testing.assert_array_equal(found > 0, labels > 0)
        areas = np.bincount(found.ravel())[1:]
        assert (areas > 0).all() and (np.diff(areas) <= 0).all()


def test_mirrored_labels_have_the_mirrored_objects():
    labels = stand(stand(blank(), 2, width=20), 30, width=36)
    np.testing.assert_array_equal(objects.separate(labels[:, ::-1]),
                                  objects.separate(labels)[:, ::-1])


@pytest.mark.parametrize('labels, share, said', [
    (np.zeros(3, np.uint8), 0.1, r'must be of shape \[H,W\], and `certain` of the same; got \[3\]'),
    (np.zeros(SIZE, np.uint8), 1.5, 'must be in .0, 1.; got 1.5')])
def test_what_cannot_be_grouped_is_named(labels, share, said):
    with pytest.raises(ValueError, match=said):
        objects.separate(labels, least_share=share)


# Parts of objects.


def responses_of(labels: np.ndarray, num_parts: int = 4) -> np.ndarray:
    return np.eye(num_parts + 1, dtype=np.float32)[labels]


@pytest.mark.parametrize('power', [1.0, 4.0])
def test_each_object_has_the_centres_of_its_own_parts(power):
    labels = stand(stand(blank(), 2, width=20), 30, width=36)
    found = objects.separate(labels)
    parts = objects.parts(responses_of(labels), labels, found, power=power)
    for index in (1, 2):
        for part in (1, 2, 3, 4):
            y, x = np.nonzero((found == index) & (labels == part))
            np.testing.assert_allclose(parts.centers[index - 1, part - 1], [x.mean(), y.mean()])
            assert parts.areas[index - 1, part - 1] == len(x)
    np.testing.assert_array_equal(parts.presence, 1)


def test_centres_of_smaller_responses_are_on_the_photo():
    labels = stand(stand(blank(), 2), 40)
    small = responses_of(labels).reshape(SIZE[0] // 2, 2, SIZE[1] // 2, 2, 5).mean(axis=(1, 3))
    large = objects.parts(responses_of(labels), labels, objects.separate(labels))
    found = objects.parts(small, labels, objects.separate(labels))
    np.testing.assert_allclose(found.centers, large.centers, atol=0.6)


def test_a_part_without_response_has_presence_0_and_the_middle_of_its_object():
    labels = blank()
    labels[10:20, 5:15], labels[10:20, 50:60] = 1, 1
    found = objects.parts(responses_of(labels, 2), labels, objects.separate(labels))
    np.testing.assert_array_equal(found.presence[:, 1], 0)
    np.testing.assert_array_equal(found.areas[:, 1], 0)
    assert (found.centers[0, 1, 0] < 35) != (found.centers[1, 1, 0] < 35)


def test_a_photo_without_object_has_no_rows():
    found = objects.parts(responses_of(blank()), blank(), objects.separate(blank()))
    assert found.centers.shape == (0, 4, 2) and found.areas.shape == (0, 4)


def test_parts_of_objects_of_another_size_are_refused():
    with pytest.raises(ValueError, match='`objects` of the shape of `labels`'):
        objects.parts(responses_of(blank()), blank(), np.zeros((3, 3), np.int32))


# Scores.


def test_the_true_objects_score_100_in_any_order():
    true = objects.separate(stand(stand(blank(), 2), 40))
    swapped = np.array([0, 2, 1])[true]
    assert object_scores.object_scores([swapped], [true]) == {'count': 100, 'object IoU': 100}
    np.testing.assert_array_equal(object_scores.matches(swapped, true), [[2, 1], [1, 1]])


def test_two_objects_that_are_found_as_one_have_half_of_the_iou():
    true = objects.separate(stand(stand(blank(), 2), 40))
    scores = object_scores.object_scores([(true > 0).astype(int), true], [true, true])
    np.testing.assert_allclose([scores['count'], scores['object IoU']], [50, 62.5])


def test_no_object_found_scores_0():
    true = objects.separate(stand(blank(), 2))
    assert object_scores.object_scores([blank()], [true]) == {'count': 0, 'object IoU': 0}
    assert object_scores.matches(blank(), true).tolist() == [[0, 0]]


def test_scores_need_true_objects_and_as_many_maps():
    true = objects.separate(stand(blank(), 2))
    with pytest.raises(ValueError, match='at least one object'):
        object_scores.object_scores([true], [blank()])
    with pytest.raises(ValueError, match='as many maps'):
        object_scores.object_scores([true], [true, true])


# Drawings of several.


def test_a_group_has_each_creature_whole_where_they_stand_apart():
    group = creature.draw_group(np.random.default_rng(0), (96, 160), count=2)
    np.testing.assert_array_equal(group.part_mask > 0, group.object_mask > 0)
    for index in (1, 2):
        assert set(np.unique(group.part_mask[group.object_mask == index])) == {1, 2, 3, 4}
    columns = [np.nonzero((group.object_mask == index).any(axis=0))[0] for index in (1, 2)]
    assert columns[0].max() < 80 <= columns[1].min()
    again = creature.draw_group(np.random.default_rng(0), (96, 160), count=2)
    np.testing.assert_array_equal(group.image, again.image)


def test_the_true_parts_of_creatures_apart_are_grouped_as_drawn():
    groups = [creature.draw_group(np.random.default_rng([1, i]), (96, 160)) for i in range(10)]
    scores = object_scores.object_scores([objects.separate(group.part_mask) for group in groups],
                                         [group.object_mask for group in groups])
    assert scores['count'] == 100 and scores['object IoU'] == 100


def test_creatures_overlap_where_it_is_asked_for():
    group = creature.draw_group(np.random.default_rng(3), (96, 160), overlap=0.4)
    columns = [np.nonzero((group.object_mask == index).any(axis=0))[0] for index in (1, 2)]
    assert columns[0].max() > columns[1].min()
