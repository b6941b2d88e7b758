"""Laws of the pixel conventions."""
from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from scops_tf import files, image_formats, images

RNG = np.random.default_rng(0)


def encoded(image: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def red(height: int = 6, width: int = 9) -> Image.Image:
    return Image.new('RGB', (width, height), (255, 0, 0))


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return (struct.pack('>I', len(content)) + kind + content
            + struct.pack('>I', zlib.crc32(kind + content)))


def png_header(width: int, height: int) -> bytes:
    header = png_chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + png_chunk(b'IDAT', zlib.compress(b'\0' * 9))


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'WEBP', 'BMP', 'GIF'])
def test_a_red_photo_is_decoded_as_red(image_format):
    photo = images.decode(encoded(red(), image_format))
    assert photo.shape == (6, 9, 3) and photo.dtype == np.uint8
    np.testing.assert_allclose(photo, np.broadcast_to([255, 0, 0], photo.shape), atol=4)


@pytest.mark.parametrize('mode', ['L', '1', 'P', 'RGB', 'LA', 'RGBA', 'I;16'])
def test_every_png_mode_becomes_rgb_of_its_size(mode):
    grey = np.full((5, 8), 200, np.uint8)
    if mode == 'I;16':
        image = Image.fromarray(np.full((5, 8), 200 * 257, np.uint16))
    else:
        image = Image.fromarray(grey).convert(mode)
    photo = images.decode(encoded(image, 'PNG'))
    expected = 255 if mode == '1' else 200
    np.testing.assert_array_equal(photo[:1, :1], np.full((1, 1, 3), expected))
    assert photo.shape == (5, 8, 3)


def test_a_cmyk_jpeg_keeps_its_colours():
    photo = images.decode(encoded(red(16, 24).convert('CMYK'), 'JPEG', quality=95))
    np.testing.assert_allclose(photo, np.broadcast_to([255, 0, 0], photo.shape), atol=6)


def test_transparent_pixels_are_laid_over_white():
    image = red().convert('RGBA')
    image.putpixel((2, 1), (255, 0, 0, 0))
    image.putpixel((3, 1), (0, 0, 0, 128))
    photo = images.decode(encoded(image, 'PNG'))
    np.testing.assert_array_equal(photo[1, 2], [255, 255, 255])
    np.testing.assert_allclose(photo[1, 3], [127, 127, 127], atol=1)
    np.testing.assert_array_equal(photo[0, 0], [255, 0, 0])


def test_the_transparent_index_of_a_palette_is_white():
    image = Image.fromarray(np.array([[0, 1, 1]], np.uint8), 'P')
    image.putpalette([0, 0, 255, 0, 255, 0])
    photo = images.decode(encoded(image, 'PNG', transparency=0))
    np.testing.assert_array_equal(photo, [[[255, 255, 255], [0, 255, 0], [0, 255, 0]]])


def test_exif_rotation_is_applied():
    array = gradient(16, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees clockwise.
    photo = images.decode(encoded(Image.fromarray(array), 'PNG', exif=exif))
    np.testing.assert_array_equal(photo, np.rot90(array, -1))


def test_the_first_frame_of_an_animation_is_taken():
    frames = [red(), Image.new('RGB', (9, 6), (0, 0, 255))]
    photo = images.decode(encoded(frames[0], 'GIF', save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(photo[0, 0], [255, 0, 0])


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'WEBP'])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, image_format):
    data = encoded(Image.fromarray(RNG.integers(0, 255, (40, 60, 3), np.uint8)), image_format)
    path = tmp_path / 'broken.jpg'
    path.write_bytes(data[:len(data) // 2])
    with pytest.raises(images.ImageError, match='broken.jpg'):
        images.read(str(path))


@pytest.mark.filterwarnings('ignore:.*EXIF|Tag data:UserWarning')
@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'GIF', 'BMP', 'WEBP'])
def test_damaged_bytes_give_an_image_or_an_image_error(image_format):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if image_format in ('GIF', 'BMP') else {'exif': exif}
    whole = encoded(Image.fromarray(gradient(20, 30)), image_format, **options)
    outcomes = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 8):
            data[position] = rng.integers(256)
        try:
            outcomes.add(images.decode(bytes(data)).shape[-1])
        except images.ImageError:
            outcomes.add('error')
    assert outcomes <= {3, 'error'} and 'error' in outcomes


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('data, reason', [
    (b'', 'empty'), (b'<html>', 'none of them'), (png_header(0, 5), 'none of them or damaged'),
    (png_header(12001, 9000), 'at most 108000000 pixels; it has 12001 x 9000'),
    (png_header(60000, 60000), 'at most 108000000 pixels; it has far more')],
    ids=['empty', 'text', 'no width', 'large', 'huge'])
