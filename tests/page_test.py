"""Laws of the pages: they are whole, escaped, and need nothing but the files beside them."""
from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re

from PIL import Image
import pytest

from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import comparison, page, report_file, run_data
from scops_tf.pages.score_table import ScoreTable

_SCORES = {
    'step': 40, 'dataset': 'birds', 'protocol': 'cub', 'counts': {'photos to test': 9},
    'notes': ['A <note>.'], 'trivial': ['image mid-point'],
    'directions': {'landmark error': 'lower', 'foreground': ''},
    'scores': {'this run': {'landmark error': 9.5, 'foreground': 12.0},
               'k-means': {'landmark error': 12.25, 'foreground': 14.0},
               'image mid-point': {'landmark error': 24.0}}}


class _Page(html.parser.HTMLParser):
    """The tags of a page, its texts, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.sources, self.tags, self.texts = text, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.sources += [value for name, value in attributes
                         if name in ('src', 'href', 'data', 'action')]

    def handle_data(self, data):
        self.texts.append(data.strip())

    def named(self, tag: str):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run(make_page_run, tmp_path):
    """A run with scores and three parts, the first two of them merged."""
    folder = make_page_run(tmp_path / 'my run')
    (folder / 'eval' / 'scores.json').write_text(json.dumps(_SCORES), encoding='utf-8')
    parts_file.save(PartNames.unnamed(3).changed(names={1: '<i>wing</i>'}, merges=[[1, 2]],
                                                 drops=[3], photos=['x.jpg']), str(folder))
    return run_data.read(str(folder))


def _written(path: str) -> _Page:
    with open(path, encoding='utf-8') as file:
        return _Page(file.read())


def test_the_page_needs_nothing_but_the_files_beside_it(run, tmp_path):
    found = _written(page.write_run(run))
    pictures = [source for source in found.sources if not source.startswith(('#', 'data:,'))]
    assert set(pictures) == set(report_file.pictures(run.report))
    for source in pictures:
        with Image.open(tmp_path / 'my run' / 'eval' / source) as picture:
            picture.load()
    assert not {'iframe', 'object', 'base'} & {tag for tag, _ in found.tags}
    assert [link['href'] for link in found.named('link')] == ['data:,']
    assert '//' not in re.sub(r'(?m)^ *// .*$', '', found.text)
    assert '@import' not in found.text and 'url(' not in found.text


def test_only_the_scripts_of_the_page_run(run):
    found = _written(page.write_run(run))
    policy = next(meta['content'] for meta in found.named('meta')
                  if meta.get('http-equiv') == 'Content-Security-Policy')
    _, script = re.findall(r'<script[^>]*>(.*?)</script>', found.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not [name for _, attributes in found.tags for name in attributes if
                name.startswith('on')]


def test_texts_of_the_page_are_escaped(run):
    found = _written(page.write_run(run))
    assert {'i', 'b', 'tail', 'note'} & {tag for tag, _ in found.tags} == {'b'}
    assert '<i>wing</i>: parts 1 + 2' in found.texts and 'a <b>&.jpg' in found.texts
    assert '<tail>' in found.texts and 'A <note>.' in found.texts
    data = next(text for text in found.texts if text.startswith('{"annotated"'))
    assert json.loads(data)['annotated'] == ['x.jpg'] and '<' not in data


def test_trivial_baselines_are_folded_and_the_best_is_marked(run):
    found = page.of_run(run)
    table, folded = re.findall(r'<tbody>(.*?)</tbody>', found, re.DOTALL)[:2]
    assert 'k-means' in table and 'mid-point' not in table
    assert 'image mid-point' in folded and '<details' in found[:found.index('image mid-point')]
    assert '<td class="best">9.50</td>' in table and '<td>12.00</td>' in table


def test_parts_have_their_names_merges_drops_and_figures(run):
    found = _Page(page.of_run(run))
    inputs = {attributes['data-name']: attributes['value'] for attributes in found.named('input')
              if 'data-name' in attributes}
    assert inputs == {'1': '<i>wing</i>', '2': '', '3': ''}
    chosen = [option['value'] for option in found.named('option') if 'selected' in option]
    assert chosen == ['1']
    dropped = [each['data-dropped'] for each in found.named('input')
               if 'data-dropped' in each and 'checked' in each]
    assert dropped == ['3'] and 'part 3, dropped' in found.texts
    assert 'responds nowhere' in found.texts
    assert 'beak 75\u00a0%, <tail> 25\u00a0%' in found.texts
    assert 'with <i>wing</i> (part 2)' in found.texts and 'without part 3, dropped' in found.texts
    # What the page takes out of the merge has its own colour again.
    assert {each['data-color']: each['value'] for each in found.named('input')
            if 'data-color' in each} == {'1': '#e69f00', '2': '#56b4e9', '3': '#d55e00'}
    # The merged part has one colour, and what is dropped is not drawn.
    assert '--k1: #e69f00; --k2: #e69f00;' in found.text and '--o3: 0;' in found.text


def test_what_does_not_fit_together_is_said(run, make_page_run, tmp_path):
    assert [notice.split(':')[0] for notice in run.notices] == [
        'Parts were merged or dropped since the scores were computed']
    fresh = make_page_run(tmp_path / 'fresh')
    assert run_data.read(str(fresh)).notices == [
        'There are no scores yet: python -m scops_tf.evaluate computes them.']
    (fresh / 'eval' / 'scores.json').write_text(json.dumps({**_SCORES, 'step': 30}))
    assert run_data.read(str(fresh)).notices[0].startswith('The scores are of step 30')
    (fresh / 'eval' / 'scores.json').write_text('{}')
    with pytest.raises(report_file.ReportError, match='evaluate again'):
        run_data.read(str(fresh))
    with pytest.raises(report_file.ReportError, match='scops_tf.report --workdir=/nowhere'):
        run_data.read('/nowhere')


def test_photos_have_what_they_are_sorted_and_filtered_by(run):
    found = _Page(page.of_run(run))
    data = json.loads(next(text for text in found.texts if text.startswith('{"annotated"')))
    assert [photo['scores'].get('leakage') for photo in data['photos']] == [30, 10, None, 20]
    assert data['directions']['leakage'] == 'lower'
    assert data['photos'][0]['area'][1] == 0 and data['photos'][1]['area'][1] > 0
    assert '4 of 9 test photos, spread evenly over all of them.' in found.texts
    assert [image['alt'] for image in found.named('img')][-1] == 'd.jpg: <i>wing</i>'


def test_the_command_that_takes_the_names_is_one_for_a_shell():
    assert page.naming_command('runs/my birds') == (
        "python -m scops_tf.name --workdir='runs/my birds' --parts_file=parts.json")


def test_a_page_of_tables_alone_is_written(tmp_path):
    table = ScoreTable('CUB & co', {}, [('error', 'lower')], [('ours', ['1 (2)']), ('x', [None])])
    found = _written(page.write_tables(str(tmp_path), title='Table', facts={'runs': '1 of 6'},
                                       tables=[table]))
    assert 'CUB & co' in found.texts and '1 (2)' in found.texts and not found.named('script')
    with pytest.raises(ValueError, match='`rows`'):
        page.write_tables(str(tmp_path / 'none'), title='Table', facts={}, tables=[
            ScoreTable('', {}, [('error', 'lower')], [('ours', [])])])
    assert not (tmp_path / 'none').exists()


# Runs side by side.


def test_parts_of_runs_are_matched_by_their_overlap_and_share_colours(run, make_page_run, tmp_path):
    other = make_page_run(tmp_path / 'other', num_parts=4, shift=3)
    (other / 'eval' / 'scores.json').write_text(json.dumps(_SCORES), encoding='utf-8')
    runs = [run, run_data.read(str(other))]
    photos = comparison.common_photos(runs)
    table = comparison.overlap(photos, 1, (3, 4))
    assert len(photos) == 4 and table.shape == (4, 5)
    assert comparison.matched(table) == {1: 1, 2: 2}
    found = _written(comparison.write(runs))
    assert {'my run', 'other', 'Runs side by side'} <= set(found.texts)
    assert len(found.named('figure')) == 8 and found.text.count('class="kp1"') == 8
    assert 'part 3, part 4' in found.texts
    assert {source for source in found.sources if source.startswith('images/')} == {
        photo.file for photo in run.report.photos}


def test_runs_without_a_common_photo_are_refused(run, make_page_run, tmp_path):
    other = make_page_run(tmp_path / 'other', names=('other.jpg',))
    with pytest.raises(report_file.ReportError, match='at least one photo in common'):
        comparison.write([run, run_data.read(str(other))])
