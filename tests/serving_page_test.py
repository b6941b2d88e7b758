"""The requests and answers in docs/serving.md are those of the signatures."""
from __future__ import annotations

import ast
import base64
import json
import pathlib
import re
from typing import Any, Dict, Iterator, List

from google.protobuf import text_format
import numpy as np
import pytest
import tensorflow as tf

from scops_tf.serving import part_model as part_model_lib, warmup

_PAGE = (pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'serving.md').read_text(
    encoding='utf-8')


def _blocks(language: str) -> List[str]:
    return re.findall(rf'```{language}\n(.*?)```', _PAGE, re.DOTALL)


class _Tones(tf.Module):
    """Four parts, as the quick start's model has."""

    def part_responses(self, images: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_mean(images, axis=-1, keepdims=True)
        return tf.nn.softmax(tf.concat([images, mean, 1 - mean], axis=-1))


@pytest.fixture(scope='module')
def signatures() -> Iterator[Dict[str, Any]]:
    model = part_model_lib.PartModel(_Tones(), num_parts=4, input_size=(128, 128))
    yield model.signatures  # The functions live as long as the model.


def _tensor(message: Any) -> np.ndarray:
    return tf.make_ndarray(tf.make_tensor_proto(0).FromString(message.SerializeToString()))


def test_rest_requests_and_answers_are_those_of_their_signatures(signatures):
    first, first_answer, second, second_answer, error = map(json.loads, _blocks('json'))
    assert first['signature_name'] == 'encoded_labels' and second['signature_name'] == 'labels'
    encoded = [base64.b64decode(instance['b64'], validate=True) for instance in first['instances']]
    pixels = np.array(second['instances'])
    assert pixels.min() >= 0 and pixels.max() <= 255
    for answer, found in (
            (first_answer, signatures['encoded_labels'](tf.constant(encoded))),
            (second_answer, signatures['labels'](tf.constant(pixels, tf.uint8)))):
        # A signature of one output answers without its name.
        assert answer.keys() == {'predictions'} and found.keys() == {'labels'}
        assert np.shape(answer['predictions']) == found['labels'].shape
        assert set(np.unique(answer['predictions'])) <= set(range(5))
    assert error.keys() == {'error'}
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        signatures['encoded_labels'](tf.constant([b'no image']))
    assert error['error'].split('\n')[0] in str(caught.value)


def test_grpc_requests_and_answers_are_those_of_their_signature(signatures):
    request, answer = (text_format.Parse(text, warmup.message(name)()) for text, name in zip(
        _blocks('textproto'), ('PredictRequest', 'PredictResponse')))
    function = signatures[request.model_spec.signature_name]
    (wanted,), ((name, images),) = function.input_signature, request.inputs.items()
    assert name == wanted.name
    found = function(tf.constant(_tensor(images)))
    assert set(request.output_filter) == set(answer.outputs) < set(found)
    for name, tensor in answer.outputs.items():
        assert _tensor(tensor).shape == found[name].shape
        assert _tensor(tensor).dtype == found[name].dtype
    assert answer.model_spec.name == request.model_spec.name
    assert answer.model_spec.version.value == 1


def test_the_client_s_code_asks_for_what_there_is(signatures):
    code = _blocks('python')[0]
    words = {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
    function = signatures['encoded']
    assert {'encoded', 'labels', 'part_centers'} <= words
    assert function.input_signature[0].name == 'encoded'
    outputs = function.get_concrete_function().structured_outputs
    assert {'labels', 'part_centers'} <= outputs.keys()


def test_the_table_of_signatures_and_what_the_tool_shows_are_complete(signatures):
    table = re.findall(r'^\| `(\w+)` \| (.+?) \| (.+?) \|$', _PAGE, re.MULTILINE)
    assert {name for name, *_ in table if name in signatures} == signatures.keys()
    outputs = signatures['serving_default'].get_concrete_function().structured_outputs
    shown = re.findall(r'`(\w+)` (\w+)\[([\w,+]+)\]', {
        name: cell for name, _, cell in table}['serving_default'])
    assert {(name, dtype, sides.count(',') + 1) for name, dtype, sides in shown} == {
        (name, spec.dtype.name, spec.shape.rank) for name, spec in outputs.items()}
    assert "inputs['encoded']" in _PAGE and "outputs['labels']" in _PAGE


@pytest.mark.parametrize('value, shape', [([], None), (None, (0, 8, 12, 3)), ([b'RIFF'], None)])
def test_the_page_has_the_sentence_of_every_refusal(signatures, value, shape):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        if shape:
            signatures['labels'](tf.zeros(shape, tf.uint8))
        else:
            signatures['encoded_labels'](tf.constant(value, tf.string))
    sentence = re.search(r'assertion failed: \[(.*?)\]', str(caught.value).replace(
        '[photos, height, width, 3]', '(shape)'))[1]
    assert sentence in _PAGE.replace('[photos, height, width, 3]', '(shape)')
