"""Requests that TensorFlow Serving answers while it loads an export, so that the first is not slow.

The server reads them as TFRecords of its message PredictionLog. The package that brings its
messages is no requirement, so the few that are used are described here, field by field with the
numbers of the server's own. They lie in a pool of descriptors of their own and get along with that
package.
"""
from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple, Type

from google.protobuf import descriptor_pb2, descriptor_pool, message as message_lib, message_factory
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

# Where TensorFlow Serving looks, below the folder of the SavedModel.
FILE = os.path.join('assets.extra', 'tf_serving_warmup_requests')

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = 'tensorflow.serving'
_TENSORS = 'map of TensorProto'
# Fields of the messages: name, number, type.
_MESSAGES: Dict[str, List[Tuple[str, int, str]]] = {
    'Version': [('value', 1, 'int64')],
    'ModelSpec': [('name', 1, 'string'), ('version', 2, 'Version'),
                  ('signature_name', 3, 'string')],
    'PredictRequest': [('model_spec', 1, 'ModelSpec'), ('inputs', 2, _TENSORS),
                       ('output_filter', 3, 'strings')],
    'PredictResponse': [('outputs', 1, _TENSORS), ('model_spec', 2, 'ModelSpec')],
    'PredictLog': [('request', 1, 'PredictRequest'), ('response', 2, 'PredictResponse')],
    'PredictionLog': [('predict_log', 6, 'PredictLog')],
}


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=(
        _Field.LABEL_REPEATED if kind in ('strings', _TENSORS) else _Field.LABEL_OPTIONAL))
    if kind in ('string', 'strings'):
        field.type = _Field.TYPE_STRING
    elif kind == 'int64':
        field.type = _Field.TYPE_INT64
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f'.{_PACKAGE}.{kind}'
    if kind == _TENSORS:
        entry = message.nested_type.add(name=f'{name.capitalize()}Entry')
        entry.options.map_entry = True
        _add_field(entry, 'key', 1, 'string')
        entry.field.add(name='value', number=2, label=_Field.LABEL_OPTIONAL,
                        type=_Field.TYPE_MESSAGE, type_name='.tensorflow.TensorProto')
        field.type_name = f'.{_PACKAGE}.{message.name}.{entry.name}'


def _pool() -> descriptor_pool.DescriptorPool:
    pool, added = descriptor_pool.DescriptorPool(), set()

    def add(file: Any) -> None:
        for needed in file.dependencies:
            add(needed)
        if file.name not in added:
            pool.AddSerializedFile(file.serialized_pb)
            added.add(file.name)

    add(tensor_pb2.DESCRIPTOR)
    own = descriptor_pb2.FileDescriptorProto(
        name='scops_tf/serving.proto', package=_PACKAGE, syntax='proto3',
        dependency=[tensor_pb2.DESCRIPTOR.name])
    for name, fields in _MESSAGES.items():
        described = own.message_type.add(name=name)
        for field in fields:
            _add_field(described, *field)
    pool.Add(own)
    return pool


_POOL = _pool()


def message(name: str) -> Type[message_lib.Message]:
    """The class of a message of TensorFlow Serving, such as 'PredictRequest'."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f'{_PACKAGE}.{name}'))


def request(signature_name: str, **inputs: Any) -> message_lib.Message:
    """A PredictRequest to a signature with these inputs, which are arrays or tensors."""
    made = message('PredictRequest')()
    made.model_spec.signature_name = signature_name
    for name, value in inputs.items():
        made.inputs[name].ParseFromString(tf.make_tensor_proto(value).SerializeToString())
    return made


def example_photo(size: Tuple[int, int]) -> np.ndarray:
    """A photo u8[H,W,3] of `size` (height, width) for a first request: two gradients."""
    photo = np.zeros((*size, 3), np.uint8)
    photo[..., 0] = np.linspace(0, 255, size[0])[:, np.newaxis]
    photo[..., 1] = np.linspace(0, 255, size[1])
    return photo


def write(folder: str, signatures: Dict[str, Any], input_size: Tuple[int, int]) -> None:
    """Writes one request to each signature, of one photo of the network's size.

    TensorFlow prepares the run of a signature at its first request, and a GPU's library chooses
    its algorithms by the shapes that it sees then.

    Args:
      folder: Folder of the SavedModel.
      signatures: Functions of one input, by the names of the signatures. The input is
        u8[B,H,W,3] or string[B].
      input_size: (height, width) of the photo.

    Raises:
      tf.errors.OpError: If the file cannot be written.
    """
    photo = example_photo(input_size)
    values = {tf.uint8: photo[np.newaxis],
              tf.string: tf.io.encode_jpeg(photo)[tf.newaxis]}
    path = os.path.join(folder, FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for name, function in sorted(signatures.items()):
            (wanted,) = function.input_signature
            log = message('PredictionLog')()
            log.predict_log.request.CopyFrom(
                request(name, **{wanted.name: values[wanted.dtype]}))
            writer.write(log.SerializeToString(deterministic=True))
