import html.parser
import pathlib

import numpy as np
from PIL import Image
import pytest
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.plugins.hparams import metadata as hparams_metadata
import tensorflow as tf

from scops_tf.pictures import gallery, page, tensorboard
from scops_tf.pictures.palette import palette

HEIGHT, WIDTH = 48, 80


def _read(folder):
    reader = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.TENSORS: 0})
    reader.Reload()
    return reader


def _points(folder, tag):
    return [(event.step, float(tf.make_ndarray(event.tensor_proto)))
            for event in _read(folder).Tensors(tag)]


def test_a_point_is_read_back_as_it_was_logged(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.text('config', '```\nRun.steps = 5\n```', 0)
        writer.scalars({'loss/total': 0.5, 'part_area/1': 2.0}, 1)
        writer.histogram('part_basis/1', np.arange(6.0).reshape(2, 3), 1)
        writer.image('parts', picture, 1)
    assert _points(tmp_path, 'loss/total') == [(1, 0.5)]
    assert _points(tmp_path, 'part_area/1') == [(1, 2.0)]
    reader = _read(tmp_path)
    width, height, encoded = tf.make_ndarray(reader.Tensors('parts')[0].tensor_proto)[:3]
    assert (int(width), int(height)) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(tf.io.decode_png(encoded).numpy(), picture)
    assert tf.make_ndarray(reader.Tensors('part_basis/1')[0].tensor_proto)[:, 2].sum() == 6
    text = tf.make_ndarray(reader.Tensors('config')[0].tensor_proto).item()
    assert text == b'```\nRun.steps = 5\n```'


def test_settings_of_every_kind_and_the_names_of_scores_are_in_the_tab_hparams(tmp_path):
    values = {'Run.steps': 5, 'Losses.concentration': 0.5, 'Data.saliency': None,
              'Run.image_size': (64, 96), 'Run.precision': 'float32', 'Segmenter.recompute': True}
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.settings(values, ['eval/NMI'])
        writer.scalars({'eval/NMI': 12.5}, 0)
        writer.scalars({'eval/NMI': 25.0}, 100)
    with tensorboard.SummaryWriter(str(tmp_path), start_step=100):
        pass  # A continued run keeps them.
    contents = {
        tag: hparams_metadata.parse_session_start_info_plugin_data
        if tag == hparams_metadata.SESSION_START_INFO_TAG
        else hparams_metadata.parse_experiment_plugin_data
        for tag in (hparams_metadata.SESSION_START_INFO_TAG, hparams_metadata.EXPERIMENT_TAG)}
    reader = _read(tmp_path)
    session, experiment = (
        parse(reader.SummaryMetadata(tag).plugin_data.content) for tag, parse in contents.items())
    logged = {name: getattr(value, value.WhichOneof('kind'))
              for name, value in session.hparams.items()}
    assert logged == {**values, 'Data.saliency': 'None', 'Run.image_size': '(64, 96)'}
    assert {each.name for each in experiment.hparam_infos} == set(values)
    assert [each.name.tag for each in experiment.metric_infos] == ['eval/NMI']
    assert _points(tmp_path, 'eval/NMI')[-1] == (100, 25.0)


def test_a_run_killed_after_its_checkpoint_logs_every_step_once(tmp_path):
    killed = tensorboard.SummaryWriter(str(tmp_path))
    killed.text('config', 'text', 0)
    for step in range(10, 131, 10):
        killed.scalars({'loss/total': step}, step)
    killed.image('parts', np.zeros((HEIGHT, WIDTH, 3), np.uint8), 120)
    killed.flush()  # Not closed: the process is gone.
    with tensorboard.SummaryWriter(str(tmp_path), start_step=100) as continued:
        assert _points(tmp_path, 'loss/total')[-1] == (100, 100.0)
        for step in range(110, 161, 10):
            continued.scalars({'loss/total': -step}, step)
    expected = [(step, step) for step in range(10, 101, 10)]
    expected += [(step, -step) for step in range(110, 161, 10)]
    assert _points(tmp_path, 'loss/total') == expected
    assert [event.step for event in _read(tmp_path).Tensors('config')] == [0]
    assert 'parts' not in _read(tmp_path).Tags()['tensors']


def test_a_record_torn_by_a_kill_costs_no_other_point(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path)) as killed:
        killed.scalars({'loss/total': 1.0}, 1)
        killed.scalars({'loss/total': 2.0}, 2)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with tensorboard.SummaryWriter(str(tmp_path), start_step=1) as continued:
        continued.scalars({'loss/total': 3.0}, 2)
    assert _points(tmp_path, 'loss/total') == [(1, 1.0), (2, 3.0)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_tensorboard_that_is_running_drops_the_points_logged_twice(tmp_path):
    killed = tensorboard.SummaryWriter(str(tmp_path))
    for step in (99, 100, 101, 130):
        killed.scalars({'loss/total': step}, step)
    killed.flush()
    board = plugin_event_accumulator.EventAccumulator(str(tmp_path))
    board.Reload()
    with tensorboard.SummaryWriter(str(tmp_path), start_step=100) as continued:
        continued.scalars({'loss/total': -1}, 102)
    board.Reload()
    assert [event.step for event in board.Tensors('loss/total')] == [99, 100, 102]


def test_logs_where_no_folder_can_be_are_one_clear_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='TensorBoard logs cannot be written'):
        tensorboard.SummaryWriter(str(tmp_path / 'file' / 'logs'))


