"""Serves the page of a run on this machine, so that it can save the names of the parts itself.

Nobody else shall read the photos or change the names:

* The server listens on the loopback address alone.
* A request must name that address as its host, so that a page of another site, whose name was
  pointed here (DNS rebinding), gets nothing.
* The address that the user is told has a secret token, which becomes a cookie that no other site
  can send along. Saving needs the token in a header as well, which only this page knows.
* There are the page, the pictures that its report names, and `parts.json` to be written; no path
  of a request is ever joined to a folder.
"""
from __future__ import annotations

import hmac
import os
import secrets
import socket
from typing import Any, Callable, Dict, Tuple

from absl import logging
from werkzeug import exceptions, serving
from werkzeug.wrappers import Request, Response

from scops_tf import files
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNamesError
from scops_tf.pages import comparison, page, report_file, run_data

HOST = '127.0.0.1'
# The largest file of names; that of 255 parts with long names has some 100 kB.
_MOST_BYTES = 2 ** 20
_HEADERS = {'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer',
            'X-Frame-Options': 'DENY', 'Cache-Control': 'no-store'}


class Application:
    """The WSGI application of a run's page.

    Args:
      workdir: Folder of the run, which has a page.
      token: The secret that requests must have.

    Raises:
      ReportError: See `run_data.read`.
    """

    def __init__(self, workdir: str, token: str) -> None:
        self._workdir, self._token = workdir, token
        folder = run_data.folder_of(workdir)
        report = run_data.read(workdir).report
        self._num_parts = report.num_parts
        self._files = {name: os.path.join(folder, name) for name in report_file.pictures(report)}
        self._files[comparison.COMPARISON_FILE] = os.path.join(folder, comparison.COMPARISON_FILE)

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answers a request."""
        request = Request(environ)
        request.trusted_hosts = [HOST, 'localhost']
        request.max_content_length = _MOST_BYTES
        try:
            response = self._answer(request)
        except exceptions.HTTPException as error:
            response = Response(f'{error.description}\n', status=error.code)
        except (OSError, ValueError) as error:
            logging.error('%s', error)
            response = Response(f'{error}\n', status=500)
        response.headers.update(_HEADERS)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        # An untrusted host is refused here.
        cookie = f'scops-{request.host.rpartition(":")[2]}'
        path = request.path.lstrip('/')
        if request.method == 'GET' and path == '' and self._is_token(request.args.get('token')):
            # The token leaves the address bar, and with it the history.
            response = Response(status=303, headers={'Location': '/'})
            response.set_cookie(cookie, self._token, httponly=True, samesite='Strict')
            return response
        if not self._is_token(request.cookies.get(cookie)):
            raise exceptions.Forbidden('Open the address that the command has printed.')
        if path == parts_file.PARTS_FILE:
            return self._save(request)
        if request.method not in ('GET', 'HEAD'):
            raise exceptions.MethodNotAllowed(['GET', 'HEAD'], 'This can only be read.')
        if path in ('', page.PAGE_FILE):
            return Response(page.of_run(run_data.read(self._workdir), token=self._token,
                                        links=links(self._workdir)).encode('utf-8', 'replace'),
                            mimetype='text/html')
        if path not in self._files or not os.path.isfile(self._files[path]):
            raise exceptions.NotFound('There is no such page.')
        return Response(files.read(self._files[path]), mimetype=(
            'image/jpeg' if path.endswith('.jpg') else 'text/html'))

    def _save(self, request: Request) -> Response:
        if request.method != 'PUT':
            raise exceptions.MethodNotAllowed(['PUT'], 'Names can only be put here.')
        if not self._is_token(request.headers.get('X-Scops-Token')):
            raise exceptions.Forbidden('Names are saved by the page of this server alone.')
        try:
            names = parts_file.decoded(request.get_data(), 'The file of names',
                                       num_parts=self._num_parts)
        except PartNamesError as error:
            raise exceptions.BadRequest(str(error)) from None
        folders = parts_file.save_of_run(names, self._workdir)
        logging.info('Wrote the names to %s.', ' and '.join(folders))
        return Response(f'Saved to {" and ".join(folders)}.')

    def _is_token(self, given: Any) -> bool:
        return isinstance(given, str) and hmac.compare_digest(
            given.encode('utf-8', 'replace'), self._token.encode())


def links(workdir: str) -> Dict[str, str]:
    """Further pages of a run: file by title."""
    path = os.path.join(run_data.folder_of(workdir), comparison.COMPARISON_FILE)
    return {'Runs side by side': comparison.COMPARISON_FILE} if os.path.isfile(path) else {}


class _QuietHandler(serving.WSGIRequestHandler):
    """Handles requests without a line for each."""

    def log_request(self, *_: Any) -> None:
        """Logs nothing; what is saved is logged by the application."""


def make(workdir: str, port: int = 0) -> Tuple[serving.BaseWSGIServer, str]:
    """A server of a run's page, which does not run yet, and the address to open.

    Args:
      workdir: Folder of the run, which has a page.
      port: Port to listen on; 0 for one that is free.

    Raises:
      ReportError: See `run_data.read`.
      OSError: If the port cannot be had.
    """
    token = secrets.token_urlsafe(24)
    application = Application(workdir, token)
    try:
        # Bound here, since Werkzeug ends the process where a port is taken.
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise OSError(error.errno, f'The port {port} must be free and allowed, but it is not '
                      f'({error.strerror}): give another one by `--port`') from error
    with listening:
        server = serving.make_server(HOST, port, application, threaded=True,
                                     request_handler=_QuietHandler, fd=listening.fileno())
    return server, f'http://{HOST}:{server.port}/?token={token}'


def serve(workdir: str, port: int = 0) -> None:
    """Serves the page of a run until Ctrl-C; prints the address to open.

    Raises:
      ReportError: See `run_data.read`.
      OSError: If the port cannot be had.
    """
    server, address = make(workdir, port)
    print(f'Open {address}\nCtrl-C stops the server.', flush=True)
    with server:
        server.serve_forever()
