from __future__ import annotations

import numpy as np
import pytest
from sklearn import linear_model

from scops_tf.evaluation import landmark_regression
from scops_tf.evaluation.contingency import MetricError
from scops_tf.evaluation.landmark_split import Split

PIXEL_SIDES = np.array([120.0, 70.0])  # Width and height differ, and x and y with them.


def _split(seed, num_images=60, num_parts=4, num_landmarks=5, noise=0.0, **fields):
    """Centres anywhere; landmarks an affine map of them, one for all seeds, and noise."""
    world = np.random.default_rng(99)
    weights = world.normal(size=(8 * 2, 7 * 2))[:2 * num_parts, :2 * num_landmarks] * 0.3
    offset = world.uniform(20, 60, 7 * 2)[:2 * num_landmarks]
    generator = np.random.default_rng(seed)
    centers = generator.uniform(0, 1, (num_images, num_parts, 2)) * PIXEL_SIDES
    landmarks = centers.reshape(num_images, -1) @ weights + offset
    landmarks = landmarks + noise * generator.normal(size=landmarks.shape)
    return Split(centers, landmarks.reshape(num_images, num_landmarks, 2), **fields)


def _boxed(split, seed):
    generator = np.random.default_rng(seed)
    return split._replace(boxes=np.concatenate(
        [generator.uniform(0, 30, (len(split.centers), 2)),
         generator.uniform(20, 90, (len(split.centers), 2))], 1))


def _masked(split, seed, share=0.7):
    visible = np.random.default_rng(seed).random(split.landmarks.shape[:2]) < share
    visible[:, :2] = True
    return split._replace(visible=visible)


def test_an_affine_map_of_the_centres_is_found_exactly():
    for protocol in ('scops', 'cub'):
        fit, test = _split(0), _split(1)
        fit, test = (split._replace(boxes=np.tile([3.0, 5, 40, 80], (60, 1)))
                     for split in (fit, test))
        scores = landmark_regression.regress(fit, test, protocol=protocol)
        assert scores.fit_error() == pytest.approx(0, abs=1e-8)
        assert scores.test_error() == pytest.approx(0, abs=1e-8)
        assert scores.notes == ()


def test_scops_is_linear_regression_over_inter_ocular_distance():
    fit, test = _split(0, noise=6), _split(1, 31, noise=6)
    model = linear_model.LinearRegression().fit(fit.centers.reshape(60, -1),
                                                fit.landmarks.reshape(60, -1))
    predicted = model.predict(test.centers.reshape(31, -1)).reshape(31, 5, 2)
    distance = np.linalg.norm(test.landmarks[:, 1] - test.landmarks[:, 3], axis=1)
    expected = (np.linalg.norm(predicted - test.landmarks, axis=2).mean(1) / distance).mean()
    scores = landmark_regression.regress(fit, test, protocol='scops', eyes=(1, 3))
    assert scores.test_error() == pytest.approx(100 * expected)
    assert scores.test_error() > 1


def test_no_intercept_sends_centres_at_the_origin_to_the_origin():
    fit, test = _split(0), _split(1, 9)
    test = test._replace(centers=np.zeros_like(test.centers))
    scores = landmark_regression.regress(fit, test, protocol='no_intercept')
    distance = np.linalg.norm(test.landmarks[:, 0] - test.landmarks[:, 1], axis=1)
    expected = np.linalg.norm(test.landmarks, axis=2) / distance[:, None]
    np.testing.assert_allclose(scores.test_errors, 100 * expected)


def test_huang_knows_the_inter_ocular_distance_of_the_test_images():
    fit, test = _split(0, noise=3), _split(1, noise=3)
    first = landmark_regression.regress(fit, test, protocol='huang')
    growth = np.linspace(0.5, 2, 60)[:, None, None]
    scaled = test._replace(centers=test.centers * growth, landmarks=test.landmarks * growth)
    assert landmark_regression.regress(fit, scaled, protocol='huang').test_error() == pytest.approx(
        first.test_error())
    assert landmark_regression.regress(fit, scaled, protocol='scops').test_error() != pytest.approx(
        landmark_regression.regress(fit, test, protocol='scops').test_error(), rel=1e-3)


