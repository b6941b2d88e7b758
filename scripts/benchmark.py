#!/usr/bin/env python
"""Time and peak memory of parts of the project, side by side in one run.

Every item runs in a process of its own, so that its peak memory is its own; the items take turns in
several rounds, so that a busy spell of the machine meets all of them. An item with a reference is
printed with how many times faster and smaller it is; that of a step is its floor, the bare network.

    python scripts/benchmark.py                                  # Everything.
    python scripts/benchmark.py 'train_step/*' 'inference/*' --sizes 256 --output benchmark.json

Add an item by a function that prepares inputs and returns what is to be timed, under `@item(name)`.
"""
from __future__ import annotations

import argparse
import dataclasses
import datetime
import fnmatch
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from scops_tf import files


@dataclasses.dataclass(frozen=True)
class Item:
    """Something to be timed.

    Attributes:
      name: Of the form what/how/size.
      build: Prepares inputs and returns the function to be timed, which returns when all is
        computed; figures of its own as a dict of numbers, if it has any.
      reference: Name of the item it is compared with.
      examples: Photos of a call, for the time per photo; 0 where that means nothing.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    reference: Optional[str] = None
    examples: int = 0


ITEMS: Dict[str, Item] = {}


def item(name: str, *, reference: Optional[str] = None, examples: int = 0
         ) -> Callable[[Callable], Callable]:
    """Registers the decorated builder under a name."""

    def register(build: Callable) -> Callable:
        ITEMS[name] = Item(name, build, reference, examples)
        return build

    return register


# The items. TensorFlow is imported inside, so that the parent process, whose peak memory its
# children inherit, stays small.


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes of a training step; features are those of VGG19, at a sixteenth of the photos' size."""

    size: int
    batch: int
    parts: int
    channels: int = 1024

    @property
    def feature_size(self) -> int:
        """Side of the reference features."""
        return self.size // 16

    def uniform(self, *shape: int, seed: int = 0) -> Any:
        """f32[B,*shape] in [0, 1]."""
        return _uniform(self.batch, *shape, seed=seed)

    def responses(self) -> Any:
        """f32[B,H,W,K]. Of random logits, without background."""
        import tensorflow as tf
        return tf.nn.softmax(4 * self.uniform(self.size, self.size, self.parts + 1))[..., 1:]

    def basis(self) -> Any:
        """f32[K,C] in [0, 1]."""
        return _uniform(self.parts, self.channels, seed=2)

    def photos(self, count: int) -> Any:
        """u8[count,H,W,3]. Noise."""
        import numpy as np
        return np.random.default_rng(0).integers(
            0, 256, (count, self.size, self.size, 3), dtype=np.uint8)


def _uniform(*shape: int, seed: int) -> Any:
    import tensorflow as tf
    return tf.random.stateless_uniform(shape, [seed, 0])


SETTINGS = (
    Setting(128, batch=4, parts=4),
    Setting(256, batch=6, parts=8),
    Setting(512, batch=2, parts=8),
)
PRECISIONS = ('float32', 'bfloat16')

# The paper's training, of which the steps are.
_RECIPE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                       'gin', 'presets', 'paper.gin')

# Of the segmenter, set by `--backbone`; its weights are random, which costs the same.
BACKBONE = 'resnet50'


def _config(setting: Setting, *bindings: str) -> Any:
    from scops_tf import config as config_lib
    tiny = BACKBONE == 'tiny'
    return config_lib.load([_RECIPE], [
        f'Run.image_size = ({setting.size}, {setting.size})', f'Run.num_parts = {setting.parts}',
        f'Run.batch_size = {setting.batch}', 'Data.saliency = \'rbd\'',
        f'Segmenter.backbone = {BACKBONE!r}', 'Segmenter.weights = None', 'Features.weights = None',
        f'Features.network = {"filters" if tiny else "vgg19"!r}', *bindings])


