"""The command `name`, and names that come from annotated photos."""
from __future__ import annotations

import numpy as np
from PIL import Image
import pytest

from scops_tf import command, config as config_lib, name
from scops_tf.labels import annotated_photos, formats, naming_text, parts_file
from scops_tf.labels.annotation import AnnotationError
from scops_tf.labels.part_names import PartNames

_TRUE = PartNames.unnamed(3).changed(names={1: 'head', 2: 'body', 3: 'tail'})


def test_names_merges_and_drops_are_kept_in_the_run_and_its_export(run_command, load, tmp_path):
    config_lib.save(load('Run.num_parts=5'), str(tmp_path))
    (tmp_path / 'export').mkdir()
    shown = run_command('name', f'--workdir={tmp_path}')
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[1].split() == ['1', 'part', '1', '#e69f00', '1']
    assert not (tmp_path / parts_file.PARTS_FILE).exists()
    done = run_command('name', f'--workdir={tmp_path}', '--names=1:head,2:Flügel', '--merge=2+3',
                       '--drop=4', '--colors=5:#010203')
    assert done.returncode == 0, done.stderr
    found = parts_file.load(str(tmp_path))
    assert found.names == {1: 'head', 2: 'Flügel', 5: 'part 5'}
    assert found.lookup.tolist() == [0, 1, 2, 2, 0, 5] and found.colors[5].tolist() == [1, 2, 3]
    assert parts_file.load(str(tmp_path / 'export')) == found
    assert 'Dropped: 4' in done.stdout
    wrong = run_command('name', f'--workdir={tmp_path}', '--names=7:head')
    assert wrong.returncode == 1 and wrong.stderr.splitlines()[-1] == (
        'Error: A part must be one of 1 to 5, the parts of the model; got 7.')
    assert parts_file.load(str(tmp_path)) == found


def test_texts_of_flags_are_numbers_groups_and_names():
    assert name.pairs('names', ['1:head', ' 12 : wing tip']) == {1: 'head', 12: 'wing tip'}
    assert name.groups('merge', ['2+3', '4 + 5+ 6']) == [[2, 3], [4, 5, 6]]
    assert name.numbers('drop', ['4', ' 5']) == [4, 5]


@pytest.mark.parametrize('read, flag, text', [
    (name.pairs, 'names', 'head'), (name.pairs, 'names', '1:'), (name.pairs, 'colors', 'x:#000000'),
    (name.groups, 'merge', '2'), (name.groups, 'merge', '2+'), (name.groups, 'merge', '2-3'),
    (name.numbers, 'drop', '-1'), (name.numbers, 'drop', 'all')])
def test_other_texts_of_flags_are_one_sentence(read, flag, text):
    with pytest.raises(command.CommandError, match=f'`--{flag}` must be') as caught:
        read(flag, [text])
    assert repr(text) in str(caught.value)
    with pytest.raises(command.CommandError, match='each number once'):
        name.pairs('names', ['1:a', '1:b'])


@pytest.fixture(scope='module')
def photos(tmp_path_factory, label_result):
    """Two photos, whose labels are their red values, and their annotations in all formats."""
    folder = tmp_path_factory.mktemp('photos')
    writers = formats.Writers(str(folder / 'out'), _TRUE, names=formats.FORMATS)
    for index, deep in enumerate(('a', 'deep/b')):
        labels = np.zeros((9 + index, 14), np.uint8)
        labels[2:7, 1:4], labels[2:7, 4:10], labels[3:6, 10:13] = 1, 2, 3
        (folder / 'photos' / deep).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack(3 * [labels], axis=-1)).save(folder / 'photos' / f'{deep}.png')
        writers.add(label_result(labels, _TRUE, name=deep))
    writers.close(['a', 'deep/b'])
    writers.finish()
    parts_file.save(_TRUE, str(folder / 'out'))
    (folder / 'points.csv').write_text(
        'photo,x,y,name\na.png,2,4,head\na.png,8,4,body\nb.jpg,11,4,tail\nb.jpg,5,3,body\n')
    return folder


