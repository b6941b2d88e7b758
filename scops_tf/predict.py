"""Applies an export to photos: `python -m scops_tf.predict --export_dir=runs/cub/export IMAGES...`.

The command writes `labels/*.png` (palette PNG, 0 is background), `overlays/*.png`,
`responses/*.npz` (part responses at the network's size, part centres, presence), `centers.csv` and
`parts.json` (names and colours of the labels) to the folder `--out`. With `--objects` the parts are
grouped into objects: `objects/*.png` has the number of each pixel's object, and `centers.csv` has
the centres of the parts of each object. `--format` adds the labels of other tools, such as COCO's;
see docs/labels.md. Names, merges and drops are those of `python -m scops_tf.name`.

The same command goes on after a stop with the photos that are not done. `--shard=0/16` does a share
of the photos; when all shards are done, the command without it writes what is about all photos.
`--video=in.mp4` takes the frames of a video in place of photos, and writes `overlay.mp4` too.
"""
from __future__ import annotations

import os
import sys
from typing import List, Optional

from absl import flags, logging
import tqdm

from scops_tf import command, images
from scops_tf.prediction import options, photos as photos_lib, stream, video
from scops_tf.prediction.part_finder import PartFinder

FLAGS = flags.FLAGS


def main(argv: List[str]) -> Optional[int]:
    """Predicts and writes; lists the photos that failed, and returns 1 if any did."""
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    options.check(FLAGS)
    shard = command.shard(FLAGS.shard) if FLAGS.shard else None
    if FLAGS.video and (argv[1:] or shard):
        raise command.CommandError('`--video` must go without photos and --shard, one at a time; '
                                   f'got {(argv[1:] or [FLAGS.shard])[0]!r} too.')
    photos = [] if FLAGS.video else photos_lib.find(argv[1:], but=FLAGS.out)
    photos_lib.tell_kept_suffixes(photos, FLAGS.format)
    for folder in filter(os.path.isdir, argv[1:]):
        left_out = images.left_out_below(folder, but=[FLAGS.out])
        if left_out:
            logging.warning('%s', left_out)
    predictor = predictor_lib.Predictor(FLAGS.export_dir)
    settings = options.settings(FLAGS, predictor)
    output = options.output(FLAGS, predictor, settings)
    own = photos_lib.of_shard(photos, *shard) if shard else photos
    num_photos, failed = 0, {'read': [], 'written': []}
    with tqdm.tqdm(total=len(own) or None, unit='photo', desc='Predicting') as progress:

        def note(outcome: stream.Outcome) -> None:
            nonlocal num_photos
            num_photos += 1
            progress.update()
            if outcome.error:
                failed[outcome.failed_to].append(outcome.error)

        if FLAGS.video:
            video.predict(FLAGS.video, predictor, output, settings, FLAGS.out,
                          share=FLAGS.smoothing, keeps_frames=set(FLAGS.format) != {'png'},
                          on_outcome=note)
        else:
            stream.predict(own, PartFinder(predictor, settings), output, settings,
                           on_outcome=note, is_whole=shard is None)
    num_failed = sum(map(len, failed.values()))
    logging.info('Wrote the parts of %d photos to %s.', num_photos - num_failed, FLAGS.out)
    for what, sentences in failed.items():
        if sentences:
            print(f'{len(sentences)} of {num_photos} photos could not be {what}:', *sentences,
                  sep='\n  ', file=sys.stderr)
    return 1 if num_failed else None


if __name__ == '__main__':
    options.define()
    flags.DEFINE_string('shard', None, 'i/n: the i-th (from 0) of n shares of the photos, for n '
                        'machines.')
    flags.DEFINE_string('video', None, 'Video whose frames are predicted in place of photos (needs '
                        'the extra [video]).')
    flags.DEFINE_float('smoothing', 0.5, 'Share of the frames before in the average of the '
                       'responses of a video; 0 for each frame by itself.', lower_bound=0,
                       upper_bound=0.999)
    command.run(main)
