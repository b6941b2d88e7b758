"""Reads what a run has logged for TensorBoard."""
from __future__ import annotations

import glob
import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

from tensorboard.compat.proto import event_pb2

# TensorBoard's own reader, which needs no TensorFlow; it is used where that is not installed.
from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow
from tensorboard.util import tensor_util

from scops_tf import files


def scalars(logdir: str, *, up_to: Optional[int] = None) -> List[Tuple[int, Dict[str, float]]]:
    """The scalars that a run has logged, by step; empty without logs.

    Args:
      logdir: Folder of the event files.
      up_to: Last step that is read; None for all.

    Returns:
      (step, scalars by name), ascending. Of a step that was logged twice the later value counts.
      The damaged end of a file is left out.

    Raises:
      OSError: If a file cannot be read.
    """
    found: Dict[int, Dict[str, float]] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(logdir), '*.tfevents.*'))):
        for event in _events(path):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == 'scalars' and (
                        up_to is None or event.step <= up_to):
                    number = tensor_util.make_ndarray(value.tensor).item()
                    found.setdefault(event.step, {})[value.tag] = float(number)
    return sorted(found.items())


def _events(path: str) -> Iterator[Any]:
    files.require_regular(path)
    reader = pywrap_tensorflow.PyRecordReader_New(path)
    while True:
        try:
            reader.GetNext()
        # The end of the file, or of what a killed process has written of it.
        except (errors.OutOfRangeError, errors.DataLossError):
            return
        yield event_pb2.Event.FromString(reader.record())
