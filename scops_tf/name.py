"""Names, merges and drops the parts of a run: `python -m scops_tf.name --workdir=runs/cub`.

Without further flags the command shows which number is which part. `--names=1:head,2:wing`,
`--merge=2+3` and `--drop=4` change that. `--parts_file` takes what the page of
`python -m scops_tf.report` has saved. `--annotations` names the parts from a few photos whose
parts are named: masks in any format that `predict` writes, or clicked points.

The names are kept in `parts.json` in the run's folder, and in its export where there is one, so
`predict` has them at once. `evaluate` and `export` read them too. Nothing is trained or removed:
`--reset` gives the model's own parts back.
"""
from __future__ import annotations

import os
from typing import Callable, Dict, List, Sequence, Tuple

from absl import flags, logging
import numpy as np

from scops_tf import command, config as config_lib
from scops_tf.labels import annotated_photos, naming_text, parts_file
from scops_tf.labels.part_names import PartNames

FLAGS = flags.FLAGS


def main(argv: List[str]) -> None:
    """Changes the names as the flags say, and prints them."""
    command.require_no_arguments(argv)
    if (FLAGS.workdir is None) == (FLAGS.export_dir is None):
        raise command.CommandError('Either `--workdir` or `--export_dir` must be given; got '
                                   f'{"both" if FLAGS.workdir else "none"}.')
    if FLAGS.annotations and not FLAGS.photos:
        raise command.CommandError('`--annotations` must come with `--photos`, the folder of the '
                                   'annotated photos; got none.')
    change = {
        'names': pairs('names', FLAGS.names), 'merges': groups('merge', FLAGS.merge),
        'drops': numbers('drop', FLAGS.drop),
        'colors': {number: parts_file.parse_color(text, f'The colour of part {number}')
                   for number, text in pairs('colors', FLAGS.colors).items()}}
    annotated = FLAGS.annotations and annotated_photos.read(
        FLAGS.annotations, FLAGS.annotation_format, FLAGS.photos, mask_names=FLAGS.mask_names)
    names, graph, load = _model()
    if FLAGS.parts_file:
        names = parts_file.read(FLAGS.parts_file, num_parts=names.num_parts)
    before = names
    if annotated:
        found = annotated_photos.assign(annotated, names, load())
        print(naming_text.of_assignment(found), end='\n\n')
        # Names of an earlier time would mix with the new ones.
        names = names.without_names().changed(
            names=found.names, photos=[os.path.basename(one.path) for one in annotated])
    names = names.changed(**change)
    names.require_as_merged(graph, f'the export in {FLAGS.export_dir}')
    print(naming_text.of_names(names))
    if names == before and not (FLAGS.reset or FLAGS.parts_file):
        return
    if FLAGS.workdir:
        folders = parts_file.save_of_run(names, FLAGS.workdir)
    else:
        folders = [FLAGS.export_dir]
        parts_file.save(names, FLAGS.export_dir)
    for folder in folders:
        logging.info('Wrote the names to %s.', os.path.join(folder, parts_file.PARTS_FILE))
    if names.changes_labels:
        logging.info('`predict` and `evaluate` merge and drop these parts now; the graph itself '
                     'does so once the run is exported again.')


def _model() -> Tuple[PartNames, PartNames, Callable[[], Callable[[np.ndarray], np.ndarray]]]:
    """The names to begin with, the parts of the graph, and what loads the model.

    The model is a function from a photo u8[H,W,3] to labels u8[H,W].
    """
    if FLAGS.export_dir:
        from scops_tf.serving import predictor as predictor_lib
        loaded = predictor_lib.Predictor(FLAGS.export_dir, named=not FLAGS.reset)
        return loaded.parts, loaded.graph_parts, (
            lambda: lambda photo: loaded.predict(photo[np.newaxis]).labels[0])
    config = config_lib.load_run(FLAGS.workdir)
    num_parts = config.run.num_parts
    names = PartNames.unnamed(num_parts) if FLAGS.reset else (
        parts_file.load_or_unnamed(FLAGS.workdir, num_parts))

    def load() -> Callable[[np.ndarray], np.ndarray]:
        from scops_tf.evaluation import photo_batches, run_predictions
        run = run_predictions.load(config, FLAGS.workdir)
        return lambda photo: np.asarray(run.predict(
            photo_batches.PhotoBatch((), photo[np.newaxis]))['labels'])[0]

    return names, PartNames.unnamed(num_parts), load


def pairs(flag: str, texts: Sequence[str]) -> Dict[int, str]:
    """The texts by number of a flag such as `--names=1:head,2:wing`.

    Raises:
      CommandError: If it is of another form.
    """
    found: Dict[int, str] = {}
    for text in texts:
        number, colon, value = map(str.strip, text.partition(':'))
        example = '1:#e69f00' if flag == 'colors' else '1:head,2:wing'
        if not (colon and number.isdecimal() and value):
            raise command.CommandError(
                f'`--{flag}` must be numbers and texts, such as {example}; got {text!r}.')
        if int(number) in found:
            raise command.CommandError(
                f'`--{flag}` must have each number once; got {int(number)} again.')
        found[int(number)] = value
    return found


def numbers(flag: str, texts: Sequence[str]) -> List[int]:
    """The numbers of a flag such as `--drop=4,5`.

    Raises:
      CommandError: If it is of another form.
    """
    for text in texts:
        if not text.strip().isdecimal():
            raise command.CommandError(f'`--{flag}` must be numbers, such as 4,5; got {text!r}.')
    return [int(text) for text in texts]


def groups(flag: str, texts: Sequence[str]) -> List[List[int]]:
    """The groups of numbers of a flag such as `--merge=2+3,5+6`.

    Raises:
      CommandError: If it is of another form.
    """
    found = [[word.strip() for word in text.split('+')] for text in texts]
    for group, text in zip(found, texts):
        if len(group) < 2 or not all(map(str.isdecimal, group)):
            raise command.CommandError(f'`--{flag}` must be groups of at least two numbers, such '
                                       f'as 2+3; got {text!r}.')
    return [list(map(int, group)) for group in found]


if __name__ == '__main__':
    flags.DEFINE_string('workdir', None, 'Folder of a run.')
    flags.DEFINE_string('export_dir', None, 'Folder of an export; instead of `--workdir`.')
    flags.DEFINE_list('names', [], 'Names by number, such as 1:head,2:wing. Parts of one name are '
                      'merged.')
    flags.DEFINE_list('merge', [], 'Groups of parts that become one, such as 2+3,5+6.')
    flags.DEFINE_list('drop', [], 'Parts that become background, such as 4.')
    flags.DEFINE_list('colors', [], 'Colours by number, such as 1:#e69f00.')
    flags.DEFINE_bool('reset', False, 'Begin with the parts of the model, without any name.')
    flags.DEFINE_string('parts_file', None, 'A parts.json to begin with, such as one that the page '
                        'of the run has saved.')
    flags.DEFINE_string('annotations', None, 'File or folder of photos whose parts are named.')
    flags.DEFINE_enum('annotation_format', 'png', annotated_photos.KINDS, 'Format of '
                      '`--annotations`; points are a CSV or JSON with photo, x, y and name.')
    flags.DEFINE_list('mask_names', None, 'Names of the values from 1 on, for masks as PNG.')
    flags.DEFINE_string('photos', None, 'Folder of the annotated photos.')
    command.run(main)
