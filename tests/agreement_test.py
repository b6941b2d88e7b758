"""Laws of saliency maps that agree over a collection."""
from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest

from scops_tf.saliency import agreement

NUM_PHOTOS, HEIGHT, WIDTH, NUM_CHANNELS = 60, 8, 13, 40


def _planted(seed: int = 0) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, maps of single photos, and where the object is, all of them [N,h,w,...].

    The object has the same features in every photo, what stands beside it others in each. A map
    finds the object in part, and what stands beside it as well.
    """
    generator = np.random.default_rng(seed)
    features = generator.normal(0, 0.1, (NUM_PHOTOS, HEIGHT, WIDTH, NUM_CHANNELS))
    maps = generator.uniform(0, 0.2, (NUM_PHOTOS, HEIGHT, WIDTH))
    objects = np.zeros((NUM_PHOTOS, HEIGHT, WIDTH), bool)
    looks = generator.normal(0, 1, NUM_CHANNELS)
    for number in range(NUM_PHOTOS):
        top, left = generator.integers([3, 7])
        objects[number, top:top + 4, left:left + 5] = True
        beside = np.zeros((HEIGHT, WIDTH), bool)
        beside[generator.integers(HEIGHT - 1):][:2, generator.integers(WIDTH - 5):][:, :6] = True
        beside &= ~objects[number]
        features[number, objects[number]] += looks
        features[number, beside] += generator.normal(0, 1, NUM_CHANNELS)
        maps[number, objects[number]] = generator.uniform(0.3, 1, objects[number].sum())
        maps[number, beside] = 0.7
    return features.astype(np.float32), maps.astype(np.float32), objects


def _overlap(maps: np.ndarray, objects: np.ndarray) -> float:
    """Intersection over union of the objects and as many of the most salient places."""
    found = maps >= np.sort(maps, axis=None)[-objects.sum()]
    return np.sum(found & objects) / np.sum(found | objects)


def test_what_all_photos_have_in_common_is_found_where_each_map_is_wrong():
    features, maps, objects = _planted()
    assert _overlap(maps, objects) < 0.4
    agreed = agreement.agree(features, maps)
    assert agreed.dtype == np.float32 and agreed.shape == maps.shape
    assert _overlap(agreed, objects) > 0.7


def test_the_mean_share_of_the_foreground_is_kept():
    features, maps, _ = _planted()
    for num_rounds in (1, 4):
        agreed = agreement.agree(features, maps, num_rounds=num_rounds)
        assert 0 < agreed.min() and agreed.max() < 1
        assert np.mean(agreed > 0.5) == pytest.approx(maps.mean(), abs=2 / maps.size)


def test_what_the_channels_are_called_and_measured_in_makes_no_difference():
    features, maps, _ = _planted()
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=[NUM_CHANNELS] * 2))
    others = (7 * features @ rotation + 3).astype(np.float32)
    np.testing.assert_allclose(agreement.agree(others, maps),
                               agreement.agree(features, maps), atol=2e-3)


def test_features_are_read_one_photo_at_a_time():
    features, maps, _ = _planted()

    class OnePhoto:
        shape = features.shape

        def __getitem__(self, index: int) -> np.ndarray:
            assert isinstance(index, int)
            return features[index]

    np.testing.assert_array_equal(agreement.agree(OnePhoto(), maps),
                                  agreement.agree(features, maps))


def test_maps_of_other_shapes_are_refused():
    features, maps, _ = _planted()
    for wrong in (maps[1:], maps[:, :, 1:], np.swapaxes(maps, 1, 2)):
        with pytest.raises(ValueError, match=r'`saliency_maps` must be of shape \(60, 8, 13\)'):
            agreement.agree(features, wrong)


@pytest.mark.parametrize('value', [0.0, 0.3, 1.0])
def test_maps_that_tell_nothing_are_refused(value):
    features, maps, _ = _planted()
    with pytest.raises(ValueError, match=f'values are {value}.*`Run.saliency_agreement` to 0'):
        agreement.agree(features, np.full_like(maps, value))


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value):
    features, maps, _ = _planted()
    for array, name in ((features, 'features'), (maps, 'saliency_maps')):
        kept = array[3, 4, 5].copy()
        array[3, 4, 5] = value
        with pytest.raises(ValueError, match=f'`{name}` must be finite'):
            agreement.agree(features, maps)
        array[3, 4, 5] = kept