def _blob(y, x, height=HEIGHT, width=WIDTH, peak=1.0):
    ys, xs = np.mgrid[:height, :width]
    return peak * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 50)


def test_crops_show_where_a_part_responds_most_best_photo_first():
    part_gallery = gallery.PartGallery(2, num_crops=3, crop_size=24)
    peaks = [0.3, 0.9, 0.1, 0.6, 0.8]
    for index, peak in enumerate(peaks):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[15:26, 50:61] = 50 * (index + 1)
        responses = np.stack([_blob(20, 55, peak=peak), np.zeros((HEIGHT, WIDTH))], axis=-1)
        part_gallery.add(image, np.zeros((HEIGHT, WIDTH), np.uint8), responses[::2, ::4])
    first, second = part_gallery.parts()
    assert len(first.crops) == 3 and not second.crops
    middle = [crop[12, 12, 0] for crop in first.crops]
    assert middle == [100, 250, 200]  # The photos of peaks 0.9, 0.8 and 0.6.
    assert all(crop.shape == (24, 24, 3) for crop in first.crops)


def test_area_and_presence_are_means_over_photos():
    part_gallery = gallery.PartGallery(2)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:12, :20] = 2
    for peak, share in ((0.5, labels), (0.25, np.zeros_like(labels))):
        responses = np.stack([np.zeros((6, 5)), np.full((6, 5), peak)], axis=-1)
        part_gallery.add(np.zeros((HEIGHT, WIDTH, 3), np.uint8), share, responses)
    first, second = part_gallery.parts()
    assert (first.area_share, first.presence) == (0, 0)
    assert second.area_share == pytest.approx(12 * 20 / (HEIGHT * WIDTH) / 2)
    assert second.presence == pytest.approx(0.375)


def test_a_crop_at_the_photos_corner_stays_inside_and_outlines_the_part():
    image = np.full((HEIGHT, WIDTH, 3), 9, np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[36:, 70:] = 1
    part_gallery = gallery.PartGallery(1, crop_size=40)
    part_gallery.add(image, labels, _blob(47, 79)[..., np.newaxis])
    crop = part_gallery.parts()[0].crops[0]
    colors = {tuple(color) for color in crop.reshape(-1, 3)}
    assert colors == {(9, 9, 9), tuple(palette(1)[1])}


def test_a_gallery_refuses_what_does_not_fit():
    part_gallery = gallery.PartGallery(2)
    image, labels = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ValueError, match='`part_responses`'):
        part_gallery.add(image, labels, np.zeros((6, 5, 3)))
    with pytest.raises(ValueError, match='`labels`'):
        part_gallery.add(image, labels.T, np.zeros((6, 5, 2)))
    with pytest.raises(ValueError, match='at least one photo'):
        part_gallery.parts()


