from __future__ import annotations

import itertools
import os
import pathlib
from typing import Dict, List

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from scops_tf import images
from scops_tf.datasets import batches, photo_store
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import Record

SIZE = (12, 16)


@pytest.fixture
def records(tmp_path) -> List[Record]:
    """Seven photos of their own sizes; photo i is of the plain grey 30 i, its map half of that."""
    found = []
    for i in range(7):
        path = tmp_path / f'{i}.png'
        Image.new('RGB', (20 + i, 30), (30 * i,) * 3).save(path)
        Image.new('L', (10, 8), 15 * i).save(tmp_path / f'map{i}.png')
        mask = np.zeros((30, 20 + i), np.uint8)
        mask[:, :10] = i
        Image.fromarray(mask).save(tmp_path / f'mask{i}.png')
        found.append(Record(name=path.name, path=str(path),
                            mask_path=str(tmp_path / f'mask{i}.png'),
                            saliency_path=str(tmp_path / f'map{i}.png')))
    return found


@pytest.fixture
def store(records) -> photo_store.PhotoStore:
    return photo_store.PhotoStore(records, image_size=SIZE)


def spoil(record: Record) -> None:
    path = pathlib.Path(record.path)
    path.write_bytes(path.read_bytes()[:40])


def as_numpy(dataset: tf.data.Dataset) -> List[batches.Batch]:
    # TensorFlow's own iterator of arrays does not take fields that are None.
    return [batch._replace(**{name: value.numpy() for name, value in _kept(batch).items()})
            for batch in dataset]


def _kept(batch: batches.Batch) -> Dict[str, np.ndarray]:
    return {name: value for name, value in batch._asdict().items() if value is not None}


def test_photos_are_squashed_and_keep_their_colours(tmp_path):
    Image.new('RGB', (50, 20), (255, 0, 0)).save(tmp_path / 'red.png')
    store = photo_store.PhotoStore([Record('red', str(tmp_path / 'red.png'))], image_size=SIZE)
    image = store.image(0)
    assert image.dtype == np.uint8 and image.shape == SIZE + (3,)
    assert (image == [255, 0, 0]).all()
    batch, = as_numpy(batches.training_batches(store, batch_size=2, seed=0, num_steps=1))
    assert (batch.image == [255, 0, 0]).all()


def test_sizes_of_the_photos_as_decoded_are_kept(store):
    np.testing.assert_array_equal(store.photo_sizes, [(30, 20 + i) for i in range(7)])


@pytest.mark.parametrize('saliency', [None, 'folder', 'masks'])
@pytest.mark.parametrize('num_kept', [0, 3])
def test_photos_read_on_demand_equal_those_in_memory(records, saliency, num_kept):
    limit = num_kept * 5.5 * SIZE[0] * SIZE[1] / 2**30
    kept = photo_store.PhotoStore(records, image_size=SIZE, saliency=saliency)
    read = photo_store.PhotoStore(records, image_size=SIZE, saliency=saliency,
                                  memory_limit_gib=limit)
    for i in range(len(records)):
        np.testing.assert_array_equal(kept.image(i), read.image(i))
        np.testing.assert_array_equal(kept.saliency(i), read.saliency(i))
    # The one has no need of the files any more, the other has.
    for record in records:
        pathlib.Path(record.path).unlink()
    assert kept.image(6).max() == 180
    with pytest.raises(images.ImageError, match=r'6\.png'):
        read.image(6)


def test_saliency_is_ones_where_there_is_no_source_of_it(store):
    np.testing.assert_array_equal(store.saliency(2), np.ones(SIZE, np.float32))
    assert store.saliency(2).dtype == np.float32


def test_saliency_of_a_folder_is_the_map_in_the_range_0_to_1(records):
    store = photo_store.PhotoStore(records, image_size=SIZE, saliency='folder')
    for i in range(7):
        np.testing.assert_allclose(store.saliency(i), 15 * i / 255, atol=2e-4)


def test_saliency_of_masks_is_the_share_of_pixels_that_are_not_0(records):
    store = photo_store.PhotoStore(records, image_size=SIZE, saliency='masks')
    assert (store.saliency(0) == 0).all()
    for i in range(1, 7):
        assert store.saliency(i).max() == 1 and store.saliency(i).min() == 0
        np.testing.assert_allclose(store.saliency(i).mean(), 10 / (20 + i), atol=0.01)


