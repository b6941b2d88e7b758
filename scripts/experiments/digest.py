"""Hashes the last checkpoint of a run: `python -m experiments.digest <workdir> <file>`."""
from __future__ import annotations

import hashlib
import sys

import numpy as np
import tensorflow as tf

from scops_tf import files
from scops_tf.networks import checkpoints


def main() -> None:
    """Writes the step, a hash of all variables' names and values, and whether they are finite."""
    workdir, path = sys.argv[1:]
    latest = checkpoints.require(workdir, 'workdir')
    reader = tf.train.load_checkpoint(latest)
    digest, is_finite = hashlib.sha256(), True
    for name in sorted(reader.get_variable_to_shape_map()):
        # The graph of the objects is text in any order; the counter is of all processes together.
        if not name.startswith(('_CHECKPOINTABLE_OBJECT_GRAPH', 'save_counter')):
            digest.update(name.encode())
            value = reader.get_tensor(name)
            digest.update(value.tobytes())
            is_finite = is_finite and (value.dtype.kind != 'f' or bool(np.isfinite(value).all()))
    step = latest.rsplit('-', 1)[1]
    finite = 'finite' if is_finite else 'not finite'
    files.write(path, f'{step} {digest.hexdigest()} {finite}'.encode())


if __name__ == '__main__':
    main()
