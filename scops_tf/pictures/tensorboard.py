"""Points and pictures for TensorBoard; what a continued run logs twice is dropped."""
from __future__ import annotations

import os
from typing import Any, Mapping

import numpy as np
import tensorflow as tf


def _drop_later_points(logdir: str, step: int) -> None:
    """Removes what the event files of a folder hold of later steps, and the torn end of a file."""
    names = sorted(name for name in os.listdir(logdir) if '.tfevents.' in name)
    for path in (os.path.join(logdir, name) for name in names):
        temporary, complete = os.path.join(logdir, f'events.{os.getpid()}.tmp'), True
        try:
            with tf.io.TFRecordWriter(temporary) as writer:
                try:
                    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                        if tf.compat.v1.Event.FromString(record).step <= step:
                            writer.write(record)
                        else:
                            complete = False
                except tf.errors.DataLossError:  # The process was killed while it wrote.
                    complete = False
            if not complete:
                os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)


class SummaryWriter:
    """Writes what TensorBoard shows of a run; a context manager.

    A run that is killed at step 130 and continued from its checkpoint of step 100 logs the steps
    after 100 twice. The writer therefore removes what older event files hold of them, so that
    whoever reads the folder finds each point once. A TensorBoard that is already running and has
    read those points drops them upon the session log with which the new file begins.

    Args:
      logdir: Folder of the event files, one per writer.
      start_step: Steps done when the writer is made, those of the checkpoint restored; points are
        logged at later steps (at 0 too by a new run).

    Raises:
      OSError: If the folder cannot be written.
    """

    def __init__(self, logdir: str, *, start_step: int = 0) -> None:
        session = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        event = tf.compat.v1.Event(step=start_step + 1, session_log=session)
        try:
            os.makedirs(logdir, exist_ok=True)
            _drop_later_points(logdir, start_step)
            self._writer = tf.summary.create_file_writer(logdir)
            # tf.summary itself has no call for session logs.
            tf.raw_ops.ImportEvent(
                writer=self._writer._resource, event=event.SerializeToString())
            self._writer.flush()
        except (tf.errors.OpError, OSError) as error:
            reason = getattr(error, 'strerror', None) or getattr(error, 'message', None)
            raise OSError(f'TensorBoard logs cannot be written to {logdir!r} ({reason}); '
                          'make the folder writable or free disk space.') from None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Logs a point of each scalar, by its name."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Logs the distribution of f[...]."""
        with self._writer.as_default(step=step):
            tf.summary.histogram(name, values)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Logs a picture uint8[H,W,3]."""
        with self._writer.as_default(step=step):
            tf.summary.image(name, image[np.newaxis])

    def text(self, name: str, markdown: str, step: int) -> None:
        """Logs a text in Markdown; a configuration goes between lines of three backticks."""
        with self._writer.as_default(step=step):
            tf.summary.text(name, markdown)

    def flush(self) -> None:
        """Writes what is still in memory, so that it survives a kill."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file; nothing can be logged afterwards."""
        self._writer.close()
