"""The page, by Gradio. It uses no network, and a browser that shows it is told to use none."""
from __future__ import annotations

import os
import tempfile
from typing import Any, List, Tuple

import gradio
import numpy as np
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scops_tf import command, files
from scops_tf.demo_app import answer as answer_lib

ARCHIVE_FILE = 'parts.zip'
# A browser loads nothing from elsewhere, whatever the page asks for, and no other page shows it.
_HEADERS = ((b'content-security-policy', (
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    b"connect-src 'self' data: blob:; frame-ancestors 'self'")),
            (b'referrer-policy', b'no-referrer'))
# Old files of visitors are removed, looked for every so many seconds.
_OLD = 600


class _OwnPlaceOnly:
    """Adds `_HEADERS` to what is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message.get('headers', []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def build(answerer: answer_lib.Answerer, *, has_crf: bool) -> gradio.Blocks:
    """The page.

    Args:
      answerer: Answers the photos.
      has_crf: Whether the dense CRF can be used.
    """
    legend = ', '.join(f'{number}:{name}' for number, name in answerer.parts.names.items())
    with gradio.Blocks(title='Parts of a photo', analytics_enabled=False,
                       delete_cache=(_OLD, _OLD)) as page:
        gradio.Markdown('# Parts of a photo\nDrop a photo, or take one with the camera.')
        with gradio.Row():
            with gradio.Column():
                photo = gradio.Image(label='Photo', sources=['upload', 'webcam', 'clipboard'],
                                     type='filepath', image_mode=None, height=400)
                # Gradio would decode the file itself; our own decoding has limits and sentences.
                photo.preprocess = lambda given: given and given.path
                background = gradio.Slider(
                    0, 1, value=answerer.background, step=0.01, label='Background',
                    info='A pixel is background where all parts respond less, relative to '
                         'their largest.')
                iterations = gradio.Slider(
                    0, 20, value=0, step=1, label='Steps of the dense CRF', interactive=has_crf,
                    info='More follow the edges of the photo; 0 for none.' if has_crf else
                         "It needs the extra: pip install 'scops_tf[crf]'.")
                names = gradio.Textbox(label='Names', placeholder=legend, info=(
                    'Such as 1:head, 2:wing. Parts of one name are one part.'))
            with gradio.Column():
                # Without the button that would send the picture to a service.
                overlay = gradio.Image(label='Parts', format='png', height=400, interactive=False,
                                       buttons=['download', 'fullscreen'])
                table = gradio.Dataframe(label='Parts', headers=list(answer_lib.COLUMNS),
                                         interactive=False)
                archive = gradio.File(label='Labels in all formats', interactive=False)
        given, shown = [photo, background, iterations, names], [overlay, table, archive]

        def show(path: Any, background: float, iterations: float, names: str
                 ) -> Tuple[Any, Any, Any]:
            if path is None:
                return None, None, None
            return _shown(answerer, path, background, int(iterations), names)

        # One at a time: a photo takes all cores.
        options = {'inputs': given, 'outputs': shown, 'concurrency_id': 'photos',
                   'concurrency_limit': 1, 'trigger_mode': 'always_last'}
        photo.change(show, api_name='parts', **options)
        for slider in (background, iterations):
            slider.release(show, api_visibility='private', **options)
        names.submit(show, api_visibility='private', **options)
    return page


def _shown(answerer: answer_lib.Answerer, path: str, background: float, iterations: int,
           names: str) -> Tuple[np.ndarray, List[List[Any]], str]:
    """What is shown of a photo; a user's error is one sentence on the page."""
    try:
        found = answerer.answer(path, background=background, iterations=iterations,
                                names=answer_lib.parse_names(names))
    except (ValueError, OSError) as error:
        if not command.is_user_error(error):
            raise
        raise gradio.Error(command.sentence(error), print_exception=False) from error
    archive = os.path.join(tempfile.mkdtemp(dir=os.environ['GRADIO_TEMP_DIR']), ARCHIVE_FILE)
    files.write(archive, found.archive)
    return found.overlay, found.rows, archive


def serve(page: gradio.Blocks, *, host: str, port: int, limits: answer_lib.Limits) -> str:
    """Serves the page by a thread of this process; returns its address.

    Args:
      page: The page.
      host: Address that it listens on, such as 127.0.0.1.
      port: Port, or 0 for any that is free.
      limits: Larger files are not even taken.

    Raises:
      OSError: If the port cannot be used.
    """
    # With fonts of the system, as others come from the network.
    theme = gradio.themes.Base(font=['system-ui', 'sans-serif'], font_mono=['monospace'])
    _, address, _ = page.queue(max_size=16).launch(
        server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
        ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False, footer_links=[],
        max_file_size=limits.most_bytes, theme=theme,
        app_kwargs={'middleware': [Middleware(_OwnPlaceOnly)]})
    return address
