"""Laws of names, merges and drops, and of the file that keeps them."""
from __future__ import annotations

import json

import numpy as np
import pytest

from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames, PartNamesError
from scops_tf.pictures.palette import palette


def test_parts_without_names_are_those_of_the_model():
    names = PartNames.unnamed(9)
    assert names.names == {number: f'part {number}' for number in range(1, 10)}
    np.testing.assert_array_equal(names.colors, palette(9))
    np.testing.assert_array_equal(names.lookup, np.arange(10))
    assert not names.is_named and not names.changes_labels


def test_a_merged_part_has_the_smallest_number_and_no_other_number_changes():
    names = PartNames.unnamed(5).changed(names={1: 'head'}, merges=[[4, 2]], drops=[3])
    np.testing.assert_array_equal(names.lookup, [0, 1, 2, 0, 2, 5])
    assert names.names == {1: 'head', 2: 'part 2', 5: 'part 5'}
    assert names.dropped == (3,) and names.changes_labels
    # Labels that are merged already stay as they are.
    np.testing.assert_array_equal(names.lookup[names.lookup], names.lookup)
    np.testing.assert_array_equal(names.colors, palette(5))
    assert names.title(1) == 'head (part 1)' and names.title(5) == 'part 5'


def test_parts_of_one_name_are_merged_and_a_later_name_goes_before_an_earlier_one():
    names = PartNames.unnamed(4).changed(names={1: 'head', 2: 'wing', 4: 'wing'})
    assert names.names == {1: 'head', 2: 'wing', 3: 'part 3'}
    assert names.changed(names={4: 'tail'}).names == {1: 'head', 2: 'tail', 3: 'part 3'}
    assert names.changed(names={3: 'head'}).lookup.tolist() == [0, 1, 2, 1, 2]
    assert names.changed(merges=[[3, 1]]).names == {1: 'head', 2: 'wing'}
    assert names.changed(merges=[[1, 4], [4, 3]]).names == {1: 'head'}
    swapped = names.changed(names={1: 'wing', 2: 'head'})
    assert swapped.names == {1: 'wing', 2: 'head', 3: 'part 3'}


def test_a_dropped_part_comes_back_when_it_is_named():
    names = PartNames.unnamed(3).changed(drops=[2, 3])
    assert names.changed(names={3: 'tail'}).lookup.tolist() == [0, 1, 0, 3]
    assert names.changed(drops=[2]).dropped == (2, 3)


def test_colours_stay_with_their_part():
    names = PartNames.unnamed(3).changed(colors={2: (1, 2, 3)})
    merged = names.changed(merges=[[2, 3]])
    assert merged.colors.tolist()[2] == [1, 2, 3] and names.is_named
    assert merged.changed(colors={3: (9, 9, 9)}).colors.tolist()[2] == [9, 9, 9]


@pytest.mark.parametrize('change, words', [
    ({'names': {4: 'head'}}, ['one of 1 to 3', 'got 4']),
    ({'merges': [[0, 1]]}, ['one of 1 to 3', 'got 0']),
    ({'drops': [1], 'names': {1: 'head'}}, ['part 1 is both']),
    ({'drops': [1, 2, 3]}, ['At least one part must be left']),
    ({'merges': [[1, 2]], 'names': {1: 'head', 2: 'wing'}}, ["'head' and 'wing'"]),
    ({'names': {1: ''}}, ['name of part 1', "got ''"]),
    ({'names': {1: ' head'}}, ["got ' head'"]),
    ({'names': {1: 'a\nb'}}, ['printable']),
    ({'names': {1: 'x' * 101}}, ['1 to 100']),
    ({'names': {2: 'Background'}}, ["not 'background'"]),
    ({'names': {2: 'part 3'}}, ["got 'part 3'"]),
    ({'colors': {1: (0, 0, 0)}}, ['black for the background']),
    ({'colors': {1: tuple(palette(2)[2].tolist())}}, ['is used twice']),
])
def test_what_cannot_be_named_is_one_sentence(change, words):
    with pytest.raises(PartNamesError) as caught:
        PartNames.unnamed(3).changed(**change)
    assert '\n' not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_the_file_gives_back_what_was_kept(tmp_path):
    names = PartNames.unnamed(4).changed(
        names={1: 'Köpfchen, größer', 3: 'крыло'}, merges=[[2, 3]], drops=[4],
        colors={1: (1, 2, 3)}, photos=['a.jpg', 'caf\udce9.png'])
    parts_file.save(names, str(tmp_path))
    assert parts_file.load(str(tmp_path), num_parts=4) == names
    assert parts_file.load(str(tmp_path / 'nowhere')) is None
    assert not parts_file.load_or_unnamed(str(tmp_path / 'nowhere'), 4).is_named


def _content(**changes):
    return {**json.loads(parts_file.encoded(PartNames.unnamed(2))), **changes}


@pytest.mark.parametrize('content, words', [
    ('{', ['must be JSON']), ('[1]', ['with a `version`']),
    (_content(version=2), ['of version 1, but it is of 2']),
    (_content(names=[]), ["it has 'names'"]),
    (_content(num_parts='2'), ['`num_parts`', "'2'"]), (_content(num_parts=True), ['`num_parts`']),
    (_content(num_parts=0), ['[1, 255]']), (_content(parts=[]), ['At least one part']),
    (_content(parts=[{'name': 'head'}]), ['`parts`']),
    (_content(parts=[{'name': 'head', 'of': []}]), ['`parts`']),
    (_content(parts=[{'name': 'head', 'of': [1, 2], 'hue': 3}]), ['`parts`']),
    (_content(parts=[{'name': 'head', 'of': [1, 2], 'color': 'red'}]), ["got 'red'"]),
    (_content(parts=[{'name': 'head', 'of': [1, 1]}], dropped=[2]), ['part 1 is in several']),
    (_content(parts=[{'name': 'head', 'of': [1, 2, 3]}]), ['got 3']),
    (_content(parts=[{'name': 'head', 'of': [1]}]), ['`dropped` must hold', '[2]']),
    (_content(dropped=None), ['`dropped`']), (_content(photos=[3]), ['`photos`']),
])
def test_a_fault_of_the_file_is_one_sentence_with_its_path(tmp_path, content, words):
    path = tmp_path / parts_file.PARTS_FILE
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(PartNamesError) as caught:
        parts_file.load(str(tmp_path))
    assert '\n' not in str(caught.value)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_names_of_another_model_are_refused(tmp_path):
    parts_file.save(PartNames.unnamed(3), str(tmp_path))
    with pytest.raises(PartNamesError, match='the 4 parts of the model, but it is of one with 3'):
        parts_file.load(str(tmp_path), num_parts=4)


def test_names_of_another_model_are_set_aside_or_replaced(tmp_path):
    folder, old = str(tmp_path), PartNames.unnamed(2).changed(names={1: 'head'})
    assert parts_file.replace(PartNames.unnamed(2), folder) is None
    parts_file.save(old, folder)
    assert parts_file.replace(PartNames.unnamed(2), folder) == f'{folder}/parts.json.old'
    assert parts_file.load(folder) is None
    (tmp_path / 'parts.json.old').rename(tmp_path / 'parts.json')
    assert parts_file.load(folder) == old
    new = PartNames.unnamed(2).changed(names={1: 'tail'})
    assert parts_file.replace(new, folder) is None and parts_file.load(folder) == new