@pytest.mark.parametrize('protocol', ['scops', 'cub', 'no_intercept'])
def test_the_order_and_the_unit_of_coordinates_do_not_matter(protocol):
    fit, test = _split(0, noise=5), _split(1, noise=5)
    fit, test = _boxed(fit, 0), _boxed(test, 1)
    expected = landmark_regression.regress(fit, test, protocol=protocol).test_error()

    def changed(split):
        return split._replace(centers=split.centers[..., ::-1] / 7,
                              landmarks=split.landmarks[..., ::-1] / 7,
                              boxes=split.boxes[:, [1, 0, 3, 2]] / 7)

    scores = landmark_regression.regress(changed(fit), changed(test), protocol=protocol)
    assert scores.test_error() == pytest.approx(expected)


def test_the_order_of_images_and_parts_does_not_matter():
    fit, test = _split(0, noise=5), _split(1, noise=5)
    order = np.random.default_rng(0).permutation(60)
    permuted = Split(fit.centers[order][:, [2, 0, 3, 1]], fit.landmarks[order])
    assert landmark_regression.regress(
        permuted, test._replace(centers=test.centers[:, [2, 0, 3, 1]])).test_error() == (
            pytest.approx(landmark_regression.regress(fit, test).test_error()))


def test_cub_is_one_regression_per_landmark_in_the_box_pooled_over_visible_landmarks():
    fit, test = (_masked(_split(seed, noise=8), seed) for seed in (0, 1))
    fit, test = _boxed(fit, 0), _boxed(test, 1)

    def framed(points, split):
        return (points - split.boxes[:, None, :2]) / split.boxes[:, None, 2:]

    errors = []
    for number in range(5):
        rows, asked = fit.visible[:, number], test.visible[:, number]
        model = linear_model.LinearRegression().fit(
            framed(fit.centers, fit)[rows].reshape(rows.sum(), -1),
            framed(fit.landmarks, fit)[rows, number])
        predicted = model.predict(framed(test.centers, test)[asked].reshape(asked.sum(), -1))
        errors.append(np.linalg.norm(predicted - framed(test.landmarks, test)[asked, number],
                                     axis=1))
    scores = landmark_regression.regress(fit, test, protocol='cub')
    assert scores.test_error() == pytest.approx(100 * np.concatenate(errors).mean())
    np.testing.assert_allclose(scores.landmark_errors(), [100 * error.mean() for error in errors])


def test_the_error_of_a_class_is_that_of_its_images_with_the_fit_of_all():
    fit, test = (_masked(_split(seed, noise=8), seed) for seed in (0, 1))
    fit, test = _boxed(fit, 0), _boxed(test, 1)
    classes = np.repeat([7, 2, 9], [10, 20, 30])
    scores = landmark_regression.regress(fit, test._replace(classes=classes), protocol='cub')
    alone = Split(*(None if field is None else field[classes == 2]
                    for field in test._replace(classes=classes)))
    assert scores.test_error(2) == pytest.approx(
        landmark_regression.regress(fit, alone, protocol='cub').test_error())
    counts = [(~np.isnan(scores.test_errors[classes == number])).sum() for number in (7, 2, 9)]
    assert np.average([scores.test_error(number) for number in (7, 2, 9)], weights=counts) == (
        pytest.approx(scores.test_error()))


def test_pooling_weighs_landmarks_and_averaging_weighs_images():
    errors = np.array([[1.0, np.nan, np.nan], [3, 5, 7], [np.nan] * 3])
    assert landmark_regression.mean_error(errors, pooled=True) == 4
    assert landmark_regression.mean_error(errors, pooled=False) == 3
    assert np.isnan(landmark_regression.mean_error(errors[2:], pooled=True))


def test_invisible_landmarks_are_neither_fitted_nor_scored():
    fit, test = (_masked(_split(seed, noise=4), seed) for seed in (0, 1))
    expected = landmark_regression.regress(fit, test)
    spoilt = [split._replace(landmarks=np.where(split.visible[..., None], split.landmarks, np.nan))
              for split in (fit, test)]
    scores = landmark_regression.regress(*spoilt)
    np.testing.assert_array_equal(scores.test_errors, expected.test_errors)
    np.testing.assert_array_equal(np.isnan(scores.test_errors), ~test.visible)


