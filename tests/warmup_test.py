"""The messages to TensorFlow Serving are, byte for byte, those of its own client package."""
from __future__ import annotations

import numpy as np
import tensorflow as tf

from scops_tf.serving import warmup

# A PredictionLog that tensorflow-serving-api 2.15.1 wrote, with a request and its response.
_LOG = (b'2r\nE\n\x13\n\x05parts\x12\x02\x08\x03\x1a\x06labels\x12&\n\x06images\x12\x1c\x08\x04\x12'
        b'\x10\x12\x02\x08\x01\x12\x02\x08\x01\x12\x02\x08\x02\x12\x02\x08\x03"\x06\x00\x01\x02\x03'
        b'\x04\x05\x1a\x06labels\x12)\n\x1e\n\x06labels\x12\x14\x08\x04\x12\x0c\x12\x02\x08\x01\x12'
        b'\x02\x08\x01\x12\x02\x08\x02"\x02\x00\x01\x12\x07\n\x05parts')


def test_a_log_of_the_client_package_is_understood():
    log = warmup.message('PredictionLog').FromString(_LOG).predict_log
    assert log.request.model_spec.name == log.response.model_spec.name == 'parts'
    assert log.request.model_spec.signature_name == 'labels'
    assert log.request.model_spec.version.value == 3
    assert list(log.request.output_filter) == ['labels']
    images, labels = (tf.make_ndarray(tf.make_tensor_proto(0).FromString(
        tensor.SerializeToString())) for tensor in (
            log.request.inputs['images'], log.response.outputs['labels']))
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, np.arange(6).reshape(1, 1, 2, 3))
    np.testing.assert_array_equal(labels, [[[0, 1]]])


def test_a_log_is_written_as_the_client_package_writes_it():
    log = warmup.message('PredictionLog')()
    request = warmup.request('labels', images=np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3))
    request.model_spec.name = 'parts'
    request.model_spec.version.value = 3
    request.output_filter.append('labels')
    log.predict_log.request.CopyFrom(request)
    log.predict_log.response.model_spec.name = 'parts'
    log.predict_log.response.outputs['labels'].ParseFromString(
        tf.make_tensor_proto(np.array([[[0, 1]]], np.uint8)).SerializeToString())
    assert log.SerializeToString(deterministic=True) == _LOG
