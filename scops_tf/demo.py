"""A page to try an export on photos: `python -m scops_tf.demo --export_dir=runs/cub/export`.

A visitor drops a photo on the page, or takes one with the camera, and sees its parts, with sliders
for the background and the dense CRF, and gets labels in all formats. The page listens on this
machine alone unless `--host` says otherwise. It needs the extra [demo].
"""
from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from typing import List

from absl import flags

from scops_tf import command, config as config_lib

FLAGS = flags.FLAGS

_LOOPBACK = ('127.0.0.1', '::1', 'localhost')


def main(argv: List[str]) -> None:
    """Serves the page until it is stopped."""
    command.require_no_arguments(argv)
    with tempfile.TemporaryDirectory() as folder:
        # Gradio reads these when it is imported. It shall tell nobody anything, and its files go
        # when the command ends.
        os.environ.update(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_OFFLINE='1',
                          GRADIO_TEMP_DIR=folder)
        try:
            from scops_tf.demo_app import interface
        except ImportError as error:
            if (error.name or '').split('.')[0] not in ('gradio', 'starlette'):
                raise
            raise command.CommandError('The package gradio must be installed: pip install '
                                       "'scops_tf[demo]'.") from error
        from scops_tf.demo_app import answer
        from scops_tf.serving import predictor as predictor_lib

        predictor = predictor_lib.Predictor(FLAGS.export_dir)
        crf = config_lib.load_crf(predictor.metadata.get('config', ''), FLAGS.gin_param)
        limits = answer.Limits(most_bytes=int(FLAGS.max_megabytes * 1e6),
                               most_pixels=int(FLAGS.max_megapixels * 1e6))
        page = interface.build(answer.Answerer(predictor, crf, limits),
                              has_crf=importlib.util.find_spec('pydensecrf') is not None)
        address = interface.serve(page, host=FLAGS.host, port=FLAGS.port, limits=limits)
        print(f'The page is at {address}; Ctrl-C ends it.')
        if FLAGS.host not in _LOOPBACK:
            print('All who reach this machine can use it: there is no password.', file=sys.stderr)
        sys.stdout.flush()
        page.block_thread()


if __name__ == '__main__':
    flags.DEFINE_string('export_dir', None, 'Folder written by `python -m scops_tf.export`.',
                        required=True)
    flags.DEFINE_string('host', '127.0.0.1', 'Address that the page listens on; 0.0.0.0 for all of '
                        'this machine.')
    flags.DEFINE_integer('port', 7860, 'Port that it listens on.', lower_bound=1, upper_bound=65535)
    flags.DEFINE_float('max_megabytes', 20.0, 'Most megabytes of a photo.', lower_bound=0.001)
    flags.DEFINE_float('max_megapixels', 24.0, 'Most megapixels of a photo.', lower_bound=0.001,
                       upper_bound=108.0)
    command.define_gin_param()
    command.run(main)
