"""Exports for other runtimes than TensorFlow: ONNX, and TensorFlow Lite, which is now LiteRT.

Both hold one function of photos at the network's input size, with the outputs of the SavedModel.
The resizing of photos stays outside: its operation is none of TensorFlow Lite's, and whoever runs
these formats has an image library at hand. Convolutions are plain ones, for which these runtimes
have arrangements of their own.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from absl import logging as absl_logging
import numpy as np
import tensorflow as tf

from scops_tf.serving import part_model as part_model_lib, warmup

# Largest difference of responses, and least share of pixels with the same label.
RESPONSE_TOLERANCE, LABEL_AGREEMENT = 1e-4, 0.999

# Read by onnxruntime 1.12 of 2022 and later ones.
_OPSET = 17


class PortableError(ValueError):
    """A format that cannot be written; the message is one sentence for the user."""


class Format(NamedTuple):
    """A format beside the SavedModel.

    Attributes:
      file: Name of its file.
      batch_size: Number of photos of a call; None for any.
      convert: Function from a traced function of photos, and the model that holds its variables, to
        the bytes of the file.
      load: Function from these bytes to a function of photos f32[B,h,w,3] that gives the outputs
        by name.
    """

    file: str
    batch_size: Optional[int]
    convert: Callable[[Any, tf.Module], bytes]
    load: Callable[[bytes], Callable[[np.ndarray], Dict[str, np.ndarray]]]


def require(name: str) -> None:
    """Holds a name to `FORMATS`, and to the packages that are installed.

    Raises:
      PortableError: If there is no such format, or a package that it needs cannot be imported.
    """
    if name not in FORMATS:
        raise PortableError(
            f'`--format` must be of savedmodel, {", ".join(FORMATS)}; got {name!r}.')
    if name == 'onnx':
        try:
            import onnxruntime  # noqa: F401
            import tf2onnx  # noqa: F401
        except ImportError as error:
            raise PortableError(
                f'`--format=onnx` must have the packages tf2onnx and onnxruntime, of which one '
                f'cannot be imported ({error}); install the extra by `pip install '
                "'scops_tf[onnx]'` (Python 3.10 and later), or leave this format out.") from error


def convert(name: str, model: part_model_lib.PartModel, *, like: part_model_lib.PartModel) -> bytes:
    """The file of a format, which was run once and gives what a model gives.

    Args:
      name: Key of `FORMATS`.
      model: Model to convert, in float32 and of plain convolutions (`target='gpu'`).
      like: Model that the SavedModel holds, of the same weights.

    Raises:
      PortableError: If the format is unknown, a package is missing, the conversion fails, or the
        outputs are not those of `like`: responses to 1e-4, labels on 99.9 % of the pixels.
    """
    require(name)
    target = FORMATS[name]
    images = tf.TensorSpec([target.batch_size, *model.input_size, 3], tf.float32, name='images')
    function = tf.function(model.of_resized, input_signature=[images], autograph=False)
    try:
        with _quiet():
            data = target.convert(function, model)
    except Exception as error:  # Converters raise errors of many kinds.
        reason = str(error).strip().split('\n')[0].rstrip('.') or type(error).__name__
        raise PortableError(f'The model must be convertible to the format {name}, but its '
                            f'converter fails ({reason}); leave this format out.') from error
    _require_like(name, data, like)
    return data


def describe(name: str, input_size: Tuple[int, int]) -> Dict[str, Any]:
    """What `scops_tf.json` says of a format: its file, and the shape of its input."""
    target = FORMATS[name]
    return {'file': target.file, 'images': [target.batch_size, *input_size, 3]}


def _require_like(name: str, data: bytes, like: part_model_lib.PartModel) -> None:
    photo = warmup.example_photo(like.input_size)[np.newaxis].astype(np.float32) / 255
    expected = like.of_resized(tf.constant(photo))
    with _quiet():
        found = FORMATS[name].load(data)(photo)
    difference = np.abs(found['part_responses'] - expected['part_responses'].numpy()).max()
    share = np.mean(found['labels'] == expected['labels'].numpy())
    # Not a number is no difference that is small.
    if not (difference <= RESPONSE_TOLERANCE and share >= LABEL_AGREEMENT):
        raise PortableError(
            f'The format {name} must give the responses of the SavedModel to '
            f'{RESPONSE_TOLERANCE:g} and its labels on {LABEL_AGREEMENT:.1%} of the pixels; got '
            f'{difference:.2g} and {share:.2%}: leave this format out.')


def _to_onnx(function: Any, model: part_model_lib.PartModel) -> bytes:
    import onnx
    import tf2onnx

    logging.getLogger('tf2onnx').setLevel(logging.ERROR)
    converted, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=_OPSET)
    converted.doc_string = (
        'Parts of photos f32[batch,height,width,3], RGB in [0, 1]; written by scops_tf.')
    onnx.helper.set_model_props(converted, {
        'num_parts': str(model.num_parts), 'input_size': json.dumps(model.input_size),
        'background': str(model.background)})
    return converted.SerializeToString()


def _load_onnx(data: bytes) -> Callable[[np.ndarray], Dict[str, np.ndarray]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return lambda photos: dict(zip(names, session.run(names, {'images': photos})))


def _to_tflite(function: Any, model: part_model_lib.PartModel) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], model)
    return converter.convert()


def _load_tflite(data: bytes) -> Callable[[np.ndarray], Dict[str, np.ndarray]]:
    interpreter = tf.lite.Interpreter(model_content=data, num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner('serving_default')
    return lambda photos: runner(images=photos)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Context in which nothing reaches the process's standard error.

    The converter of TensorFlow Lite prints counts of operations there, and its later interpreters
    what they run on, past Python and whatever the level of messages is. What Python logs may go
    elsewhere, so it is held back by its level.
    """
    level = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            absl_logging.set_verbosity(level)


FORMATS: Dict[str, Format] = {
    'onnx': Format('model.onnx', None, _to_onnx, _load_onnx),
    'tflite': Format('model.tflite', 1, _to_tflite, _load_tflite),
}