def _gradient_step(loss: Callable, *variables: Any) -> Callable[[], Any]:
    """One forward and backward pass of a loss as a graph."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(variables):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = loss(*variables)
        return value, tape.gradient(value, variables)

    return lambda: step(variables)[0].numpy()  # Waits for a GPU, which works in order.


def _semantic_inputs(setting: Setting) -> tuple:
    features = setting.uniform(setting.feature_size, setting.feature_size, setting.channels)
    saliency = setting.uniform(setting.size, setting.size, seed=1)
    return features, saliency, setting.responses(), setting.basis()


def _register_losses(setting: Setting) -> None:
    size = setting.size

    @item(f'semantic_consistency/plain/{size}')
    def plain_semantic_consistency():
        import tensorflow as tf

        from scops_tf import geometry
        features, saliency, responses, basis = _semantic_inputs(setting)

        def loss(responses, basis):
            target = saliency[..., None] * geometry.upsample(features, (size, size))
            return tf.reduce_mean(tf.square(target - tf.tensordot(responses, basis, 1)))

        return _gradient_step(loss, responses, basis)

    @item(f'semantic_consistency/fast/{size}', reference=f'semantic_consistency/plain/{size}')
    def fast_semantic_consistency():
        from scops_tf.training import losses
        features, saliency, responses, basis = _semantic_inputs(setting)
        return _gradient_step(
            lambda responses, basis: losses.semantic_consistency_loss(
                features, saliency, responses, basis
            ),
            responses,
            basis,
        )

    @item(f'concentration/{size}')
    def concentration():
        from scops_tf.training import losses
        return _gradient_step(losses.concentration_loss, setting.responses())

    @item(f'equivariance/{size}')
    def equivariance():
        from scops_tf.training import losses
        shape = size, size, setting.parts + 1
        target, valid = setting.uniform(*shape), setting.uniform(size, size) > 0.2
        return _gradient_step(lambda view: losses.equivariance_loss(view, target, valid),
                              setting.uniform(*shape, seed=1))

    @item(f'center_equivariance/{size}')
    def center_equivariance():
        from scops_tf import config as config_lib, geometry
        from scops_tf.training import losses, warp
        transform = warp.RandomWarp(config_lib.Warp()).draw([0, 0], setting.batch, (size, size))

        def loss(responses, view_responses):
            warped = transform.warp_points(geometry.part_centers(responses))
            return losses.center_equivariance_loss(geometry.part_centers(view_responses), warped,
                                                   geometry.is_inside(warped))

        return _gradient_step(loss, setting.responses(), setting.responses())

    @item(f'orthonormal/{size}')
    def orthonormal():
        from scops_tf.training import losses
        return _gradient_step(losses.orthonormal_loss, setting.basis())

    for kind in ('similarity', 'projective', 'tps'):
        @item(f'warp/{kind}/{size}')
        def warp_images(kind=kind):
            import tensorflow as tf

            from scops_tf import config as config_lib
            from scops_tf.training import warp
            random_warp = warp.RandomWarp(config_lib.Warp(kind=kind))
            images = setting.uniform(size, size, 3)

            @tf.function(autograph=False)
            def view(images):
                transform = random_warp.draw([0, 0], setting.batch, (size, size))
                return transform.warp(images), transform.valid_mask((size, size))

            return lambda: view(images)[0].numpy()


def _train_batch(trainer: Any, setting: Setting) -> Any:
    """A `Batch` of a run with cached reference features."""
    import tensorflow as tf

    from scops_tf.datasets.batches import Batch
    network, side = trainer.model.reference_features, setting.size
    shape = network.shape((side, side))
    return Batch(tf.range(setting.batch, dtype=tf.int64),
                 tf.constant(setting.photos(setting.batch)), setting.uniform(side, side),
                 reference_features=tf.cast(setting.uniform(*shape), tf.float16))


def _training(trainer: Any, batch: Any) -> Callable[[], Any]:
    return lambda: trainer.train_step(batch)['loss/total'].numpy()


def _register_steps(setting: Setting, precision: str) -> None:
    size = setting.size
    floor, keras = (f'train_step/{kind}/{precision}/{size}' for kind in ('floor', 'keras'))

    def bare_step(plain: bool) -> Callable[[], Any]:
        import tensorflow as tf

        from scops_tf.networks import preprocessing, pretrained, segmenter
        with pretrained.precision(precision):
            network = segmenter.Segmenter(setting.parts, backbone=BACKBONE, weights=None)
            layers = tf.keras.Model(network.network.input, network.network.output)
        images = _uniform(2 * setting.batch, size, size, 3, seed=0)

        def logits(images):
            if not plain:
                return network(images)
            return network.logits_of(layers(preprocessing.preprocess(images, BACKBONE)))

        @tf.function(autograph=False)
        def step(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(logits(images)))
            variables = network.trainable_variables
            # Their sums, so that every gradient is computed and none is fetched.
            return tf.add_n([tf.reduce_sum(tf.cast(gradient, tf.float32))
                             for gradient in tape.gradient(loss, variables)])

        return lambda: step(images).numpy()

    @item(keras, examples=setting.batch)
    def keras_layers():
        return bare_step(plain=True)

    @item(floor, reference=keras, examples=setting.batch)
    def bare_segmenter():
        return bare_step(plain=False)

    def register_whole_step(kind: str, reference: str, *bindings: str) -> str:
        name = f'train_step/{kind}/{precision}/{size}'

        @item(name, reference=reference, examples=setting.batch)
        def whole_step():
            from scops_tf.training import trainer as trainer_lib
            trainer = trainer_lib.Trainer(
                _config(setting, f'Run.precision = {precision!r}', *bindings))
            return _training(trainer, _train_batch(trainer, setting))

        return name

    plain = register_whole_step('cached_features', floor)
    register_whole_step('recompute', plain, 'Segmenter.recompute = True')
    register_whole_step('last_stages', plain, "Segmenter.trained = 'last_stages'")


def _register_head_only(setting: Setting) -> None:
    @item(f'train_step/head_only_cached_views/float32/{setting.size}', examples=setting.batch)
    def head_only():
        import tensorflow as tf

        from scops_tf.training import trainer as trainer_lib
        trainer = trainer_lib.Trainer(_config(
            setting, "Segmenter.trained = 'head'", 'Segmenter.num_views = 4',
            'Losses.response_size = (64, 64)'))
        batch = _train_batch(trainer, setting)
        row = trainer.model.segmenter.feature_shape((setting.size, setting.size))
        transform = trainer.views.transform(setting.batch, tf.constant([0, 0]))
        batch = batch._replace(
            view_matrix=transform.matrix, view_displacements=transform.displacements,
            **{name: tf.cast(setting.uniform(*row), tf.float16)
               for name in ('backbone_features', 'view_features')})
        return _training(trainer, batch)


def _register_features(setting: Setting) -> None:
    size = setting.size
    forward = f'reference_features/vgg19/float32/{size}'

    def register_forward(precision: str) -> None:
        @item(f'reference_features/vgg19/{precision}/{size}', examples=setting.batch)
        def vgg19():
            from scops_tf.networks import pretrained, reference_features as features_lib
            with pretrained.precision(precision):
                network = features_lib.ReferenceFeatures('vgg19', weights=None)
            images = setting.uniform(size, size, 3)
            return lambda: network.raw(images).numpy()

    for precision in PRECISIONS:
        register_forward(precision)

    @item(f'reference_features/cache_hit/{size}', reference=forward, examples=setting.batch)
    def cache_hit():
        import tempfile

        import numpy as np

        from scops_tf.features import cache as feature_cache
        folder = tempfile.TemporaryDirectory()
        shape = 64, setting.feature_size, setting.feature_size, setting.channels
        rows = feature_cache.filled(
            shape, lambda indices: np.ones((len(indices), *shape[1:]), np.float16), key='rows',
            folder=folder.name)
        drawn = np.random.default_rng(0).integers(64, size=setting.batch)

        def read():
            assert folder.name  # Lives as long as this function.
            return rows[drawn]

        return read


def _photo_store(setting: Setting, count: int) -> Any:
    import tempfile

    from scops_tf import images
    from scops_tf.datasets import photo_store, records
    with tempfile.TemporaryDirectory() as folder:
        written = []
        for index, photo in enumerate(setting.photos(count)):
            path = os.path.join(folder, f'{index}.png')
            images.write_png(path, photo)
            written.append(records.Record(name=str(index), path=path))
        return photo_store.PhotoStore(written, image_size=(setting.size, setting.size))


def _register_pipeline(setting: Setting) -> None:
    @item(f'pipeline/batches/{setting.size}', examples=setting.batch)
    def batches():
        from scops_tf.datasets import batches
        stream = iter(batches.training_batches(
            _photo_store(setting, 32), batch_size=setting.batch, seed=0, num_steps=10**9))
        return lambda: next(stream)

    @item(f'pipeline/20_epochs/{setting.size}', examples=20 * 32)
    def epochs():
        from scops_tf.datasets import batches
        store, steps = _photo_store(setting, 32), -(-32 // setting.batch)

        def run():
            resident = []
            for step, _ in enumerate(batches.training_batches(
                    store, batch_size=setting.batch, seed=0, num_steps=20 * steps)):
                if step % steps == steps - 1:
                    resident.append(_resident_mebibytes())
            # Of the second half, in which nothing is warming up any more.
            return {'growth_mib': resident[-1] - resident[9]}

        return run


def _segmenter(setting: Setting) -> Any:
    from scops_tf.networks import segmenter
    return segmenter.Segmenter(setting.parts, backbone=BACKBONE, weights=None)


def _feature_segmenter(setting: Setting) -> Any:
    from scops_tf.networks import linear_segmenter, reference_features as features_lib
    return linear_segmenter.LinearSegmenter(
        setting.parts, features_lib.ReferenceFeatures(weights=None, normalization=0.75))


def _register_inference(kind: str, build: Callable[[Setting], Any], setting: Setting, batch: int
                        ) -> None:
    size = setting.size
    plain = f'{kind}/keras/float32/{size}/{batch}'

    @item(plain, examples=batch)
    def bare_forward():
        import tensorflow as tf
        network = build(setting)
        run = tf.function(lambda images: network(images), autograph=False)
        images = _uniform(batch, size, size, 3, seed=0)
        return lambda: run(images).numpy()

    def register_export(precision: str) -> None:
        @item(f'{kind}/export/{precision}/{size}/{batch}', reference=plain, examples=batch)
        def exported():
            import tempfile

            import tensorflow as tf

            from scops_tf.serving import folded_segmenter, part_model as part_model_lib, saved_model
            served = build(setting)
            if served.network.name != 'tiny':
                served = folded_segmenter.FoldedSegmenter(served, precision=precision)
            model = part_model_lib.PartModel(part_model_lib.SegmenterResponses(served),
                                             num_parts=setting.parts, input_size=(size, size))
            with tempfile.TemporaryDirectory() as folder:
                loaded = tf.saved_model.load(saved_model.export(model, folder, metadata={}))
            predict = loaded.signatures['serving_default']
            images = tf.constant(setting.photos(batch))

            def run():
                assert loaded  # The signature's variables live as long.
                return predict(images=images)['labels'].numpy()

            return run

    def register_other(name: str) -> None:
        @item(f'{kind}/{name}/float32/{size}/{batch}', reference=f'{kind}/export/float32/{size}/'
              f'{batch}', examples=batch)
        def other():
            from scops_tf.serving import folded_segmenter, part_model as part_model_lib, portable
            served = build(setting)
            if served.network.name != 'tiny':
                served = folded_segmenter.FoldedSegmenter(served, target='gpu')
            model = part_model_lib.PartModel(part_model_lib.SegmenterResponses(served),
                                             num_parts=setting.parts, input_size=(size, size))
            data = portable.convert(name, model, like=model)
            predict = portable.FORMATS[name].load(data)
            images = setting.photos(batch).astype('float32') / 255
            return lambda: predict(images)

    for precision in PRECISIONS:
        register_export(precision)
    register_other('onnx')
    if batch == 1:
        register_other('tflite')


def _register_maps(setting: Setting) -> None:
    @item(f'saliency/rbd/{setting.size}', examples=1)
    def saliency():
        from scops_tf.saliency import robust_background
        (photo,) = setting.photos(1)
        return lambda: robust_background.saliency_map(photo)

    @item(f'crf/{setting.size}', examples=1)
    def dense_crf():
        import numpy as np

        from scops_tf.serving import crf
        (photo,) = setting.photos(1)
        responses = np.random.default_rng(0).dirichlet(
            np.ones(setting.parts + 1), (setting.size, setting.size)).astype(np.float32)
        return lambda: crf.refine_labels(responses, photo)


def _register_curve(axis: str, setting: Setting) -> None:
    value = {'pixels': setting.size, 'parts': setting.parts, 'channels': setting.channels}[axis]

    @item(f'curve/{axis}/{value}')
    def point():
        from scops_tf.training import losses
        features, saliency, responses, basis = _semantic_inputs(setting)
        return _gradient_step(
            lambda responses, basis: losses.semantic_consistency_loss(
                features, saliency, responses, basis), responses, basis)


for _setting in SETTINGS:
    for _precision in PRECISIONS:
        _register_steps(_setting, _precision)
    _register_head_only(_setting)
    _register_losses(_setting)
    _register_features(_setting)
    _register_pipeline(_setting)
    _register_maps(_setting)
    for _batch in (1, 8):
        _register_inference('inference', _segmenter, _setting, _batch)
        _register_inference('inference_features', _feature_segmenter, _setting, _batch)

# The cost of the semantic consistency loss along one axis, the others as in the middle setting.
_MIDDLE = SETTINGS[1]
for _value in (64, 128, 256, 512):
    _register_curve('pixels', dataclasses.replace(_MIDDLE, size=_value))
for _value in (2, 4, 8, 16, 32):
    _register_curve('parts', dataclasses.replace(_MIDDLE, parts=_value))
for _value in (64, 256, 1024, 2048):
    _register_curve('channels', dataclasses.replace(_MIDDLE, channels=_value))


# Measuring.


# Linux forgets the peak of a process on demand; elsewhere the peak of preparing the inputs counts
# too.
_CLEAR_PEAK, _STATUS = '/proc/self/clear_refs', '/proc/self/status'


def _forget_peak() -> None:
    if os.path.exists(_CLEAR_PEAK):
        with open(_CLEAR_PEAK, 'w', encoding='ascii') as file:
            file.write('5')


def _peak_mebibytes() -> float:
    if os.path.exists(_CLEAR_PEAK):
        with open(_STATUS, encoding='ascii') as file:
            (line,) = [line for line in file if line.startswith('VmHWM')]
        return int(line.split()[1]) / 2 ** 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** 20 if sys.platform == 'darwin' else peak / 2 ** 10


def _resident_mebibytes() -> float:
    """Of this process, now; its peak where the system does not say."""
    if not os.path.exists(_STATUS):
        return _peak_mebibytes()
    with open(_STATUS, encoding='ascii') as file:
        (line,) = [line for line in file if line.startswith('VmRSS')]
    return int(line.split()[1]) / 2 ** 10


def _device() -> str:
    """What TensorFlow computes on."""
    import tensorflow as tf
    gpus = tf.config.list_physical_devices('GPU')
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get('device_name', 'GPU')
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':')[1].strip()
    return platform.processor() or platform.machine()


def _device_mebibytes() -> Optional[float]:
    """Peak of a GPU's memory since the start of the process; None without one."""
    import tensorflow as tf
    if not tf.config.list_physical_devices('GPU'):
        return None
    return tf.config.experimental.get_memory_info('GPU:0')['peak'] / 2 ** 20


