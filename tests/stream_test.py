"""Laws of the stream of photos: stops, shards, damaged photos, and the order of what is written."""
from __future__ import annotations

import csv
import os

import numpy as np
from PIL import Image
import pytest

from scops_tf.prediction import photos as photos_lib, stream
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import PartFinder, Settings

_SETTINGS = Settings(batch_size=3)
_SIZES = [(12, 20), (14, 20), (12, 20), (9, 11)]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Photos of several sizes, more than a window of them, one of which is damaged."""
    folder = tmp_path_factory.mktemp('photos')
    generator = np.random.default_rng(0)
    for number in range(20):
        size = _SIZES[number % len(_SIZES)]
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            folder / f'{number:02}.png')
    (folder / '07.png').write_bytes(b'no photo')
    return photos_lib.find([str(folder)], but='')


@pytest.fixture(scope='module', autouse=True)
def small_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, 'WINDOW', 6)
        yield


@pytest.fixture(scope='module')
def predict(photos, halves_predictor):
    """Predicts photos into a folder, as a process that dies before some batch; the outcomes."""

    def predict(out, own=photos, *, dies_before=None, settings=_SETTINGS, **options):
        outcomes, batches = [], []
        find = PartFinder(halves_predictor, settings)

        def find_or_die(batch):
            if len(batches) == dies_before:
                raise KeyboardInterrupt
            batches.append([one.photo.name for one in batch])
            return find(batch)

        output = Output(str(out), halves_predictor.parts, settings, formats=['png', 'coco', 'voc'])
        try:
            stream.predict(own, find_or_die, output, settings, on_outcome=outcomes.append,
                           **options)
        except KeyboardInterrupt:
            pass
        return outcomes, batches

    return predict


def _contents(out):
    return {os.path.relpath(os.path.join(root, name), out): open(
        os.path.join(root, name), 'rb').read() for root, _, names in os.walk(out)
        for name in names}


@pytest.fixture(scope='module')
def uninterrupted(predict, tmp_path_factory):
    """What is written without a stop, the outcomes, and the batches."""
    out = tmp_path_factory.mktemp('whole')
    outcomes, batches = predict(out)
    return _contents(out), outcomes, batches


def _listed(contents):
    rows = csv.DictReader(contents['centers.csv'].decode().splitlines())
    return list(dict.fromkeys(row['photo'] for row in rows))


def test_a_damaged_photo_is_told_and_the_others_are_written_in_the_order_of_their_names(
        uninterrupted):
    whole, outcomes, batches = uninterrupted
    assert [(one.name, one.failed_to) for one in outcomes if one.error] == [('07', 'read')]
    names = [f'{number:02}' for number in range(20) if number != 7]
    assert sorted(one.name for one in outcomes) == sorted([*names, '07'])
    assert _listed(whole) == names
    assert whole['voc/ImageSets/Segmentation/default.txt'].decode().split() == names
    assert all(f'overlays/{name}.png' in whole for name in names)
    assert sum(batches, []) != names and max(map(len, batches)) == 3
    assert not any('.pieces' in name for name in whole)


@pytest.mark.parametrize('dies_before', [0, 4, 7])
def test_a_command_that_goes_on_after_a_stop_ends_with_the_same_files(
        uninterrupted, predict, tmp_path, dies_before):
    whole, _, all_batches = uninterrupted
    _, before = predict(tmp_path, dies_before=dies_before)
    # What was written before the stop can be used already.
    written = _contents(tmp_path)
    assert set(_listed(written)) <= set(sum(before, []))
    assert all(f'labels/{name}.png' in written for name in _listed(written))
    # A photo whose piece in one of the formats is damaged is done again.
    for piece in sorted(path for path in written if path.startswith('coco/.pieces/'))[:1]:
        (tmp_path / piece).write_bytes(written[piece][:-1])
    _, after = predict(tmp_path)
    assert _contents(tmp_path) == whole
    # Windows that are done are passed over, and the others have the same batches again.
    assert after == all_batches[len(all_batches) - len(after):]


def test_what_is_done_is_done_again_where_the_photo_or_a_setting_has_changed(predict, tmp_path,
                                                                             photos):
    out = tmp_path
    assert predict(out, photos[:6], is_whole=False)[1]
    assert not predict(out, photos[:6], is_whole=False)[1]
    os.utime(photos[0].path, ns=(1, 1))
    assert predict(out, photos[:6], is_whole=False)[1]
    assert predict(out, photos[:6], is_whole=False, settings=Settings(min_presence=0.5))[1]


def test_shards_and_then_the_whole_give_the_same_files(
        uninterrupted, predict, tmp_path, photos):
    out = tmp_path
    for index in (1, 2, 0):
        predict(out, photos_lib.of_shard(photos, index, 3), is_whole=False)
        assert not (out / 'centers.csv').exists() and not (
            out / 'coco' / 'annotations.json').exists()
    outcomes, batches = predict(out)
    # The damaged photo is read again, and nothing is predicted.
    assert len(outcomes) == 20 and not batches
    assert [(one.name, one.failed_to, one.error) for one in outcomes if one.error] == [
        (one.name, one.failed_to, one.error) for one in uninterrupted[1] if one.error]
    assert _contents(out) == uninterrupted[0]


def test_the_window_of_a_photo_that_was_mended_is_done_again(predict, tmp_path, photos):
    window = photos[6:12]
    _, batches = predict(tmp_path, window, is_whole=False)
    assert sum(map(len, batches)) == 5 and not predict(tmp_path, window, is_whole=False)[1]
    damaged = open(photos[7].path, 'rb').read()
    Image.new('RGB', (20, 14)).save(photos[7].path)
    try:
        outcomes, batches = predict(tmp_path, window, is_whole=False)
    finally:
        with open(photos[7].path, 'wb') as file:
            file.write(damaged)
    assert sum(map(len, batches)) == 6 and not any(one.error for one in outcomes)
