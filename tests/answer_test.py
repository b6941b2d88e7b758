"""Laws of the answers to a visitor's photo; the page itself is tested where Gradio is installed."""
from __future__ import annotations

import io
import json
import zipfile

import numpy as np
from PIL import Image
import pytest

from scops_tf import command, config, images
from scops_tf.demo_app import answer
from scops_tf.labels import formats
from scops_tf.labels.part_names import PartNames, PartNamesError
from scops_tf.serving import crf, decoding


class _Predictor:
    """Two parts, whose responses are the red and the green of a photo."""

    metadata = {'background': 0.1}

    def __init__(self, parts=None):
        self.parts = parts or PartNames.unnamed(2).changed(names={1: 'red'})

    def with_parts(self, parts):
        return _Predictor(parts)

    def unmerged(self, photos):
        parts = photos[..., :2].astype(np.float32) / 510
        responses = np.concatenate([1 - parts.sum(axis=-1, keepdims=True), parts], axis=-1)
        return self.decoded(responses, photos)

    predict = unmerged

    def decoded(self, part_responses, photos, background=0.1):
        from scops_tf.serving.predictor import Prediction
        outputs = {'labels': decoding.decode(
            part_responses, photos.shape[1:3], background=background).numpy(),
                   'part_responses': part_responses, 'part_centers': None, 'presence': None}
        return Prediction(**decoding.merged_outputs(outputs, self.parts.lookup))


def _answerer(**limits):
    return answer.Answerer(_Predictor(), config.load([], []).crf, answer.Limits(**limits))


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    """Half of it red, and a quarter of it a dark green."""
    pixels = np.zeros((20, 32, 3), np.uint8)
    pixels[:, :16, 0], pixels[:10, 16:, 1], pixels[10:, 16:, 1] = 255, 250, 60
    path = tmp_path_factory.mktemp('photo') / 'my photo.png'
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_photo_has_an_overlay_a_row_for_each_part_and_files_of_all_formats(photo, tmp_path):
    found = _answerer().answer(photo, background=0.1, iterations=0, names={2: 'green'})
    assert found.overlay.shape == (20, 32, 3)
    rows = [dict(zip(answer.COLUMNS, row)) for row in found.rows]
    assert [(row['part'], row['name'], row['area']) for row in rows] == [
        (1, 'red', 320), (2, 'green', 320)]
    np.testing.assert_allclose([rows[0]['x'], rows[0]['y']], [7.5, 9.5], atol=0.1)
    with zipfile.ZipFile(io.BytesIO(found.archive)) as archive:
        names = archive.namelist()
        assert archive.read('my photo.png') == open(photo, 'rb').read()
        assert json.loads(archive.read('labelme/my photo.json'))['imagePath'] == '../my photo.png'
        archive.extractall(tmp_path)
    assert not any('.pieces' in name or name.startswith('/') for name in names)
    assert {'overlays/my photo.png', 'centers.csv', 'parts.json'} <= set(names)
    for name, module in formats.FORMATS.items():
        annotation, = module.read(str(tmp_path / module.FOLDER), **(
            {'size_of': lambda name: (20, 32)} if name == 'yolo' else {}))
        assert (annotation.labels > 0).all()


def test_background_and_names_are_the_visitor_s(photo):
    answerer = _answerer()
    whole, less = (answerer.answer(photo, background=value, iterations=0, names={})
                   for value in (0.1, 0.5))
    assert [row[-1] for row in whole.rows] == [320, 320]
    assert [row[-1] for row in less.rows] == [320, 160]
    merged = answerer.answer(photo, background=0.5, iterations=0, names={2: 'red'})
    assert [row[:2] + row[-1:] for row in merged.rows] == [[1, 'red', 480]]
    # Of the next visitor, they are those of the export again.
    assert answerer.parts.names == {1: 'red', 2: 'part 2'}
    with pytest.raises(PartNamesError, match='one of 1 to 2'):
        answerer.answer(photo, background=0.1, iterations=0, names={3: 'blue'})


def test_the_dense_crf_has_the_visitor_s_steps_and_background(photo, monkeypatch):
    asked = []

    def refine(responses, image, **settings):
        asked.append(settings)
        return np.full(image.shape[:2], 2, np.uint8)

    monkeypatch.setattr(crf, 'refine_labels', refine)
    for steps in (0, 5):
        found = _answerer().answer(photo, background=0.3, iterations=steps, names={})
    assert [(one['iterations'], one['background']) for one in asked] == [(5, 0.3)]
    assert [row[-1] for row in found.rows] == [0, 640]


def test_what_is_too_large_or_no_photo_is_refused_in_one_sentence(photo, tmp_path):
    ask = {'background': 0.1, 'iterations': 0, 'names': {}}
    with pytest.raises(command.CommandError, match='at most 5e-05 MB; this one has 0.0 MB'):
        _answerer(most_bytes=50).answer(photo, **ask)
    with pytest.raises(command.CommandError, match='megapixels; this one has 32 x 20'):
        _answerer(most_pixels=600).answer(photo, **ask)
    with pytest.raises(command.CommandError, match='there is none yet'):
        _answerer().answer(None, **ask)
    other = tmp_path / 'letter.png'
    other.write_text('Dear Sir')
    with pytest.raises(images.ImageError, match='^letter.png must be an image'):
        _answerer().answer(str(other), **ask)


@pytest.mark.parametrize('text, found', [
    ('', {}), ('1:head, 2: wing tip ,', {1: 'head', 2: 'wing tip'}), ('3:a:b', {3: 'a:b'})])
def test_names_are_read(text, found):
    assert answer.parse_names(text) == found


@pytest.mark.parametrize('text', ['head', '1:', 'a:head', '1:a,1:b', '-1:a', '٣:a'])
def test_other_names_are_refused(text):
    with pytest.raises(command.CommandError, match='1:head, 2:wing'):
        answer.parse_names(text)
