"""TensorBoard logs; points that a continued run would log twice are removed."""
from __future__ import annotations

import contextlib
import os
import re
from typing import Any, Iterator, Mapping, Optional, Sequence

import numpy as np
from tensorboard.plugins.hparams import api as hparams
import tensorflow as tf


def _drop_later_points(logdir: str, step: int) -> None:
    """Removes later steps, and the damaged end of a file, from the event files of a folder."""
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


@contextlib.contextmanager
def _explained(logdir: str) -> Iterator[None]:
    """Context: turns errors of TensorFlow's writer into an `OSError` of one sentence."""
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, 'strerror', None)
        if reason is None:  # TensorFlow's message starts with the operation and has more lines.
            reason = re.sub(r'^\{\{.*?\}\} *', '', error.message.split('\n')[0])
        raise OSError(f'TensorBoard logs cannot be written to {logdir!r} ({reason}); '
                      'make the folder writable or free disk space.') from None


class SummaryWriter:
    """Context manager that writes the TensorBoard logs of a run.

    A run that is killed at step 130 and continued from its checkpoint of step 100 logs the steps
    after 100 twice. So the writer removes these steps from older event files, and each point is in
    the folder once. A TensorBoard that has already read those points drops them when it reads the
    session log at the start of the new file.

    Args:
      logdir: Folder of the event files, one per writer.
      start_step: Step of the restored checkpoint, 0 for a new run. Points are logged at later
        steps; a new run logs points at step 0 too.

    Raises:
      OSError: If the folder cannot be written, now or at any later point, as on a full disk.
    """

    def __init__(self, logdir: str, *, start_step: int = 0) -> None:
        session = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        event = tf.compat.v1.Event(step=start_step + 1, session_log=session)
        self._logdir = logdir
        with _explained(logdir):
            os.makedirs(logdir, exist_ok=True)
            _drop_later_points(logdir, start_step)
            self._writer = tf.summary.create_file_writer(logdir)
            # tf.summary itself has no call for session logs.
            tf.raw_ops.ImportEvent(
                writer=self._writer._resource, event=event.SerializeToString())
            self._writer.flush()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self, step: Optional[int] = None) -> Iterator[None]:
        with _explained(self._logdir), self._writer.as_default(step=step):
            yield

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Logs scalars by name."""
        with self._writing(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Logs a histogram of values f[...]."""
        with self._writing(step):
            tf.summary.histogram(name, values)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Logs an image uint8[H,W,3]."""
        with self._writing(step):
            tf.summary.image(name, image[np.newaxis])

    def text(self, name: str, markdown: str, step: int) -> None:
        """Logs a text in Markdown."""
        with self._writing(step):
            tf.summary.text(name, markdown)

    def settings(self, values: Mapping[str, Any], scores: Sequence[str]) -> None:
        """Logs the settings of the run for the tab HPARAMS, at step 0.

        Args:
          values: Settings by name. What is neither a number, a truth value nor a text is logged as
            Python writes it.
          scores: Names of scalars. The tab shows their last values beside the settings.
        """
        logged = {name: value if isinstance(value, (bool, int, float, str)) else repr(value)
                  for name, value in values.items()}
        with self._writing(0):
            hparams.hparams_config([hparams.HParam(name) for name in logged],
                                   [hparams.Metric(name) for name in scores])
            hparams.hparams(logged)

    def flush(self) -> None:
        """Writes points that are still in memory, so that they survive a kill."""
        with _explained(self._logdir):
            self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file; nothing can be logged afterwards."""
        with _explained(self._logdir):
            self._writer.close()