def _predict(photo: np.ndarray) -> np.ndarray:
    """Labels of a model that finds head and tail as parts 4 and 1, and the body as 2 and 3."""
    labels = np.array([0, 4, 2, 1], np.uint8)[photo[..., 0]]
    labels[5:][labels[5:] == 2] = 3
    return labels


@pytest.mark.parametrize('kind', annotated_photos.KINDS)
def test_parts_get_their_names_from_annotations_of_every_format(photos, kind):
    path = photos / 'points.csv' if kind == 'points' else (
        photos / 'out' / formats.FORMATS[kind].FOLDER)
    annotated = annotated_photos.read(str(path), kind, str(photos / 'photos'))
    assert len(annotated) == 2
    names = PartNames.unnamed(5)
    found = annotated_photos.assign(annotated, names, _predict)
    assert found.names == {1: 'tail', 2: 'body', 4: 'head', **(
        {} if kind == 'points' else {3: 'body'})}
    # Parts that are merged already get one name.
    merged = names.changed(merges=[[2, 3]], drops=[1])
    assert annotated_photos.assign(annotated, merged, _predict).names == {2: 'body', 4: 'head'}


def test_photos_that_are_missing_or_ambiguous_are_named(photos, tmp_path):
    with pytest.raises(AnnotationError, match=r"there is no '(a|a\.jpg)' in"):
        annotated_photos.read(str(photos / 'out' / 'coco'), 'coco', str(tmp_path))
    for folder in ('x', 'y'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'a.png').touch()
    with pytest.raises(AnnotationError, match="which photo is 'a.jpg'.*has 2"):
        annotated_photos.read(str(photos / 'out' / 'coco'), 'coco', str(tmp_path))


def test_the_photo_of_the_same_path_is_meant_before_those_of_the_same_name(tmp_path):
    for path in ('a.png', 'deep/a.jpg', 'deep/a.png', 'x/b.v2.jpg', 'y/b.v2.jpg'):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    points = tmp_path / 'points.csv'
    for given, found in (('a.png', 'a.png'), ('a', 'a.png'), ('a.tif', 'a.png'),
                        ('deep/a.png', 'deep/a.png'), ('y/b.v2', 'y/b.v2.jpg'), ('deep/a', None),
                        ('b.v2', None), ('task/b.v2.jpg', None)):
        points.write_text(f'photo,x,y,name\n{given},1,1,head\n')
        if found is None:
            with pytest.raises(AnnotationError, match=f'which photo is {given!r}.*has 2'):
                annotated_photos.read(str(points), 'points', str(tmp_path))
        else:
            photo, = annotated_photos.read(str(points), 'points', str(tmp_path))
            assert photo.path == str(tmp_path / found)


def test_photos_in_which_nothing_is_named_are_left_out(photos, tmp_path):
    drawn = '<polygon label="head" points="1,2;4,2;4,7;1,7"/>'
    folder, annotations = str(photos / 'photos'), tmp_path / 'annotations.xml'

    def read(*shapes):
        annotations.write_text('<annotations>' + ''.join(
            f'<image name="{photo}.png" width="14" height="9">{shape}</image>'
            for photo, shape in zip(('a', 'missing', 'missing too'), shapes)) + '</annotations>')
        return annotated_photos.read(str(annotations), 'cvat', folder)

    assert [photo.path for photo in read(drawn, '', drawn.replace('head', 'Background'))] == [
        str(photos / 'photos' / 'a.png')]
    for shapes in ((), ('', '')):
        with pytest.raises(AnnotationError, match=f'of its {len(shapes)} photos none'):
            read(*shapes)


def test_parts_that_are_merged_away_or_dropped_are_no_parts_without_a_name(photos):
    annotated = annotated_photos.read(
        str(photos / 'out' / 'coco'), 'coco', str(photos / 'photos'))
    names = PartNames.unnamed(5).changed(merges=[[2, 3]], drops=[5])
    found = annotated_photos.assign(annotated, names, _predict)
    assert [part.number for part in found.parts] == [1, 2, 4]
    assert 'No named photo' not in naming_text.of_assignment(found)