def test_masks_of_another_size_than_their_photo_are_counted(records, monkeypatch):
    warned = []
    monkeypatch.setattr(photo_store.logging, 'warning',
                        lambda text, *values: warned.append(text % values))
    sizes = [images.read(record.path).shape[:2] for record in records]
    for record, size in zip(records, sizes):
        Image.new('L', size[::-1], 255).save(record.mask_path)
    photo_store.PhotoStore(records, image_size=SIZE, saliency='masks')
    assert not warned
    Image.new('L', (21, 22), 255).save(records[1].mask_path)
    photo_store.PhotoStore(records, image_size=SIZE, saliency='masks')
    assert warned == [
        f'1 of {len(records)} masks have another size than their photo and are stretched over it: '
        f'that of {records[1].name} is 22 x 21 and the photo {sizes[1][0]} x {sizes[1][1]} '
        '(height x width).']


def test_saliency_of_a_callable_is_computed_from_record_and_squashed_photo(records):
    def saliency(record: Record, image: np.ndarray) -> np.ndarray:
        assert image.dtype == np.uint8 and image.shape == SIZE + (3,)
        assert image[0, 0, 0] == 30 * int(record.name[0])
        return image[..., 0].astype(np.float64) / 360

    store = photo_store.PhotoStore(records, image_size=SIZE, saliency=saliency)
    np.testing.assert_allclose(store.saliency(6), np.full(SIZE, 0.5))


@pytest.mark.parametrize('values', [
    np.zeros((16, 12)), np.full(SIZE, 1.5), np.full(SIZE, -0.1), np.full(SIZE, np.nan)])
def test_a_callable_must_return_a_map_in_the_range_0_to_1(records, values):
    with pytest.raises(ValueError, match=r'`saliency` must return .* \[12, 16\] in \[0, 1\]'):
        photo_store.PhotoStore(records, image_size=SIZE, saliency=lambda *_: values)


@pytest.mark.parametrize('saliency, option', [
    ('folder', 'saliency_folder'), ('masks', 'mask_folder')])
def test_missing_maps_are_an_error_that_names_the_option(records, saliency, option):
    lacking = [Record(record.name, record.path) for record in records[:2]]
    with pytest.raises(DatasetError, match=rf'2 of 7 have none, the first is 0\.png; .*`{option}`'):
        photo_store.PhotoStore(lacking + records[2:], image_size=SIZE, saliency=saliency)


@pytest.mark.parametrize('limit', [0.0, 4.0])
def test_unreadable_photos_are_skipped_and_listed(records, limit):
    spoil(records[0])
    spoil(records[4])
    store = photo_store.PhotoStore(records, image_size=SIZE, memory_limit_gib=limit)
    readable = [records[i] for i in (1, 2, 3, 5, 6)]
    assert list(store.records) == readable and len(store) == 5
    assert [skipped.record for skipped in store.skipped] == [records[0], records[4]]
    assert all(skipped.record.path in skipped.reason for skipped in store.skipped)
    assert [int(store.image(i).max()) for i in range(5)] == [30, 60, 90, 150, 180]
    assert store.photo_sizes.tolist() == [[30, 20 + i] for i in (1, 2, 3, 5, 6)]


def test_an_unreadable_map_counts_as_an_unreadable_photo(records):
    pathlib.Path(records[2].saliency_path).write_bytes(b'')
    store = photo_store.PhotoStore(records, image_size=SIZE, saliency='folder')
    assert [skipped.record for skipped in store.skipped] == [records[2]]


def test_an_unreadable_photo_stops_the_run_if_it_shall(records):
    spoil(records[4])
    with pytest.raises(images.ImageError, match=r'4\.png'):
        photo_store.PhotoStore(records, image_size=SIZE, on_bad_file='stop')


def test_an_error_of_the_saliency_source_is_no_unreadable_photo(records):
    def saliency(record, image):
        raise OSError('the disk is full')

    with pytest.raises(OSError, match='the disk is full'):
        photo_store.PhotoStore(records, image_size=SIZE, saliency=saliency)


