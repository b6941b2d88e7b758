from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys

import numpy as np
import pytest

from scops_tf import config
from scops_tf.serving import crf

_SIZE = 40, 60
# Three pixels of a photo of that size, in those of a photo of 512x512.
_THREE_PIXELS = 3 * 512 / np.sqrt(40 * 60)


_needs_library = pytest.mark.skipif(importlib.util.find_spec('pydensecrf') is None,
                                    reason='pydensecrf2 (the extra `crf`) is not installed.')


def _scene():
    """A square of two parts, left and right: photo, labels, and blurred and noisy responses."""
    photo = np.full((*_SIZE, 3), (40, 120, 60), np.uint8)
    labels = np.zeros(_SIZE, np.uint8)
    labels[10:30, 15:30], labels[10:30, 30:45] = 1, 2
    photo[labels == 1], photo[labels == 2] = (220, 60, 50), (60, 60, 220)
    responses = np.zeros((*_SIZE, 3), np.float32)
    for part in (1, 2):
        rows, columns = np.nonzero(labels == part)
        distance = np.hypot((np.arange(_SIZE[0])[:, np.newaxis] - rows.mean()) / 1.3,
                            np.arange(_SIZE[1]) - columns.mean())
        responses[..., part] = 1 / (1 + np.exp((distance - 8) / 1.5))
    responses *= np.random.default_rng(0).uniform(0.3, 1, responses.shape)
    return photo, labels, responses


def _decoded(responses, background=0.1):
    maps = responses / np.maximum(responses.max(axis=(0, 1)), 1e-12)
    maps[..., 0] = background
    return maps.argmax(-1).astype(np.uint8)


def _accuracy(found, labels):
    return (found == labels).mean()


@_needs_library
def test_without_pairwise_terms_the_labels_are_those_of_the_plain_decoding():
    photo, _, responses = _scene()
    for options in ({'spatial_weight': 0, 'bilateral_weight': 0}, {'iterations': 0}):
        for background in (0.1, 0.4):
            found = crf.refine_labels(responses, photo, background=background, **options)
            np.testing.assert_array_equal(found, _decoded(responses, background))
            assert found.dtype == np.uint8 and found.shape == _SIZE


@_needs_library
def test_the_bilateral_term_follows_the_photo_s_edges():
    photo, labels, responses = _scene()
    plain, spatial, full = (_accuracy(found, labels) for found in (
        _decoded(responses), crf.refine_labels(responses, photo, bilateral=False),
        crf.refine_labels(responses, photo)))
    assert full > 0.98 and full > spatial and full > plain + 0.05


@_needs_library
def test_the_spatial_term_smooths_and_takes_no_photo():
    photo, _, responses = _scene()
    options = {'bilateral': False, 'spatial_sigma': _THREE_PIXELS, 'spatial_weight': 3.0}
    found = crf.refine_labels(responses, None, **options)
    again = crf.refine_labels(responses, photo, **options)
    np.testing.assert_array_equal(found, again)

    def borders(labels):
        return (np.diff(labels, axis=0) != 0).sum() + (np.diff(labels, axis=1) != 0).sum()

    assert borders(found) < 0.8 * borders(_decoded(responses))


@_needs_library
def test_a_single_odd_pixel_joins_its_surroundings():
    photo = np.full((*_SIZE, 3), 90, np.uint8)
    responses = np.zeros((*_SIZE, 3), np.float32)
    responses[..., 1] = 1.0
    responses[20, 33] = 0, 0, 1
    assert _decoded(responses)[20, 33] == 2
    assert (crf.refine_labels(responses, photo, spatial_sigma=_THREE_PIXELS, spatial_weight=10.0)
            == 1).all()


