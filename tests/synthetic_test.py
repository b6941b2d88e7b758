from __future__ import annotations

import os
import pathlib
from typing import Dict, List

import numpy as np
from PIL import Image
import pytest
from scipy import ndimage, optimize
from skimage import color
from sklearn import cluster, discriminant_analysis, pipeline, preprocessing
import threadpoolctl

from scops_tf import images
from scops_tf.datasets import creature, load, synthetic
from scops_tf.datasets.lists import DatasetError

SIZE = (96, 128)
PART_OF = {'eye': 1, 'snout': 1, 'chest': 2, 'back': 2, 'rump': 2, 'near knee': 3, 'near foot': 3,
           'far foot': 3, 'tail middle': 4, 'tail tip': 4}


def pictures(count: int, size=SIZE, seed: int = 0) -> List[creature.Picture]:
    return [creature.draw(np.random.default_rng([seed, i]), size) for i in range(count)]


@pytest.fixture(scope='module')
def drawn() -> List[creature.Picture]:
    return pictures(40)


def mean_part_iou(labels: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the true parts of the IoU with the cluster matched to each."""
    iou = np.array([[((labels == found) & (truth == part)).sum()
                     / ((labels == found) | (truth == part)).sum() for part in range(5)]
                    for found in range(labels.max() + 1)])
    rows, columns = optimize.linear_sum_assignment(-iou)
    return sum(iou[row, column] for row, column in zip(rows, columns) if column > 0) / 4


def test_a_seed_decides_on_the_drawing(drawn):
    again = pictures(3)
    for one, other in zip(drawn, again):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
    assert (pictures(1, seed=1)[0].image != drawn[0].image).any()


@pytest.mark.parametrize('size', [(96, 128), (128, 96), (33, 80)])
def test_arrays_have_the_size_asked_for(size):
    picture = pictures(1, size)[0]
    assert picture.image.shape == size + (3,) and picture.image.dtype == np.uint8
    assert picture.part_mask.shape == size and picture.part_mask.dtype == np.uint8
    assert picture.landmarks.shape == (len(creature.LANDMARK_NAMES), 2)


@pytest.mark.parametrize('size, least', [((96, 128), 0.15), ((128, 112), 0.12)])
def test_the_creature_fills_much_of_the_picture_and_no_part_is_small(size, least):
    shares = []
    for picture in pictures(60, size):
        rows, columns = np.nonzero(picture.part_mask)
        box_area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        areas = np.bincount(picture.part_mask.ravel(), minlength=5)
        assert len(areas) == 5 and (areas[1:] >= 0.04 * box_area).all()
        shares.append((picture.part_mask > 0).mean())
    assert least < min(shares) and max(shares) < 0.5 and 0.2 < np.mean(shares) < 0.45


def test_creatures_lie_inside_and_reach_every_side_of_the_picture():
    masks = np.stack([picture.part_mask > 0 for picture in pictures(200, (40, 48))])
    for side, next_to_it in (((0,), (1,)), ((-1,), (-2,))):
        assert not masks[:, side].any() and not masks[:, :, side].any()
        assert masks[:, next_to_it].any() and masks[:, :, next_to_it].any()


def test_visible_landmarks_lie_on_their_parts(drawn):
    assert set(PART_OF) == set(creature.LANDMARK_NAMES)
    for picture in drawn:
        assert picture.landmarks.dtype == np.float32 and picture.visible.dtype == bool
        for name, point, visible in zip(creature.LANDMARK_NAMES, picture.landmarks,
                                        picture.visible):
            x, y = np.rint(point).astype(int)
            if visible:
                assert picture.part_mask[y, x] == PART_OF[name], name


def test_hidden_landmarks_lie_behind_another_limb():
    hidden = 0
    for picture in pictures(150, (40, 48)):
        for name, point, visible in zip(creature.LANDMARK_NAMES, picture.landmarks,
                                        picture.visible):
            x, y = np.rint(point).astype(int)
            if not visible:
                hidden += 1
                assert picture.part_mask[y, x] not in (0, PART_OF[name])
    assert hidden > 0


def test_creatures_vary_in_pose_place_size_and_facing(drawn):
    index = {name: i for i, name in enumerate(creature.LANDMARK_NAMES)}
    points = np.array([picture.landmarks for picture in drawn])
    facing = points[:, index['snout'], 0] > points[:, index['tail middle'], 0]
    assert 0.2 < facing.mean() < 0.8
    lengths = np.linalg.norm(points[:, index['chest']] - points[:, index['near foot']], axis=-1)
    assert lengths.std() > 0.08 * lengths.mean()
    assert (points.std(axis=0) > 5).all()


def test_colours_alone_do_not_find_the_parts(drawn):
    # A cluster per part and one for the background or more: the best match is poor.
    lab = np.stack([color.rgb2lab(picture.image)[::3, ::3] for picture in drawn]) / 100
    truth = np.stack([picture.part_mask[::3, ::3] for picture in drawn]).ravel()
    scores: Dict[int, float] = {}
    with threadpoolctl.threadpool_limits(1):
        for num_clusters in (5, 8, 12):
            means = cluster.MiniBatchKMeans(num_clusters, n_init=3, random_state=0)
            scores[num_clusters] = mean_part_iou(means.fit_predict(lab.reshape(-1, 3)), truth)
    assert scores[5] < 0.3 and max(scores.values()) < 0.4, scores


def test_texture_and_colour_together_tell_the_parts_apart(drawn):
    def features(image: np.ndarray) -> np.ndarray:
        lab = color.rgb2lab(image) / 100
        values = [ndimage.gaussian_filter(lab[..., channel], 3) for channel in range(3)]
        for scale in (0.8, 1.6, 3.2):
            x, y = (ndimage.gaussian_filter(lab[..., 0], scale, order)
                    for order in ((0, 1), (1, 0)))
            xx, xy, yy = (ndimage.gaussian_filter(product, 4) for product in (x * x, x * y, y * y))
            values += [np.sqrt(xx + yy),
                       np.sqrt((xx - yy)**2 + 4 * xy**2) / (xx + yy + 1e-5)]
        return np.stack(values, -1)

    inside = [picture.part_mask > 0 for picture in drawn]
    values = [features(picture.image)[mask] for picture, mask in zip(drawn, inside)]
    truth = [picture.part_mask[mask] for picture, mask in zip(drawn, inside)]

    def score(columns: slice) -> float:
        half = len(drawn) // 2
        model = pipeline.make_pipeline(preprocessing.StandardScaler(),
                                       discriminant_analysis.QuadraticDiscriminantAnalysis())
        model.fit(np.concatenate(values[:half])[::5, columns], np.concatenate(truth[:half])[::5])
        found = model.predict(np.concatenate(values[half:])[:, columns])
        true = np.concatenate(truth[half:])
        return float(np.mean([((found == part) & (true == part)).sum()
                              / ((found == part) | (true == part)).sum() for part in range(1, 5)]))

    colour, texture, both = score(slice(0, 3)), score(slice(3, None)), score(slice(None))
    assert both > 0.7 and both > max(colour, texture) + 0.03, (colour, texture, both)


def test_what_is_written_is_read(tmp_path):
    folder = str(tmp_path / 'deep' / 'creatures')
    synthetic.write(folder, num_train=3, num_test=2, size=(48, 64), seed=5)
    dataset = synthetic.read(folder)
    assert (len(dataset.train), len(dataset.test)) == (3, 2) and dataset.fit == dataset.train
    assert dataset.part_names == ('head', 'body', 'legs', 'tail')
    for split, records in enumerate((dataset.train, dataset.test)):
        for index, record in enumerate(records):
            expected = creature.draw(np.random.default_rng([5, split, index]), (48, 64))
            np.testing.assert_array_equal(images.read(record.path), expected.image)
            parts = images.read_labels(record.part_mask_path)
            np.testing.assert_array_equal(parts, expected.part_mask)
            np.testing.assert_array_equal(images.read_map(record.mask_path), parts > 0)
            np.testing.assert_array_equal(record.landmarks, expected.landmarks)
            np.testing.assert_array_equal(record.visible, expected.visible)
            x, y, width, height = record.box.astype(int)
            assert (parts[y:y + height, x:x + width] > 0).sum() == (parts > 0).sum()
            for line in (parts[y], parts[y + height - 1], parts[:, x], parts[:, x + width - 1]):
                assert line.any()
    names = [record.name for record in dataset.train + dataset.test]
    assert len(set(names)) == 5


def test_the_first_photos_do_not_depend_on_their_number(tmp_path):
    synthetic.write(str(tmp_path / 'few'), num_train=2, num_test=0, size=(40, 48))
    synthetic.write(str(tmp_path / 'more'), num_train=4, num_test=1, size=(40, 48))
    few, more = synthetic.read(str(tmp_path / 'few')), synthetic.read(str(tmp_path / 'more'))
    assert few.test == ()
    for one, other in zip(few.train, more.train):
        np.testing.assert_array_equal(images.read(one.path), images.read(other.path))


def test_a_complete_folder_is_left_alone_and_other_settings_are_an_error(tmp_path):
    folder = str(tmp_path / 'creatures')
    settings = {'num_train': 2, 'num_test': 1, 'size': (40, 48), 'seed': 3}
    synthetic.write(folder, **settings)
    photo = synthetic.read(folder).train[0].path
    before = os.stat(photo)
    synthetic.write(folder, **settings)
    after = os.stat(photo)
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    with pytest.raises(DatasetError, match='num_train=2 instead of 4, seed=3 instead of 9'):
        synthetic.write(folder, **{**settings, 'num_train': 4, 'seed': 9})


def test_an_interrupted_drawing_leaves_nothing_and_can_be_repeated(tmp_path, monkeypatch):
    folder = tmp_path / 'creatures'
    calls = []

    def break_off(path, array):
        calls.append(path)
        if len(calls) > 4:
            raise OSError('the disk is full')
        images_write(path, array)

    images_write = images.write_png
    monkeypatch.setattr(images, 'write_png', break_off)
    with pytest.raises(OSError, match='the disk is full'):
        synthetic.write(str(folder), num_train=3, num_test=1, size=(40, 48))
    assert calls and list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    synthetic.write(str(folder), num_train=3, num_test=1, size=(40, 48))
    assert [path.name for path in tmp_path.iterdir()] == ['creatures']


def test_an_empty_folder_is_filled_and_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / 'empty').mkdir()
    synthetic.write(str(tmp_path / 'empty'), num_train=1, num_test=0, size=(40, 48))
    assert len(synthetic.read(str(tmp_path / 'empty')).train) == 1
    for name in ('file', 'full/letter.txt'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('dear')
        with pytest.raises(DatasetError, match='`folder` must be new or empty'):
            synthetic.write(str(tmp_path / name.split('/')[0]), num_train=1, num_test=0)
        assert path.read_text() == 'dear'


def test_of_two_processes_that_draw_the_same_the_slower_gives_way(tmp_path, monkeypatch):
    folder = str(tmp_path / 'creatures')
    settings = {'num_train': 2, 'num_test': 1, 'size': (40, 48)}
    faster, rename = str(tmp_path / 'faster'), os.rename
    synthetic.write(faster, **settings)

    def rename_late(source, target):
        rename(faster, folder)
        rename(source, target)

    monkeypatch.setattr(os, 'rename', rename_late)
    synthetic.write(folder, **settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['creatures']
    assert len(synthetic.read(folder).train) == 2


@pytest.mark.parametrize('broken, match', [
    ('manifest.json', 'must be JSON'), ('train/annotations.npz', 'cannot be read')])
def test_a_broken_file_is_named(tmp_path, broken, match):
    folder = tmp_path / 'creatures'
    synthetic.write(str(folder), num_train=2, num_test=1, size=(40, 48))
    content = (folder / broken).read_bytes()
    (folder / broken).write_bytes(content[:len(content) // 2])
    with pytest.raises(DatasetError, match=f'{broken} {match}'):
        synthetic.read(str(folder))


@pytest.mark.parametrize('missing', [
    'test/photos/00000.png', 'train/part_masks/00001.png', 'train/masks/00000.png'])
def test_a_missing_photo_or_mask_is_named(tmp_path, missing):
    folder = tmp_path / 'creatures'
    synthetic.write(str(folder), num_train=2, num_test=1, size=(40, 48))
    (folder / missing).unlink()
    with pytest.raises(DatasetError, match=f'{missing} is missing'):
        synthetic.read(str(folder))


def test_another_folder_is_not_taken_for_drawings(tmp_path):
    with pytest.raises(DatasetError, match='no manifest.json in'):
        synthetic.read(str(tmp_path))
    (tmp_path / 'manifest.json').write_text('{"name": "other"}')
    with pytest.raises(DatasetError, match='must hold'):
        synthetic.read(str(tmp_path))


@pytest.mark.parametrize('name, change, words', [
    ('landmarks', lambda array: array[0, 0, 0], r'must be float32\[.N., 10, 2\]; got float32\[\]'),
    ('landmarks', lambda array: array[..., :1], 'must be float32'),
    ('landmarks', lambda array: array * np.inf, 'must be finite and at most 1000000'),
    ('visible', lambda array: array.astype(np.float32), 'must be bool'),
    ('boxes', lambda array: array * [1, 1, 0, 1], 'must be float32.* got float64'),
    ('boxes', lambda array: array * np.float32([1, 1, 0, 1]), 'with an area')])
def test_annotations_that_cannot_have_been_drawn_are_refused(tmp_path, name, change, words):
    folder = tmp_path / 'creatures'
    synthetic.write(str(folder), num_train=1, num_test=0)
    path = folder / 'train' / 'annotations.npz'
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=f'`{name}` of .*{words}.*: remove .* drawn again'):
        synthetic.read(str(folder))


@pytest.mark.parametrize('value', ['"x"', 'true', '-1', '1.5', 'null'])
def test_a_number_of_photos_that_is_none_is_named(tmp_path, value):
    folder = tmp_path / 'creatures'
    synthetic.write(str(folder), num_train=1, num_test=0)
    path = folder / 'manifest.json'
    path.write_text(path.read_text().replace('"num_test": 0', f'"num_test": {value}'))
    with pytest.raises(DatasetError, match='`num_test` in .* must be a whole number, at least 0'):
        synthetic.read(str(folder))


@pytest.mark.parametrize('setting', [
    {'num_train': 0}, {'num_test': -1}, {'size': (31, 64)}, {'seed': -1}])
def test_settings_out_of_range_are_errors_that_name_them(tmp_path, setting):
    settings = {'num_train': 2, 'num_test': 1, 'size': (40, 48), 'seed': 0, **setting}
    with pytest.raises(DatasetError, match=f'`{next(iter(setting))}` must be at least'):
        synthetic.write(str(tmp_path / 'creatures'), **settings)


def test_load_draws_below_the_run_or_reads_what_is_drawn(tmp_path):
    settings = {'num_train': 2, 'num_test': 1, 'size': (40, 48), 'seed': 0}
    first = load('synthetic', workdir=str(tmp_path / 'run'), **settings)
    again = load('synthetic', root=str(pathlib.Path(first.train[0].path).parents[2]))
    assert [record.path for record in first.train] == [record.path for record in again.train]
    assert Image.open(first.test[0].path).size == (48, 40)
