"""Laws of what is asked for beside the export: least presence."""
from __future__ import annotations

import csv

import numpy as np
from PIL import Image
import pytest

from scops_tf.labels import prediction_files
from scops_tf.prediction.part_finder import PartFinder, Settings
from scops_tf.prediction.photos import Photo
from scops_tf.prediction.reading import Read


@pytest.mark.parametrize('least, kept', [(0.0, [1, 2]), (0.5, [0, 1]), (0.95, [0])])
def test_parts_of_less_presence_are_background(halves_predictor, tmp_path, least, kept):
    photo = np.full((40, 60, 3), 250, np.uint8)
    found, again = PartFinder(halves_predictor, Settings(min_presence=least))(
        [Read(Photo(name, f'/photos/{name}.png', f'{name}.png'), photo, key=f'key of {name}')
         for name in ('photo', 'again')])
    assert (found.key, again.key, again.result.name) == ('key of photo', 'key of again', 'again')
    assert np.unique(found.result.labels).tolist() == kept
    writer = prediction_files.Writer(str(tmp_path), halves_predictor.parts, min_presence=least)
    writer.add(found.result, photo, 'key')
    writer.close(['photo'])
    with open(tmp_path / 'centers.csv', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert [int(row['area']) for row in rows] == [1200 if part in kept else 0 for part in (1, 2)]
    assert [row['presence'] for row in rows] == ['0.9000', '0.4000']
    # Not even a dot is drawn on a part that is absent.
    overlay = np.array(Image.open(tmp_path / 'overlays' / 'photo.png'))
    for part, half in ((1, np.s_[:, :30]), (2, np.s_[:, 30:])):
        assert (overlay[half] == 250).all() == (part not in kept)