def test_what_is_no_image_is_an_error_with_its_reason(data, reason):
    with pytest.raises(images.ImageError, match=reason):
        images.decode(data)


def test_a_photo_of_12000_by_9000_is_within_the_limit(recwarn):
    with pytest.raises(images.ImageError, match='truncated|cannot be decoded'):
        images.decode(png_header(12000, 9000))
    assert not recwarn.list


@pytest.mark.parametrize('make', [lambda path: None, lambda path: path.mkdir()])
def test_a_path_that_cannot_be_read_is_an_image_error(tmp_path, make):
    make(tmp_path / 'photo.png')
    with pytest.raises(images.ImageError, match='photo.png cannot be read'):
        images.read(str(tmp_path / 'photo.png'))


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG'])
def test_max_side_scales_down_and_keeps_the_aspect(image_format):
    data = encoded(Image.fromarray(gradient(320, 480)), image_format)
    photo = images.decode(data, max_side=96)
    assert photo.shape == (64, 96, 3)
    whole = images.resize(images.decode(data), (64, 96))
    assert np.abs(photo.astype(int) - whole)[1:-1, 1:-1].mean() < 6
    assert images.decode(data, max_side=1000).shape == (320, 480, 3)


def test_maps_of_8_and_16_bits_span_0_to_1(tmp_path):
    values = np.array([[0, 51, 255]])
    for name, array in (('8', values.astype(np.uint8)), ('16', (values * 257).astype(np.uint16))):
        Image.fromarray(array).save(tmp_path / f'{name}.png')
        found = images.read_map(str(tmp_path / f'{name}.png'))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [[0, 0.2, 1]], rtol=1e-6)


