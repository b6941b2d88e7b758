from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image, PngImagePlugin
import pytest

from scops_tf import images
from scops_tf.evaluation import label_scores
from scops_tf.saliency import (
    SaliencyError,
    maps,
    robust_background,
    saliency_map,
)

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_SIZE = 90, 140


def _scene(size=_SIZE, center=(0.55, 0.4), object_color=(200, 60, 40), seed=0):
    """An ellipse on a textured background: photo and mask."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    mask = (((rows / height - center[0]) / 0.25) ** 2
            + ((columns / width - center[1]) / 0.2) ** 2) < 1
    noise = np.random.default_rng(seed).normal(0, 4, (*size, 3))
    photo = np.where(mask[..., np.newaxis], object_color, (60, 110, 70)) + noise
    return np.clip(photo, 0, 255).astype(np.uint8), mask


def _error(found, mask):
    return np.abs(found - mask).mean()


# The map.


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (9, 1), (2, 3), (5, 7), (19, 14), (40, 2),
                                  (7, 400), (90, 140), (701, 33)])
def test_the_map_has_the_size_of_the_photo_and_lies_in_0_1(size):
    photo = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = saliency_map(photo)
    assert found.shape == size and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1


def test_an_object_on_a_textured_background_is_found():
    photo, mask = _scene()
    found = saliency_map(photo)
    assert found[mask].mean() > 0.9 and found[~mask].mean() < 0.05
    assert ((found > 0.5) & mask).sum() / ((found > 0.5) | mask).sum() > 0.85


def test_an_object_that_touches_the_border_is_found_all_the_same():
    photo, mask = _scene(center=(0.85, 0.5))
    assert mask[-1].any()
    found = saliency_map(photo)
    assert found[mask].mean() > 0.7 and found[~mask].mean() < 0.1


def test_what_holds_on_to_the_border_is_background_though_it_stands_out():
    photo, mask = _scene()
    photo[:25] = 235, 235, 90
    found = saliency_map(photo)
    assert found[:25].mean() < 0.2 < 0.7 < found[mask].mean()


def test_a_grey_photo_is_as_good_as_a_coloured_one():
    photo, mask = _scene(object_color=(190, 190, 190))
    grey = np.repeat(photo.mean(-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    found = saliency_map(grey)
    assert found[mask].mean() > 0.9 and found[~mask].mean() < 0.05


@pytest.mark.parametrize('value', [(0, 0, 0), (255, 255, 255), (30, 160, 90)])
def test_nothing_stands_out_in_one_colour(value):
    assert not saliency_map(np.full((*_SIZE, 3), value, np.uint8)).any()


def test_noise_that_nobody_sees_does_not_stand_out():
    noise = np.random.default_rng(2).normal(128, 2, (*_SIZE, 3))
    assert not saliency_map(noise.astype(np.uint8)).any()


def test_the_same_photo_gives_the_same_map_to_the_bit():
    photo, _ = _scene()
    np.testing.assert_array_equal(saliency_map(photo), saliency_map(photo.copy()))


@pytest.mark.parametrize('move', [
    lambda array: array[:, ::-1], lambda array: array[::-1], lambda array: array.swapaxes(0, 1),
    lambda array: array.repeat(3, axis=0).repeat(3, axis=1)],
    ids=['mirrored', 'upside down', 'transposed', 'three times as large'])
def test_the_map_moves_with_the_photo(move):
    photo, mask = _scene(center=(0.4, 0.6))
    moved = saliency_map(np.ascontiguousarray(move(photo)))
    assert np.abs(moved - move(saliency_map(photo))).mean() < 0.03
    assert _error(moved, move(mask)) < 0.05


def test_a_large_photo_costs_its_reduction_only():
    photo, mask = _scene((1800, 2400), center=(0.5, 0.6))
    found = saliency_map(photo)
    assert found.shape == mask.shape and _error(found, mask) < 0.05


def test_the_photo_is_not_written_to():
    photo, _ = _scene()
    photo.flags.writeable = False
    saliency_map(photo)


def test_contrast_changes_the_order_of_no_two_pixels():
    photo, _ = _scene(seed=3)
    sharp, soft = (saliency_map(photo, contrast=contrast).ravel() for contrast in (10, 0))
    order = np.argsort(soft, kind='stable')
    assert (np.diff(sharp[order]) >= -1e-6).all() and not np.allclose(sharp, soft)
    for found in (sharp, soft):
        assert found.min() == 0 and found.max() == 1


@pytest.mark.parametrize('thickness', [(6, 6, 6, 6), (9, 9, 0, 0)], ids=['frame', 'letterbox'])
def test_a_drawn_frame_is_cut_off_and_is_0(thickness):
    photo, mask = _scene()
    top, bottom, left, right = thickness
    framed = np.zeros((_SIZE[0] + top + bottom, _SIZE[1] + left + right, 3), np.uint8)
    interior = slice(top, top + _SIZE[0]), slice(left, left + _SIZE[1])
    framed[interior] = photo
    found = saliency_map(framed)
    np.testing.assert_allclose(found[interior], saliency_map(photo), atol=1e-6)
    outside = np.ones(found.shape, bool)
    outside[interior] = False
    assert not found[outside].any() and _error(found[interior], mask) < 0.05


def test_a_frame_that_is_left_in_does_harm():
    photo, mask = _scene()
    framed, interior = np.zeros((102, 152, 3), np.uint8), (slice(6, -6), slice(6, -6))
    framed[interior] = photo
    kept, cut = (saliency_map(framed, remove_frame=remove)[interior] for remove in (False, True))
    assert _error(kept, mask) > 1.5 * _error(cut, mask)


def test_a_plain_background_close_around_the_object_is_no_frame():
    photo, mask = _scene(center=(0.3, 0.3))
    photo[~mask] = 255
    inside = robust_background._frame_interior(photo)
    assert inside == (slice(None), slice(None))
    assert _error(saliency_map(photo), mask) < 0.05


@pytest.mark.parametrize('clip_weights', [False, True])
def test_the_graph_computes_the_paper_s_sums(clip_weights):
    photo, _ = _scene()
    nodes = robust_background._superpixels(photo, 40, 30.0)
    num_nodes = len(nodes.colors)

    distance = np.zeros((num_nodes, num_nodes))
    for i in range(num_nodes):
        for j in range(num_nodes):
            distance[i, j] = np.linalg.norm(nodes.colors[i] - nodes.colors[j])
    linked = np.zeros((num_nodes, num_nodes), bool)
    for i, j in nodes.edges:
        linked[i, j] = linked[j, i] = True
    step = distance.copy()
    if clip_weights:
        step -= np.mean([distance[i][linked[i]].min() for i in range(num_nodes)])
        step[step < 0] = 0
    path = np.where(linked, step, np.inf)
    np.fill_diagonal(path, 0)
    for k in range(num_nodes):  # Floyd and Warshall.
        path = np.minimum(path, path[:, [k]] + path[[k]])
    background = np.zeros(num_nodes)
    for i in range(num_nodes):
        same = np.exp(-path[i] ** 2 / (2 * 10 ** 2))
        connectivity = same[nodes.on_boundary].sum() / np.sqrt(same.sum())
        background[i] = 1 - np.exp(-connectivity ** 2 / 2)
    contrast = np.zeros(num_nodes)
    for i in range(num_nodes):
        for j in range(num_nodes):
            apart = np.sum((nodes.positions[i] - nodes.positions[j]) ** 2)
            contrast[i] += distance[i, j] * np.exp(-apart / (2 * 0.25 ** 2)) * background[j]
    foreground = (contrast - contrast.min()) / np.ptp(contrast)

    found = robust_background._node_saliency(nodes, 10, 0.25, 1, 0.1, clip_weights)

    system, right = np.diag(background + foreground), foreground
    for i, j in nodes.edges:
        weight = np.exp(-distance[i, j] ** 2 / (2 * 10 ** 2)) + 0.1
        system[i, i] += weight
        system[j, j] += weight
        system[i, j] -= weight
        system[j, i] -= weight
    expected = np.linalg.solve(system, right)
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_reducing_takes_exact_means_of_areas():
    image = np.random.default_rng(4).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    reduced = robust_background._reduce(image, 30)
    blocks = image.reshape(20, 3, 30, 3, 3).mean(axis=(1, 3))
    assert reduced.shape == (20, 30, 3) and np.abs(reduced - blocks).max() <= 0.51
    weights = robust_background._area_weights(17, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), 5 / 17, atol=1e-6)


@pytest.mark.parametrize('image', [
    np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32),
    np.zeros((0, 5, 3), np.uint8)], ids=['grey', 'alpha', 'float', 'empty'])
def test_what_is_no_photo_is_refused(image):
    with pytest.raises(SaliencyError, match='`image` must be a uint8'):
        saliency_map(image)


@pytest.mark.parametrize('constants', [
    {'long_side': 0}, {'num_superpixels': 0}, {'compactness': 0.0}, {'color_sigma': -1.0},
    {'spatial_sigma': float('nan')}, {'boundary_sigma': 0.0}, {'smoothness': -0.1},
    {'contrast': float('inf')}], ids=str)
def test_a_constant_out_of_range_is_named(constants):
    with pytest.raises(SaliencyError, match=f'`{next(iter(constants))}` must be'):
        saliency_map(np.zeros((4, 5, 3), np.uint8), **constants)


def test_one_map_takes_no_tensorflow():
    code = 'import sys, scops_tf.saliency; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=_ROOT).returncode == 0


def test_real_photos_score_above_the_centre_prior(shared):
    found, prior, masks = [], [], []
    for category in ('aeroplane', 'cow', 'sheep'):
        folder = shared / 'data' / 'pascal10' / category
        for path in sorted((folder / 'images').iterdir())[:8]:
            photo = images.read(str(path))
            masks.append(images.read_labels(str(folder / 'masks' / f'{path.stem}.png')) > 0)
            found.append(saliency_map(photo))
            rows, columns = (np.linspace(-2, 2, side) for side in photo.shape[:2])
            prior.append(np.exp(-(rows[:, np.newaxis] ** 2 + columns ** 2) / 2))
    scores, trivial = (label_scores.saliency_scores(some, masks) for some in (found, prior))
    assert scores['max_f'] > trivial['max_f'] + 10
    assert scores['mae'] < 0.6 * trivial['mae']


# Maps of many photos.


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Three photos in two folders, and what is no photo."""
    root = tmp_path / 'photos'
    for index, name in enumerate(('one.png', 'nested/two.png', 'nested/.hidden.png', 'three.PNG')):
        images.write_png(str(root / name), _scene(seed=index)[0])
    (root / 'notes.txt').write_text('no photo')
    return root


