"""Predicts by Apache Beam: `python -m scops_tf.beam_predict --export_dir=... IMAGES... [OPTIONS]`.

The files are those of `python -m scops_tf.predict`. Without options of Beam the pipeline runs in
this process. They come after the photos and say where else it runs, such as `--runner=FlinkRunner
--flink_master=host:8081`; see docs/labels.md. Photos, export and `--out` may be on any file system
that Beam knows, such as gs://bucket/photos. It needs the extra [beam].
"""
from __future__ import annotations

import os
import sys
from typing import List, Optional

from absl import flags, logging

from scops_tf import command
from scops_tf.prediction import options, photos as photos_lib

FLAGS = flags.FLAGS


def main(argv: List[str]) -> Optional[int]:
    """Predicts and writes; returns 1 if a photo failed."""
    try:
        from scops_tf.prediction import beam_files, beam_pipeline
    except ImportError as error:
        if not (error.name or '').startswith('apache_beam'):
            raise
        raise command.CommandError("The package apache-beam must be installed: pip install "
                                   "'scops_tf[beam]', or use `python -m scops_tf.predict`."
                                   ) from error
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    options.check(FLAGS)
    runner_options = [each for each in argv[1:] if each.startswith('--') and each != '--']
    arguments = [each for each in argv[1:] if not each.startswith('--')]
    out = FLAGS.out if beam_files.is_remote(FLAGS.out) else os.path.abspath(FLAGS.out)
    # What is wrong with the photos or the export is told here, before any worker starts.
    photos = beam_files.find(arguments, but=out)
    photos_lib.tell_kept_suffixes(photos, FLAGS.format)
    with beam_files.local(FLAGS.export_dir) as folder:
        predictor = predictor_lib.Predictor(folder)
        settings = options.settings(FLAGS, predictor)
    num_failed = beam_pipeline.run(beam_pipeline.Plan(
        arguments=tuple(arguments), export_dir=FLAGS.export_dir, out=out, parts=predictor.parts,
        settings=settings, formats=tuple(FLAGS.format), tolerance=FLAGS.polygon_tolerance),
        runner_options)
    logging.info('Wrote the parts of %d photos to %s.', len(photos) - num_failed, out)
    if num_failed:
        print(f'{num_failed} of {len(photos)} photos could not be predicted; '
              f'{os.path.join(out, beam_pipeline.FAILED_FILE)} lists them.', file=sys.stderr)
    return 1 if num_failed else None


if __name__ == '__main__':
    options.define()
    command.run(main)
