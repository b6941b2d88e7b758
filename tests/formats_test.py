"""Laws of the formats: what is read back is what was written, whatever the masks and names."""
from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
from PIL import Image
import pytest
from scipy import ndimage

from scops_tf.labels import (
    annotation as annotation_lib,
    coco,
    cvat,
    formats,
    label_png,
    label_studio,
    labelme,
    parts_file,
    run_lengths,
    voc,
    yolo,
)
from scops_tf.labels.part_names import PartNames

_NAMES = PartNames.unnamed(6).changed(
    names={1: 'Kopf, "größer" & <b>', 2: 'крыло; #', 4: "pied d'oie"}, merges=[[2, 3]], drops=[5],
    colors={4: (1, 2, 3)})


def _labels(seed: int, size=(41, 57)) -> np.ndarray:
    """Blobs of the parts that are shown, with holes and several pieces."""
    noise = np.random.default_rng(seed).random((7, *size))
    smooth = np.stack([ndimage.gaussian_filter(one, 3) for one in noise])
    return _NAMES.lookup[smooth.argmax(axis=0)]


@pytest.fixture(scope='module')
def results(label_result):
    """Photos with all that is awkward: holes, pieces, single pixels, empty, full, odd names."""
    single = np.zeros((5, 9), np.uint8)
    single[1, 7], single[2, 2], single[3, 3] = 1, 2, 2
    ring = np.full((12, 17), 6, np.uint8)
    ring[3:9, 4:12] = 0
    ring[5:7, 6:9] = 1
    maps = {'blobs': _labels(0), 'deep/more blobs': _labels(1, (60, 33)), 'single': single,
            'ring': ring, 'empty': np.zeros((8, 11), np.uint8),
            'full – ü': np.full((4, 6), 4, np.uint8), 'pixel': np.ones((1, 1), np.uint8)}
    return [label_result(labels, _NAMES, name=name) for name, labels in maps.items()]


@pytest.fixture(scope='module')
def out(results, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('out'))
    writers = formats.Writers(folder, _NAMES, names=formats.FORMATS)
    for result in results:
        writers.add(result)
    writers.close([result.name for result in results])
    writers.finish()
    parts_file.save(_NAMES, folder)
    return folder


def _read(name, out, results):
    options = {'size_of': {result.name: result.size for result in results}.get}
    module = formats.FORMATS[name]
    return module.read(os.path.join(out, module.FOLDER), **options if name == 'yolo' else {})


def _assert_same(annotation, result):
    """The pixels of each name are those of its part."""
    found = {name: number for number, name in annotation.names.items()}
    for part in _NAMES.parts:
        np.testing.assert_array_equal(
            annotation.labels == found.get(part.name, -1), result.labels == part.number)
    np.testing.assert_array_equal(annotation.labels > 0, result.labels > 0)


@pytest.mark.parametrize('name', formats.FORMATS)
def test_what_is_read_back_is_what_was_written(name, results, out):
    found = {os.path.splitext(one.photo)[0]: one for one in _read(name, out, results)}
    assert set(found) == {result.name for result in results}
    for result in results:
        _assert_same(found[result.name], result)


def test_no_format_leaves_pieces_or_unfinished_files_behind(out):
    assert not [name for _, folders, names in os.walk(out) for name in [*folders, *names]
                if name.startswith('.')]


def test_polygons_of_coco_are_those_of_the_parts(results, out):
    found = coco.read(os.path.join(out, coco.FOLDER, coco.POLYGON_FILE))
    for annotation, result in zip(found, results):
        _assert_same(annotation, result)