def _write(folder, out, **options):
    return maps.write_maps(str(folder), str(out), maps.list_photos(str(folder)), num_workers=1,
                           **options)


def _files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('[!.]*')
                  if path.is_file())


def test_maps_lie_at_the_relative_paths_of_the_photos(folder, tmp_path):
    assert _write(folder, tmp_path / 'maps') == (3, [])
    assert _files(tmp_path / 'maps') == ['nested/two.png', 'one.png', 'three.png']
    found = images.read_map(str(tmp_path / 'maps' / 'one.png'))
    np.testing.assert_allclose(found, saliency_map(_scene(seed=0)[0]), atol=0.5 / 255 + 1e-6)


def test_what_is_done_is_skipped_and_what_is_missing_is_made(folder, tmp_path):
    out = tmp_path / 'maps'
    _write(folder, out)
    (out / 'one.png').write_bytes(b'mine')
    (out / 'three.png').unlink()
    assert _write(folder, out) == (1, [])
    assert (out / 'one.png').read_bytes() == b'mine'
    assert _write(folder, out) == (0, [])


def test_unreadable_photos_are_listed_and_the_others_done(folder, tmp_path):
    (folder / 'broken.jpg').write_bytes(b'no image')
    data = (folder / 'one.png').read_bytes()
    (folder / 'cut.png').write_bytes(data[:len(data) // 2])
    written, unreadable = _write(folder, tmp_path / 'maps')
    assert written == 3 and len(unreadable) == 2
    assert 'broken.jpg' in unreadable[0] and 'cut.png' in unreadable[1]
    assert _files(tmp_path / 'maps') == ['nested/two.png', 'one.png', 'three.png']


def test_maps_below_the_photos_are_no_photos(folder):
    out = folder / 'maps'
    _write(folder, out)
    assert len(maps.list_photos(str(folder), but=str(out))) == 3


def test_processes_write_the_maps_of_one_process(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, '_PHOTOS_PER_PROCESS', 1)
    names = maps.list_photos(str(folder))
    maps.write_maps(str(folder), str(tmp_path / 'two'), names, num_workers=2)
    _write(folder, tmp_path / 'one')
    assert _files(tmp_path / 'two') == _files(tmp_path / 'one')
    for name in _files(tmp_path / 'one'):
        assert (tmp_path / 'two' / name).read_bytes() == (tmp_path / 'one' / name).read_bytes()


@pytest.mark.parametrize('prepare, sentence', [
    (lambda root: None, 'there is no folder'),
    (lambda root: root.mkdir(), 'there is none below'),
    (lambda root: [images.write_png(str(root / name), _scene()[0]) for name in ('a.png', 'a.bmp')],
     'differ in more than their suffix')], ids=['missing', 'empty', 'twins'])
def test_a_folder_without_usable_photos_is_one_sentence(tmp_path, prepare, sentence):
    prepare(tmp_path / 'photos')
    with pytest.raises(maps.MapsError, match=sentence):
        maps.list_photos(str(tmp_path / 'photos'))


def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, '_write_map', lambda *_, **__: pytest.fail('worked'))
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='must be writable'):
        _write(folder, tmp_path / 'file' / 'maps')


