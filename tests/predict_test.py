from __future__ import annotations

import csv
import types

import numpy as np
from PIL import Image
import pytest

from scops_tf import images, predict
from scops_tf.labels import prediction_files
from scops_tf.labels.part_names import PartNames


@pytest.fixture
def flags(monkeypatch):
    values = types.SimpleNamespace(crf=False, objects=False, min_presence=0.0)
    monkeypatch.setattr(predict, 'FLAGS', values)
    return values


class _Predictor:
    """Its first part is the left half of a photo, its second one the right half."""

    parts = PartNames.unnamed(2)
    metadata = {'background': 0.1}

    def predict(self, photos):
        height, width = photos.shape[1:3]
        labels = np.ones((1, height, width), np.uint8)
        labels[:, :, width // 2:] = 2
        centers = np.array([[[width / 4, height / 2], [3 * width / 4, height / 2]]])
        return types.SimpleNamespace(
            labels=labels, part_centers=centers, presence=np.array([[0.9, 0.4]]),
            part_responses=np.full((1, 4, 4, 3), 1 / 3, np.float32))


def _predicted(image: np.ndarray):
    return predict._predict(
        _Predictor(), predict.Photo('photo', '/photos/photo.png', 'photo.png'), image, None)


@pytest.mark.parametrize('least, kept', [(0.0, [1, 2]), (0.5, [0, 1]), (0.95, [0])])
def test_parts_of_less_presence_are_background(flags, tmp_path, least, kept):
    flags.min_presence = least
    photo = np.full((40, 60, 3), 250, np.uint8)
    result = _predicted(photo)
    assert np.unique(result.labels).tolist() == kept
    writer = prediction_files.Writer(str(tmp_path), _Predictor.parts, min_presence=least)
    writer.add(result, photo, 'key')
    writer.close()
    with open(tmp_path / 'centers.csv', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert [int(row['area']) for row in rows] == [1200 if part in kept else 0 for part in (1, 2)]
    assert [row['presence'] for row in rows] == ['0.9000', '0.4000']
    # Not even a dot is drawn on a part that is absent.
    overlay = np.array(Image.open(tmp_path / 'overlays' / 'photo.png'))
    for part, half in ((1, np.s_[:, :30]), (2, np.s_[:, 30:])):
        assert (overlay[half] == 250).all() == (part not in kept)


def test_a_photo_is_read_at_the_size_that_is_asked_for(flags, tmp_path):
    Image.new('RGB', (60, 40), 'olive').save(tmp_path / 'photo.png')
    photo = images.read(str(tmp_path / 'photo.png'), max_side=30)
    assert photo.shape == (20, 30, 3) and _predicted(photo).labels.shape == (20, 30)
