import numpy as np
import pytest
import tensorflow as tf

from scops_tf.baselines import clusters, factors
from scops_tf.features import factorization
from scops_tf.serving import decoding, part_model as part_model_lib, saved_model

HEIGHT, WIDTH, STRIDE = 48, 64, 4
GRID = (HEIGHT // STRIDE, WIDTH // STRIDE)


class ColorFeatures(tf.Module):
    """Red, green and blue, averaged over cells, each with a direction of its own."""

    def __init__(self, directions):
        super().__init__()
        self.directions = tf.Variable(directions, trainable=False, dtype=tf.float32)

    def __call__(self, images):
        cells = tf.nn.avg_pool2d(images, STRIDE, STRIDE, 'VALID')
        return tf.tensordot(cells, self.directions, 1)


@pytest.fixture(scope='module')
def planted():
    """Dark photos with a red, a green and a blue block each, and their features."""
    rng = np.random.default_rng(0)
    directions = rng.random((3, 20)) * (rng.random((3, 20)) < 0.5)
    images = rng.uniform(0, 0.02, (8, HEIGHT, WIDTH, 3)).astype(np.float32)
    labels = np.zeros((8, *GRID), np.int32)
    for index in range(8):
        left = rng.integers(1, 4)
        for part in range(3):
            top, x = rng.integers(1, GRID[0] - 5), left + 4 * part
            cells = np.s_[index, top:top + 4, x:x + 3]
            labels[cells] = part + 1
            strengths = rng.uniform(0.6, 1.0, (4, 3))
            images[cells[0], STRIDE * top:STRIDE * (top + 4), STRIDE * x:STRIDE * (x + 3), part] = (
                np.kron(strengths, np.ones((STRIDE, STRIDE))))
    module = ColorFeatures(directions)
    return images, labels, module, module(tf.constant(images)).numpy(), directions


def _cosines(first, second):
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    return first @ (second / np.linalg.norm(second, axis=1, keepdims=True)).T


def test_factorization_finds_the_planted_factors(planted):
    *_, features, directions = planted
    basis = factors.fit(features, None, 3, num_background=0).parts
    assert basis.shape == directions.shape and basis.dtype == np.float32
    assert basis.min() >= 0
    matched = _cosines(basis, directions)
    assert sorted(matched.argmax(axis=1)) == [0, 1, 2] and matched.max(axis=1).min() > 0.99


def test_a_factor_is_scaled_by_its_own_activations(planted):
    *_, features, _ = planted
    basis = factors.fit(features, None, 3, num_background=0).parts
    activations = factorization.project(features, basis).numpy().reshape(-1, 3)
    np.testing.assert_allclose(np.percentile(activations, 99, axis=0), 1, rtol=0.02)


def test_factorization_refuses_negative_features_and_too_many_parts():
    features = np.random.default_rng(0).random((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r'`num_factors` must lie in \[1, 5\].*; got 6'):
        factors.fit(features, None, 5, num_background=1)
    with pytest.raises(ValueError, match='`rows` must be at least 0'):
        factors.fit(features - 0.5, None, 2)
    with pytest.raises(ValueError, match='`num_background` at least 0; got 2 and -1'):
        factors.fit(features, None, 2, num_background=-1)
    with pytest.raises(ValueError, match='`saliency_maps` must be of shape'):
        factors.fit(features, np.zeros((2, 4, 3)), 2)


# The background of the factorization.


@pytest.fixture(scope='module')
def surroundings():
    """Features of two parts before two kinds of surroundings, their labels (-1, -2 are those)."""
    rng = np.random.default_rng(3)
    directions = np.array([[5, 0, 0, 0, 1], [0, 4, 0, 0, 1], [0, 0, 6, 0, 0], [0, 0, 0, 5, 1.0]])
    labels = np.full((6, 8, 11), -1)
    labels[:, 5:] = -2
    for index in range(6):
        top, left = rng.integers(1, 3), rng.integers(1, 5)
        labels[index, top:top + 4, left:left + 3] = 1
        labels[index, top:top + 4, left + 3:left + 5] = 2
    rows = {1: 0, 2: 1, -1: 2, -2: 3}
    features = np.stack([directions[rows[label]] for label in labels.ravel()])
    features = features.reshape(*labels.shape, -1) * rng.uniform(0.8, 1.2, (*labels.shape, 1))
    return features.astype(np.float32), labels, directions


def _served(features, found):
    """Part responses to features that are given as photos."""
    network = factors.DeepFeatureFactorization(tf.identity, found)
    return network.part_responses(tf.constant(features))


@pytest.mark.parametrize('with_saliency', [True, False])
def test_the_background_factors_are_the_surroundings_and_the_parts_remain(
        surroundings, with_saliency):
    features, labels, directions = surroundings
    saliency = 0.2 + 0.5 * (labels > 0) if with_saliency else None
    found = factors.fit(features, saliency, 2, num_background=2)
    assert found.parts.shape == found.background.shape == (2, 5)
    assert sorted(_cosines(found.parts, directions).argmax(axis=1)) == [0, 1]
    assert sorted(_cosines(found.background, directions).argmax(axis=1)) == [2, 3]
    decoded = decoding.decode(_served(features, found), labels.shape[1:]).numpy()
    np.testing.assert_array_equal(decoded > 0, labels > 0)
    assert {*decoded[labels == 1]} ^ {*decoded[labels == 2]} == {1, 2}


def test_without_background_factors_every_cell_is_of_a_part_and_saliency_has_no_say(surroundings):
    features, labels, _ = surroundings
    found, again = (factors.fit(features, saliency, 4, num_background=0)
                    for saliency in (None, (labels > 0).astype(np.float32)))
    np.testing.assert_array_equal(found.parts, again.parts)
    assert found.background.shape == (0, 5)
    assert decoding.decode(_served(features, found), labels.shape[1:]).numpy().min() > 0


def test_all_factors_together_are_the_same_however_many_are_background(surroundings):
    features, labels, _ = surroundings
    saliency = (labels > 0).astype(np.float32)
    both = [np.concatenate(factors.fit(features, saliency, 4 - count, num_background=count))
            for count in (0, 1, 3)]
    for found in both[1:]:
        np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(both[0], axis=0))


def test_more_background_factors_are_added_in_the_order_of_salience(surroundings):
    features, labels, directions = surroundings
    saliency = np.select([labels == 1, labels == 2, labels == -1], [0.1, 0.9, 0.5], 0.3)
    for count, expected in enumerate(([0], [0, 3], [0, 2, 3]), start=1):
        found = factors.fit(features, saliency, 4 - count, num_background=count)
        assert sorted(_cosines(found.background, directions).argmax(axis=1)) == expected


def test_photos_in_another_order_give_the_same_background(surroundings):
    features, labels, directions = surroundings
    saliency = (labels > 0).astype(np.float32)
    found, permuted = (factors.fit(features[order], saliency[order], 2, num_background=2)
                       for order in (np.arange(6), np.array([4, 1, 5, 0, 3, 2])))
    np.testing.assert_allclose(found.background, permuted.background, rtol=0.05, atol=0.05)
    np.testing.assert_allclose(found.parts, permuted.parts, rtol=0.05, atol=0.05)


def test_the_order_of_factors_permutes_the_parts_and_that_of_background_changes_nothing(
        surroundings):
    features, labels, _ = surroundings
    found = factors.fit(features, (labels > 0).astype(np.float32), 2, num_background=2)
    swapped = factors.LabelledFactors(found.parts[::-1], found.background[::-1])
    np.testing.assert_allclose(_served(features, swapped).numpy(),
                               _served(features, found).numpy()[..., [0, 2, 1]], atol=1e-5)


def test_a_response_is_the_activation_above_that_of_the_background():
    found = factors.LabelledFactors(np.eye(4)[:2], np.eye(4)[2:])
    features = np.array([[[[0.5, 0.3, 0.1, 0.2], [0.4, 0.1, 0.2, 0.0], [0.2, 0.2, 0.0, 0.3]]]])
    responses = _served(features.astype(np.float32), found).numpy()
    expected = [[0.6, 0.3, 0.1], [0.8, 0.2, 0.0], [1.0, 0.0, 0.0]]
    np.testing.assert_allclose(responses[0, 0], expected, atol=1e-6)


def _fits(planted):
    _, labels, module, features, _ = planted
    saliency = (labels > 0).astype(np.float32)
    return {
        'dff': factors.DeepFeatureFactorization(
            module, factors.fit(features, saliency, 3, num_background=0)),
        'whole photos': clusters.KMeans(module, clusters.fit(features, None, 3)),
        'least salient': clusters.KMeans(module, clusters.fit(features, saliency, 3)),
        'inside': clusters.KMeans(module, clusters.fit(
            features, saliency, 3, inside_saliency=True))}


@pytest.mark.parametrize('name', ['dff', 'whole photos', 'least salient', 'inside'])
def test_the_planted_parts_are_found_in_every_photo(planted, name):
    images, labels, *_ = planted
    responses = _fits(planted)[name].part_responses(tf.constant(images))
    found = decoding.decode(responses, GRID).numpy()
    parts = [np.bincount(found[labels == part], minlength=4).argmax() for part in range(4)]
    assert parts[0] == 0 and sorted(parts) == [0, 1, 2, 3]
    np.testing.assert_array_equal(found, np.array(parts)[labels])


@pytest.mark.parametrize('name', ['dff', 'inside'])
def test_responses_lie_in_0_1_and_sum_to_1(planted, name):
    images, *_ = planted
    responses = _fits(planted)[name].part_responses(tf.constant(images)).numpy()
    assert responses.shape == (8, *GRID, 4) and responses.dtype == np.float32
    assert responses.min() >= 0 and responses.max() <= 1
    np.testing.assert_allclose(responses.sum(axis=-1), 1, atol=1e-6)


def test_responses_of_the_factorization_are_its_activations_up_to_one_number_a_photo(planted):
    images, _, module, features, _ = planted
    basis = 0.3 * factors.fit(features, None, 3, num_background=0).parts
    network = factors.DeepFeatureFactorization(
        module, factors.LabelledFactors(basis, basis[:0]))
    responses = network.part_responses(tf.constant(images))
    activations = factorization.project(features, basis).numpy()
    divisor = activations.sum(axis=-1).max(axis=(1, 2), keepdims=True)[..., np.newaxis]
    assert divisor.min() > 1
    np.testing.assert_allclose(responses[..., 1:], activations / divisor, atol=1e-5)


def test_the_same_seed_gives_the_same_result_to_the_bit():
    features = np.random.default_rng(0).random((6, 5, 7, 12)).astype(np.float16)
    saliency = np.random.default_rng(1).random((6, 5, 7))
    first, second = (factors.fit(features, saliency, 3, max_rows=100, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.parts, second.parts)
    np.testing.assert_array_equal(first.background, second.background)
    for inside in (False, True):
        first, second = (clusters.fit(features, saliency, 3, inside_saliency=inside, max_rows=100,
                                      seed=5) for _ in range(2))
        np.testing.assert_array_equal(first.centers, second.centers)
        np.testing.assert_array_equal(first.labels, second.labels)


def test_clusters_inside_the_saliency_map_weigh_places_by_it():
    rng = np.random.default_rng(0)
    features, saliency = np.zeros((4, 5, 6, 2)), np.zeros((4, 5, 6))
    saliency[:, 1:3, 1:5], saliency[:, 3, 1:3] = 1, 0.5
    features[saliency == 0] = [0, 9]
    features[saliency == 1] = [5, 0]
    features[saliency == 0.5] = [3, 3]
    features += rng.normal(0, 0.01, features.shape)
    found = clusters.fit(features, saliency, 2, inside_saliency=True)
    assert found.centers.shape == (4, 2)
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 2])
    np.testing.assert_allclose(found.centers[2:], [[5, 0], [3, 3]], atol=0.02)