@pytest.mark.parametrize('protocol', ['scops', 'no_intercept', 'huang', 'cub'])
def test_an_absent_centre_counts_as_the_mean_of_the_fit_images(protocol):
    box = np.tile([3.0, 5, 40, 80], (60, 1))
    fit, test = (_split(seed, noise=3)._replace(boxes=box) for seed in (0, 1))
    absent = test.centers.copy()
    absent[4, 1] = np.nan
    if protocol == 'huang':  # Its frame is that of the distance of the eyes.
        distance, of_test = (np.linalg.norm(split.landmarks[:, 0] - split.landmarks[:, 1], axis=1)
                             for split in (fit, test))
        mean = (fit.centers[:, 1] / distance[:, None]).mean(0) * of_test[4]
    else:
        mean = fit.centers[:, 1].mean(0)
    replaced = test.centers.copy()
    replaced[4, 1] = mean
    scores = landmark_regression.regress(fit, test._replace(centers=absent), protocol=protocol)
    np.testing.assert_allclose(scores.test_errors, landmark_regression.regress(
        fit, test._replace(centers=replaced), protocol=protocol).test_errors)
    assert any('1 of 240 centres of the test images are NaN' in note for note in scores.notes)


def test_parts_that_coincide_or_never_move_change_nothing_but_are_said():
    fit, test = _split(0, noise=5), _split(1, noise=5)
    expected = landmark_regression.regress(fit, test).test_error()

    def more(split, seed):
        noise = 1 + 3e-8 * np.random.default_rng(seed).standard_normal((60, 4, 2))
        return split._replace(centers=np.concatenate(
            [split.centers, split.centers * noise, 77 * noise[:, :1]], 1))

    scores = landmark_regression.regress(more(fit, 2), more(test, 3))
    assert scores.test_error() == pytest.approx(expected, rel=1e-4)
    assert any('vary in 8 of 18 directions' in note for note in scores.notes)


def test_fewer_images_than_coefficients_give_the_smallest_solution_and_a_note():
    fit, test = _split(0, 5), _split(1)
    scores = landmark_regression.regress(fit, test)
    assert scores.fit_error() == pytest.approx(0, abs=1e-8)
    assert np.isfinite(scores.test_error())
    assert 'shown by 5 fit images, for 9 coefficients' in ' '.join(scores.notes)
    inputs, targets = fit.centers.reshape(5, -1), fit.landmarks.reshape(5, -1)
    weights = np.linalg.pinv(inputs - inputs.mean(0)) @ (targets - targets.mean(0))
    predicted = (test.centers.reshape(60, -1) - inputs.mean(0)) @ weights + targets.mean(0)
    distance = np.linalg.norm(test.landmarks[:, 0] - test.landmarks[:, 1], axis=1)
    np.testing.assert_allclose(scores.test_errors, 100 * np.linalg.norm(
        predicted.reshape(60, 5, 2) - test.landmarks, axis=2) / distance[:, None])


def test_a_landmark_that_no_fit_image_shows_is_not_scored_and_said():
    fit, test = _masked(_split(0), 0), _masked(_split(1), 1)
    fit.visible[:, 4] = False
    scores = landmark_regression.regress(fit, test)
    assert np.isnan(scores.test_errors[:, 4]).all()
    assert np.isfinite(scores.test_error())
    assert 'Landmark(s) 4: shown by 0 fit images' in ' '.join(scores.notes)


@pytest.mark.parametrize('protocol', ['scops', 'huang'])
def test_images_that_hide_an_eye_are_not_scored_and_said(protocol):
    fit, test = _masked(_split(0), 0), _masked(_split(1), 1)
    test.visible[3, 0] = False
    scores = landmark_regression.regress(fit, test, protocol=protocol)
    assert np.isnan(scores.test_errors[3]).all()
    assert '1 of 60 test images do not show both eyes' in ' '.join(scores.notes)


