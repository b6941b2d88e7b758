"""Laws of a report: what is gathered of photos, and its file."""
import json

import numpy as np
from PIL import Image
import pytest

from scops_tf.pages import gathering, report_file


@pytest.fixture(scope='module')
def folder(make_page_run, tmp_path_factory):
    return make_page_run(tmp_path_factory.mktemp('runs') / 'run') / 'eval'


def test_figures_of_parts_and_photos_are_what_was_drawn(folder):
    report = report_file.load(str(folder))
    first, second, third = report.parts
    assert first.area == pytest.approx(10 * (10 + 12 + 14 + 16) / 4 / 48 ** 2, rel=1e-3)
    assert (first.shown, second.shown, third.shown) == (1, 0.75, 0)
    assert first.presence == pytest.approx(0.75) and third.presence == 0
    # Part 1 touches part 2 along its lower side in three of the photos.
    below = 10 + 2 + 10 + 4 + 10 + 6
    around = sum(2 * 10 + 2 * (10 + 2 * index) for index in range(4))
    assert first.touches == pytest.approx((1 - below / around, 0, below / around, 0), abs=1e-4)
    assert third.touches == (0, 0, 0, 0) and third.mean is None and not third.strongest
    assert [place.photo for place in first.strongest][:2] == ['a <b>&.jpg', 'deep/ü.jpg']
    photo = report.photos[1]
    assert photo.name == 'deep/ü.jpg' and photo.size == (24, 48) and list(photo.outlines) == [1, 2]
    assert photo.scores == {'leakage': 10.0} and report.photos[2].scores == {}
    # The picture has the proportions of the photo, and points follow it.
    assert photo.centers[0] == (10.5, 7.75)
    with Image.open(folder / photo.file) as picture:
        assert picture.size == (48, 24)


def test_the_picture_of_a_photo_has_its_parts_as_they_were_scored(folder):
    report = report_file.load(str(folder))
    drawn = report_file.picture(str(folder), report, 1)
    plain = np.array(Image.open(folder / report.photos[1].file))
    assert drawn.shape == (24, 48, 3)
    changed = (drawn != plain).any(axis=-1)
    assert changed[7, 10] and changed[15, 15] and not changed[0, 0]


def test_borders_are_counted_from_both_sides():
    labels = np.array([[0, 1, 1], [0, 2, 1]], np.uint8)
    assert gathering.border_lengths(labels, 2).tolist() == [[0, 1, 1], [1, 0, 2], [1, 2, 0]]


def test_pictures_of_an_older_report_are_removed_and_other_files_stay(
        make_page_run, tmp_path):
    run = make_page_run(tmp_path / 'run')
    (run / 'eval' / 'images' / 'mine.jpg').touch()
    (run / 'eval' / 'images' / 'overlay-1.jpg').touch()
    make_page_run(tmp_path / 'run', names=('a.jpg',))
    names = {path.name for path in (run / 'eval' / 'images').iterdir()}
    report = report_file.load(str(run / 'eval'))
    assert names == {'mine.jpg', *(name[7:] for name in report_file.pictures(report))}


@pytest.mark.parametrize('change', [
    lambda found: found.update(version=2),
    lambda found: found.pop('parts'),
    lambda found: found['parts'].pop(),
    lambda found: found['photos'][0].update(file='../../secret.jpg'),
    lambda found: found['photos'][0].update(file='https://there/x.jpg'),
    lambda found: found['photos'][0]['outlines'].update({'1': 'M0 0"/><script>'}),
    lambda found: found['photos'][0]['outlines'].update({'9': ''}),
    lambda found: found['parts'][0].update(area='<b>'),
    lambda found: found['parts'][0].update(area=float('nan')),
    lambda found: found.update(lookup=[0, 1, 2, 7]),
    lambda found: found.update(split='secret')])
def test_a_file_that_was_changed_is_refused(folder, tmp_path, change):
    found = json.loads((folder / 'report.json').read_text(encoding='utf-8'))
    change(found)
    (tmp_path / 'report.json').write_text(json.dumps(found), encoding='utf-8')
    with pytest.raises(report_file.ReportError, match='report.json must be .*`--fresh`'):
        report_file.load(str(tmp_path))


def test_no_file_is_no_report_and_no_json_is_damage(tmp_path):
    assert report_file.load(str(tmp_path)) is None
    (tmp_path / 'report.json').write_text('[')
    with pytest.raises(report_file.ReportError, match='damaged'):
        report_file.load(str(tmp_path))