def _measure(name: str, seconds: float) -> Dict[str, Any]:
    """Runs in the item's own process: seconds of every call and mebibytes on top of its inputs.

    Memory that preparing the inputs freed may be used again without counting, so a few tens of
    mebibytes mean little.
    """
    run = ITEMS[name].build()
    _forget_peak()
    before = _peak_mebibytes()
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    run()  # TensorFlow still grows its buffers in the second call.
    times: List[float] = []
    processor = time.process_time()
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    processor = (time.process_time() - processor) / len(times)
    peak = _peak_mebibytes()  # Before TensorFlow is imported to ask for the device.
    return {
        'figures': {key: value for key, value in result.items() if isinstance(value, float)}
        if isinstance(result, dict) else {},
        'device': _device(),
        'device_peak': _device_mebibytes(),
        'first': first,
        'times': times,
        'processor': processor,
        'peak': peak - before,
        'process_peak': peak,
    }


def _measure_apart(name: str, seconds: float) -> Dict[str, Any]:
    """As `_measure`, in a new process; {'error': text} if that fails."""
    process = subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--item', name, '--seconds', str(seconds),
         '--backbone', BACKBONE],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={'TF_CPP_MIN_LOG_LEVEL': '2', **os.environ})
    if process.returncode:
        last = (process.stderr.strip().split('\n') or [''])[-1]
        return {'error': f'exit code {process.returncode}: {last}'}
    return json.loads(process.stdout.strip().split('\n')[-1])