def test_huang_fits_no_image_whose_inter_ocular_distance_is_unknown():
    fit, test = _masked(_split(0, noise=3), 0), _split(1, noise=3)
    fit.visible[7:12, 1] = False
    expected = landmark_regression.regress(fit, test, protocol='huang')
    fit.landmarks[7:12] += 50
    np.testing.assert_allclose(landmark_regression.regress(fit, test, protocol='huang').test_errors,
                               expected.test_errors)


def test_the_interval_holds_the_score_and_repeats_with_its_seed():
    fit, test = _split(0, noise=5), _split(1, noise=5, classes=np.repeat([1, 2], [20, 40]))
    scores = landmark_regression.regress(fit, test)
    low, high = scores.interval(seed=3)
    assert low < scores.test_error() < high
    assert scores.interval(seed=3) == (low, high)
    of_class = scores.interval(1, seed=3)
    assert of_class[0] < scores.test_error(1) < of_class[1]


def _with(field, value, at=None):
    def change(split):
        array = np.array(getattr(split, field))
        if at is None:
            array = value
        else:
            array[at] = value
        return split._replace(**{field: array})
    return change


@pytest.mark.parametrize('change, protocol, words', [
    (_with('centers', np.inf, (3, 1, 0)), 'scops', '`centers` of the test .* image 3'),
    (_with('landmarks', np.nan, (2, 1, 0)), 'scops', '`landmarks` of the test .* image 2'),
    (_with('centers', np.zeros((59, 4, 2))), 'scops', r'`landmarks` .* shape \[59, any, 2\]'),
    (_with('centers', np.zeros((60, 8))), 'scops', '`centers` .* shape'),
    (_with('centers', np.zeros((60, 0, 2))), 'scops', '`centers` .* not empty'),
    (_with('centers', np.zeros((60, 3, 2))), 'scops', 'as many points .* got 3 and 4'),
    (_with('landmarks', np.zeros((60, 4, 2))), 'scops', 'as many points .* got 4 and 5'),
    (_with('visible', np.zeros((60, 5), bool)), 'scops', 'at least one landmark of the test'),
    (_with('visible', np.ones((60, 5))), 'scops', '`visible` .* booleans'),
    (_with('classes', np.ones(60)), 'cub', '`classes` .* whole numbers'),
    (_with('boxes', None), 'cub', '`boxes` of the test images must be given'),
    (_with('boxes', 0, (5, 2)), 'cub', '`boxes` .* sides from .*; those of image 5'),
    (_with('landmarks', 7, (6, slice(0, 2))), 'scops', 'image 6 has both'),
    (lambda split: split, 'other', '`protocol` must be one of scops'),
])
def test_arrays_that_do_not_fit_are_refused_in_words(change, protocol, words):
    fit, test = _boxed(_split(0), 0), _boxed(_split(1), 0)
    with pytest.raises(MetricError, match=words):
        landmark_regression.regress(fit, change(test), protocol=protocol)


def test_eyes_must_be_two_landmarks_and_centres_not_all_absent():
    fit, test = _split(0), _split(1)
    for eyes in ((0, 0), (0, 5), (-1, 0)):
        with pytest.raises(MetricError, match='`eyes` must be two'):
            landmark_regression.regress(fit, test, eyes=eyes)
    with pytest.raises(MetricError, match='at least one that is not NaN'):
        landmark_regression.regress(fit._replace(centers=np.full((60, 4, 2), np.nan)), test)


@pytest.mark.parametrize('protocol, fit_error, test_error', [
    ('scops', 3.196224, 3.260942), ('no_intercept', 3.427728, 3.481517),
    ('huang', 2.946839, 2.954123)])
def test_released_face_predictions_give_their_published_errors(shared, protocol, fit_error,
                                                               test_error):
    arrays = np.load(shared / 'golden' / 'face_landmarks.npz')
    scores = landmark_regression.regress(
        Split(arrays['train_pred'], arrays['train_gt']),
        Split(arrays['test_pred'], arrays['test_gt']), protocol=protocol)
    assert scores.fit_error() == pytest.approx(fit_error, abs=1e-6)
    assert scores.test_error() == pytest.approx(test_error, abs=1e-6)
    assert scores.notes == ()
