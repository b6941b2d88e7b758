"""The page of a run as a person uses it, in Chromium: by the mouse, by the keyboard, on a phone.

Skipped where there is no Chromium with its driver; Debian has both as `chromium-driver`.
"""
from __future__ import annotations

import contextlib
import json
import pathlib
import threading
from typing import Iterator

import chromium
import pytest

from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import comparison, page, run_data, server

pytestmark = chromium.needed


@pytest.fixture(scope='module')
def browser(tmp_path_factory) -> Iterator[chromium.Browser]:
    with chromium.started(tmp_path_factory.mktemp('browser')) as started:
        yield started


@pytest.fixture
def run(make_page_run, tmp_path) -> pathlib.Path:
    folder = make_page_run(tmp_path / 'my run')
    (folder / 'export').mkdir()
    return folder


@contextlib.contextmanager
def _served(run: pathlib.Path) -> Iterator[str]:
    served, address = server.make(str(run))
    thread = threading.Thread(target=served.serve_forever, kwargs={'poll_interval': 0.05})
    thread.start()
    try:
        yield address
    finally:
        served.shutdown()
        thread.join()


def _downloaded(browser: chromium.Browser, folder: pathlib.Path) -> pathlib.Path:
    """Where the next download goes."""
    browser.driver.execute_cdp_cmd('Browser.setDownloadBehavior', {
        'behavior': 'allow', 'downloadPath': str(folder)})
    return folder / 'parts.json'


def test_parts_are_named_merged_and_dropped_and_saved_as_a_file(browser, run, tmp_path):
    browser.open(pathlib.Path(page.write_run(run_data.read(str(run)))).as_uri())
    assert browser.texts('#status') == ['No changes.'] and not browser.one('#save').is_enabled()
    browser.fill('[data-name="1"]', 'Flügel <i>')
    browser.choose('[data-into="2"]', '1')
    browser.click('[data-dropped="3"]')
    assert browser.texts('h3 .title') == ['Flügel <i>: parts 1 + 2'] * 2 + ['part 3, dropped']
    assert not browser.one('[data-name="2"]').is_enabled()
    assert browser.texts('.legend li') == ['Flügel <i>: parts 1 + 2', 'part 3, dropped']
    options = browser.run('return [...document.querySelectorAll("#filter option")].map('
                          '(option) => option.textContent)')
    assert options[1:4] == [
        'with Flügel <i> (part 1)', 'with Flügel <i> (part 2)', 'with part 3, dropped']
    colors = browser.run('const style = getComputedStyle(document.documentElement);'
                         'return ["--k1", "--k2", "--o3"].map((key) => style[key] || '
                         'style.getPropertyValue(key))')
    assert colors == ['#e69f00', '#e69f00', '0']
    path = _downloaded(browser, tmp_path)
    browser.click('#save')
    browser.wait_for('#status', '--parts_file=parts.json')
    for _ in range(200):
        if path.exists():
            break
        threading.Event().wait(0.05)
    names = parts_file.read(str(path), num_parts=3)
    assert names.names == {1: 'Flügel <i>'} and names.lookup.tolist() == [0, 1, 1, 0]
    # What is saved is where an undo goes back to.
    browser.fill('[data-name="1"]', 'leg')
    browser.click('#undo')
    assert browser.one('[data-name="1"]').get_property('value') == 'Flügel <i>'
    assert browser.complaints() == []


