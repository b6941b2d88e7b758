"""Applies an export to photos: `python -m scops_tf.predict --export_dir=runs/cub/export IMAGES...`.

Writes, below `--out`: `labels/*.png` (palette PNG, 0 is background), `overlays/*.png`, `responses/*.npz` (soft
responses at the network's size, centres, presence) and `centers.csv`.
"""
from __future__ import annotations

import csv
import io
import os
import sys
from typing import Dict, List, Tuple

from absl import app, flags, logging
import numpy as np
import tqdm

from scops_tf import command, config as config_lib, images as images_lib

FLAGS = flags.FLAGS


def list_photos(arguments: List[str]) -> List[Tuple[str, str]]:
    """(name, path) of every photo; folders are searched. Names are unique, without suffix.

    Raises:
      ValueError: If there is none, or an argument is neither a file nor a folder.
    """
    paths: List[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            found = [os.path.join(folder, name) for folder, _, names in os.walk(argument) for name in names
                     if os.path.splitext(name)[1].lower() in images_lib.IMAGE_SUFFIXES]
            paths.extend(sorted(found))
        elif os.path.exists(argument):
            paths.append(argument)
        else:
            raise ValueError(f'`IMAGES` must be photos or folders of photos; there is no {argument!r}.')
    paths = list(dict.fromkeys(os.path.abspath(path) for path in paths))
    if not paths:
        raise ValueError(f'`IMAGES` must hold at least one photo; got {arguments!r}.')
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    names = [os.path.splitext(os.path.relpath(path, common))[0] for path in paths]
    taken: Dict[str, str] = {}
    for index, (name, path) in enumerate(zip(names, paths)):
        if name in taken:  # a.jpg beside a.png
            names[index] = os.path.relpath(path, common)
        taken[names[index]] = path
    return list(zip(names, paths))


def main(argv: List[str]) -> None:
    photos = list_photos(argv[1:])
    from scops_tf import predictor as predictor_lib, visualize
    predictor = predictor_lib.Predictor(FLAGS.export_dir)
    crf_settings = config_lib.load([], FLAGS.gin_param).crf
    palette = visualize.palette(predictor.num_parts)
    rows, unreadable = [], []
    for name, path in tqdm.tqdm(photos, unit='photo', desc='Predicting'):
        try:
            photo = images_lib.read(path)
        except images_lib.ImageError as error:
            unreadable.append(str(error))
            continue
        prediction = predictor.predict(photo[np.newaxis])
        labels = prediction.labels[0]
        if FLAGS.crf:
            labels = _refined(photo, prediction.part_responses[0], predictor.metadata, crf_settings)
        centers, presence = prediction.part_centers[0], prediction.presence[0]
        overlay = visualize.draw_centers(visualize.overlay(photo, labels), centers, presence)
        visualize.write_label_png(os.path.join(FLAGS.out, 'labels', f'{name}.png'), labels, palette)
        images_lib.write_png(os.path.join(FLAGS.out, 'overlays', f'{name}.png'), overlay)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, part_responses=prediction.part_responses[0].astype(np.float16),
                            part_centers=centers, presence=presence)
        _write(os.path.join(FLAGS.out, 'responses', f'{name}.npz'), buffer.getvalue())
        for part in range(predictor.num_parts):
            rows.append([name, part + 1, f'{centers[part, 0]:.2f}', f'{centers[part, 1]:.2f}',
                         f'{presence[part]:.4f}', int(np.sum(labels == part + 1))])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['photo', 'part', 'x', 'y', 'presence', 'area'])
    writer.writerows(rows)
    _write(os.path.join(FLAGS.out, 'centers.csv'), table.getvalue().encode())
    logging.info('Wrote parts of %d photos to %s.', len(photos) - len(unreadable), FLAGS.out)
    if unreadable:
        print(f'{len(unreadable)} of {len(photos)} photos could not be read:', *unreadable,
              sep='\n  ', file=sys.stderr)
        sys.exit(1)


def _refined(photo: np.ndarray, part_responses: np.ndarray, metadata: Dict, settings: config_lib.Crf):
    raise NotImplementedError


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f'{path}.{os.getpid()}.tmp'
    with open(temporary, 'wb') as file:
        file.write(data)
    os.replace(temporary, path)


if __name__ == '__main__':
    flags.DEFINE_string('export_dir', None, 'Folder written by `python -m scops_tf.export`.')
    flags.DEFINE_string('out', 'predictions', 'Folder that the results are written to.')
    flags.DEFINE_bool('crf', False, 'Refine labels with a dense CRF (needs the extra [crf]).')
    flags.DEFINE_multi_string('gin_param', [], 'Binding of Crf, such as Crf.iterations=5; may be repeated.')
    flags.mark_flag_as_required('export_dir')
    command.run(main)
