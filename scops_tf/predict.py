"""Applies an export to photos: `python -m scops_tf.predict --export_dir=runs/cub/export IMAGES...`.

The command writes `labels/*.png` (palette PNG, 0 is background), `overlays/*.png`,
`responses/*.npz` (part responses at the network's size, part centres, presence), `centers.csv` and
`parts.json` (names and colours of the labels) to the folder `--out`. With `--objects` the parts are
grouped into objects: `objects/*.png` has the number of each pixel's object, and `centers.csv` has
the centres of the parts of each object. `--format` adds the labels of other tools, such as COCO's;
see docs/labels.md. Names, merges and drops are those of `python -m scops_tf.name`. The same command
goes on after a stop with the photos that are not done.
"""
from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from absl import flags, logging
import numpy as np
import tqdm

from scops_tf import command, config as config_lib, files, images as images_lib
from scops_tf.labels import formats, parts_file, prediction_files
from scops_tf.labels.annotation import AnnotationError
from scops_tf.labels.result import PartResult
from scops_tf.serving import crf, objects as objects_lib

FLAGS = flags.FLAGS


class Photo(NamedTuple):
    """A photo that is predicted.

    Attributes:
      name: Name of its results; see `list_photos`.
      path: Absolute path.
      file_name: Path relative to the folder that all photos have in common.
    """

    name: str
    path: str
    file_name: str


def list_photos(arguments: Sequence[str], *, but: str) -> List[Photo]:
    """Finds all photos; folders are searched, and hidden files and folders are skipped.

    Args:
      arguments: Paths of photos and folders.
      but: A folder that is not searched, such as the folder of the results.

    Returns:
      All photos. A name is the path relative to the folder that all photos have in common, without
      its suffix unless some photos differ in the suffix only.

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
    return list(map(Photo, names if len(set(names)) == len(names) else relative, paths, relative))


def main(argv: List[str]) -> Optional[int]:
    """Predicts and writes; lists the photos that failed, and returns 1 if any did."""
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    for name in FLAGS.format:
        if name not in formats.FORMATS:
            raise command.CommandError(
                f'`--format` must be of {", ".join(formats.FORMATS)}; got {name!r}.')
    if FLAGS.max_side and set(FLAGS.format) - {'png'}:
        raise command.CommandError('`--format` must be png with --max_side, since other formats '
                                   'speak of the photos at their own size; got '
                                   f'{",".join(FLAGS.format)}.')
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
    own = prediction_files.Writer(FLAGS.out, predictor.parts, with_objects=FLAGS.objects,
                                  min_presence=FLAGS.min_presence)
    writers = formats.Writers(FLAGS.out, predictor.parts, tolerance=FLAGS.polygon_tolerance,
                              names=FLAGS.format)
    settings_key = _settings_key(predictor)
    failed: Dict[str, List[str]] = {'read': [], 'written': []}
    try:
        with tqdm.tqdm(photos, unit='photo', desc='Predicting') as progress:
            for photo in progress:
                key = f'{settings_key} {photo.path} {_state_of(photo.path)}'
                if own.is_done(photo.name, key):
                    writers.keep(photo.name)
                    continue
                try:
                    image = images_lib.read(photo.path, max_side=FLAGS.max_side)
                    result = _predict(predictor, photo, image, settings)
                    writers.add(result)
                    own.add(result, image, key)
                except images_lib.ImageError as error:
                    failed['read'].append(str(error))
                except (OSError, AnnotationError) as error:
                    failed['written'].append(command.sentence(error))
    finally:
        # Also of the photos before an interruption.
        writers.close()
        own.close()
    writers.finish()
    own.finish()
    num_failed = sum(map(len, failed.values()))
    logging.info('Wrote the parts of %d photos to %s.', len(photos) - num_failed, FLAGS.out)
    for what, sentences in failed.items():
        if sentences:
            print(f'{len(sentences)} of {len(photos)} photos could not be {what}:', *sentences,
                  sep='\n  ', file=sys.stderr)
    return 1 if num_failed else None


def _settings_key(predictor: Any) -> str:
    """A digest of all that the results of a photo depend on besides the photo."""
    own = [flag.serialize() for flag in FLAGS.get_key_flags_for_module(sys.argv[0])]
    graph = _state_of(os.path.join(predictor.folder, 'saved_model.pb'))
    text = '\n'.join([*own, os.path.abspath(predictor.folder), graph])
    return hashlib.blake2b(files.encoded(text) + parts_file.encoded(predictor.parts),
                           digest_size=16).hexdigest()


def _state_of(path: str) -> str:
    """Size and time of the last change of a file; '' if there is none."""
    try:
        found = os.stat(path)
    except OSError:  # Reading it tells the reason.
        return ''
    return f'{found.st_size} {found.st_mtime_ns}'


def _predict(predictor: Any, photo: Photo, image: np.ndarray, settings: config_lib.Crf
             ) -> PartResult:
    """The parts of a photo."""
    found = predictor.predict(image[np.newaxis])
    labels = found.labels[0]
    if FLAGS.crf:
        labels = _refined(image, found.part_responses, predictor.metadata, settings)
    labels = _without_parts(labels, found.presence[0] < FLAGS.min_presence)
    result = PartResult(
        name=photo.name, file_name=photo.file_name, path=photo.path, labels=labels,
        part_responses=found.part_responses[0], part_centers=found.part_centers[0],
        presence=found.presence[0], parts=predictor.parts)
    if not FLAGS.objects:
        return result
    owners = objects_lib.separate(labels, objects_lib.certain_pixels(
        found.part_responses[0], labels.shape))
    each = objects_lib.parts(found.part_responses[0], labels, owners,
                             power=predictor.metadata.get('center_power', 1.0))
    return dataclasses.replace(
        result, objects=owners, object_centers=each.centers, object_presence=each.presence)


def _without_parts(labels: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Labels u8[H,W] with background in place of the parts that are `absent`, bool[K]."""
    kept = np.arange(len(absent) + 1, dtype=np.uint8)
    kept[1:][absent] = 0
    return kept[labels]


def _refined(photo: np.ndarray, part_responses: np.ndarray, metadata: Dict[str, Any],
             settings: config_lib.Crf) -> np.ndarray:
    """Labels of a dense CRF at the photo's size, u8[H,W]."""
    import tensorflow as tf
    # No normalization here: the CRF divides each part by its largest response.
    responses = tf.image.resize(part_responses, photo.shape[:2])[0].numpy()
    return crf.refine_labels(responses, photo, background=metadata['background'],
                             **dataclasses.asdict(settings))


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
    flags.DEFINE_list('format', ['png'], 'Formats of the labels, separated by commas: '
                      f'{", ".join(formats.FORMATS)}.')
    flags.DEFINE_float('polygon_tolerance', 1.0, 'Largest distance in pixels between the outline '
                       'of a part and its polygon; 0 for exact polygons.', lower_bound=0.0)
    flags.DEFINE_multi_string('gin_param', [], 'Binding of Crf, such as Crf.iterations=5, over '
                              'those of the run; may be repeated.')
    command.run(main)