class _Links(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.sources, self.tags, self.texts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.sources += [value for name, value in attributes if name in ('src', 'href', 'data')]

    def handle_data(self, data):
        self.texts.append(data.strip())


def _write(folder, **changes):
    crops = [np.full((16, 24, 3), value, np.uint8) for value in (10, 200)]
    arguments = {
        'title': 'Birds & <b>beasts</b>', 'facts': {'step': 100},
        'tables': [page.ScoreTable(
            'CUB', {'photos to test': 88}, [('error', 'lower'), ('NMI', 'higher'), ('size', '')],
            [('this run', [14.25, 20.5, 3]), ('DFF', [14.75, 30.25, 2]),
             ('mid-point', [26.5, None, float('nan')])])],
        'parts': [gallery.PartSummary(0.125, 0.5, crops),
                  gallery.PartSummary(0, 0, [])],
        'overlays': [(np.full((HEIGHT, WIDTH, 3), 77, np.uint8), 'a "quoted" <i>name.jpg')],
        'curves': {'loss/total': (np.arange(2000), np.linspace(4, 1, 2000))},
        'config': 'Run.steps = 100 # <script>'}
    arguments.update(changes)
    return pathlib.Path(page.write_page(str(folder), **arguments))


def test_the_page_needs_nothing_but_the_files_beside_it(tmp_path):
    path = _write(tmp_path / 'page')
    text = path.read_text(encoding='utf-8')
    page = _Links(text)
    assert path.name == 'index.html' and len(page.sources) == 3
    for source in page.sources:
        with Image.open(path.parent / source) as picture:
            picture.load()
    assert not {'script', 'link', 'iframe'} & {tag for tag, _ in page.tags}
    assert '//' not in text and '@import' not in text and 'url(' not in text
    written = {str(file.relative_to(path.parent)) for file in path.parent.rglob('*.*')}
    assert written == {'index.html', *page.sources}


def test_texts_of_the_page_are_escaped(tmp_path):
    page = _Links(_write(tmp_path).read_text(encoding='utf-8'))
    assert 'Birds & <b>beasts</b>' in page.texts
    assert 'a "quoted" <i>name.jpg' in page.texts
    assert 'Run.steps = 100 # <script>' in page.texts
    assert 'i' not in {tag for tag, _ in page.tags}


def test_the_best_of_every_column_with_a_direction_is_marked():
    table = page.ScoreTable(
        'CUB', {}, [('error', 'lower'), ('NMI', 'higher'), ('size', '')],
        [('ours', [14.25, 20.5, 3]), ('DFF', [14.75, 30.25, 2]), ('none', [26.5, None, np.nan])])
    assert table.cells() == [
        ('ours', [('14.25', True), ('20.50', False), ('3.00', False)]),
        ('DFF', [('14.75', False), ('30.25', True), ('2.00', False)]),
        ('none', [('26.50', False), ('\u2013', False), ('\u2013', False)])]


def test_a_part_has_its_own_colour_and_a_dead_one_says_so(tmp_path):
    text = _write(tmp_path).read_text(encoding='utf-8')
    for color in palette(2)[1:]:
        assert f'--color: #{bytes(color.tolist()).hex()}' in text
    assert text.count('responds nowhere') == 1 and '12.5 %' in text


def test_a_curve_runs_from_its_first_step_to_its_last(tmp_path):
    page = _Links(_write(tmp_path).read_text(encoding='utf-8'))
    curve = next(attributes for tag, attributes in page.tags if tag == 'polyline')
    points = curve['points'].split()
    assert points[0] == '0.0,0.0' and points[-1] == '300.0,100.0' and len(points) == 600
    with pytest.raises(ValueError, match='loss'):
        _write(tmp_path, curves={'loss': ([1, 2], [np.nan, np.inf])})


def test_a_page_without_pictures_scores_or_curves_is_written(tmp_path):
    path = _write(tmp_path, facts=None, tables=(), parts=(), overlays=(), curves=None, config='')
    assert not _Links(path.read_text(encoding='utf-8')).sources


def test_a_table_with_a_value_too_few_is_refused_and_leaves_no_page(tmp_path):
    table = page.ScoreTable('CUB', {}, [('error', 'lower')], [('ours', [])])
    with pytest.raises(ValueError, match='`rows`'):
        _write(tmp_path, tables=[table])
    assert not (tmp_path / 'index.html').exists()
