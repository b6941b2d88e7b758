"""The model card of an export: what it is, what it was trained on, its scores and its limits."""
from __future__ import annotations

import os
import platform
from typing import Any, Dict, List, Optional

import numpy as np
import tensorflow as tf

from scops_tf import __version__
from scops_tf.labels.part_names import PartNames

FILE = 'MODEL_CARD.md'

_NOT_RECORDED = 'not recorded'
# Settings that say what the model is; all others are in the metadata beside the card.
_SETTINGS = ('Run.method', 'Run.num_parts', 'Run.image_size', 'Run.steps', 'Run.seed',
             'Run.teacher', 'Run.init_from', 'Segmenter.', 'Features.', 'Losses.', 'Decode.')
_DATA = ('Data.dataset', 'Data.category', 'Data.classes', 'Data.min_object_area',
         'Data.min_part_share', 'Data.image_sets', 'Data.saliency', 'Synthetic.')

_LIMITS = '''\
* The training gives parts numbers and no names, and another training numbers them in another way.
  Look at predictions before you rely on a part.
* Photos of anything else than the kind of object above get parts too. `presence` is the largest
  response of a part. It is no probability, and no part of the model tells foreign photos apart.
* Labels are of all objects of a photo. Centres are of the main one, or of the whole photo.
* Scores hold for photos like those of the test. They were not measured on other photos.
* The signatures of encoded photos apply no EXIF rotation and drop transparency.
* The model finds parts of objects. It was neither trained nor tested to tell persons apart.'''

_LICENCE = '''\
The code of scops_tf is under the Apache-2.0 licence. The weights come from the photos above and,
for networks with ImageNet weights, from those that Keras distributes; their terms hold for the
weights too. Whoever publishes this model states its licence here: not stated yet.'''


def text(described: Dict[str, Any], signatures: Dict[str, Any],
         settings: Optional[Dict[str, Any]] = None, parts: Optional[PartNames] = None) -> str:
    """The card in Markdown.

    Args:
      described: Metadata of the export. 'scores' is what `evaluate` wrote on this step of the run,
        if anything.
      signatures: Functions of the export by name, traced or of one input signature.
      settings: Settings of the run by name; None where there is no run.
      parts: Names, merges and drops of the parts; None for none.
    """
    settings, evaluated = settings or {}, described.get('scores')
    height, width = described['input_size']
    dataset = settings.get('Data.dataset', _NOT_RECORDED)
    lines = [
        f'# Model card: {described["num_parts"]} parts of objects', '',
        'A co-part segmenter (SCOPS; Hung et al., CVPR 2019): it cuts the objects of one kind into '
        f'the same {described["num_parts"]} parts. It was trained without labels.', '',
        *_table(['property', 'value'], [
            ['dataset', dataset],
            ['step of the training', described.get('step', _NOT_RECORDED)],
            ['size of the network\'s input', f'{height}x{width}'],
            ['arranged for', described.get('target', _NOT_RECORDED)],
            ['arithmetic', described.get('precision', _NOT_RECORDED)],
            ['background threshold', described['background']],
            ['window, power of the centres',
             f'{described["center_window"]}, {described["center_power"]}']]),
        '', '## Signatures', '',
        *_table(['signature', 'input', 'outputs'],
                [[f'`{name}`', *_described(function)] for name, function in signatures.items()]),
        '', '0 in `labels` is background. `part_centers` are (x, y) in pixels of the photo.', '',
        *_formats(described),
        *_parts(parts), '## Data', '', *_listed(settings, _DATA), *_counts(evaluated),
        '', '## Settings', '', *_listed(settings, _SETTINGS),
        '', '## Scores', '', *_scores(evaluated),
        '', '## Limits', '', _LIMITS, '', '## Licence', '', _LICENCE,
        *_reference_network(described.get('reference_network')), '', '## Versions', '',
        *_table(['package', 'version'], [
            ['scops_tf', __version__], ['TensorFlow', tf.__version__],
            ['NumPy', np.__version__], ['Python', platform.python_version()]])]
    return '\n'.join(lines) + '\n'


def _described(function: Any) -> List[str]:
    """Input and outputs of a signature, such as 'images uint8[?,?,?,3]'."""
    def spec(name: str, tensor: Any) -> str:
        sides = ','.join('?' if side is None else str(side) for side in tensor.shape)
        return f'{name} {tensor.dtype.name}[{sides}]'

    (wanted,) = function.input_signature
    outputs = function.get_concrete_function().structured_outputs
    return [spec(wanted.name, wanted),
            ', '.join(spec(name, outputs[name]) for name in sorted(outputs))]


def _formats(described: Dict[str, Any]) -> List[str]:
    """The files of other formats that lie beside the SavedModel."""
    rows = [[name, f'`{about["file"]}`',
             f'float32[{",".join("?" if side is None else str(side) for side in about["images"])}]']
            for name, about in described.get('formats', {}).items() if 'images' in about]
    if not rows:
        return []
    return ['## Formats', '', 'The same networks in files beside the SavedModel. They take photos '
            'that were resized, RGB in [0, 1]; their outputs are those of `serving_default`, for '
            'the resized photos.', '', *_table(['format', 'file', '`images`'], rows), '']


def _parts(parts: Optional[PartNames]) -> List[str]:
    if not parts or not parts.is_named:
        return []
    merged = [[part.number, part.name, ' + '.join(map(str, part.of))] for part in parts.parts]
    dropped = ', '.join(map(str, parts.dropped)) or 'none'
    return ['## Parts', '', *_table(['label', 'name', 'parts of the network'], merged), '',
            f'Dropped parts of the network, which are background: {dropped}.', '']


def _listed(settings: Dict[str, Any], names: Any) -> List[str]:
    # Of files and folders the names alone: a card is for publishing.
    found = [f'    {name} = {os.path.basename(value) if isinstance(value, str) else value!r}'
             for name, value in sorted(settings.items()) if name.startswith(names)]
    return found or [f'{_NOT_RECORDED.capitalize()}.']


def _reference_network(card: Optional[Dict[str, Any]]) -> List[str]:
    if not card:
        return []
    source = f', from {card["source"]}' if card['source'] else ''
    return ['', f'The reference features are those of {card["name"]}{source}, layers '
            f'{", ".join(card["layers"])} (SHA-256 {card["sha256"]}). Their licence: '
            f'{card["licence"]}.']


def _counts(evaluated: Optional[Dict[str, Any]]) -> List[str]:
    if not evaluated:
        return []
    counts = ', '.join(f'{count} {name}' for name, count in evaluated['counts'].items())
    return ['', f'Numbers of photos: {counts}.']


def _scores(evaluated: Optional[Dict[str, Any]]) -> List[str]:
    if not evaluated:
        return ['Not measured: the run was not evaluated at this step before it was exported.']
    return [f'As `evaluate` measured them on this step, by the protocol {evaluated["protocol"]}; '
            f'{evaluated["unit"]}.', '',
            *_table(['score', 'value'], [
                [name, '–' if value is None else f'{value:.1f}']
                for name, value in evaluated['scores'].items()])]


def _table(header: List[str], rows: List[List[Any]]) -> List[str]:
    return ['| ' + ' | '.join(str(cell).replace('|', '\\|') for cell in row) + ' |'
            for row in (header, ['---'] * len(header), *rows)]