def test_parts_are_numbered_by_size(planted):
    _, _, _, features, _ = planted
    found = clusters.fit(features, None, 3)
    distances = np.linalg.norm(features[..., np.newaxis, :] - found.centers, axis=-1)
    sizes = np.bincount(distances.argmin(axis=-1).ravel(), minlength=4)
    assert list(sizes[1:]) == sorted(sizes[1:], reverse=True)


def test_clusters_that_cannot_be_are_refused():
    features, saliency = np.random.default_rng(0).random((2, 3, 4, 5)), np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match='must be given'):
        clusters.fit(features, None, 2, inside_saliency=True)
    with pytest.raises(ValueError, match='`saliency_maps` must be of shape'):
        clusters.fit(features, saliency[:, ::2], 2)
    with pytest.raises(ValueError, match='of weight above 0, 0; got 2'):
        clusters.fit(features, saliency, 2, inside_saliency=True)
    with pytest.raises(ValueError, match='`num_parts`'):
        clusters.fit(features, None, 0)


@pytest.mark.parametrize('name', ['dff', 'inside'])
def test_a_baseline_is_served_as_a_segmenter_is(planted, name, tmp_path):
    images, labels, *_ = planted
    model = part_model_lib.PartModel(_fits(planted)[name], num_parts=3, input_size=(HEIGHT, WIDTH))
    photos = np.rint(images * 255).astype(np.uint8)
    loaded = tf.saved_model.load(saved_model.export(model, str(tmp_path), metadata={}))
    served = loaded.signatures['serving_default'](images=tf.constant(photos))
    assert served['labels'].shape == labels.shape[:1] + (HEIGHT, WIDTH)
    inner = served['labels'].numpy()[:, STRIDE // 2::STRIDE, STRIDE // 2::STRIDE]
    assert np.mean((inner > 0) == (labels > 0)) > 0.8
    np.testing.assert_allclose(served['part_responses'].numpy(),
                               model.predict(photos)['part_responses'].numpy(), atol=1e-6)
