from __future__ import annotations

import numpy as np
from PIL import Image
import pytest

from scops_tf.evaluation import landmark_regression, trivial_baselines
from scops_tf.evaluation.contingency import MetricError
from scops_tf.evaluation.landmark_split import Split


def _split(seed, num_images=50, num_parts=3, num_landmarks=4):
    generator = np.random.default_rng(seed)
    landmarks = generator.uniform(0, 1, (num_images, num_landmarks, 2)) * [130, 70]
    visible = generator.random((num_images, num_landmarks)) < 0.8
    visible[:, :2] = True
    visible[5, 2:] = False
    boxes = np.concatenate([generator.uniform(0, 20, (num_images, 2)),
                            generator.uniform(30, 90, (num_images, 2))], 1)
    centers = generator.uniform(0, 1, (num_images, num_parts, 2)) * [130, 70]
    return Split(centers, landmarks, visible, boxes)


@pytest.mark.parametrize('protocol', ['scops', 'no_intercept', 'cub'])
def test_the_constant_baseline_predicts_the_mean_landmark_of_the_fit_images(protocol):
    fit, test = _split(0), _split(1)
    scores = trivial_baselines.baselines(fit, test, protocol=protocol)['constant mean landmark']

    def framed(split):
        if protocol != 'cub':
            return split.landmarks
        return (split.landmarks - split.boxes[:, None, :2]) / split.boxes[:, None, 2:]

    for number in range(4):
        mean = framed(fit)[fit.visible[:, number], number].mean(0)
        unit = 1 if protocol == 'cub' else np.linalg.norm(
            test.landmarks[:, 0] - test.landmarks[:, 1], axis=1)
        expected = 100 * np.linalg.norm(framed(test)[:, number] - mean, axis=1) / unit
        seen = test.visible[:, number]
        np.testing.assert_allclose(scores.test_errors[seen, number], expected[seen])


def test_the_mid_point_lies_between_the_first_and_the_last_pixel():
    np.testing.assert_array_equal(trivial_baselines.midpoint_centers(np.array([[5, 9], [4, 1]])),
                                  [[[2, 4]], [[1.5, 0]]])


def test_random_centres_repeat_with_their_seed_and_stay_among_the_predictions():
    like = _split(0).centers
    like[0, 0] = np.nan
    drawn, again, other = (trivial_baselines.random_centers(400, like, seed=seed)
                           for seed in ([2, 0], [2, 0], [2, 1]))
    np.testing.assert_array_equal(drawn, again)
    assert drawn.shape == (400, 3, 2) and (drawn != other).all()
    low, high = np.nanmin(like, (0, 1)), np.nanmax(like, (0, 1))
    assert (drawn >= low).all() and (drawn <= high).all()
    np.testing.assert_allclose([drawn.min((0, 1)), drawn.max((0, 1))], [low, high], atol=1)


def test_true_key_points_are_absent_where_invisible():
    split = _split(0)
    alone = trivial_baselines.keypoint_centers(split, 3)
    np.testing.assert_array_equal(np.isnan(alone[:, 0, 0]), ~split.visible[:, 3])
    np.testing.assert_array_equal(alone[split.visible[:, 3], 0],
                                  split.landmarks[split.visible[:, 3], 3])
    centroid = trivial_baselines.centroid_centers(split)
    np.testing.assert_allclose(centroid[5, 0], split.landmarks[5, :2].mean(0))
    hidden = split.visible.copy()
    hidden[7] = False
    assert np.isnan(trivial_baselines.centroid_centers(split._replace(visible=hidden))[7]).all()


def test_one_true_key_point_is_the_one_shown_most_and_predicts_itself():
    fit, test = _split(0), _split(1)
    fit.visible[:, 0] = test.visible[:, 0] = False
    scores = trivial_baselines.baselines(fit, test, protocol='cub')
    errors = scores['true key point 1 alone'].landmark_errors()
    assert errors[1] == pytest.approx(0, abs=1e-9) and errors[2] > 1
    assert 'true key point 3 alone' in trivial_baselines.baselines(fit, test, protocol='cub',
                                                                   keypoint=3)
    with pytest.raises(MetricError, match='`keypoint` must be the number of a landmark, 0 to 3'):
        trivial_baselines.baselines(fit, test, protocol='cub', keypoint=4)


def test_what_the_regression_refuses_the_baselines_refuse():
    with pytest.raises(MetricError, match='`boxes` .* must be given'):
        trivial_baselines.baselines(_split(0)._replace(boxes=None), _split(1), protocol='cub')


def test_the_mid_point_needs_sizes():
    fit, test = _split(0), _split(1)
    assert 'image mid-point' not in trivial_baselines.baselines(fit, test)
    sizes = [np.tile([130, 70], (50, 1))] * 2
    scores = trivial_baselines.baselines(fit, test, sizes=sizes)
    assert scores['image mid-point'].test_error() == pytest.approx(
        scores['constant mean landmark'].test_error())


class _Birds:
    """CUB's annotations, straight from its text files: x and y in pixels."""

    def __init__(self, folder):
        def table(name):
            return np.loadtxt(folder / name, ndmin=2)

        names = [line.split()[1] for line in (folder / 'images.txt').read_text().splitlines()]
        self.sizes = np.array([Image.open(folder / 'images' / name).size for name in names], float)
        self.train = table('train_test_split.txt')[:, 1] == 1
        parts = table('parts/part_locs.txt').reshape(len(names), 15, 5)
        self.points, self.visible = parts[..., 2:4], parts[..., 4] == 1
        self.boxes = table('bounding_boxes.txt')[:, 1:]
        self.classes = table('image_class_labels.txt')[:, 1].astype(int)

    def splits(self, centers):
        return [Split(centers[rows], self.points[rows], self.visible[rows], self.boxes[rows],
                      self.classes[rows])
                for rows in (self.train, ~self.train)]

    def errors(self, centers):
        scores = landmark_regression.regress(*self.splits(centers), protocol='cub')
        return [scores.test_error(number) for number in (1, 2, 3)]


@pytest.fixture
def birds(shared):
    return _Birds(shared / 'data' / 'cub' / 'CUB_200_2011')


def test_baselines_on_birds_are_those_known(birds):
    fit, test = birds.splits(birds.points[:, :4])
    scores = trivial_baselines.baselines(
        fit, test, protocol='cub', sizes=(birds.sizes[birds.train], birds.sizes[~birds.train]))
    for name, known in (('constant mean landmark', (28.5, 27.4, 29.2)),
                        ('image mid-point', (26.7, 26.1, 26.5)),
                        ('centroid of the true key points', (14.5, 15.8, 12.8))):
        errors = [scores[name].test_error(number) for number in (1, 2, 3)]
        np.testing.assert_allclose(errors, known, atol=0.06, err_msg=name)


def test_published_baselines_on_birds_follow_from_the_pooled_protocol(birds):
    """Rows of Choudhury et al. (2021), table 1, up to the rounding of their resized photos.

    In those rows an invisible key point stands at pixel (0, 0), and the mid-point has its two
    coordinates swapped.
    """
    for centers, published in ((birds.points.mean(1), (20.9, 22.4, 19.9)),
                               (birds.points[:, 14], (16.4, 14.9, 15.2)),
                               (birds.sizes[:, ::-1] / 2, (27.3, 26.7, 27.2))):
        np.testing.assert_allclose(birds.errors(centers[:, None]), published, atol=0.15)
