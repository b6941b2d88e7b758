"""Laws of the page to try an export, where Gradio is installed."""
from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
import zipfile

import chromium
import numpy as np
from PIL import Image
import pytest

from scops_tf import command
from scops_tf.demo_app import answer
from scops_tf.labels.part_names import PartNames

# Read by Gradio when it is imported.
os.environ.update(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_OFFLINE='1')
pytest.importorskip('gradio', reason='The extra [demo] is not installed.')

import gradio_client

from scops_tf.demo_app import interface

_LIMITS = answer.Limits(most_bytes=200_000, most_pixels=10 ** 6)


class _Answerer:
    """Answers with the photo itself, and keeps what it was asked."""

    background = 0.25
    parts = PartNames.unnamed(2).changed(names={1: 'head'})

    def __init__(self):
        self.asked = []

    def answer(self, path, **asked):
        self.asked.append(asked)
        try:
            pixels = np.array(Image.open(path))
        except OSError:
            raise command.CommandError('It must be an image.') from None
        return answer.Answer(pixels, [[1, 'head', '#e69f00', 1.5, 2.5, 0.9, 12]], b'an archive')


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """The page's answerer, its client and its address."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        patch.setenv('GRADIO_TEMP_DIR', str(tmp_path_factory.mktemp('gradio')))
        answerer = _Answerer()
        page = interface.build(answerer, has_crf=False)
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
        free.close()
        address = interface.serve(page, host='127.0.0.1', port=port, limits=_LIMITS)
        yield answerer, gradio_client.Client(address, verbose=False), address
        page.close()


def _photo(folder, name='photo.png'):
    path = folder / name
    Image.new('RGB', (30, 20), 'olive').save(path)
    return gradio_client.handle_file(str(path))


def test_a_photo_is_answered_by_the_settings_of_the_page(served, tmp_path):
    answerer, client, _ = served
    overlay, table, archive = client.predict(
        _photo(tmp_path), 0.4, 3, '2:wing', api_name='/parts')
    assert answerer.asked[-1] == {'background': 0.4, 'iterations': 3, 'names': {2: 'wing'}}
    assert Image.open(overlay).size == (30, 20)
    assert table['headers'] == list(answer.COLUMNS) and table['data'][0][1] == 'head'
    assert open(archive, 'rb').read() == b'an archive'
    assert os.path.basename(archive) == interface.ARCHIVE_FILE
    assert not zipfile.is_zipfile(overlay)


def test_an_error_of_the_visitor_is_one_sentence(served, tmp_path):
    _, client, _ = served
    (tmp_path / 'letter.png').write_text('Dear Sir')
    with pytest.raises(Exception, match='^It must be an image.$'):
        client.predict(gradio_client.handle_file(str(tmp_path / 'letter.png')), 0.4, 0, '',
                       api_name='/parts')
    with pytest.raises(Exception, match='1:head, 2:wing'):
        client.predict(_photo(tmp_path), 0.4, 0, 'wing', api_name='/parts')


def test_a_file_that_is_too_large_is_not_taken(served, tmp_path):
    _, client, _ = served
    (tmp_path / 'large.png').write_bytes(b' ' * 300_000)
    with pytest.raises(Exception, match='413|maximum|size|large'):
        client.predict(gradio_client.handle_file(str(tmp_path / 'large.png')), 0.4, 0, '',
                       api_name='/parts')


def test_the_page_is_of_this_machine_and_loads_nothing_from_elsewhere(served):
    _, _, address = served
    assert address.startswith('http://127.0.0.1:')
    with urllib.request.urlopen(address) as page:
        policy = page.headers['content-security-policy']
        content = page.read().decode()
    assert "default-src 'self'" in policy and 'http' not in policy
    assert 'fonts.googleapis' not in content
    assert '"analytics_enabled":false' in content.replace(' ', '')
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f'{address}gradio_api/file=/etc/passwd')


@chromium.needed
def test_a_photo_is_taken_with_the_camera(served, tmp_path):
    answerer, _, address = served
    before = len(answerer.asked)
    # Chromium shows its own picture as that of a camera.
    with chromium.started(tmp_path, 'use-fake-device-for-media-stream',
                          'use-fake-ui-for-media-stream') as browser:
        browser.open(address)
        browser.click_button('Capture from camera')
        browser.click_button('Click to access webcam')
        browser.wait_until('document.querySelector("video")?.readyState === 4')
        browser.click_button('capture photo')
        browser.wait_for('body', '#e69f00')
        # What Gradio itself warns of is no error.
        assert [each for each in browser.complaints() if each['level'] == 'SEVERE'] == []
    assert len(answerer.asked) == before + 1
