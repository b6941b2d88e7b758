"""Saliency maps of a folder of photos: `python -m scops_tf.saliency --images=DIR --out=DIR`."""
from __future__ import annotations

import sys
from typing import List

from absl import flags

from scops_tf import command
from scops_tf.saliency import maps

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Computes missing maps and lists unreadable photos; the exit code is 1 if there are any."""
    command.require_no_arguments(argv)
    index, count = command.shard(FLAGS.shard)
    names = maps.list_photos(FLAGS.images, but=FLAGS.out)[index::count]
    written, unreadable = maps.write_maps(FLAGS.images, FLAGS.out, names,
                                          num_workers=FLAGS.num_workers)
    done = len(names) - written - len(unreadable)
    print(f'Wrote {written} maps to {FLAGS.out}; {done} were there already.')
    if unreadable:
        print(f'{len(unreadable)} of {len(names)} photos could not be read:', *unreadable,
              sep='\n  ', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    flags.DEFINE_string('images', None, 'Folder of photos, searched recursively.', required=True)
    flags.DEFINE_string('out', None, 'Folder of the maps, at the relative paths of the photos.',
                        required=True)
    flags.DEFINE_string('shard', '0/1',
                        'i/n: the i-th (from 0) of n parts of the photos, for n machines.')
    flags.DEFINE_integer('num_workers', None, 'Processes; one per core where not given.',
                         lower_bound=1)
    command.run(main)