def test_images_are_found_below_a_folder_by_their_suffixes_in_the_order_of_their_names(tmp_path):
    wanted = ['b.JPG', 'deep/er/a.webp', 'deep/z.png']
    for name in (*wanted, '.hidden.png', '.hidden/a.png', 'notes.txt', 'png', 'deep/out/a.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'linked').symlink_to(tmp_path / 'deep')
    (tmp_path / 'alias').symlink_to(tmp_path / 'deep' / 'out')
    assert images.names_below(str(tmp_path), but=[str(tmp_path / 'alias')]) == wanted
    assert images.names_below(f'{tmp_path}/') == sorted([*wanted, 'deep/out/a.png'])
    assert images.names_below(str(tmp_path / 'none')) == []


@pytest.mark.parametrize('kind', [np.asarray, tf.constant], ids=['array', 'tensor'])
def test_points_lie_on_the_same_place_of_a_resized_picture(kind):
    # A pixel of 10 x 6 becomes 5 x 2 pixels; borders stay borders.
    factors = kind([5.0, 2.0])
    points = kind([[-0.5, -0.5], [9.5, 5.5], [0.0, 0.0], [4.5, 2.5]])
    expected = [[-0.5, -0.5], [49.5, 11.5], [2.0, 0.5], [24.5, 5.5]]
    scaled = images.scale_points(points, factors)
    assert type(scaled) is type(points)
    np.testing.assert_allclose(scaled, expected)
    np.testing.assert_allclose(images.scale_points(scaled, 1 / factors), points, atol=1e-6)


def test_labels_are_the_values_or_palette_indices(tmp_path):
    labels = np.array([[0, 1, 2], [4, 3, 255]], np.uint8)
    grey, palette = Image.fromarray(labels), Image.fromarray(labels, 'P')
    palette.putpalette([7] * 768)
    for image in (grey, palette, Image.fromarray(labels.astype(np.uint16))):
        image.save(tmp_path / 'labels.png')
        found = images.read_labels(str(tmp_path / 'labels.png'))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize('array', [
    np.zeros((2, 3, 3), np.uint8), np.full((2, 3), 256, np.uint16)])
def test_coloured_labels_and_labels_above_255_are_errors(tmp_path, array):
    Image.fromarray(array).save(tmp_path / 'labels.png')
    with pytest.raises(images.ImageError, match='labels.png must hold labels'):
        images.read_labels(str(tmp_path / 'labels.png'))


@pytest.mark.parametrize('size', [(13, 40), (60, 17), (80, 120), (37, 53)])
def test_resizing_agrees_with_the_resizing_in_the_served_graph(size):
    photo = RNG.integers(0, 256, (37, 53, 3), np.uint8)
    served = tf.image.resize(photo.astype(np.float32), size, antialias=True)
    assert np.abs(images.resize(photo, size) - served.numpy()).max() <= 1.01


def test_resizing_a_map_keeps_a_constant_and_the_range():
    values = RNG.uniform(size=(37, 53)).astype(np.float32)
    small = images.resize_map(values, (9, 11))
    assert small.shape == (9, 11) and small.dtype == np.float32
    assert values.min() <= small.min() and small.max() <= values.max()
    np.testing.assert_allclose(
        images.resize_map(np.full((7, 5), 0.3, np.float32), (19, 8)), 0.3, rtol=1e-6)


def test_resizing_labels_makes_no_new_ones():
    labels = RNG.choice(np.array([0, 3, 200], np.uint8), (37, 53))
    assert set(np.unique(images.resize_labels(labels, (90, 21)))) == {0, 3, 200}
    np.testing.assert_array_equal(
        images.resize_labels(labels, (74, 106)), labels.repeat(2, 0).repeat(2, 1))


def test_written_images_are_read_back_and_leave_nothing_else(tmp_path):
    photo, grey = gradient(6, 11), gradient(6, 11)[..., 0]
    images.write_png(str(tmp_path / 'below' / 'photo.png'), photo)
    images.write_png(str(tmp_path / 'below' / 'grey.png'), grey)
    assert sorted(os.listdir(tmp_path / 'below')) == ['grey.png', 'photo.png']
    np.testing.assert_array_equal(images.read(str(tmp_path / 'below' / 'photo.png')), photo)
    np.testing.assert_array_equal(images.read_labels(str(tmp_path / 'below' / 'grey.png')), grey)


def test_arrays_that_are_no_photos_are_named():
    with pytest.raises(ValueError, match='`array` must be uint8'):
        images.write_png('x.png', np.zeros((4, 5)))
    with pytest.raises(ValueError, match='`image` must be uint8'):
        images.resize(np.zeros((4, 5), np.uint8), (2, 3))
    with pytest.raises(ValueError, match='`labels` must be uint8'):
        images.resize_labels(np.zeros((4, 5), np.int32), (2, 3))


@pytest.mark.parametrize('make', [os.mkfifo, lambda path: os.symlink('/dev/zero', path)])
def test_a_pipe_or_a_device_is_no_photo_and_is_named(tmp_path, make):
    make(str(tmp_path / 'photo.jpg'))
    with pytest.raises(images.ImageError, match='photo.jpg cannot be read .it is no regular file'):
        images.read(str(tmp_path / 'photo.jpg'))


# Masks.


OBJECT = np.zeros((4, 7), bool)
OBJECT[1:3, 2:5] = True


def _save_palette(path, indices, colors):
    image = Image.fromarray(indices.astype(np.uint8)).convert('L')
    image = Image.frombytes('P', image.size, image.tobytes())
    image.putpalette([value for color in colors for value in color])
    image.save(path)


@pytest.mark.parametrize('array', [
    OBJECT, OBJECT.astype(np.uint8), OBJECT * np.uint8(255), OBJECT * np.uint8(7),
    OBJECT * np.uint16(300), np.stack([OBJECT * np.uint8(9)] * 3, axis=-1)],
    ids=['1 bit', '0 and 1', '0 and 255', '0 and 7', '16 bits', 'colour'])
def test_a_mask_of_any_kind_is_the_same_object(tmp_path, array):
    Image.fromarray(array).save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(images.read_mask(str(tmp_path / 'mask.png')), OBJECT)


@pytest.mark.parametrize('colors', [[(0, 0, 0), (255, 255, 255)], [(255, 255, 255), (0, 0, 0)]])
def test_a_palette_mask_is_read_by_its_indices_whatever_its_colours(tmp_path, colors):
    _save_palette(tmp_path / 'mask.png', OBJECT, colors)
    np.testing.assert_array_equal(images.read_mask(str(tmp_path / 'mask.png')), OBJECT)


def test_void_of_a_palette_is_no_object_where_there_are_objects_below_it(tmp_path):
    values = OBJECT * np.uint8(15)
    values[0] = 255
    _save_palette(tmp_path / 'palette.png', values, [(i, i, i) for i in range(256)])
    np.testing.assert_array_equal(images.read_mask(str(tmp_path / 'palette.png')), OBJECT)


def test_white_is_object_in_a_grey_mask_with_other_values(tmp_path):
    """As in CUB's masks, whose values are the share of the annotators who marked a pixel."""
    values = np.pad(np.full((40, 60), 255, np.uint8), 10)
    values[8:10], values[50:52, 20:40] = 51, 204
    Image.fromarray(values).save(tmp_path / 'shares.png')
    np.testing.assert_array_equal(images.read_mask(str(tmp_path / 'shares.png')), values > 0)


@pytest.mark.parametrize('color', [255, (255, 255, 255), (0, 0, 128)])
@pytest.mark.parametrize('quality', [50, 75, 95])
def test_a_mask_saved_as_jpeg_is_its_object_to_a_pixel(tmp_path, color, quality):
    expected = np.zeros((100, 120), bool)
    expected[21:70, 33:90] = True
    values = expected[..., None] * np.asarray(color, np.uint8)
    Image.fromarray(np.squeeze(values)).save(tmp_path / 'mask.jpg', quality=quality, subsampling=0)
    found = images.read_mask(str(tmp_path / 'mask.jpg'))
    inner, outer = np.zeros_like(expected), np.zeros_like(expected)
    inner[22:69, 34:89] = outer[20:71, 32:91] = True
    assert found[inner].all() and not found[~outer].any()


def test_a_mask_with_transparent_pixels_is_refused_and_an_opaque_one_is_read(tmp_path):
    alpha = np.full(OBJECT.shape, 255, np.uint8)
    pixels = np.dstack([OBJECT * np.uint8(200)] * 3 + [alpha])
    Image.fromarray(pixels).save(tmp_path / 'opaque.png')
    np.testing.assert_array_equal(images.read_mask(str(tmp_path / 'opaque.png')), OBJECT)
    pixels[0, 0, 3] = 0
    Image.fromarray(pixels).save(tmp_path / 'clear.png')
    with pytest.raises(images.ImageError, match='clear.png must be a mask without transparent'):
        images.read_mask(str(tmp_path / 'clear.png'))


# What is no photo.


def test_what_is_passed_over_is_counted_by_its_kind(tmp_path):
    for name in ('a.png', 'b.JFIF', 'c.tif', 'd.CR2', 'e.cr2', 'f.txt', 'g', '.hidden.cr2',
                 'out/h.cr2'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'out')
    told = images.left_out_below(str(tmp_path), but=[str(tmp_path / 'out')])
    assert told.startswith(f'Left out below {tmp_path}, since photos are .jpg, ')
    assert told.endswith(': 2 .cr2, 1 .txt, 1 without suffix, 1 linked folder.')
    assert images.names_below(str(tmp_path)) == ['a.png', 'b.JFIF', 'c.tif']
    assert images.left_out_below(str(tmp_path / 'out'), but=[]) != ''
    (tmp_path / 'out' / 'h.cr2').rename(tmp_path / 'out' / 'h.jpe')
    assert images.left_out_below(str(tmp_path / 'out')) == ''


def test_what_could_be_read_with_something_more_is_told(tmp_path, monkeypatch):
    kinds, missing = image_formats.supported({'HEIF': False, 'AVIF': True})
    assert 'AVIF' in kinds and 'HEIF' not in kinds and set(missing) == {'.heic', '.heif'}
    monkeypatch.setattr(image_formats, 'MISSING', missing)
    monkeypatch.setattr(images, 'IMAGE_SUFFIXES', ('.png',))
    for name in ('a.png', 'b.HEIC', 'c.heic'):
        (tmp_path / name).touch()
    assert images.left_out_below(str(tmp_path)).endswith(
        ": 2 .heic. For .heic: they need the extra heif (pip install 'scops_tf[heif]').")


@pytest.mark.parametrize('kind, suffix', [('HEIF', '.heic'), ('AVIF', '.avif')])
def test_photos_of_phones_are_read_where_that_is_installed(kind, suffix, tmp_path):
    if kind not in image_formats.FORMATS:
        pytest.skip(f'Pillow reads no {kind} here: {image_formats.MISSING[suffix]}.')
    pixels = np.full((64, 96, 3), (200, 30, 90), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'a{suffix}', format=kind, quality=95)
    assert images.names_below(str(tmp_path)) == [f'a{suffix}']
    read = images.read(str(tmp_path / f'a{suffix}'))
    assert read.shape == pixels.shape and np.abs(read.astype(int) - pixels).max() <= 4


@pytest.mark.parametrize('suffix', ['.tif', '.jfif', '.jpe'])
def test_photos_of_rarer_suffixes_are_read(tmp_path, suffix):
    pixels = np.full((4, 7, 3), (200, 30, 90), np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / f'a{suffix}', format='TIFF' if suffix == '.tif' else 'JPEG')
    np.testing.assert_allclose(images.read(str(tmp_path / f'a{suffix}')), pixels, atol=3)


def test_a_tiff_of_floating_point_numbers_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 7), np.float32)).save(tmp_path / 'a.tif')
    with pytest.raises(images.ImageError, match='a.tif must have pixels of 8 or 16 bits'):
        images.read(str(tmp_path / 'a.tif'))


