"""The model card says what is known of a run, and says so where something is not."""
from __future__ import annotations

import types

import tensorflow as tf

from scops_tf import __version__
from scops_tf.labels.part_names import PartNames
from scops_tf.serving import model_card

_DESCRIBED = {'num_parts': 4, 'input_size': [128, 96], 'background': 0.3, 'center_window': None,
              'center_power': 2.0, 'step': 600, 'target': 'gpu', 'precision': 'float16'}
_SIGNATURES = {'labels': types.SimpleNamespace(
    input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name='images')],
    get_concrete_function=lambda: types.SimpleNamespace(
        structured_outputs={'labels': tf.TensorSpec([None, None, None], tf.uint8)}))}


def _sections(card: str) -> dict:
    return {part.split('\n', 1)[0]: part.split('\n', 1)[1] for part in card.split('\n## ')}


def test_a_card_has_settings_data_scores_and_versions():
    card = model_card.text(
        {**_DESCRIBED, 'scores': {'protocol': 'cub', 'unit': 'per cent',
                                  'scores': {'NMI': 41.26, 'FG-NMI': None},
                                  'counts': {'photos to train': 90, 'photos to test': 88}}},
        _SIGNATURES, {'Data.dataset': 'cub', 'Data.root': '/home/me', 'Run.num_parts': 4,
                      'Segmenter.weights': '/home/me/own.h5', 'Logging.scalars_every': 3})
    sections = _sections(card)
    assert list(sections)[1:] == ['Signatures', 'Data', 'Settings', 'Scores', 'Limits', 'Licence',
                                  'Versions']
    assert '| arithmetic | float16 |' in card and '128x96' in card and '/home/me' not in card
    assert "    Data.dataset = 'cub'" in sections['Data']
    assert '90 photos to train, 88 photos to test' in sections['Data']
    assert sections['Settings'].strip('\n') == (
        "    Run.num_parts = 4\n    Segmenter.weights = 'own.h5'")
    assert 'Logging' not in card
    assert '| FG-NMI | – |' in sections['Scores']
    assert '| NMI | 41.3 |' in sections['Scores'] and 'protocol cub; per cent' in sections['Scores']
    assert f'| scops_tf | {__version__} |' in sections['Versions']


def test_names_merges_and_drops_are_in_the_card():
    names = PartNames.unnamed(4).changed(names={1: 'head|beak'}, merges=[[2, 3]], drops=[4])
    part = _sections(model_card.text(_DESCRIBED, _SIGNATURES, parts=names))['Parts']
    assert '| 1 | head\\|beak | 1 |' in part and '| 2 | part 2 | 2 + 3 |' in part
    assert 'background: 4.' in part
    unnamed = model_card.text(_DESCRIBED, _SIGNATURES, parts=PartNames.unnamed(4))
    assert 'Parts' not in _sections(unnamed)


def test_what_is_not_known_is_said():
    sections = _sections(model_card.text(_DESCRIBED, _SIGNATURES))
    assert 'Not measured' in sections['Scores']
    assert sections['Data'].strip() == sections['Settings'].strip() == 'Not recorded.'