def test_maps_are_not_written_among_the_photos(folder):
    with pytest.raises(maps.MapsError, match='another folder'):
        _write(folder, folder)


def _cached(folder, cache, **constants):
    photos = [str(folder / name) for name in maps.list_photos(str(folder))]
    return maps.cached_maps(photos, str(cache), num_workers=1, **constants)


def test_the_cache_computes_each_map_once(folder, tmp_path, monkeypatch):
    cache = tmp_path / 'cache'
    first = _cached(folder, cache)
    assert not first.unreadable and len(set(first.paths)) == 3
    found = images.read_map(first.paths[1])  # Sorted: nested/two, one, three.
    np.testing.assert_allclose(found, saliency_map(_scene(seed=0)[0]), atol=0.5 / 255 + 1e-6)
    monkeypatch.setattr(maps, '_write_map', lambda *_, **__: pytest.fail('computed again'))
    assert _cached(folder, cache) == first
    (folder / 'one.png').rename(folder / 'renamed.png')
    assert sorted(_cached(folder, cache).paths) == sorted(first.paths)


def _cut_in_half(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def _write_another(path):
    images.write_png(str(path), np.zeros((30, 20), np.uint8))


def _change_pixels_alone(path):
    with Image.open(path) as image:
        pixels, text = np.array(image), PngImagePlugin.PngInfo()
        for name, value in image.text.items():
            text.add_text(name, value)
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path, pnginfo=text)


