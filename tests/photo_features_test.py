"""Laws of the photos of a run, their saliency maps and their reference features."""
from __future__ import annotations

import pathlib
import re
import tracemalloc

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from scops_tf import images as images_lib
from scops_tf.datasets.records import Record
from scops_tf.features import photo_features
from scops_tf.networks import model, pretrained

SIZE = (64, 96)


@pytest.fixture(scope='module')
def network(load):
    """The reference features of `small`."""
    return model.reference_features(load())


def test_saliency_maps_are_computed_once_for_all_runs_beside_each_other(load, tmp_path, caplog):
    photo = np.full((48, 80, 3), 200, np.uint8)
    photo[12:36, 20:60] = [200, 30, 20]
    images_lib.write_png(str(tmp_path / 'photo.png'), photo)
    (tmp_path / 'broken.png').write_bytes(b'no photo')
    records = [Record(name, str(tmp_path / f'{name}.png')) for name in ('photo', 'broken')]
    config = load("Data.saliency='rbd'")
    stores = [photo_features.open_store(config, records, str(tmp_path / 'runs' / run))
              for run in ('first', 'second')]
    cache = tmp_path / 'runs' / 'saliency_cache'
    assert len(list(cache.rglob('*.png'))) == 1
    for store in stores:
        assert [record.name for record in store.records] == ['photo']
        assert [skipped.record.name for skipped in store.skipped] == ['broken']
        saliency = store.saliency(0)
        assert saliency.shape == SIZE
        assert saliency[24:40, 36:60].min() > saliency[:8].max() + 0.2
    without = photo_features.open_store(config, records, str(tmp_path / 'other' / 'run'),
                                        with_saliency=False)
    assert without.saliency(0).min() == 1
    assert not (tmp_path / 'other').exists()


def test_an_unreadable_photo_stops_the_run_where_asked_to(load, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no photo')
    Image.new('RGB', (80, 48)).save(tmp_path / 'photo.png')
    records = [Record(name, str(tmp_path / f'{name}.png')) for name in ('photo', 'broken')]
    with pytest.raises(images_lib.ImageError, match='broken.png'):
        photo_features.open_store(load("Data.on_bad_file='stop'", "Data.saliency='rbd'"), records,
                                  str(tmp_path / 'run'))


def test_a_cache_larger_than_its_limit_goes_to_the_disk_and_then_is_an_error(
        load, network, store, tmp_path):

    def features(**settings):
        config = load(*(f'Features.{name}={value!r}' for name, value in settings.items()))
        return photo_features.reference_features(
            config, network, store, str(tmp_path))

    size = features().nbytes / 2**30
    features(cache_limit_gib=1.01 * size)
    assert not list(tmp_path.iterdir())
    features(cache_limit_gib=0.99 * size)
    assert [path.suffix for path in tmp_path.iterdir()] == ['.npy']
    with pytest.raises(ValueError, match='`Features.cache_limit_gib` must be at least a tenth'):
        features(cache_limit_gib=0.09 * size)


def test_scaled_features_are_those_of_the_network_and_leave_no_mapped_page_behind(
        load, network, store, tmp_path):
    photos = np.stack([store.image(index) for index in range(len(store))])
    raw = network.raw(tf.constant(photos / np.float32(255)))
    network.measure_scales([raw])
    for name in ('memory', 'disk'):
        rows = photo_features.reference_features(
            load(f'Features.cache={name!r}'), network, store, str(tmp_path))
        scaled = photo_features.ScaledFeatures(network.scale, rows)
        assert scaled.shape == raw.shape and scaled[1].dtype == np.float16
        for index in (3, 0):
            np.testing.assert_allclose(scaled[index], network.scale(raw)[index], rtol=2e-3,
                                       atol=2e-3)
    assert _resident(str(rows.filename)) == 0


def test_scales_are_measured_without_a_copy_of_the_features(network, tmp_path):
    raw = np.random.default_rng(0).uniform(size=(200, 24, 32, network.num_channels))
    np.save(tmp_path / 'rows.npy', raw.astype(np.float16))
    rows = np.load(tmp_path / 'rows.npy', mmap_mode='r')
    chosen = np.arange(0, 200, 2)
    tracemalloc.start()
    photo_features.measure_scales(network, rows, chosen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    scales = network.tap_scales.numpy()
    # The sample in float16 would be half of this.
    assert peak < rows.nbytes / 2
    assert _resident(str(rows.filename)) == 0
    network.measure_scales([rows[chosen]])
    np.testing.assert_allclose(scales, network.tap_scales, rtol=1e-5)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_features_of_other_weights_are_not_those_of_the_cache(
        load, store, tmp_path, monkeypatch, precision):

    def build(name, *, weights, seed):
        photos = outputs = tf.keras.Input((None, None, 3))
        for layer in ('block5_conv2', 'block5_conv4'):
            outputs = tf.keras.layers.Conv2D(2, 3, 8, activation='relu', name=layer)(outputs)
        return tf.keras.Model(photos, outputs)

    monkeypatch.setattr(pretrained, 'build', build)
    config = load("Features.network='vgg19'", 'Features.weights=None', "Features.cache='disk'",
                  f'Run.precision={precision!r}')
    network = model.reference_features(config)
    first = photo_features.reference_features(config, network, store, str(tmp_path))
    network.tap_scales.assign([2.0, 3.0])  # Raw features do not depend on them.
    assert photo_features.cached_features(config, network, store, str(tmp_path)) is not None
    network.network.get_layer('block5_conv2').bias.assign([1.0, 2.0])
    assert photo_features.cached_features(config, network, store, str(tmp_path)) is None
    second = photo_features.reference_features(config, network, store, str(tmp_path))
    assert np.abs(first - second).max() > 0.5


def _resident(path: str) -> int:
    """KiB of a mapped file that count as this process's memory."""
    mapped = pathlib.Path('/proc/self/smaps').read_text(encoding='utf-8').split(path, 1)[1]
    return int(re.search(r'^Rss:\s+(\d+) kB', mapped, re.MULTILINE).group(1))


def test_what_is_spread_is_of_all_photos():
    np.testing.assert_array_equal(photo_features.spread(3), [0, 1, 2])
    chosen = photo_features.spread(10_000)
    assert len(chosen) == 2000 and chosen[0] == 0 and chosen[-1] == 9999
    assert np.diff(chosen).max() <= 6
