"""Applies an export to photos: `python -m scops_tf.predict --export_dir=runs/cub/export IMAGES...`.

The command writes `labels/*.png` (palette PNG, 0 is background), `overlays/*.png`,
`responses/*.npz` (part responses at the network's size, part centres, presence) and `centers.csv`
to the folder `--out`. With `--objects` the parts are grouped into objects: `objects/*.png` has the
number of each pixel's object, and `centers.csv` has the centres of the parts of each object.
"""
from __future__ import annotations

import dataclasses
import io
import os
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from absl import flags, logging
import numpy as np
import tqdm

from scops_tf import command, config as config_lib, files, images as images_lib
from scops_tf.pictures import drawing, palette as palette_lib, parts as part_pictures
from scops_tf.serving import crf, objects as objects_lib

FLAGS = flags.FLAGS


def list_photos(arguments: Sequence[str], *, but: str) -> List[Tuple[str, str]]:
    """Finds all photos; folders are searched, and hidden files and folders are skipped.

    Args:
      arguments: Paths of photos and folders.
      but: A folder that is not searched, such as the folder of the results.

    Returns:
      (name, path) of every photo. A name is the path relative to the folder that all photos have in
      common, without its suffix unless some photos differ in the suffix only.

    Raises:
      CommandError: If there is no photo, or an argument is neither a file nor a folder.
    """
    paths: List[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            paths += [os.path.join(argument, *name.split('/'))
                      for name in images_lib.names_below(argument, but=[but])]
        elif os.path.exists(argument):
            paths.append(argument)
        else:
            raise command.CommandError('`IMAGES` must be photos or folders of photos; there is no '
                                       f'{argument!r}.')
    paths = list(dict.fromkeys(os.path.abspath(path) for path in paths))
    if not paths:
        raise command.CommandError('`IMAGES` must hold at least one photo '
                                   f'({", ".join(images_lib.IMAGE_SUFFIXES)}); got '
                                   f'{list(arguments)}.')
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    relative = [os.path.relpath(path, common) for path in paths]
    names = [os.path.splitext(name)[0] for name in relative]
    return list(zip(names if len(set(names)) == len(names) else relative, paths))


def main(argv: List[str]) -> Optional[int]:
    """Predicts and writes; lists the photos that failed, and returns 1 if any did."""
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    photos = list_photos(argv[1:], but=FLAGS.out)
    for folder in filter(os.path.isdir, argv[1:]):
        left_out = images_lib.left_out_below(folder, but=[FLAGS.out])
        if left_out:
            logging.warning('%s', left_out)
    predictor = predictor_lib.Predictor(FLAGS.export_dir)
    # The constants of the run hold unless a flag gives others.
    settings = config_lib.load_crf(predictor.metadata.get('config', ''), FLAGS.gin_param)
    files.require_writable(FLAGS.out)
    files.mark(FLAGS.out)
    rows: List[List[Any]] = []
    failed: Dict[str, List[str]] = {'read': [], 'written': []}
    with tqdm.tqdm(photos, unit='photo', desc='Predicting') as progress:
        for name, path in progress:
            try:
                photo = images_lib.read(path, max_side=FLAGS.max_side)
                rows += _predict(predictor, name, photo, settings)
            except images_lib.ImageError as error:
                failed['read'].append(str(error))
            except OSError as error:
                failed['written'].append(command.sentence(error))
    columns = ['photo', 'object', 'part', 'x', 'y', 'presence', 'area']
    if not FLAGS.objects:
        columns.remove('object')
        rows = [[row[0], *row[2:]] for row in rows]
    files.write_csv(_path('centers.csv'), columns, rows)
    num_failed = sum(map(len, failed.values()))
    logging.info('Wrote the parts of %d photos to %s.', len(photos) - num_failed, FLAGS.out)
    for what, sentences in failed.items():
        if sentences:
            print(f'{len(sentences)} of {len(photos)} photos could not be {what}:', *sentences,
                  sep='\n  ', file=sys.stderr)
    return 1 if num_failed else None


def _predict(predictor: Any, name: str, photo: np.ndarray, settings: config_lib.Crf
             ) -> List[List[Any]]:
    """Predicts the parts of a photo and writes its files; returns its rows of the table.

    Raises:
      OSError: If a file cannot be written.
    """
    num_parts = predictor.num_parts
    found = predictor.predict(photo[np.newaxis])
    labels, centers, presence = found.labels[0], found.part_centers[0], found.presence[0]
    if FLAGS.crf:
        labels = _refined(photo, found.part_responses, predictor.metadata, settings)
    labels = _without_parts(labels, presence < FLAGS.min_presence)
    if FLAGS.objects:
        owners = objects_lib.separate(labels, objects_lib.certain_pixels(
            found.part_responses[0], labels.shape))
        each = objects_lib.parts(found.part_responses[0], labels, owners,
                                 power=predictor.metadata.get('center_power', 1.0))
        part_pictures.write_label_png(
            _path('objects', f'{name}.png'), np.minimum(owners, 255).astype(np.uint8))
    else:
        areas = np.bincount(labels.ravel(), minlength=num_parts + 1)[1:]
        each = objects_lib.ObjectParts(
            centers[np.newaxis], presence[np.newaxis], areas[np.newaxis])
    overlay = drawing.overlay(photo, labels)
    for own_centers, own_presence in zip(each.centers, each.presence):
        overlay = drawing.draw_centers(
            overlay, own_centers, np.where(presence < FLAGS.min_presence, 0, own_presence))
    part_pictures.write_label_png(
        _path('labels', f'{name}.png'), labels, palette_lib.palette(num_parts))
    images_lib.write_png(_path('overlays', f'{name}.png'), overlay)
    files.write(_path('responses', f'{name}.npz'), _npz(
        part_responses=found.part_responses[0].astype(np.float16), part_centers=centers,
        presence=presence))
    return _rows(name, each)


def _without_parts(labels: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Labels u8[H,W] with background in place of the parts that are `absent`, bool[K]."""
    kept = np.arange(len(absent) + 1, dtype=np.uint8)
    kept[1:][absent] = 0
    return kept[labels]


def _rows(name: str, parts: objects_lib.ObjectParts) -> List[List[Any]]:
    """Rows of the table of centres: photo, object, part, x, y, presence and area."""
    return [[name, index + 1, part + 1, f'{x:.2f}', f'{y:.2f}', f'{presence:.4f}', int(area)]
            for index, of_object in enumerate(zip(*parts))
            for part, ((x, y), presence, area) in enumerate(zip(*of_object))]


def _refined(photo: np.ndarray, part_responses: np.ndarray, metadata: Dict[str, Any],
             settings: config_lib.Crf) -> np.ndarray:
    """Labels of a dense CRF at the photo's size, u8[H,W]."""
    import tensorflow as tf
    # No normalization here: the CRF divides each part by its largest response.
    responses = tf.image.resize(part_responses, photo.shape[:2])[0].numpy()
    return crf.refine_labels(responses, photo, background=metadata['background'],
                             **dataclasses.asdict(settings))


def _path(*names: str) -> str:
    return os.path.join(FLAGS.out, *names)


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


if __name__ == '__main__':
    flags.DEFINE_string('export_dir', None, 'Folder written by `python -m scops_tf.export`.',
                        required=True)
    flags.DEFINE_string('out', 'predictions', 'Folder that the results are written to.')
    flags.DEFINE_bool('crf', False, 'Refine labels with a dense CRF (needs the extra [crf]).')
    flags.DEFINE_bool('objects', False, 'Group the parts into objects.')
    flags.DEFINE_float('min_presence', 0.0, 'Least presence of a part that is drawn; a part with '
                       'less is background, and has the area 0 in the table. Blank photos show '
                       'parts too, since these are relative.', lower_bound=0, upper_bound=1)
    flags.DEFINE_integer('max_side', None, 'Largest number of pixels of the longer side; a larger '
                         'photo is scaled down first, with all that is written of it, centres too.',
                         lower_bound=1)
    flags.DEFINE_multi_string('gin_param', [], 'Binding of Crf, such as Crf.iterations=5, over '
                              'those of the run; may be repeated.')
    command.run(main)