def test_a_store_needs_a_readable_photo(records):
    for record in records:
        spoil(record)
    with pytest.raises(DatasetError, match=r'none of the 7 photos can be read, .*0\.png'):
        photo_store.PhotoStore(records, image_size=SIZE)
    with pytest.raises(DatasetError, match='at least one photo'):
        photo_store.PhotoStore([], image_size=SIZE)


@pytest.mark.parametrize('argument', [
    {'on_bad_file': 'ignore'}, {'saliency': 'rbd'}, {'image_size': (0, 16)},
    {'memory_limit_gib': -1.0}])
def test_arguments_out_of_range_are_errors_that_name_them(records, argument):
    with pytest.raises(DatasetError, match=f'`{next(iter(argument))}`'):
        photo_store.PhotoStore(records, **{'image_size': SIZE, **argument})


def test_an_index_outside_the_store_is_an_error(store):
    np.testing.assert_array_equal(store.image(-1), store.image(6))
    with pytest.raises(IndexError):
        store.image(7)


def test_photos_in_memory_cannot_be_changed_by_accident(store):
    with pytest.raises(ValueError, match='read-only'):
        store.image(0)[0, 0] = 1


@pytest.mark.parametrize('batch_size', [1, 3, 7, 20])
def test_every_epoch_shows_every_photo_once(batch_size):
    steps = 7 * 6 // batch_size + 1
    order = np.concatenate([batches.batch_indices(7, batch_size=batch_size, seed=1, step=step)
                            for step in range(steps)])
    epochs = [order[start:start + 7] for start in range(0, len(order) - 6, 7)]
    assert len(epochs) >= 6
    for epoch in epochs:
        assert sorted(epoch) == list(range(7))
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_order_depends_on_the_seed_and_not_on_the_batch_size():
    def order(batch_size: int, seed: int) -> np.ndarray:
        return np.concatenate([
            batches.batch_indices(50, batch_size=batch_size, seed=seed, step=step)
            for step in range(120 // batch_size)])

    np.testing.assert_array_equal(order(5, seed=3), order(8, seed=3))
    assert (order(5, seed=3) != order(5, seed=4)).any()


def test_a_resumed_run_sees_the_batches_of_one_never_stopped(records):
    arrays = {'warmup_target': np.arange(7.0)[:, None] * np.ones(5)}
    store = photo_store.PhotoStore(records, image_size=SIZE, saliency='folder')
    whole = as_numpy(batches.training_batches(store, batch_size=3, seed=2, num_steps=11,
                                              arrays=arrays))
    rest = as_numpy(batches.training_batches(store, batch_size=3, seed=2, num_steps=11,
                                             start_step=4, arrays=arrays))
    assert (len(whole), len(rest)) == (11, 7)
    for one, other in zip(whole[4:], rest):
        assert _kept(one).keys() == _kept(other).keys() == {
            'index', 'image', 'saliency', 'warmup_target'}
        for name, value in _kept(one).items():
            np.testing.assert_array_equal(value, getattr(other, name))
    assert as_numpy(batches.training_batches(store, batch_size=3, seed=2, num_steps=11,
                                             start_step=11)) == []


def test_the_parts_of_all_replicas_are_the_batches_of_one(records):
    store = photo_store.PhotoStore(records, image_size=SIZE, saliency='folder')
    arrays = {'warmup_target': np.arange(7), 'view_features': lambda step, indices, wanted: (
        100 * step + np.arange(len(indices)))[wanted]}

    def parts_of(workers: int, worker: int, replicas: int) -> list:
        context = tf.distribute.InputContext(workers, worker, replicas)
        return as_numpy(batches.training_batches(store, batch_size=8, seed=2, num_steps=5,
                                                 start_step=1, arrays=arrays, context=context))

    whole = parts_of(1, 0, 1)
    assert len(whole) == 4
    # Two workers of two replicas each, whose parts follow one another.
    parts = [parts_of(2, worker, 4) for worker in range(2)]
    for step, batch in enumerate(whole):
        of_step = [part for worker in parts for part in worker[2 * step:2 * step + 2]]
        for name, value in _kept(batch).items():
            assert all(len(getattr(part, name)) == 2 for part in of_step)
            np.testing.assert_array_equal(
                np.concatenate([getattr(part, name) for part in of_step]), value, err_msg=name)
    with pytest.raises(ValueError, match='not divisible'):
        parts_of(1, 0, 3)


@pytest.mark.parametrize('limit', [0.0, 4.0])
def test_batches_hold_what_belongs_to_their_indices(records, limit):
    store = photo_store.PhotoStore(records, image_size=SIZE, saliency='folder',
                                   memory_limit_gib=limit)
    arrays = {'reference_features': np.arange(7 * 6, dtype=np.float16).reshape(7, 2, 3),
              'warmup_target': np.arange(7)}
    found = as_numpy(batches.training_batches(store, batch_size=4, seed=0, num_steps=9,
                                              arrays=arrays))
    for step, batch in enumerate(found):
        np.testing.assert_array_equal(
            batch.index, batches.batch_indices(7, batch_size=4, seed=0, step=step))
        for row, index in enumerate(batch.index):
            np.testing.assert_array_equal(batch.image[row], store.image(index))
            np.testing.assert_array_equal(batch.saliency[row], store.saliency(index))
            np.testing.assert_array_equal(batch.reference_features[row],
                                          arrays['reference_features'][index])
            assert batch.warmup_target[row] == index


def test_training_batches_have_static_shapes(store):
    arrays = {'reference_features': np.zeros((7, 2, 3), np.float16)}
    spec = batches.training_batches(store, batch_size=4, seed=0, num_steps=1,
                                    arrays=arrays).element_spec
    assert spec._replace(**dict.fromkeys(batches.Batch._fields[4:])) == batches.Batch(
        tf.TensorSpec([4], tf.int64), tf.TensorSpec([4, 12, 16, 3], tf.uint8),
        tf.TensorSpec([4, 12, 16], tf.float32), tf.TensorSpec([4, 2, 3], tf.float16))
    # Fields that the run does not keep.
    assert len(set(spec[4:])) == 1


def test_arrays_are_read_through_their_own_indexing(store):
    class Doubled:
        def __len__(self) -> int:
            return 7

        def __getitem__(self, indices: np.ndarray) -> np.ndarray:
            assert indices.dtype == np.int64 and indices.ndim == 1
            return (2 * indices).astype(np.float32)

    for batch in as_numpy(batches.training_batches(store, batch_size=3, seed=0, num_steps=3,
                                                   arrays={'warmup_target': Doubled()})):
        np.testing.assert_array_equal(batch.warmup_target, 2 * batch.index)


def test_a_batch_may_be_larger_than_the_set(records):
    store = photo_store.PhotoStore(records[:1], image_size=SIZE)
    batch, = as_numpy(batches.training_batches(store, batch_size=3, seed=0, num_steps=1))
    assert batch.index.tolist() == [0, 0, 0]


@pytest.mark.parametrize('argument', [
    {'batch_size': 0}, {'seed': -1}, {'start_step': -1}, {'start_step': 6}])
def test_steps_out_of_range_are_errors(store, argument):
    with pytest.raises(ValueError, match=f'`{next(iter(argument))}`'):
        batches.training_batches(
            store, **{'batch_size': 2, 'seed': 0, 'num_steps': 5, **argument})


@pytest.mark.parametrize('arrays, match', [
    ({'reference_features': np.zeros((6, 2))}, 'one row per photo, 7; got 6'),
    ({'image': np.zeros((7, 2))}, "fields of a batch .* got 'image'"),
    ({'features': np.zeros((7, 2))}, "fields of a batch .* got 'features'")])
def test_arrays_that_do_not_fit_are_errors(store, arrays, match):
    with pytest.raises(ValueError, match=match):
        batches.training_batches(store, batch_size=2, seed=0, num_steps=1, arrays=arrays)


@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='Memory is read from Linux.')
def test_memory_stays_flat(records):
    def mebibytes() -> float:
        pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
        return pages * os.sysconf('SC_PAGE_SIZE') / 2**20

    store = photo_store.PhotoStore(records, image_size=(96, 128))
    arrays = {'reference_features': np.zeros((7, 32, 32, 16), np.float16)}
    following = iter(batches.training_batches(store, batch_size=8, seed=0, num_steps=400,
                                              arrays=arrays))
    for _ in itertools.islice(following, 100):
        pass
    before = mebibytes()
    count = sum(1 for _ in following)
    grown = mebibytes() - before
    # Were they kept, the 300 batches would take 270 MiB.
    assert count == 300 and grown < 60, grown