def _summary(name: str, rounds: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    errors = [measured['error'] for measured in rounds if 'error' in measured]
    if errors:
        return {'name': name, 'error': errors[0]}
    times = sorted(seconds for measured in rounds for seconds in measured['times'])
    quartiles = statistics.quantiles(times, n=4)
    median = statistics.median(times)
    summary = {
        'name': name, 'calls': len(times), 'median_ms': 1e3 * median,
        'lower_quartile_ms': 1e3 * quartiles[0], 'upper_quartile_ms': 1e3 * quartiles[2],
        'processor_ms': 1e3 * statistics.median(measured['processor'] for measured in rounds),
        'first_call_s': statistics.median(measured['first'] for measured in rounds),
        'peak_mib': max(measured['peak'] for measured in rounds),
        'process_peak_mib': max(measured['process_peak'] for measured in rounds)}
    if ITEMS[name].examples:
        summary['per_example_ms'] = 1e3 * median / ITEMS[name].examples
    if rounds[0].get('device_peak') is not None:
        summary['device_peak_mib'] = max(measured['device_peak'] for measured in rounds)
    for key in rounds[0].get('figures', ()):
        summary[key] = max(measured['figures'][key] for measured in rounds)
    return summary


def _compare(summaries: Dict[str, Dict[str, Any]]) -> None:
    """Adds to each item with a measured reference how many times faster and smaller it is."""
    for name, summary in summaries.items():
        reference = summaries.get(ITEMS[name].reference or '')
        if reference is None or 'error' in summary or 'error' in reference:
            continue
        summary['reference'] = reference['name']
        summary['times_faster'] = reference['median_ms'] / summary['median_ms']
        summary['times_smaller'] = reference['peak_mib'] / max(summary['peak_mib'], 1.0)


def _table(summaries: Dict[str, Dict[str, Any]]) -> str:
    columns = {'median_ms': ('median ms', '.2f'), 'quartiles': ('quartiles ms', ''),
               'processor_ms': ('processor ms', '.1f'),
               'per_example_ms': ('ms per photo', '.2f'), 'peak_mib': ('peak MiB', '.0f'),
               'process_peak_mib': ('of the process', '.0f'),
               'device_peak_mib': ('of the GPU', '.0f'), 'times_faster': ('times faster', '.2f'),
               'times_smaller': ('times smaller', '.1f'), 'growth_mib': ('growth MiB', '.1f')}
    rows = [dict(summary) for summary in summaries.values()]
    for row in rows:
        if 'error' not in row:
            row['quartiles'] = f'{row["lower_quartile_ms"]:.2f}–{row["upper_quartile_ms"]:.2f}'
    shown = [key for key in columns if any(key in row for row in rows)]
    lines = [f'| item | {" | ".join(columns[key][0] for key in shown)} |',
             f'|---|{"---:|" * len(shown)}']
    for row in rows:
        cells = [format(row[key], columns[key][1]) if key in row else '' for key in shown]
        if 'error' in row:
            cells[:1] = [f'failed: {row["error"]}']
        lines.append(f'| {row["name"]} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _machine() -> Dict[str, Any]:
    return {
        'platform': platform.platform(),
        'python': platform.python_version(),
        'cores': os.cpu_count(),
        'load_before': os.getloadavg(),
        'date': datetime.datetime.now().isoformat(timespec='seconds'),
    }


def _write(path: str, results: Dict[str, Any]) -> None:
    files.write(path, json.dumps(results, indent=2).encode())


def _size_of(name: str) -> Optional[int]:
    """Side of the photos of an item; of points of a curve None."""
    sides = {str(setting.size): setting.size for setting in SETTINGS}
    found = [sides[part] for part in name.split('/') if part in sides]
    return found[0] if found and not name.startswith('curve/') else None


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the items asked for; returns 1 if one failed or none matches."""
    global BACKBONE
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('patterns', nargs='*', default=['*'], help='items to run, such as warp/*')
    parser.add_argument('--seconds', type=float, default=3.0, help='time per item and round')
    parser.add_argument('--rounds', type=int, default=2, help='turns of every item')
    parser.add_argument('--sizes', type=int, nargs='+', help='sides of photos to keep to: '
                        'items of another one are left out')
    parser.add_argument('--backbone', default=BACKBONE, choices=('resnet50', 'resnet101', 'tiny'),
                        help='of the segmenter')
    parser.add_argument('--output', help='file for the results as JSON')
    parser.add_argument('--markdown', help='file for the table')
    parser.add_argument('--list', action='store_true', help='print the names of the items')
    parser.add_argument('--item', choices=sorted(ITEMS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    BACKBONE = options.backbone
    if options.item:
        print(json.dumps(_measure(options.item, options.seconds)))
        return 0
    names = [name for name in ITEMS
             if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)
             and (options.sizes is None or _size_of(name) in options.sizes)]
    if options.list:
        print('\n'.join(names))
        return 0
    if not names or options.rounds < 1:
        parser.error('`patterns` must match an item and `--rounds` must be at least 1; got '
                     f'{options.patterns} and {options.rounds}; `--list` prints the items.')

    machine = _machine()
    rounds: Dict[str, List[Dict[str, Any]]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for name in names:
            print(f'round {turn + 1} of {options.rounds}: {name}', file=sys.stderr)
            rounds[name].append(_measure_apart(name, options.seconds))
    machine['load_after'] = os.getloadavg()
    summaries = {name: _summary(name, measured) for name, measured in rounds.items()}
    _compare(summaries)
    machine['devices'] = sorted({measured['device'] for taken in rounds.values()
                                 for measured in taken if 'device' in measured})
    table = (f'{_table(summaries)}\n\n{", ".join(machine["devices"])}; {machine["cores"]} cores, '
             f'load {machine["load_before"][0]:.1f} before and {machine["load_after"][0]:.1f} '
             'after; peak memory is on top of the inputs, of the process with them.\n')
    if options.output:
        _write(options.output, {'machine': machine, 'items': list(summaries.values())})
    if options.markdown:
        files.write(options.markdown, table.encode())
    print(table, end='')
    return 1 if any('error' in summary for summary in summaries.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