def test_coco_has_one_annotation_for_each_part_with_its_area_and_box(results, out):
    with open(os.path.join(out, 'coco', 'annotations.json'), encoding='ascii') as file:
        content = json.load(file)
    assert [one['file_name'] for one in content['images']] == [
        result.file_name for result in results]
    assert {one['id']: one['name'] for one in content['categories']} == _NAMES.names
    assert len({one['id'] for one in content['annotations']}) == len(content['annotations'])
    for image, result in zip(content['images'], results):
        own = [one for one in content['annotations'] if one['image_id'] == image['id']]
        assert [one['category_id'] for one in own] == np.unique(
            result.labels[result.labels > 0]).tolist()
        for one in own:
            rows, columns = np.nonzero(result.labels == one['category_id'])
            assert one['area'] == len(rows) and one['bbox'] == [
                columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_pycocotools_reads_the_same_masks(results, out):
    coco_tools = pytest.importorskip('pycocotools.coco')
    for file in ('annotations.json', 'annotations_polygons.json'):
        loaded = coco_tools.COCO(os.path.join(out, 'coco', file))
        for image, result in zip(loaded.dataset['images'], results):
            for one in loaded.loadAnns(loaded.getAnnIds(imgIds=[image['id']])):
                mask, true = loaded.annToMask(one) > 0, result.labels == one['category_id']
                iou = (mask & true).sum() / (mask | true).sum()
                assert iou == 1 if file == 'annotations.json' else iou >= 0.98 or (
                    # Its own rule for the pixels on a polygon's border decides tiny parts.
                    true.sum() < 200)


def test_with_objects_each_object_has_its_own_parts(label_result, tmp_path):
    labels = np.zeros((10, 24), np.uint8)
    labels[2:8, 2:9], labels[2:8, 14:22] = 1, 1
    labels[5:8, 4:6] = 2
    objects = np.zeros(labels.shape, np.int32)
    objects[:, :12], objects[:, 12:] = 1, 2
    result = label_result(
        labels, PartNames.unnamed(2), objects=objects, object_centers=np.zeros((2, 2, 2)),
        object_presence=np.ones((2, 2)))
    np.testing.assert_array_equal(result.areas, [[36, 6], [48, 0]])
    for name in ('coco', 'cvat', 'labelme', 'voc'):
        writer = formats.FORMATS[name].Writer(str(tmp_path), result.parts)
        writer.add(result)
        writer.close([result.name])
        annotation, = _read(name, str(tmp_path), [result])
        np.testing.assert_array_equal(annotation.labels, labels)
    with open(tmp_path / 'coco' / 'annotations.json', encoding='ascii') as file:
        found = json.load(file)['annotations']
    assert [(one['object'], one['category_id'], one['area']) for one in found] == [
        (1, 1, 36), (1, 2, 6), (2, 1, 48)]
    instances = np.asarray(Image.open(tmp_path / 'voc' / 'SegmentationObject' / 'a.png'))
    assert len(np.unique(instances)) == 4


def test_simplified_polygons_agree_with_the_labels(label_result, tmp_path):
    y, x = np.mgrid[:120, :171]
    labels = np.where(np.hypot(x - 60, y - 50) < 40, 1, 0).astype(np.uint8)
    labels[np.hypot(x - 110, y - 70) < 30] = 2
    result = label_result(labels, PartNames.unnamed(2))
    sizes = {}
    for tolerance in (0.0, 1.0):
        folder = str(tmp_path / str(tolerance))
        for name in ('yolo', 'labelme'):
            writer = formats.FORMATS[name].Writer(folder, result.parts, tolerance=tolerance)
            writer.add(result)
            writer.close([result.name])
            annotation, = _read(name, folder, [result])
            for part in (1, 2):
                mask, true = annotation.labels == part, labels == part
                assert (mask & true).sum() / (mask | true).sum() >= 0.98
            sizes[name, tolerance] = sum(
                os.path.getsize(os.path.join(root, file))
                for root, _, files in os.walk(folder) for file in files)
    assert sizes['yolo', 1.0] < sizes['yolo', 0.0] / 2


def test_names_of_photos_that_are_not_utf_8_are_kept_or_refused(label_result, tmp_path):
    name = os.fsdecode(b'caf\xe9')
    result = label_result(_labels(0), _NAMES, name=name)
    for kind, module in formats.FORMATS.items():
        writer = module.Writer(str(tmp_path), _NAMES)
        if kind == 'cvat':
            with pytest.raises(annotation_lib.AnnotationError, match='rename the photo'):
                writer.add(result)
            continue
        writer.add(result)
        writer.close([result.name])
        parts_file.save(_NAMES, str(tmp_path))
        annotation, = _read(kind, str(tmp_path), [result])
        assert os.path.splitext(annotation.photo)[0] == name


@pytest.mark.parametrize('name', formats.FORMATS)
def test_a_continued_writer_takes_what_an_earlier_process_wrote_and_nothing_else(
        label_result, tmp_path, name):
    maps = {'kept': _labels(0), 'stale': _labels(1), 'new': _labels(2)}
    results = {key: label_result(labels, _NAMES, name=key) for key, labels in maps.items()}
    killed = formats.Writers(str(tmp_path), _NAMES, names=[name])
    killed.add(results['kept'])
    if name in ('coco', 'cvat', 'labelstudio', 'voc'):
        killed.add(results['stale'])
    again = formats.Writers(str(tmp_path), _NAMES, names=[name])
    again.add(results['new'])
    again.close(['kept', 'new'])
    again.finish()
    parts_file.save(_NAMES, str(tmp_path))
    found = {os.path.splitext(one.photo)[0]: one for one in _read(
        name, str(tmp_path), list(results.values()))}
    # VOC's list, not the PNGs that lie there, says which photos belong to it.
    assert set(found) - ({'stale'} if name == 'voc' else set()) == {'kept', 'new'}
    for key in ('kept', 'new'):
        _assert_same(found[key], results[key])


def test_shapes_that_people_draw_are_read(tmp_path):
    picture = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)).save(picture, format='PNG')
    shapes = [
        {'label': 'head', 'points': [[1, 1], [4, 1], [4, 3], [1, 3]], 'shape_type': 'polygon'},
        {'label': 'wing', 'points': [[8, 4], [5, 1]], 'shape_type': 'rectangle'},
        {'label': 'eye', 'points': [[2.5, 6.5], [3.6, 6.5]], 'shape_type': 'circle'},
        {'label': 'head', 'points': [[7, 6], [8, 7]], 'shape_type': 'mask',
         'mask': base64.b64encode(picture.getvalue()).decode()}]
    (tmp_path / 'a.json').write_text(json.dumps(
        {'shapes': shapes, 'imageHeight': 9, 'imageWidth': 11}))
    found, = labelme.read(str(tmp_path))
    expected = np.zeros((9, 11), np.uint8)
    expected[1:3, 1:4], expected[1:4, 5:8] = 1, 2
    expected[6, 1:4], expected[5, 2], expected[7, 2] = 3, 3, 3
    expected[6, 7], expected[7, 7:9] = 1, 1
    np.testing.assert_array_equal(found.labels, expected)
    assert found.names == {1: 'head', 2: 'wing', 3: 'eye'}

    (tmp_path / 'annotations.xml').write_text(
        '<annotations><meta/><image id="0" name="a.jpg" width="11" height="9">'
        '<box label="wing" xtl="5" ytl="1" xbr="8" ybr="4" z_order="1"/>'
        '<polygon label="head" points="4.0,0.0;7.0,0.0;7.0,3.0;4.0,3.0" z_order="0"/>'
        '<tag label="good"/></image></annotations>')
    found, = cvat.read(str(tmp_path))
    expected = np.zeros((9, 11), np.uint8)
    expected[0:3, 4:7], expected[1:4, 5:8] = 1, 2
    np.testing.assert_array_equal(found.labels, expected)

    (tmp_path / 'tasks.json').write_text(json.dumps([{
        'data': {'image': '/data/upload/3/a.jpg'}, 'annotations': [{'result': [{
            'type': 'polygonlabels', 'original_width': 10, 'original_height': 20, 'value': {
                'points': [[10, 10], [50, 10], [50, 50], [10, 50]],
                'polygonlabels': ['head']}}]}]}]))
    found, = label_studio.read(str(tmp_path))
    assert found.labels.sum() == 8 * 4 and found.labels[2:10, 1:5].all()

    region = {'type': 'rectanglelabels', 'original_width': 10, 'original_height': 20, 'value': {
        'x': 50, 'y': 10, 'width': 30, 'height': 20, 'rotation': 90, 'rectanglelabels': ['head']}}
    photo = {'image': '/data/upload/3/a.jpg'}
    (tmp_path / 'tasks.json').write_text(json.dumps([
        {'data': photo, 'annotations': []}, {'data': photo, 'annotations': [{'result': []}]},
        {'data': photo, 'predictions': [{'result': []}], 'annotations': [
            {'result': [], 'was_cancelled': True}, {'result': [{'type': 'relation'}, region]}]}]))
    found, = label_studio.read(str(tmp_path))
    # Turned to the left of its upper corner at (5, 2): 3 high and 4 wide.
    assert found.labels.sum() == 3 * 4 and found.labels[2:5, 1:5].all()

    (tmp_path / 'coco.json').write_text(json.dumps({
        'images': [{'id': 7, 'file_name': 'a.jpg', 'width': 3, 'height': 2},
                   {'id': 8, 'file_name': 'b.jpg', 'width': 3, 'height': 2}],
        'categories': [{'id': 900, 'name': 'head'}],
        'annotations': [
            {'image_id': 7, 'category_id': 900, 'segmentation': {
                'size': [2, 3], 'counts': run_lengths.encode(np.array([0, 1, 1, 0, 0, 1]))}},
            {'image_id': 8, 'category_id': 900, 'segmentation': [], 'bbox': [1, 0, 2, 1]}]}))
    found, box = coco.read(str(tmp_path / 'coco.json'))
    np.testing.assert_array_equal(found.labels, [[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(box.labels, [[0, 1, 1], [0, 0, 0]])

    os.makedirs(tmp_path / 'labels')
    for polygon in ('0 0 0.5 0 0.5 1 0 1', '0.25 0.5 0.5 1'):
        (tmp_path / 'labels' / 'a.txt').write_text(f'1 {polygon}\n\n')
        (tmp_path / 'data.yaml').write_text('names: [head, wing]')
        found, = yolo.read(str(tmp_path), size_of=lambda name: (4, 6))
        assert found.names[int(found.labels[0, 0])] == 'wing'
        assert found.labels.any(axis=0).sum() == 3


@pytest.mark.parametrize('text, names', [
    ("names: [head, 'wing']\n", ['head', 'wing']),
    ('path: .\nnames:\n- head # a\n- "wing"\nnc: 2\n', ['head', 'wing']),
    ('names:\r\n  1: wing\r\n  0: head\r\n', ['head', 'wing']),
    ('names:  # both\n\n  # the first\n  0: "head" # x\n  1: \'it\'\'s\'\n', ['head', "it's"]),
    ('names: ["head, left", pied d\'oie,  # a\n  b#c\n]', ['head, left', "pied d'oie", 'b#c']),
    ('nc: 2\nnames: {1: wing, 0: "}"}', ['}', 'wing']), ('names: [yes, 07]', ['yes', '07'])])
def test_names_of_yolo_are_read_as_yaml_writes_them(tmp_path, text, names):
    os.makedirs(tmp_path / 'labels')
    (tmp_path / 'labels' / 'a.txt').touch()
    (tmp_path / 'data.yaml').write_bytes(text.encode())
    found, = yolo.read(str(tmp_path), size_of=lambda name: (4, 6))
    assert found.names == dict(enumerate(names, start=1))


def test_yolo_looks_for_photos_beside_its_file_of_names(out):
    with open(os.path.join(out, 'yolo', 'data.yaml'), encoding='utf-8') as file:
        assert file.read().startswith('train: images\nval: images\nnames:\n')


def test_names_that_would_divide_the_list_of_voc_are_refused(tmp_path):
    for name in ('a:b', '#head'):
        with pytest.raises(annotation_lib.AnnotationError, match=f'part 1 must .* got {name!r}'):
            voc.Writer(str(tmp_path), PartNames.unnamed(2).changed(names={1: name}))


def yolo_read(path):
    return yolo.read(path, size_of=lambda name: (4, 6))


@pytest.mark.parametrize('read, file, content, words', [
    (coco.read, 'annotations.json', '{}', 'with images, annotations and categories'),
    (coco.read, 'annotations.json', '[', 'must be JSON'),
    (coco.read, 'annotations.json', json.dumps({'images': [{'id': 1}], 'annotations': [{}],
                                                'categories': []}), "KeyError: 'image_id'"),
    (coco.read, 'annotations.json', json.dumps({
        'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 2, 'height': 2}],
        'categories': [{'id': 1, 'name': 'a'}], 'annotations': [
            {'image_id': 1, 'category_id': 1, 'segmentation': {'counts': [10 ** 30]}}]}),
     'OverflowError'),
    (yolo_read, 'data.yaml', 'nc: 2', "got 'None'"),
    (yolo_read, 'data.yaml', 'names: [a, "b]', 'must be YAML'),
    (yolo_read, 'data.yaml', 'names:\n  0: "\\q"', 'must be YAML'),
    (yolo_read, 'data.yaml', 'names:\n  head: 0', '`0: name`'),
    (yolo_read, 'data.yaml', 'names: [[a], b]', '`0: name`'),
    (labelme.read, 'a.json', '{"shapes": [{}], "imageHeight": 2, "imageWidth": 2}', "'label'"),
    (labelme.read, 'a.json', json.dumps({'shapes': [
        {'label': 'a', 'points': [[1, 1]], 'shape_type': 'point'}], 'imageHeight': 2,
        'imageWidth': 2}), "'point' has no area"),
    (labelme.read, 'a.txt', '', 'it holds none'),
    (cvat.read, 'annotations.xml', '<annotations><image', 'whole XML of CVAT'),
    (cvat.read, 'annotations.xml', '<annotations><image name="a" width="2" height="2">'
     '<mask label="a" left="0" top="0" width="2" height="2" rle="0, 3"/></image></annotations>',
     'add up to 4'),
    (label_studio.read, 'tasks.json', '[{}]', "'data'"),
    (label_studio.read, 'tasks.json', '{}', 'a list of tasks'),
    (voc.read, 'labelmap.txt', 'head\n', '`name:r,g,b::`'),
    (voc.read, 'labelmap.txt', 'head:1,2,3::\n', 'it holds none'),
    (label_png.read, 'a.txt', '', 'it holds none'),
])
def test_what_cannot_be_read_is_one_sentence_with_its_path(tmp_path, read, file, content, words):
    (tmp_path / file).write_text(content)
    with pytest.raises(annotation_lib.AnnotationError) as caught:
        read(str(tmp_path))
    assert words in str(caught.value) and str(tmp_path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_no_mask_is_made_of_a_photo_that_is_too_large(tmp_path):
    size = {'width': 3_000_000, 'height': 3_000_000}
    box = [[0, 0], [9, 9]]
    (tmp_path / 'coco.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': 'a.jpg', **size}],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [{'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9]}]}))
    (tmp_path / 'a.json').write_text(json.dumps(
        {'imageWidth': size['width'], 'imageHeight': size['height'], 'shapes': [
            {'label': 'a', 'points': box, 'shape_type': 'rectangle'}]}))
    (tmp_path / 'a.xml').write_text(
        '<annotations><image name="a.jpg" width="3000000" height="3000000">'
        '<box label="a" xtl="0" ytl="0" xbr="9" ybr="9"/></image></annotations>')
    (tmp_path / 'tasks.json').write_text(json.dumps([{'data': {'image': 'a.jpg'}, 'annotations': [
        {'result': [{'type': 'polygonlabels', 'original_width': size['width'],
                     'original_height': size['height'],
                     'value': {'polygonlabels': ['a'], 'points': box}}]}]}]))
    os.makedirs(tmp_path / 'labelme')
    os.rename(tmp_path / 'a.json', tmp_path / 'labelme' / 'a.json')
    for read, name in ((coco.read, 'coco.json'), (labelme.read, 'labelme'), (cvat.read, 'a.xml'),
                       (label_studio.read, 'tasks.json')):
        with pytest.raises(annotation_lib.AnnotationError,
                           match='a.* must have at most 108000000 pixels; it has 3000000 x'):
            read(str(tmp_path / name))


def test_masks_without_names_ask_for_them(tmp_path):
    Image.fromarray(np.eye(5, dtype=np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(annotation_lib.AnnotationError, match='--mask_names=head,body'):
        label_png.read(str(tmp_path))
    found, = label_png.read(str(tmp_path), names={1: 'head'})
    assert found.photo == 'a' and found.names == {1: 'head'}
    Image.fromarray(np.diag([1, 2, 3]).astype(np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(annotation_lib.AnnotationError, match='it has 2'):
        label_png.read(str(tmp_path), names={1: 'head', 3: 'tail'})