@pytest.mark.parametrize('damage', [
    _cut_in_half, _write_another, _change_pixels_alone, lambda path: path.write_bytes(b'')])
def test_a_map_in_the_cache_that_is_not_whole_is_computed_again(folder, tmp_path, damage):
    cache = tmp_path / 'cache'
    first = _cached(folder, cache)
    expected = [images.read_map(path) for path in first.paths]
    damage(pathlib.Path(first.paths[1]))
    assert _cached(folder, cache) == first
    for path, values in zip(first.paths, expected):
        np.testing.assert_array_equal(images.read_map(path), values)


def test_the_cache_goes_by_content_and_constants(folder, tmp_path):
    cache = tmp_path / 'cache'
    first = _cached(folder, cache)
    images.write_png(str(folder / 'one.png'), _scene(center=(0.3, 0.6))[0])
    changed = _cached(folder, cache)
    assert changed.paths[1] not in first.paths and changed.paths[0] == first.paths[0]
    other = _cached(folder, cache, contrast=0)
    assert not set(other.paths) & set(first.paths + changed.paths)
    assert len(_files(cache)) == 7
    # The defaults' key is that of the same values given.
    assert _cached(folder, cache, contrast=10.0).paths == changed.paths


def test_a_photo_twice_is_one_map_and_an_unreadable_one_is_none(folder, tmp_path):
    (folder / 'again.png').write_bytes((folder / 'one.png').read_bytes())
    (folder / 'broken.png').write_bytes(b'no image')
    photos = [str(folder / name) for name in ('again.png', 'broken.png', 'gone.png', 'one.png')]
    found = maps.cached_maps(photos, str(tmp_path / 'cache'), num_workers=1)
    assert found.paths[0] == found.paths[3] and found.paths[1:3] == [None, None]
    assert [photo for photo in photos[1:3]
            if any(photo in sentence for sentence in found.unreadable)] == photos[1:3]


