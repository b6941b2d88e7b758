"""What tests share: the folder of development data, a quiet TensorFlow, a small run on drawings."""
from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import random
import shutil
import subprocess
from typing import Any, Callable, ContextManager, Iterator, List, Tuple

import command_process
import numpy as np
import pytest

from scops_tf import stack

# Both are read by TensorFlow when it is first imported, which the tests' modules do after this one.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
stack.choose_onednn()

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Seconds until a command counts as one that hangs: some twenty times what one takes by itself.
PATIENCE = 600

# Files of most seconds, in the order in which the processes take them. Each file goes to one
# process as a whole, so a long one that came last would leave the other with nothing to do.
_FIRST = ('replicas', 'train', 'teacher', 'trainer', 'baseline_runs', 'loop', 'commands',
          'fine_tuning', 'uld', 'saved_network', 'benchmark', 'linear_segmenter', 'selection',
          'wheel', 'segmenter')


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Sorts the tests by file, the files of most seconds first."""
    order = {f'{name}_test': number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(_FIRST)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seeds what Keras draws its unseeded weights from, before a test and what it asks for."""
    random.seed(item.nodeid)


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
    """The folder of development data; a test that asks for it is skipped where it is absent."""
    folder = (_ROOT / os.environ.get('SCOPS_SHARED', '../shared')).resolve()
    if not folder.is_dir():
        pytest.skip(f'The folder of development data is absent: {folder} (set SCOPS_SHARED).')
    return folder


@pytest.fixture(scope='session')
def once(tmp_path_factory) -> Callable[..., pathlib.Path]:
    """A folder of a name, made by a function of it, once for all processes that share the tests."""
    shared_by_all = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        shared_by_all = shared_by_all.parent

    def make_once(name: str, make: Callable[[pathlib.Path], Any]) -> pathlib.Path:
        folder, done = shared_by_all / name, shared_by_all / f'{name}.done'
        with open(shared_by_all / f'{name}.lock', 'w', encoding='utf-8') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # What a failed try has left.
                make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope='session')
def creatures(once) -> pathlib.Path:
    """Folder of six drawn photos to train on and three to test on, 64 pixels high, 96 wide."""
    from scops_tf.datasets import synthetic

    return once('creatures', lambda folder: synthetic.write(
        str(folder), num_train=6, num_test=3, size=(64, 96), seed=0))


@pytest.fixture(scope='session')
def small(creatures) -> List[str]:
    """Bindings of a small training on `creatures`, which needs neither weights nor time."""
    return [f'Data.root={str(creatures)!r}', "Data.dataset='synthetic'", "Data.saliency='masks'",
            'Run.image_size=(64, 96)', 'Run.num_parts=3', 'Run.steps=40', 'Run.batch_size=2',
            'Run.warmup_steps=6', 'Run.saliency_agreement=0', "Features.network='filters'",
            'Features.normalization=0.0', "PartBasis.init='nmf'", "Segmenter.backbone='tiny'",
            "Segmenter.trained='all'", 'Segmenter.dropout=0.0', 'Segmenter.num_views=0',
            'Losses.response_size=(32, 48)', 'Losses.concentration=0.3', 'Losses.equivariance=4.0',
            'Losses.center_equivariance=3.0', 'Losses.orthonormal=0.6', "Optimizer.name='adam'",
            'Optimizer.learning_rate=1e-3', 'Optimizer.head_multiplier=10.0',
            'Optimizer.basis_learning_rate=1e-2', 'Optimizer.clip_norm=5.0', 'Checkpoint.every=1',
            'Checkpoint.keep=50', 'Decode.center_window=None', 'Decode.center_power=1.0',
            'Logging.scalars_every=3', 'Logging.num_pictures=0', 'Logging.eval_photos=0',
            'Logging.doctor_photos=0']


@pytest.fixture(scope='session')
def linear() -> List[str]:
    """Bindings on top of `small` as of the quick recipe: a head on the features."""
    return ["Segmenter.backbone='features'", "Segmenter.trained='head'", 'Segmenter.num_views=2',
            'Segmenter.dropout=0.5', 'Features.normalization=0.75', "PartBasis.init='kmeans'",
            'Run.saliency_agreement=2', 'Run.warmup_steps=3', 'Run.steps=8']


@pytest.fixture(scope='session')
def load(small) -> Callable[..., Any]:
    """The configuration `small` with other bindings on top."""
    from scops_tf import config

    return lambda *bindings: config.load([], [*small, *bindings])


@pytest.fixture(scope='session')
def store(load) -> Any:
    """The photos of `small` to train on, with their masks as saliency maps."""
    from scops_tf import datasets
    from scops_tf.features import photo_features

    config = load()
    return photo_features.open_store(config, datasets.load_for(config, None).train, 'unused')


@pytest.fixture(scope='session')
def prepare() -> Callable[..., Any]:
    """What `preparation.prepare` gives for a trainer and photos."""
    from scops_tf.training import preparation

    def prepare(trainer: Any, store: Any, workdir: Any, *, fresh: bool = True) -> Any:
        return preparation.prepare(
            trainer.config, trainer.model, trainer.views, store, str(workdir), fresh=fresh,
            start_step=int(trainer.step.numpy()))

    return prepare