def test_names_that_cannot_be_used_are_told_and_not_saved(browser, run):
    browser.open(pathlib.Path(page.write_run(run_data.read(str(run)))).as_uri())
    for selector, text, words in (
            ('[data-name="1"]', 'Background', 'the name of what is no part'),
            ('[data-name="1"]', 'part 2', 'the name of another part')):
        browser.fill(selector, text)
        assert words in browser.texts('#problem')[0] and not browser.one('#save').is_enabled()
        assert browser.one(selector).get_attribute('aria-invalid') == 'true'
    browser.fill('[data-name="1"]', 'part 1')
    browser.choose('[data-color="1"]', '#56b4e9')
    assert 'same colour' in browser.texts('#problem')[0]
    browser.click('#undo')
    assert browser.texts('#problem') == []
    # Parts of one name are one part, as everywhere.
    for number in (1, 3):
        browser.fill(f'[data-name="{number}"]', 'wing')
    assert browser.texts('h3 .title')[::2] == ['wing: parts 1 + 3'] * 2
    browser.click('#undo')
    # A saved merge is taken apart again without a choice of colours.
    parts_file.save(PartNames.unnamed(3).changed(merges=[[1, 2]]), str(run))
    browser.open(pathlib.Path(page.write_run(run_data.read(str(run)))).as_uri())
    browser.choose('[data-into="2"]', '0')
    assert browser.texts('#problem') == [] and browser.one('#save').is_enabled()
    assert browser.texts('h3 .title') == ['part 1', 'part 2', 'part 3']
    browser.click('#undo')


def test_photos_are_sorted_and_filtered(browser, run):
    browser.open(pathlib.Path(page.write_run(run_data.read(str(run)))).as_uri())
    browser.choose('#sort', 'leakage')
    names = [text.split()[0] for text in browser.texts('figcaption')]
    assert names == ['a', 'd.jpg', 'deep/ü.jpg', 'c.jpg']  # The last one has no such score.
    assert browser.texts('figcaption')[0] == 'a <b>&.jpg · 30.0'
    browser.choose('#sort', 'area 1')
    assert browser.texts('figcaption')[0].startswith('a <b>')
    browser.click('#reverse')
    assert browser.texts('figcaption')[0].startswith('d.jpg')
    browser.choose('#filter', '2')
    assert len(browser.texts('figcaption')) == 3 and browser.texts('#shown') == ['3 of 4 photos']
    browser.choose('#filter', '-2')
    assert [text[0] for text in browser.texts('figcaption')] == ['a']
    browser.click('#plain')
    assert not browser.one('figure:not([hidden]) svg').is_displayed()


def test_the_served_page_saves_by_itself_and_by_the_keyboard_alone(browser, run):
    with _served(run) as address:
        browser.open(address)
        assert 'token' not in browser.driver.current_url
        browser.complaints()
        browser.run('document.querySelector("[data-name=\\"1\\"]").focus()')
        browser.press('head')
        for _ in range(40):
            browser.press(chromium.TAB)
            if browser.run('return document.activeElement.id') == 'save':
                break
        browser.press(chromium.ENTER)
        browser.wait_for('#status', 'Saved to')
        assert parts_file.load(str(run)) == parts_file.load(str(run / 'export'))
        assert parts_file.load(str(run)).names[1] == 'head'
        browser.open(address)
        assert browser.one('[data-name="1"]').get_property('value') == 'head'
        assert browser.complaints() == []


@pytest.mark.parametrize('width, scheme', [(1280, 'light'), (390, 'dark')])
def test_everybody_can_use_the_pages_on_a_desk_and_on_a_phone(
        browser, run, make_page_run, tmp_path, width, scheme):
    (run / 'eval' / 'scores.json').write_text(json.dumps({
        'step': 40, 'dataset': 'birds', 'counts': {'photos to test': 9}, 'notes': ['A note.'],
        'trivial': ['mid-point'], 'directions': {}, 'scores': {
            'this run': {f'a long name of score {number}': 1.0 for number in range(9)},
            'k-means on the same features, centres over the whole photo': {},
            'mid-point': {}}}), encoding='utf-8')
    data = run_data.read(str(run))
    other = run_data.read(str(make_page_run(tmp_path / 'other', shift=2)))
    for path in (page.write_run(data), comparison.write([data, other])):
        browser.open(pathlib.Path(path).as_uri(), width=width, scheme=scheme)
        browser.run('for (const each of document.querySelectorAll("details")) each.open = true')
        assert browser.faults() == [], path
        assert browser.complaints() == []
        # Tables are scrolled, the page is not.
        assert browser.run('return document.documentElement.scrollWidth') <= width
        dark = browser.run('return getComputedStyle(document.body).backgroundColor')
        assert (dark == 'rgb(21, 23, 26)') == (scheme == 'dark')
