"""Laws of the command `evaluate`: what it prints and saves beside the scores."""
from __future__ import annotations

import csv
import hashlib
import json
import pathlib
import shutil

from PIL import Image
import pytest

from scops_tf.datasets import celeba
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import report_file

pytest.importorskip('pydensecrf', reason='The dense CRF (extra [crf]) is not installed.')


def write_faces(root: pathlib.Path) -> None:
    """Eight faces in CelebA's layout, each about a third of its photo."""
    names = [f'{number:06d}.jpg' for number in range(1, 9)]
    (root / 'img_celeba').mkdir(parents=True)
    (root / 'MAFL').mkdir()
    for number, name in enumerate(names):
        Image.new('RGB', (50, 30), (20 * number, 90, 130)).save(root / 'img_celeba' / name)
    columns = ' '.join(f'{name}_{axis}' for name in celeba.LANDMARK_NAMES for axis in 'xy')
    (root / 'list_bbox_celeba.txt').write_text('\n'.join(
        ['8', 'image_id x_1 y_1 width height', *(f'{name} 9 3 25 20' for name in names)]))
    (root / 'list_landmarks_celeba.txt').write_text('\n'.join(
        ['8', columns, *(f'{name} 15 9 {27 + i} 9 20 {14 + i} 16 19 26 19'
                         for i, name in enumerate(names))]))
    for name, listed in (('celebA_training', names[:3]), ('training', names[:6]),
                         ('testing', names[6:])):
        (root / 'MAFL' / f'{name}.txt').write_text('\n'.join(listed))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, trained_run) -> pathlib.Path:
    """A copy of a trained run, to write scores into, with two parts that are merged."""
    folder = shutil.copytree(trained_run, tmp_path_factory.mktemp('runs') / 'scored')
    parts_file.save(PartNames.unnamed(3).changed(
        names={1: 'Gesicht'}, merges=[[1, 2]], photos=['000001.jpg']), str(folder))
    return folder


@pytest.fixture(scope='module')
def evaluated(workdir, tmp_path_factory, run_command):
    """What it prints of faces, compared with itself and with a CRF, and the scores it saves."""
    faces = tmp_path_factory.mktemp('data') / 'faces'
    write_faces(faces)
    done = run_command('evaluate', f'--workdir={workdir}', f'--other_workdir={workdir}', '--crf',
                       bindings=["Data.dataset='celeba'", f'Data.root={str(faces)!r}',
                                 'Data.saliency=None', 'Decode.center_window=0.5'])
    assert done.returncode == 0, done.stderr
    return done.stdout, (workdir / 'eval' / 'scores.json').read_text(encoding='utf-8')


def test_notes_of_the_dataset_stand_beside_the_scores(evaluated):
    printed, saved = evaluated
    note = 'This is not the whole of CelebA'
    assert f'Note: {note}' in printed
    assert any(note in each for each in json.loads(saved)['notes'])


def test_names_and_merges_stand_beside_the_scores_and_on_the_page(evaluated, workdir):
    printed, saved = evaluated
    assert json.loads(saved)['parts'] == {'1': 'Gesicht', '3': 'part 3'}
    assert 'merged: 1 + 2.' in printed and 'scores on these are no test: 000001.jpg.' in printed
    page = (workdir / 'eval' / 'index.html').read_text(encoding='utf-8')
    assert 'Gesicht: parts 1 + 2' in page and 'part 3' in page
    # The trivial baselines are folded, and what the parts fall on is counted.
    folded = page[page.index('<details class="card fold">'):]
    assert 'constant mean landmark' in folded and 'k-means on the same features' not in folded
    report = report_file.load(str(workdir / 'eval'))
    assert report.confusion.names == celeba.LANDMARK_NAMES and report.lookup == (0, 1, 1, 3)
    scores = report.photos[0].scores
    assert [photo.name for photo in report.photos] == ['000007.jpg', '000008.jpg']
    assert set(scores) == {'landmark error', 'key points on parts', 'leakage'}
    mean = sum(photo.scores['landmark error'] for photo in report.photos) / 2
    assert mean == pytest.approx(json.loads(saved)['scores']['this run']['landmark error'], 1e-4)


def test_counts_and_the_protocol_stand_beside_the_scores(evaluated):
    printed, saved = evaluated
    assert 'Dataset celeba, protocol scops, step 40, seed 0: 3 photos to train, 6 photos to fit, ' \
        '2 photos to test' in printed
    assert json.loads(saved)['protocol'] == 'scops'
    assert json.loads(saved)['counts'] == {
        'photos to train': 3, 'photos to fit': 6, 'photos to test': 2}


def test_the_list_of_the_test_photos_has_the_hash_that_is_printed(evaluated, workdir):
    content = (workdir / 'eval' / 'test_photos.txt').read_bytes()
    assert content == b'000007.jpg\n000008.jpg\n'
    digest = hashlib.sha256(content).hexdigest()
    assert f'test photos: {digest}' in evaluated[0]
    assert json.loads(evaluated[1])['image_list_sha256'] == digest


def test_the_interval_of_the_landmark_error_stands_beside_it(evaluated):
    printed, saved = evaluated
    low, high = json.loads(saved)['intervals_95']['landmark error']
    assert low <= json.loads(saved)['scores']['this run']['landmark error'] <= high
    assert f'(95 %: {low:.2f} to {high:.2f})' in printed


def test_a_run_agrees_with_itself(evaluated, workdir):
    printed, saved = evaluated
    found = json.loads(saved)['consistency']
    assert (found['workdir'], found['step'], found['num_parts']) == (str(workdir), 40, 3)
    assert [found[name] for name in ('nmi', 'ari', 'fg_nmi', 'fg_ari')] == pytest.approx(4 * [100])
    assert 'consistency with' in printed


def test_labels_after_the_crf_have_a_row_of_their_own(evaluated, workdir):
    rows = json.loads(evaluated[1])['scores']
    ours, refined = rows['this run'], rows['this run, dense CRF']
    # Centres are those of the responses, which the CRF leaves as they are.
    assert refined['landmark error'] == ours['landmark error'] and refined.keys() == ours.keys()
    with open(workdir / 'eval' / 'scores.csv', encoding='utf-8', newline='') as file:
        assert {row['method'] for row in csv.DictReader(file)} == set(rows)


def test_centers_over_the_whole_photo_are_scored_beside_those_of_the_main_object(evaluated):
    rows = json.loads(evaluated[1])['scores']
    for name in ('this run', 'k-means on the same features'):
        assert set(rows[f'{name}, centres over the whole photo']) == {'landmark error'}


def test_scores_are_json_that_any_reader_takes(evaluated):
    def refuse(constant: str) -> None:
        raise AssertionError(f'{constant} is no JSON')

    json.loads(evaluated[1], parse_constant=refuse)


def test_another_run_that_is_none_is_an_error_of_one_line(workdir, tmp_path, run_command):
    done = run_command('evaluate', f'--workdir={workdir}', f'--other_workdir={tmp_path}',
                       bindings=['Evaluation.baselines=False'])
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith('Error: `--other_workdir` must be')
    assert 'Traceback' not in done.stderr