@_needs_library
def test_small_parts_side_by_side_are_as_much_foreground_as_one_large_part():
    # A pixel has few neighbours of its own part here, but many of the foreground.
    stripes = np.zeros((*_SIZE, 9), np.float32)
    for column in range(16, 44):
        stripes[12:28, column, 1 + column // 2 % 8] = 0.5
    stripes[20, 16:44] *= 2
    whole = np.zeros((*_SIZE, 2), np.float32)
    whole[..., 1] = stripes.max(axis=-1)
    found, expected = (
        crf.refine_labels(maps, None, bilateral=False, spatial_sigma=_THREE_PIXELS,
                          spatial_weight=6.0) for maps in (stripes, whole))
    np.testing.assert_array_equal(found > 0, expected > 0)
    assert (found > 0).sum() > 0.9 * (whole[..., 1] > 0).sum()
    assert len(np.unique(found)) == 9


@_needs_library
def test_the_scale_of_a_part_s_responses_and_the_network_s_background_mean_nothing():
    photo, _, responses = _scene()
    found = crf.refine_labels(responses, photo)
    scaled = responses * np.array([7.0, 0.25, 4.0], np.float32)
    scaled[..., 0] = 0.9
    np.testing.assert_array_equal(crf.refine_labels(scaled, photo), found)


@_needs_library
def test_permuted_parts_give_permuted_labels():
    photo, _, responses = _scene()
    found = crf.refine_labels(responses[..., [0, 2, 1]], photo)
    np.testing.assert_array_equal(np.array([0, 2, 1])[found], crf.refine_labels(responses, photo))


@_needs_library
def test_the_labels_move_with_the_photo():
    photo, _, responses = _scene()
    found = crf.refine_labels(responses.swapaxes(0, 1), photo.swapaxes(0, 1))
    assert _accuracy(found.T, crf.refine_labels(responses, photo)) > 0.995


@_needs_library
def test_a_photo_has_the_same_labels_at_any_size():
    # Of one colour, so that what lies near a pixel decides alone.
    responses = np.zeros((*_SIZE, 3), np.float32)
    responses[12:28, 18:30, 1] = responses[12:28, 30:42, 2] = 0.5

    def refined(times):
        larger = responses.repeat(times, axis=0).repeat(times, axis=1)
        found = crf.refine_labels(larger, np.full((*larger.shape[:2], 3), 90, np.uint8))
        return found[times // 2::times, times // 2::times]

    assert set(refined(1).ravel()) == {0, 1, 2}
    assert _accuracy(refined(3), refined(1)) > 0.99
    assert _accuracy(refined(10), refined(1)) > 0.99


@_needs_library
def test_the_same_input_gives_the_same_labels():
    photo, _, responses = _scene()
    np.testing.assert_array_equal(crf.refine_labels(responses, photo),
                                  crf.refine_labels(responses.copy(), photo.copy()))


@_needs_library
def test_the_inputs_are_not_written_to():
    photo, _, responses = _scene()
    photo.flags.writeable = responses.flags.writeable = False
    crf.refine_labels(responses, photo)


@_needs_library
@pytest.mark.parametrize('size', [(1, 1), (1, 7), (9, 2)])
def test_tiny_photos_and_dead_parts_get_labels(size):
    photo = np.zeros((*size, 3), np.uint8)
    assert not crf.refine_labels(np.zeros((*size, 4)), photo).any()
    responses = np.zeros((*size, 4))
    responses[..., 2] = 0.3
    assert (crf.refine_labels(responses, photo) == 2).all()


def test_the_constants_are_those_of_the_configuration():
    signature = inspect.signature(crf.refine_labels)
    defaults = {name: signature.parameters[name].default for name in signature.parameters}
    fields = {field.name: field.default for field in dataclasses.fields(config.Crf)}
    assert fields == {name: defaults[name] for name in fields}
    assert set(defaults) - set(fields) == {'part_responses', 'image', 'background'}


@pytest.mark.parametrize('options', [
    {'iterations': -1}, {'spatial_sigma': 0}, {'bilateral_sigma': -2.0}, {'color_sigma': 0.0},
    {'spatial_weight': float('nan')}, {'bilateral_weight': -1}, {'background': 0}], ids=str)
def test_an_option_out_of_range_is_named(options):
    photo, _, responses = _scene()
    with pytest.raises(crf.CrfError, match=f'`{next(iter(options))}` must be'):
        crf.refine_labels(responses, photo, **options)


@pytest.mark.parametrize('spoil, name', [
    (lambda photo, responses: (photo[1:], responses), 'image'),
    (lambda photo, responses: (None, responses), 'image'),
    (lambda photo, responses: (photo / 255, responses), 'image'),
    (lambda photo, responses: (photo, responses - 1), 'part_responses'),
    (lambda photo, responses: (photo, responses * np.nan), 'part_responses'),
    (lambda photo, responses: (photo, responses[..., :1]), 'part_responses'),
    (lambda photo, responses: (photo, responses[0]), 'part_responses')])
def test_inputs_that_do_not_fit_are_named(spoil, name):
    photo, _, responses = _scene()
    photo, responses = spoil(photo, responses)
    with pytest.raises(crf.CrfError, match=f'`{name}` must be'):
        crf.refine_labels(responses, photo)


def test_without_the_package_there_is_one_sentence(monkeypatch):
    photo, _, responses = _scene()
    for name in ('pydensecrf', 'pydensecrf.densecrf'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(crf.CrfError, match=r'pip install .*pydensecrf2') as caught:
        crf.refine_labels(responses, photo)
    assert '\n' not in str(caught.value)