def test_a_large_photo_s_cached_map_is_small_and_of_its_aspect(tmp_path):
    images.write_png(str(tmp_path / 'large.png'), _scene((1200, 2400))[0])
    found = maps.cached_maps([str(tmp_path / 'large.png')], str(tmp_path / 'cache'), num_workers=1)
    assert images.read_map(found.paths[0]).shape == (512, 1024)


# The command.


def _run(*arguments):
    # As a user's shell has it: what tests quieten is for the command itself to quieten.
    environment = {name: value for name, value in os.environ.items() if name[:3] != 'TF_'}
    return subprocess.run([sys.executable, '-m', 'scops_tf.saliency', *arguments], cwd=_ROOT,
                          env=environment, text=True, capture_output=True, timeout=100)


def test_the_command_survives_what_a_folder_may_hold(folder, tmp_path):
    Image.new('RGB', (1, 1)).save(folder / 'dot.png')
    Image.new('RGB', (60, 40), (20, 30, 200)).save(folder / 'plain.jpg')
    Image.fromarray(_scene()[0]).convert('L').save(folder / 'grey.jpg')
    (folder / 'broken.jpg').write_bytes(b'no image')
    arguments = f'--images={folder}', f'--out={tmp_path / "maps"}'
    first = _run(*arguments, '--shard=0/2')
    second = _run(*arguments, '--shard=1/2')
    assert {first.returncode, second.returncode} == {0, 1}
    output = first.stderr + second.stderr
    assert 'broken.jpg must be an image' in output and 'Traceback' not in output
    assert _files(tmp_path / 'maps') == ['dot.png', 'grey.png', 'nested/two.png', 'one.png',
                                         'plain.png', 'three.png']
    assert not images.read_map(str(tmp_path / 'maps' / 'plain.png')).any()


def test_a_mistaken_command_is_one_line(folder):
    found = _run(f'--images={folder}', '--out=/dev/null/maps')
    lines = [line for line in found.stderr.splitlines() if line.strip()]
    assert found.returncode == 1 and len(lines) == 1
    assert lines[0].startswith("Error: The folder '/dev/null/maps' must be writable")
