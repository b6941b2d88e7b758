"""Laws of the pictures of parts."""
from __future__ import annotations

import numpy as np
from PIL import Image
import pytest

from scops_tf.pictures import parts as part_pictures
from scops_tf.pictures.palette import palette

HEIGHT, WIDTH = 96, 128


def _two_parts(height=HEIGHT, width=WIDTH):
    labels = np.zeros((height, width), np.uint8)
    labels[height // 4:3 * height // 4, width // 4:width // 2] = 1
    labels[height // 4:3 * height // 4, width // 2:3 * width // 4] = 2
    return labels


def test_a_label_png_holds_the_labels_and_shows_the_palette(tmp_path):
    labels, path = _two_parts(), tmp_path / 'folder' / 'labels.png'
    part_pictures.write_label_png(str(path), labels)
    with Image.open(path) as picture:
        assert picture.mode == 'P' and picture.size == (WIDTH, HEIGHT)
        np.testing.assert_array_equal(np.array(picture), labels)
        np.testing.assert_array_equal(np.array(picture.convert('RGB')),
                                      palette(2)[labels])
    assert [file.name for file in path.parent.iterdir()] == ['labels.png']


def test_a_label_without_a_colour_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match='`colors`'):
        part_pictures.write_label_png(str(tmp_path / 'a.png'), _two_parts(),
                                      palette(1))
    with pytest.raises(ValueError, match='integers'):
        part_pictures.write_label_png(str(tmp_path / 'a.png'), _two_parts().astype(float))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('height,width', [(HEIGHT, WIDTH), (480, 400)])
def test_the_training_picture_has_a_row_per_photo_and_a_column_per_view_of_it(height, width):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    labels = np.stack([_two_parts(height, width)] * 2)
    responses = rng.random((2, 12, 16, 2), np.float32)
    centers = np.array([[[width / 4, height / 2], [width / 2, height / 2]]] * 2)
    cell = (90, 90)
    plain = part_pictures.training_picture(images, responses, labels, cell_size=cell)
    full = part_pictures.training_picture(
        images, responses, labels, centers=centers, presence=np.ones((2, 2)),
        saliency_maps=responses.max(axis=-1), views=images[:, :, ::-1],
        view_labels=labels[:, :, ::-1], view_centers=centers, cell_size=cell)
    assert plain.shape[0] == full.shape[0] and plain.dtype == np.uint8
    assert full.shape[1] - plain.shape[1] == 3 * (plain.shape[1] - 6) // 4


def test_the_training_picture_names_merges_and_colours_the_parts_as_they_are_named(monkeypatch):
    shown = {}

    def sheet(rows, *, column_captions, cell_size):
        shown.update(rows=rows, captions=list(column_captions))
        return np.zeros((10, 200, 3), np.uint8)

    def legend(entries, width):
        shown.update(entries=[(tuple(color), name) for color, name in entries], width=width)
        return np.ones((4, width, 3), np.uint8)

    monkeypatch.setattr(part_pictures.sheets, 'sheet', sheet)
    monkeypatch.setattr(part_pictures.legend, 'legend', legend)
    images, responses = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8), np.ones((1, 12, 16, 3))
    labels = _two_parts()[np.newaxis]
    colors = palette(3)
    colors[1] = (9, 8, 7)
    found = part_pictures.training_picture(
        images, responses, labels, names={1: 'head'}, lookup=np.array([0, 1, 1, 0]), colors=colors)
    assert found.shape == (14, 200, 3) and shown['width'] == 200
    assert shown['captions'] == ['input', 'parts', '1 head', '2 head', 'part 3, dropped']
    assert shown['entries'] == [((9, 8, 7), '1 head')]
    # Both parts of the head are one area of its colour; a dropped part keeps its own.
    assert {tuple(pixel) for pixel in shown['rows'][0][2].reshape(-1, 3)} == {(9, 8, 7)}
    assert {tuple(pixel) for pixel in shown['rows'][0][4].reshape(-1, 3)} == {
        tuple(palette(3)[3])}
    part_pictures.training_picture(images, responses, labels)
    assert shown['captions'][2:] == ['part 1', 'part 2', 'part 3']
    assert [name for _, name in shown['entries']] == ['part 1', 'part 2', 'part 3']


def test_centres_are_scaled_with_the_photo():
    image, labels = np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)
    picture = part_pictures.parts_picture(image, labels, np.array([[8.0, 12.0]]),
                                          cell_size=(240, 320))
    ys, xs = np.nonzero(picture.any(axis=-1))
    np.testing.assert_allclose([(xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2],
                               [84.5, 124.5], atol=1)
