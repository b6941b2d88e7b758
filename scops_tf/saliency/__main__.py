"""Saliency maps of a folder of photos: `python -m scops_tf.saliency --images=DIR --out=DIR`."""
from __future__ import annotations

import re
import sys
from typing import List, Tuple

from absl import flags

from scops_tf import command
from scops_tf.saliency import maps

FLAGS = flags.FLAGS


def _shard(text: str) -> Tuple[int, int]:
    found = re.fullmatch(r'(\d+)/(\d+)', text)
    index, count = (int(number) for number in found.groups()) if found else (0, 0)
    if index >= count:
        raise maps.MapsError('`shard` must be i/n with 0 <= i < n, such as 0/2 on one machine and '
                             f'1/2 on the other; got {text!r}.')
    return index, count


def main(argv: List[str]) -> None:
    """Computes missing maps and lists unreadable photos; the exit code is 1 if there are any."""
    command.require_no_arguments(argv)
    index, count = _shard(FLAGS.shard)
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
