"""Items of the benchmark: what a training reads, features, batches and saliency maps."""
from __future__ import annotations

import os
from typing import Any

from benchmarks import measurement
from benchmarks.items import PRECISIONS, Items, Setting


def register_features(items: Items, setting: Setting) -> None:
    """VGG19 and the cache of its features."""
    size = setting.size
    forward = f'reference_features/vgg19/float32/{size}'

    def register_forward(precision: str) -> None:
        @items.item(f'reference_features/vgg19/{precision}/{size}', examples=setting.batch)
        def vgg19():
            from scops_tf.networks import pretrained, reference_features as features_lib
            with pretrained.precision(precision):
                network = features_lib.ReferenceFeatures('vgg19', weights=None)
            images = setting.uniform(size, size, 3)
            return lambda: network.raw(images).numpy()

    for precision in PRECISIONS:
        register_forward(precision)

    @items.item(f'reference_features/cache_hit/{size}', reference=forward, examples=setting.batch)
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


def register_batches(items: Items, setting: Setting) -> None:
    """The input pipeline, its time and its memory."""
    @items.item(f'pipeline/batches/{setting.size}', examples=setting.batch)
    def batches():
        from scops_tf.datasets import batches
        stream = iter(batches.training_batches(
            _photo_store(setting, 32), batch_size=setting.batch, seed=0, num_steps=10**9))
        return lambda: next(stream)

    @items.item(f'pipeline/20_epochs/{setting.size}', examples=20 * 32)
    def epochs():
        from scops_tf.datasets import batches
        store, steps = _photo_store(setting, 32), -(-32 // setting.batch)

        def run():
            resident = []
            for step, _ in enumerate(batches.training_batches(
                    store, batch_size=setting.batch, seed=0, num_steps=20 * steps)):
                if step % steps == steps - 1:
                    resident.append(measurement.resident_mebibytes())
            # Of the second half, in which nothing is warming up any more.
            return {'growth_mib': resident[-1] - resident[9]}

        return run


def register_saliency(items: Items, setting: Setting) -> None:
    """Saliency maps that are computed of photos."""
    @items.item(f'saliency/rbd/{setting.size}', examples=1)
    def saliency():
        from scops_tf.saliency import robust_background
        (photo,) = setting.photos(1)
        return lambda: robust_background.saliency_map(photo)
