"""Laws of the server of a run's page: what it gives and takes, and from whom."""
from __future__ import annotations

import json
import socket
import threading
import urllib.request

import pytest
from werkzeug.test import Client

from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import report_file, server

_HOST = 'http://127.0.0.1:4321'
_NAMES = PartNames.unnamed(3).changed(names={1: 'Flügel', 2: 'Flügel'}, drops=[3])


@pytest.fixture
def run(make_page_run, tmp_path):
    folder = make_page_run(tmp_path / 'run')
    (folder / 'export').mkdir()
    (folder / 'eval' / 'secret.txt').write_text('secret')
    return folder


@pytest.fixture
def client(run):
    """A browser that has opened the address which the command prints."""
    client = Client(server.Application(str(run), 'token'))
    opened = client.get('/?token=token', base_url=_HOST)
    assert opened.status_code == 303 and opened.headers['Location'] == '/'
    cookie = opened.headers['Set-Cookie']
    assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
    return client


def _put(client, content=None, token='token', **options):
    content = parts_file.encoded(_NAMES) if content is None else content
    return client.put('/parts.json', data=content, base_url=_HOST,
                      headers={'X-Scops-Token': token}, **options)


def test_the_page_and_its_pictures_are_given_and_nothing_else(client, run):
    found = client.get('/', base_url=_HOST)
    assert found.status_code == 200 and '"token": "token"' in found.text
    assert found.headers['X-Frame-Options'] == 'DENY'
    for name in report_file.pictures(report_file.load(str(run / 'eval'))):
        assert client.get(f'/{name}', base_url=_HOST).mimetype == 'image/jpeg'
    for path in ('/secret.txt', '/config.gin', '/../config.gin', '/images/../secret.txt',
                 '/%2e%2e/config.gin', '/images/%2e%2e%2fsecret.txt', '//etc/passwd', '/images',
                 '/report.json', '/compare.html', str(run / 'config.gin')):
        found = client.get(path, base_url=_HOST)
        assert found.status_code == 404 and 'secret' not in found.text, path


def test_names_are_saved_to_the_run_and_its_export(client, run):
    done = _put(client)
    assert done.status_code == 200 and str(run) in done.text
    assert parts_file.load(str(run)) == parts_file.load(str(run / 'export')) == _NAMES
    assert 'Flügel: parts 1 + 2' in client.get('/', base_url=_HOST).text


@pytest.mark.parametrize('content, words', [
    (b'{', 'must be JSON'), (b'', 'must be JSON'), (parts_file.encoded(PartNames.unnamed(4)), '4'),
    (json.dumps({**json.loads(parts_file.encoded(_NAMES)), 'more': 1}).encode(), "'more'")])
def test_names_that_cannot_be_used_are_one_sentence_and_change_nothing(client, run, content, words):
    parts_file.save(_NAMES, str(run))
    done = _put(client, content)
    assert done.status_code == 400 and words in done.text and len(done.text.splitlines()) == 1
    assert parts_file.load(str(run)) == _NAMES


def test_strangers_get_nothing(run):
    application = server.Application(str(run), 'token')
    stranger = Client(application)
    for path in ('/', '/images/photo-1.jpg', '/?token=wrong', '/?token='):
        found = stranger.get(path, base_url=_HOST)
        assert found.status_code == 403 and 'token=' not in found.text
    assert _put(stranger).status_code == 403
    # A page of another site whose name was pointed to this machine.
    for host in ('http://evil.example:4321', 'http://127.0.0.1.evil.example', 'http://10.0.0.1'):
        assert Client(application).get('/?token=token', base_url=host).status_code == 400
    assert not (run / parts_file.PARTS_FILE).exists()


def test_a_form_of_another_site_saves_nothing(client, run):
    assert _put(client, token='').status_code == 403
    assert client.post('/parts.json', data=parts_file.encoded(_NAMES),
                       base_url=_HOST).status_code == 405
    assert client.put('/', base_url=_HOST).status_code == 405
    assert client.get('/parts.json', base_url=_HOST).status_code == 405
    assert _put(client, b' ' * (2 ** 20 + 1)).status_code == 413
    assert not (run / parts_file.PARTS_FILE).exists()


def test_a_folder_that_cannot_be_written_is_told(client, run, caplog):
    (run / 'export').rmdir()
    (run / 'export').mkdir(mode=0o500)
    (run / 'export' / parts_file.PARTS_FILE).mkdir()
    done = _put(client)
    assert done.status_code == 500 and 'must be writable' in done.text
    assert len(done.text.splitlines()) == 1


def test_it_listens_on_this_machine_alone_until_it_is_stopped(run):
    served, address = server.make(str(run))
    assert served.server_address[0] == '127.0.0.1' and address.startswith('http://127.0.0.1:')
    thread = threading.Thread(target=served.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    try:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
        assert b'Parts of birds' in opener.open(address, timeout=20).read()
        with pytest.raises(OSError, match=f'{served.port} must be free .*`--port`'):
            server.make(str(run), served.port)
    finally:
        served.shutdown()
        thread.join()
    with pytest.raises(OSError):
        socket.create_connection(('127.0.0.1', served.port), timeout=1)
