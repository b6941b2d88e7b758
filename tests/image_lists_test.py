from __future__ import annotations

import hashlib

import numpy as np
import pytest

from scops_tf.evaluation import image_lists


def test_the_hash_is_sha256_of_the_sorted_names_whatever_their_order():
    expected = hashlib.sha256('a/1.jpg\na/2.jpg\nb é.jpg\n'.encode()).hexdigest()
    assert image_lists.image_list_hash(['b é.jpg', 'a/2.jpg', 'a/1.jpg']) == expected
    assert image_lists.image_list_hash(['a/1.jpg', 'a/2.jpg', 'b é.jpg']) == expected


def test_the_hash_tells_lists_apart_that_would_be_alike_when_joined():
    assert image_lists.image_list_hash(['ab', 'c']) != image_lists.image_list_hash(['a', 'bc'])


def test_matching_puts_names_in_the_order_of_the_reference():
    names, reference = ['c', 'a', 'd', 'b'], ['a', 'b', 'c', 'd']
    order = image_lists.match_names(names, reference)
    assert [names[place] for place in order] == reference


@pytest.mark.parametrize('names, reference, words', [
    (['a', 'b', 'a'], ['a', 'b', 'c'], "'a' 2 times"),
    (['a', 'b'], ['a', 'b', 'c'], "1 are missing, the first of them 'c'"),
    (['a', 'b', 'x'], ['a', 'b'], "1 are unknown, the first of them 'x'"),
    ([], ['a'], 'at least one'),
])
def test_missing_unknown_and_repeated_names_are_refused_in_words(names, reference, words):
    with pytest.raises(image_lists.ImageListError, match=words):
        image_lists.match_names(names, reference)


def test_the_bootstrap_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = image_lists.bootstrap_interval(lambda drawn: values[drawn].mean(), 400, seed=1)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_bootstrap_repeats_with_its_seed_and_only_with_it():
    values = np.random.default_rng(0).normal(size=30)
    first, again, other = (image_lists.bootstrap_interval(
        lambda drawn: values[drawn].mean(), 30, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_the_bootstrap_leaves_out_draws_without_a_score():
    values = np.array([np.nan, 2.0])

    def score(drawn):
        known = values[drawn][~np.isnan(values[drawn])]
        return known.mean() if known.size else float('nan')

    assert image_lists.bootstrap_interval(score, 2) == (2.0, 2.0)
    assert np.isnan(image_lists.bootstrap_interval(lambda drawn: float('nan'), 2)).all()


@pytest.mark.parametrize('settings', [{'num_images': 0}, {'num_samples': 0}, {'confidence': 1.0}])
def test_bootstrap_settings_out_of_range_are_refused(settings):
    with pytest.raises(image_lists.ImageListError, match='must be'):
        image_lists.bootstrap_interval(lambda drawn: 0.0, **{'num_images': 3, **settings})
