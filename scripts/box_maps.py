"""Writes, for every photo of CUB-200-2011, a map that is 1 in the bird's box and 0 elsewhere.

For the comparison of saliency sources in docs/saliency.md only: boxes are annotations, which
training never sees. `python scripts/box_maps.py --root=CUB_200_2011 --out=boxes`, then
`Data.saliency = 'folder'` and `Data.saliency_folder = 'boxes'`.
"""
from __future__ import annotations

import os
from typing import List

from absl import flags
import numpy as np
import tqdm

from scops_tf import command, images
from scops_tf.datasets import cub, photos

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Writes the maps of categories 1 to 3, at the photos' sizes."""
    command.require_no_arguments(argv)
    dataset = cub.read(FLAGS.root)
    records = dataset.train + dataset.test
    sizes = photos.sizes([record.path for record in records])
    for record, (height, width) in zip(tqdm.tqdm(records, unit='map'), sizes):
        x, y, box_width, box_height = np.rint(record.box).astype(int)
        box_map = np.zeros((height, width), np.uint8)
        box_map[max(y, 0):y + box_height, max(x, 0):x + box_width] = 255
        name = os.path.splitext(record.name)[0]
        images.write_png(os.path.join(FLAGS.out, f'{name}.png'), box_map)


if __name__ == '__main__':
    flags.DEFINE_string('root', None, 'Folder of CUB-200-2011.')
    flags.DEFINE_string('out', None, 'Folder that the maps are written to.')
    flags.mark_flags_as_required(['root', 'out'])
    command.run(main)
