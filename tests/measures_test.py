"""Laws of the measures that tell whether a training goes well."""
from __future__ import annotations

import numpy as np
import pytest

from scops_tf.training import measures

_SIZE = (32, 48)


def _responses(*parts):
    """Responses f32[h,w,K+1] that are 1 in the given windows of each part, else background."""
    found = np.zeros((*_SIZE, len(parts) + 1), np.float32)
    for number, windows in enumerate(parts, start=1):
        for window in windows:
            found[(*window, number)] = 1
    found[..., 0] = 1 - found[..., 1:].max(axis=-1)
    return found / found.sum(axis=-1, keepdims=True)


_LEFT, _RIGHT = np.s_[8:24, 8:16], np.s_[8:24, 16:24]
_FAR, _BORDER = np.s_[8:24, 36:44], np.s_[0:2, :]


def _measured(responses, saliency=None):
    collected = measures.PhotoMeasures(responses.shape[-1] - 1, least_presence=0.3)
    collected.add('a', responses, responses.argmax(axis=-1), saliency)
    return collected.measures()


def test_parts_are_measured_where_they_respond():
    saliency = np.zeros(_SIZE)
    saliency[_LEFT] = 1
    found = _measured(_responses([_LEFT], [_RIGHT], [_BORDER], []), saliency)
    np.testing.assert_allclose(found.presence, [1, 1, 1, 0])
    np.testing.assert_allclose(found.area, [1 / 12, 1 / 12, 1 / 16, 0])
    assert found.foreground == pytest.approx(1 / 12 + 1 / 12 + 1 / 16)
    np.testing.assert_allclose(found.salient, [1, 0, 0, 0])
    assert found.margin[0] == found.margin[1] == 0 and 0.2 < found.margin[2] < 0.4
    np.testing.assert_allclose(found.likeness, np.diag([1, 1, 1, 0]), atol=1e-12)
    assert found.doubt == 0 and found.empty == () and found.num_photos == 1
    assert _measured(_responses([_LEFT])).salient is None


def test_parts_that_share_all_pixels_are_alike_and_in_doubt():
    found = _measured(_responses([_LEFT], [_LEFT]))
    assert found.likeness[0, 1] == pytest.approx(1)
    assert found.doubt == pytest.approx(0.5 / 12)


def test_photos_without_parts_and_with_two_objects_are_named():
    collected = measures.PhotoMeasures(2, least_presence=0.3)
    for name, parts in (('one', ([_LEFT], [_RIGHT])), ('none', ([], [])),
                        ('two', ([_LEFT, _FAR], [_RIGHT]))):
        responses = _responses(*parts)
        collected.add(name, responses, responses.argmax(axis=-1), None)
    found = collected.measures()
    assert found.empty == ('none',) and found.crowded == ('two',)
    assert found.scalars()['doctor/photos_of_several_objects'] == pytest.approx(1 / 3)


def test_an_outlier_is_unlike_all_others_and_a_kind_of_its_own_is_not():
    generator = np.random.default_rng(0)
    kinds = generator.uniform(size=(3, 64))
    rows = kinds[[0] * 20 + [1] * 20] + 0.05 * generator.uniform(size=(40, 64))
    assert measures.outliers(rows, ratio=1.75, distance=2.0).size == 0
    with_another = np.insert(rows, 7, kinds[2], axis=0)
    assert measures.outliers(with_another, ratio=1.75, distance=2.0).tolist() == [7]
    assert measures.outliers(with_another[4:11], ratio=1.75, distance=2.0).size == 0


def test_steps_are_clipped_whose_norm_is_above_the_limit():
    logged = [(step, {'gradient_norm/head': step, 'loss/total': 9.0}) for step in range(1, 11)]
    assert measures.clipped_share(logged, 7.0, after=6) == {'head': 0.75}
    assert measures.clipped_share(logged, 7.0, after=10) == {}
    assert measures.clipped_share(logged, None, after=0) == {}


def test_what_was_not_measured_is_not_logged():
    assert measures.Measures().scalars() == {}
    found = measures.Measures(pulls={'a': 1.0, 'b': 3.0}, doubt=0.25)
    assert found.scalars() == {'doctor/doubt': 0.25, 'doctor/gradient_share/a': 0.25,
                               'doctor/gradient_share/b': 0.75}
