"""Flags of the commands that predict, and what they stand for."""
from __future__ import annotations

import os
from typing import Any

from absl import flags

from scops_tf import command, config as config_lib
from scops_tf.labels import formats
from scops_tf.prediction import output as output_lib
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import Settings


def define() -> None:
    """Defines the flags."""
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
    flags.DEFINE_integer('batch_size', 8, 'Largest number of photos of one size that go through '
                         'the network together.', lower_bound=1)
    flags.DEFINE_multi_string('gin_param', [], 'Binding of Crf, such as Crf.iterations=5, over '
                              'those of the run; may be repeated.')


def check(values: flags.FlagValues) -> None:
    """Refuses formats that are unknown, or that do not go with scaled photos.

    Raises:
      CommandError: If there is such a format.
    """
    for name in values.format:
        if name not in formats.FORMATS:
            raise command.CommandError(
                f'`--format` must be of {", ".join(formats.FORMATS)}; got {name!r}.')
    if values.max_side and set(values.format) - {'png'}:
        raise command.CommandError('`--format` must be png with --max_side, since other formats '
                                   'speak of the photos at their own size; got '
                                   f'{",".join(values.format)}.')


def settings(values: flags.FlagValues, predictor: Any) -> Settings:
    """Settings for an export, a `serving.predictor.Predictor`.

    Raises:
      ConfigError: If a binding cannot be used.
    """
    # The constants of the run hold unless a flag gives others.
    crf = config_lib.load_crf(predictor.metadata.get('config', ''), values.gin_param)
    return Settings(max_side=values.max_side, crf=crf if values.crf else None,
                    objects=values.objects, min_presence=values.min_presence,
                    batch_size=values.batch_size)


def output(values: flags.FlagValues, predictor: Any, found: Settings) -> Output:
    """What writes the results with these settings.

    Raises:
      OSError: If the folder of the results cannot be written.
    """
    folder = os.path.abspath(predictor.folder)
    graph = output_lib.state_of(os.path.join(folder, 'saved_model.pb'))
    return Output(values.out, predictor.parts, found, formats=values.format,
                  tolerance=values.polygon_tolerance, source=f'{folder} {graph}')
