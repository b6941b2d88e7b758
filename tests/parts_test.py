import numpy as np
from PIL import Image
import pytest

from scops_tf.pictures import palette as palette_lib, parts as part_pictures, sheets

HEIGHT, WIDTH = 96, 128


def _photo(height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _two_parts(height=HEIGHT, width=WIDTH):
    labels = np.zeros((height, width), np.uint8)
    labels[height // 4:3 * height // 4, width // 4:width // 2] = 1
    labels[height // 4:3 * height // 4, width // 2:3 * width // 4] = 2
    return labels


@pytest.mark.parametrize('num_parts', [1, 4, 8, 12, 16])
def test_colors_of_parts_can_be_told_apart_by_colour_blind_eyes_too(num_parts):
    colors = part_pictures.palette(num_parts)
    distances = palette_lib.color_distances(colors, colors)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 15


def test_a_part_has_the_same_colour_whatever_the_number_of_parts():
    every = part_pictures.palette(255)
    assert every.shape == (256, 3) and every.dtype == np.uint8
    assert len(np.unique(every, axis=0)) == 256
    for num_parts in (0, 3, 7, 8, 64):
        np.testing.assert_array_equal(part_pictures.palette(num_parts), every[:num_parts + 1])


@pytest.mark.parametrize('num_parts', [-1, 256])
def test_a_palette_of_labels_that_no_byte_holds_is_refused(num_parts):
    with pytest.raises(ValueError, match='`num_parts`'):
        part_pictures.palette(num_parts)


def test_a_label_png_holds_the_labels_and_shows_the_palette(tmp_path):
    labels, path = _two_parts(), tmp_path / 'folder' / 'labels.png'
    part_pictures.write_label_png(str(path), labels)
    with Image.open(path) as picture:
        assert picture.mode == 'P' and picture.size == (WIDTH, HEIGHT)
        np.testing.assert_array_equal(np.array(picture), labels)
        np.testing.assert_array_equal(np.array(picture.convert('RGB')),
                                      part_pictures.palette(2)[labels])
    assert [file.name for file in path.parent.iterdir()] == ['labels.png']


def test_a_label_without_a_colour_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match='`colors`'):
        part_pictures.write_label_png(str(tmp_path / 'a.png'), _two_parts(),
                                      part_pictures.palette(1))
    with pytest.raises(ValueError, match='integers'):
        part_pictures.write_label_png(str(tmp_path / 'a.png'), _two_parts().astype(float))
    assert not list(tmp_path.iterdir())


def test_boundaries_are_the_pixels_of_parts_beside_another_label():
    labels = _two_parts()
    expected = np.zeros_like(labels, bool)
    for y in range(1, HEIGHT - 1):
        for x in range(1, WIDTH - 1):
            neighbors = labels[[y - 1, y + 1, y, y], [x, x, x - 1, x + 1]]
            expected[y, x] = labels[y, x] > 0 and np.any(neighbors != labels[y, x])
    found = part_pictures.boundaries(labels)
    np.testing.assert_array_equal(found, expected)
    assert found[HEIGHT // 2, WIDTH // 2 - 1] and found[HEIGHT // 2, WIDTH // 2]


def test_a_part_at_the_border_of_the_picture_has_no_boundary_there():
    assert not part_pictures.boundaries(np.ones((5, 7), np.uint8)).any()


def test_thick_boundaries_grow_inwards_only():
    labels = np.zeros((20, 31), np.uint8)
    labels[4:16, 5:25] = 3
    found = part_pictures.boundaries(labels, thickness=3)
    expected = labels > 0
    expected[7:13, 8:22] = False
    np.testing.assert_array_equal(found, expected)


def test_an_overlay_leaves_the_background_and_its_input_as_they_are():
    image, labels = _photo(), _two_parts()
    before = image.copy()
    picture = part_pictures.overlay(image, labels)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(picture[labels == 0], image[labels == 0])
    np.testing.assert_array_equal(picture[part_pictures.boundaries(labels)],
                                  part_pictures.palette(2)[labels[part_pictures.boundaries(labels)]])


def test_the_tint_is_the_mean_of_photo_and_colour_weighted_by_alpha():
    image, labels = _photo(), _two_parts()
    picture = part_pictures.overlay(image, labels, alpha=0.25, outlined=False)
    expected = np.rint(0.75 * image + 0.25 * part_pictures.palette(2)[labels])
    np.testing.assert_array_equal(picture[labels > 0], expected[labels > 0])
    np.testing.assert_array_equal(part_pictures.overlay(image, labels, alpha=0, outlined=False),
                                  image)


def test_an_overlay_of_labels_of_another_size_is_refused():
    with pytest.raises(ValueError, match="image's size"):
        part_pictures.overlay(_photo(), _two_parts().T)


def test_heat_maps_are_black_at_0_and_of_the_parts_colour_at_1():
    responses = np.zeros((4, 6, 3))
    responses[1, 2, 1], responses[3, 5, 1] = 1, 7
    maps = part_pictures.response_heatmaps(responses)
    assert maps.shape == (3, 4, 6, 3) and maps.dtype == np.uint8
    assert maps.any(axis=-1).sum() == 2
    np.testing.assert_array_equal(maps[1, 1, 2], part_pictures.palette(3)[2])
    np.testing.assert_array_equal(maps[1, 3, 5], part_pictures.palette(3)[2])


@pytest.mark.parametrize('height,width', [(HEIGHT, WIDTH), (700, 900)])
def test_a_dot_lies_on_its_centre_in_the_parts_colour(height, width):
    image = np.full((height, width, 3), 40, np.uint8)
    centers = np.array([[width // 4, height // 4], [width - 41, height - 33], [width // 2, 50]])
    picture = part_pictures.draw_centers(image, centers)
    for part, (x, y) in enumerate(centers, start=1):
        around = picture[int(y) - 5:int(y) + 6, int(x) - 5:int(x) + 6]
        assert np.any(np.all(around == part_pictures.palette(3)[part], axis=-1))
    alone = part_pictures.draw_centers(image, centers[:1])
    ys, xs = np.nonzero(np.any(alone != image, axis=-1))
    np.testing.assert_allclose([xs.min() + xs.max(), ys.min() + ys.max()], 2 * centers[0], atol=1)


def test_parts_that_are_absent_or_have_no_centre_are_not_drawn():
    image, centers = _photo(), np.array([[30.0, 20.0], [70.0, 60.0], [np.nan, 0.0]])
    only_first = part_pictures.draw_centers(image, centers[:1])
    for presence in (np.array([0.9, 0.1, 0.9]), np.array([True, False, True])):
        np.testing.assert_array_equal(part_pictures.draw_centers(image, centers, presence),
                                      only_first)
    with pytest.raises(ValueError, match='`presence`'):
        part_pictures.draw_centers(image, centers, np.ones(2))


def test_a_dot_may_lie_outside_the_picture():
    image = _photo()
    picture = part_pictures.draw_centers(image,
                                         np.array([[-500.0, 20.0], [WIDTH - 1.0, HEIGHT + 2.0]]))
    assert picture.shape == image.shape
    changed = np.any(picture != image, axis=-1)
    assert changed.any() and not changed[:HEIGHT // 2].any()


def test_landmarks_are_drawn_where_visible_with_a_line_to_the_predicted_one():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    landmarks = np.array([[20.0, 30.0], [100.0, 80.0]])
    visible = np.array([True, False])
    plain = part_pictures.draw_landmarks(image, landmarks, visible)
    assert plain[30, 20].any() and not plain[50:, 50:].any()
    joined = part_pictures.draw_landmarks(image, landmarks, visible, predicted=landmarks + [40, 0])
    assert joined[30, 20:60].any(axis=-1).all() and not plain[30, 40].any()
    assert not np.array_equal(joined[30, 20], joined[30, 60])


def test_a_legend_has_every_colour_and_breaks_its_lines():
    strip = part_pictures.legend(9, [f'name {part}' for part in range(9)], width=300)
    assert strip.shape[1] == 300 and strip.shape[0] > 2 * part_pictures.legend(1,
                                                                               width=300).shape[0]
    for color in part_pictures.palette(9)[1:]:
        assert np.any(np.all(strip == color, axis=-1))
    with pytest.raises(ValueError, match='`names`'):
        part_pictures.legend(3, ['one'])


def test_an_image_keeps_its_proportions_in_a_cell():
    for height, width in ((60, 90), (900, 300), (7, 500)):
        shown, factor = sheets.fit(_photo(height, width), (120, 160))
        assert shown.shape[0] == 120 or shown.shape[1] == 160
        assert shown.shape[0] <= 120 and shown.shape[1] <= 160
        assert abs(shown.shape[0] - height * factor) <= 1
        assert abs(shown.shape[1] - width * factor) <= 1


def test_a_sheet_shows_every_image_whole_and_in_its_place():
    colors = part_pictures.palette(5)[1:]
    rows = [[np.full((30, 40, 3), colors[0]), np.full((40, 20, 3), colors[1])],
            [np.full((60, 80, 3), colors[2]), np.full((10, 20, 3), colors[3]),
             np.full((300, 400, 3), colors[4])]]
    picture = sheets.sheet(rows, cell_size=(60, 80), column_captions=['first', 'x' * 200],
                           row_captions=['some row'])
    places = []
    for color in colors:
        ys, xs = np.nonzero(np.all(picture == color, axis=-1))
        places.append((ys.min(), ys.max(), xs.min(), xs.max()))
    sizes = [(bottom - top + 1, right - left + 1) for top, bottom, left, right in places]
    assert sizes == [(60, 80), (60, 30), (60, 80), (40, 80), (60, 80)]
    assert places[0][3] < places[1][2] and places[2][3] < places[3][2] < places[3][3] < places[4][2]
    assert places[1][1] < places[2][0]
    with pytest.raises(ValueError, match='at least one image'):
        sheets.sheet([[]])
    with pytest.raises(ValueError, match='`row_captions`'):
        sheets.sheet([[_photo()]], row_captions=['a', 'b'])


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


def test_centres_are_scaled_with_the_photo():
    image, labels = np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)
    picture = part_pictures.parts_picture(image, labels, np.array([[8.0, 12.0]]),
                                          cell_size=(240, 320))
    ys, xs = np.nonzero(picture.any(axis=-1))
    np.testing.assert_allclose([(xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2],
                               [84.5, 124.5], atol=1)
