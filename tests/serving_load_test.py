"""The load of mixed requests: what is sent, what counts as wrong, and what counts as growth."""
from __future__ import annotations

import importlib.util
import io
import pathlib
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

_SCRIPT = pathlib.Path(__file__).resolve().parent.parent / 'scripts' / 'serving_load.py'


@pytest.fixture(scope='module')
def load():
    spec = importlib.util.spec_from_file_location('serving_load', _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules['serving_load'] = module
    spec.loader.exec_module(module)
    module._SIZES = ((9, 12), (12, 9), (20, 30), (31, 40))
    yield module
    del sys.modules['serving_load']


def test_requests_are_of_every_signature_and_size_and_repeat_with_the_seed(load):
    requests = load.plan(400, seed=3)
    answered = [request for request in requests if request.size]
    assert 0.05 < 1 - len(answered) / 400 < 0.15
    assert {(request.signature, request.size, len(request.value)) for request in answered} == {
        (name, size, count) for name in ('serving_default', 'labels', 'encoded', 'encoded_labels')
        for size in load._SIZES for count in load._COUNTS}
    again = load.plan(400, seed=3)
    assert all(np.array_equal(one.value, other.value) for one, other in zip(requests, again)
               if isinstance(one.value, np.ndarray))
    for request in answered:
        if isinstance(request.value, list):
            assert Image.open(io.BytesIO(request.value[-1])).size == request.size[::-1]
        else:
            assert request.value.shape == (len(request.value), *request.size, 3)


def test_a_wrong_outcome_is_told_and_another_error_is_raised(load):
    good, bad = (kind[0] for kind in load.kinds(seed=0))
    shape = (len(good.value), *good.size)

    def answer(images):
        return {'labels': np.zeros(shape)}

    def refuse(images):
        raise tf.errors.InvalidArgumentError(None, None, 'refused')

    def fail(images):
        raise tf.errors.ResourceExhaustedError(None, None, 'out of memory')

    for function, request, is_right in (
            (answer, good, True), (refuse, good, False), (answer, bad, False), (refuse, bad, True),
            (lambda images: {'labels': np.zeros((9, 9, 9))}, good, False)):
        outcome = load.send({'serving_default': function}, request)
        assert outcome.is_right == is_right and outcome.resident_mib > 1
    with pytest.raises(tf.errors.ResourceExhaustedError):
        load.send({'serving_default': fail}, good)


def test_growth_is_that_of_the_last_half(load):
    slope, added = load.growth(np.array([*np.linspace(0, 900, 100), *np.full(100, 1000.0)]))
    assert slope == pytest.approx(0, abs=1e-6) and added == pytest.approx(0, abs=1e-6)
    slope, added = load.growth(np.arange(200) / 10)
    assert slope == pytest.approx(100) and added == pytest.approx(10)