@pytest.fixture(scope='session')
def label_result() -> Callable[..., Any]:
    """Makes a `PartResult` with labels u8[H,W] of a photo, whose responses are certain."""
    from scops_tf.labels.part_names import PartNames
    from scops_tf.labels.result import PartResult

    def make(labels: np.ndarray, parts: PartNames, *, name: str = 'a', **values: Any) -> PartResult:
        responses = np.eye(parts.num_parts + 1, dtype=np.float32)[labels[::3, ::3]]
        masks = [labels == number for number in range(1, parts.num_parts + 1)]
        centers = [np.argwhere(mask)[:, ::-1].mean(axis=0) if mask.any()
                   else np.divide(labels.shape[::-1], 2) for mask in masks]
        given = {'part_responses': responses, 'presence': responses[..., 1:].max(axis=(0, 1)),
                 'part_centers': np.stack(centers), **values}
        return PartResult(name=name, file_name=f'{name}.jpg', path=f'/photos/{name}.jpg',
                          labels=labels, parts=parts, **given)

    return make


class _HalvesPredictor:
    """A predictor without TensorFlow: part 1 is the left half of a photo, part 2 the right half."""

    def __init__(self) -> None:
        from scops_tf.labels.part_names import PartNames

        self.parts = PartNames.unnamed(2)
        self.metadata = {'background': 0.1}

    def predict(self, photos: np.ndarray) -> Tuple[np.ndarray, ...]:
        """As `Predictor.predict`."""
        count, height, width = photos.shape[:3]
        labels = np.ones((count, height, width), np.uint8)
        labels[:, :, width // 2:] = 2
        centers = np.array([[width / 4, height / 2], [3 * width / 4, height / 2]])
        return (labels, np.full((count, 4, 4, 3), 1 / 3, np.float32),
                np.repeat(centers[np.newaxis], count, axis=0),
                np.repeat([[0.9, 0.4]], count, axis=0))


@pytest.fixture(scope='session')
def halves_predictor() -> Any:
    """A predictor whose first part is the left half of a photo and the second the right half."""
    return _HalvesPredictor()


@pytest.fixture(scope='session')
def make_page_run() -> Callable[..., Any]:
    """Makes the folder of a run with a report of four drawn photos, and of three or so parts.

    Part k is a rectangle, whose pixels have the value 60 k; the last part is nowhere. Photos are
    twice as wide as high, and squeezed to squares for the model.
    """
    from scops_tf import config as config_lib
    from scops_tf.pages import run_data
    from scops_tf.pages.gathering import Gatherer
    from scops_tf.pages.report_file import Confusion

    def make(folder: pathlib.Path, *, num_parts: int = 3, step: int = 40, shift: int = 0,
             names: Any = ('a <b>&.jpg', 'deep/ü.jpg', 'c.jpg', 'd.jpg')) -> pathlib.Path:
        config_lib.save(config_lib.load([], [f'Run.num_parts={num_parts}']), str(folder))
        gatherer = Gatherer(run_data.folder_of(str(folder)), num_parts)
        for index, name in enumerate(names):
            labels = np.zeros((48, 48), np.uint8)
            labels[10:20, 5:15 + 2 * index] = 1
            labels[20:40, 5 + shift:25] = 2 if index else 0
            responses = np.eye(num_parts + 1)[labels] * (0.9 - 0.1 * index)
            image = np.stack(3 * [60 * labels], axis=-1)
            centers = np.array([[10, 15], [15, 30], *([[24, 24]] * (num_parts - 2))], float)
            gatherer.add(name, image, labels, responses[..., 1:], centers,
                         responses[..., 1:].max(axis=(0, 1)), size=(100, 200))
        gatherer.write(
            step=step, facts={'dataset': 'birds', 'method': 'segmenter', 'seed': '0'}, split='test',
            num_photos=9, lookup=range(num_parts + 1), directions={'leakage': 'lower'},
            scores={'leakage': [30.0, 10.0, float('nan'), 20.0][:len(names)]},
            confusion=Confusion('key points', ('beak', '<tail>'), (
                (1, 2), (6, 2), (0, 0), *(((1, 1),) * (num_parts - 2)))))
        return folder

    return make


@pytest.fixture(scope='session')
def eagerly() -> Callable[[], ContextManager[None]]:
    """Context whose steps run operation by operation: for up to ten, faster than tracing them."""
    import tensorflow as tf

    @contextlib.contextmanager
    def run_eagerly() -> Iterator[None]:
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)

    return run_eagerly


@pytest.fixture
def eager(eagerly) -> Iterator[None]:
    """The context `eagerly` for the whole test."""
    with eagerly():
        yield


@pytest.fixture(scope='session')
def start_command() -> Iterator[Callable[..., Any]]:
    """Starts `python -m scops_tf.<name>` or a script as a user would, outside of the source tree.

    It is forked from a process that has imported TensorFlow; with `anew` it has a Python of its
    own. What a failed test left running is killed.
    """
    processes: List[Any] = []

    def start(name: str, *arguments: str, bindings: Any = (), cwd: Any = None, anew: bool = False,
              **environment: str) -> Any:
        given = [*arguments, *(f'--gin_param={binding}' for binding in bindings)]
        make = command_process.anew if anew else command_process.CommandProcess
        processes.append(make(name, given, str(cwd or '/'), environment))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()


@pytest.fixture(scope='session')
def run_command(start_command) -> Callable[..., subprocess.CompletedProcess]:
    """As `start_command`, to its end."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess:
        process = start_command(*arguments, **options)
        output, errors = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run


@pytest.fixture(scope='session')
def trained_run(once, small, run_command) -> pathlib.Path:
    """Folder of a run with the bindings of `small` that trained to its end; not to be changed."""

    def train(workdir: pathlib.Path) -> None:
        done = run_command('train', f'--workdir={workdir}',
                           bindings=[*small, 'Logging.eval_photos=2', 'Logging.num_pictures=1'])
        assert done.returncode == 0, done.stderr

    return once('trained_run', train)