def test_results_are_not_taken_for_photos_unless_their_folder_is_named(tmp_path):
    for name in ('a.png', 'parts/overlays/a.png', 'runs/cub/eval/images/b.jpg', 'mine/c.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files.mark(str(tmp_path / 'parts'))
    (tmp_path / 'runs' / 'cub' / 'config.gin').touch()
    assert images.names_below(str(tmp_path)) == ['a.png', 'mine/c.png']
    assert images.left_out_below(str(tmp_path)) == ''
    assert images.names_below(str(tmp_path / 'parts')) == ['overlays/a.png']


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_sixteen_bits_that_hold_fewer_have_the_range_of_those(bits):
    values = np.linspace(0, 2 ** bits - 1, 20).round().astype(np.uint16).reshape(4, 5)
    photo = images.decode(encoded(Image.fromarray(values), 'PNG'))
    expected = np.floor(values * 255.0 / (2 ** bits - 1) + 0.5)
    np.testing.assert_array_equal(photo, np.repeat(expected[..., np.newaxis], 3, axis=-1))
    black = images.decode(encoded(Image.fromarray(values * np.uint16(0)), 'PNG'))
    assert black.max() == 0


def test_a_first_photo_of_fewer_bits_is_named_and_no_second(monkeypatch):
    logged = []
    monkeypatch.setattr(images.logging, 'log_first_n', lambda *message: logged.append(message))
    images.decode(encoded(Image.fromarray(np.full((3, 4), 4000, np.uint16)), 'PNG'), name='dim.png')
    (_, text, count, *values), = logged
    assert count == 1 and (text % tuple(values)).startswith('dim.png has 16 bits and uses 12')


def png_of_colour(values: np.ndarray) -> bytes:
    """PNG of RGB u16[H,W,3], which Pillow does not write."""
    height, width = values.shape[:2]
    header = struct.pack('>IIBBBBB', width, height, 16, 2, 0, 0, 0)
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
    return (b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', header)
            + png_chunk(b'IDAT', zlib.compress(rows)) + png_chunk(b'IEND', b''))


def test_colour_of_sixteen_bits_must_use_them():
    values = RNG.integers(0, 65536, (4, 7, 3)).astype(np.uint16)
    photo = images.decode(png_of_colour(values))
    np.testing.assert_array_equal(photo, values >> 8)
    with pytest.raises(images.ImageError, match='dim.png must use the range of its 16 bits'):
        images.decode(png_of_colour(values >> 4), name='dim.png')
    assert images.decode(png_of_colour(values * np.uint16(0))).max() == 0


def test_images_are_decoded_with_room_for_their_pixels(tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(images.ROOM, 'of', lambda needed: held.append(needed) or (
        contextlib.nullcontext()))
    grey = Image.new('L', (9, 6), 7)
    for name, image in (('photo.png', red()), ('grey.png', grey)):
        image.save(tmp_path / name)
    path = str(tmp_path / 'grey.png')
    images.read(str(tmp_path / 'photo.png'))
    for read in (images.read_map, images.read_mask, images.read_labels):
        read(path)
    with images.room_for(path):
        pass
    assert held == [16 * 54] * 5
    with images.room_for(str(tmp_path)), images.room_for(b'no image'):
        assert held[5:] == [0, 0]
