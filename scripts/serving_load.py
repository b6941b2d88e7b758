#!/usr/bin/env python
"""Sends mixed requests to an export from several threads, and reports what memory they take.

    python scripts/serving_load.py --export_dir=runs/quickstart/export

The requests are of all signatures, of several sizes and numbers of photos, in pixels and in encoded
bytes, and one in ten is to be refused. They run in plain TensorFlow, in this process. The exit code
is 1 if a request is answered that must be refused, or the other way round, or if the resident
memory grows by more than `--most_growth_mib` over the last half of the requests.
"""
from __future__ import annotations

from concurrent import futures
import io
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from absl import flags
import numpy as np
from PIL import Image

from scops_tf import command

FLAGS = flags.FLAGS

_SIZES = ((96, 128), (128, 96), (240, 320), (375, 500))
_COUNTS = (1, 2, 4)
_REFUSED_SHARE = 0.1


class Request(NamedTuple):
    """A request to a signature.

    Attributes:
      signature: Name of the signature.
      value: Its input: u8[B,H,W,3], or bytes of B photos.
      size: (height, width) of the photos; None if the request is to be refused.
    """

    signature: str
    value: Any
    size: Any


class Outcome(NamedTuple):
    """What became of a request.

    Attributes:
      is_right: Whether it was answered, or refused, as it must be.
      is_answered: Whether it was answered.
      resident_mib: Resident memory of the process afterwards.
    """

    is_right: bool
    is_answered: bool
    resident_mib: float


def kinds(seed: int) -> Tuple[List[Request], List[Request]]:
    """One request of each kind: those to be answered and those to be refused."""
    generator = np.random.default_rng(seed)
    good, bad = [], []
    for size in _SIZES:
        for count in _COUNTS:
            photos = generator.integers(0, 256, (count, *size, 3), dtype=np.uint8)
            formats = ('PNG', 'JPEG', 'BMP')
            encoded = [_encoded(photo, formats[index % 3]) for index, photo in enumerate(photos)]
            good += [Request(name, photos, size) for name in ('serving_default', 'labels')]
            good += [Request(name, encoded, size) for name in ('encoded', 'encoded_labels')]
    small, large = (_encoded(np.zeros((*size, 3), np.uint8), 'PNG') for size in _SIZES[::2])
    for name in ('serving_default', 'labels'):
        bad += [Request(name, np.zeros(shape, np.uint8), None)
                for shape in ((0, 96, 128, 3), (1, 0, 128, 3))]
    for name in ('encoded', 'encoded_labels'):
        bad += [Request(name, value, None) for value in (
            [], [b''], [b'no photo'], [small[:40]], [small, b'GIF8'], [small, large])]
    return good, bad


def plan(count: int, seed: int) -> List[Request]:
    """Requests in random order, each kind about equally often."""
    good, bad = kinds(seed)
    generator = np.random.default_rng([seed, 1])
    return [source[generator.integers(len(source))] for source in (
        bad if generator.random() < _REFUSED_SHARE else good for _ in range(count))]


def _encoded(photo: np.ndarray, file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, file_format)
    return buffer.getvalue()


def resident_mib() -> float:
    """Resident memory of this process."""
    with open('/proc/self/status', encoding='ascii') as file:
        return int(file.read().split('VmRSS:')[1].split()[0]) / 1024


def send(signatures: Dict[str, Callable[..., Any]], request: Request) -> Outcome:
    """Sends a request. An error of another kind than a refusal is raised."""
    import tensorflow as tf
    try:
        if isinstance(request.value, np.ndarray):
            found = signatures[request.signature](images=tf.constant(request.value))
        else:
            found = signatures[request.signature](encoded=tf.constant(request.value, tf.string))
    except tf.errors.InvalidArgumentError:
        return Outcome(request.size is None, False, resident_mib())
    wanted = request.size and (len(request.value), *request.size)
    return Outcome(tuple(found['labels'].shape) == wanted, True, resident_mib())


def growth(memory: np.ndarray) -> Tuple[float, float]:
    """How memory grows over the last half of the requests.

    Args:
      memory: f64[N]. Resident memory after each request, in MiB.

    Returns:
      Slope of the line of least squares, in MiB per 1000 requests, and what it adds over that half.
    """
    half = memory[len(memory) // 2:]
    slope = float(np.polyfit(np.arange(len(half)), half, 1)[0])
    return 1000 * slope, slope * len(half)


def main(argv: List[str]) -> int:
    """Loads the export, sends the requests and prints the figures."""
    command.require_no_arguments(argv)
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    signatures = predictor_lib.Predictor(FLAGS.export_dir).signatures
    before = resident_mib()
    with futures.ThreadPoolExecutor(FLAGS.threads) as pool:
        outcomes = list(pool.map(
            lambda request: send(signatures, request), plan(FLAGS.requests, FLAGS.seed)))
    memory = np.array([outcome.resident_mib for outcome in outcomes])
    answered = sum(outcome.is_answered for outcome in outcomes)
    wrong = sum(not outcome.is_right for outcome in outcomes)
    slope, added = growth(memory)
    for name, figure in (
            ('requests', len(outcomes)), ('threads', FLAGS.threads), ('answered', answered),
            ('refused', len(outcomes) - answered), ('of these wrongly', wrong),
            ('resident MiB after loading', f'{before:.0f}'),
            ('resident MiB after the first half', f'{memory[len(memory) // 2]:.0f}'),
            ('resident MiB at the end', f'{memory[-1]:.0f}'),
            ('resident MiB at most', f'{memory.max():.0f}'),
            ('slope of the last half, MiB per 1000 requests', f'{slope:.1f}')):
        print(f'| {name} | {figure} |')
    return int(wrong > 0 or added > FLAGS.most_growth_mib)


if __name__ == '__main__':
    flags.DEFINE_string('export_dir', None, 'Folder written by `python -m scops_tf.export`.',
                        required=True)
    flags.DEFINE_integer('requests', 1000, 'Number of requests.', lower_bound=20)
    flags.DEFINE_integer('threads', 4, 'Number of threads that send them.', lower_bound=1)
    flags.DEFINE_integer('seed', 0, 'Seed of the requests.', lower_bound=0)
    flags.DEFINE_float('most_growth_mib', 64.0, 'Most MiB by which the resident memory may grow '
                       'over the last half of the requests.', lower_bound=0)
    command.run(main)
