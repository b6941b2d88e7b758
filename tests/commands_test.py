"""The commands as a user meets them: results, and one sentence for whatever goes wrong."""
from __future__ import annotations

import csv
import importlib.util
import json
import os
import pathlib
import shutil
import sys
from typing import List

import numpy as np
from PIL import Image
import pytest

from scops_tf import command, export
from scops_tf.labels import formats, parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pictures.palette import palette
from scops_tf.serving import crf, decoding, objects, predictor as predictor_lib


def _error(done) -> str:
    """The sentence of a command that failed as it should."""
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert 'Traceback' not in done.stderr
    # Progress bars and the log may stand before it.
    *_, last = done.stderr.strip().replace('\r', '\n').splitlines()
    assert last.startswith('Error: '), done.stderr
    return last[len('Error: '):]


def _photos(folder: pathlib.Path, *names: str) -> List[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for name in names:
        pixels = generator.integers(0, 256, (40, 70, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return [folder / name for name in names]


# Flags and configuration: told before TensorFlow starts.


@pytest.mark.parametrize('arguments, words', [
    (['--gin_file=/nowhere/a.gin'], ['`--gin_file`', '/nowhere/a.gin']),
    (['--gin_param=Run.stepps=3', '--workdir=/unused'], ["'stepps'", 'it has num_parts, steps']),
    (['--gin_param=Runs.steps=3', '--workdir=/unused'], ["'Runs'", 'the known ones are Run']),
    (['--gin_param=Run.steps="3"', '--workdir=/unused'],
     ['`Run.steps` must be of type int', "'3'"]),
    (['--gin_param=Run.steps=', '--workdir=/unused'], ['Configuration of Run.steps= cannot be']),
    (['--gin_param=Warp.projective_jitter=0.45', '--workdir=/unused'],
     ['`Warp.projective_jitter` must lie in [0, 0.4]; got 0.45']),
    (['--gin_param=Warp.tps_jitter=0.06', '--workdir=/unused'],
     ['`Warp.tps_jitter` must be at most 0.05 with 5 control points', 'got 0.06']),
    ([], ['`--workdir` or `--gin_file` must be given']),
    (['--gin_flie=a.gin'], ["Unknown command line flag 'gin_flie'"]),
    (['--seed=-1'], ['--seed=-1']),
    (['a.gin'], ["Every argument must be a flag; got 'a.gin'"]),
])
def test_what_is_wrong_with_flags_and_bindings_is_one_line(run_command, arguments, words):
    done = run_command('train', *arguments)
    sentence = _error(done)
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ''
    for word in words:
        assert word in sentence


@pytest.mark.parametrize('name', ['export', 'evaluate'])
def test_a_folder_without_a_run_is_named(run_command, tmp_path, name):
    done = run_command(name, f'--workdir={tmp_path}')
    assert f"there is none in '{tmp_path}'" in _error(done)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_float16_is_refused_for_a_cpu_before_anything_is_read(run_command):
    done = run_command('export', '--workdir=/nowhere', '--precision=float16')
    assert 'with --target=cpu' in _error(done) and 'give --target=gpu' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize('name, flag', [
    ('export', '--workdir'), ('predict', '--export_dir')])
def test_a_flag_that_must_be_given_is_named(run_command, name, flag):
    assert f'Flag {flag} must have a value' in _error(run_command(name))


# Training.


def test_a_folder_without_photos_is_named(run_command, tmp_path):
    (tmp_path / 'photos').mkdir()
    done = run_command('train', f'--workdir={tmp_path / "run"}', bindings=[
        "Data.dataset='folder'", f'Data.root={str(tmp_path / "photos")!r}'])
    assert f'no photos below {tmp_path / "photos"}' in _error(done)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / 'run').exists()


def test_where_no_weights_can_be_had_both_ways_out_are_named(run_command, small, tmp_path):
    # Nothing listens there: the download fails at once, without a network or with one.
    nowhere = 'http://127.0.0.1:9'
    bindings = [*small, "Segmenter.backbone='resnet50'"]
    done = run_command(
        'train', f'--workdir={tmp_path / "run"}', bindings=bindings, anew=True,
        KERAS_HOME=str(tmp_path),
        SCOPS_WEIGHTS_DIR=str(tmp_path), http_proxy=nowhere, https_proxy=nowhere,
        HTTPS_PROXY=nowhere, no_proxy='')
    sentence = _error(done)
    assert '`weights` of resnet50 could not be downloaded' in sentence
    assert 'connect to the network' in sentence
    assert 'SCOPS_WEIGHTS_DIR' in sentence and 'resnet50_imagenet_notop.h5' in sentence


def test_a_folder_that_cannot_be_written_is_named(run_command, small, tmp_path):
    (tmp_path / 'file').touch()
    done = run_command('train', f'--workdir={tmp_path / "file" / "run"}', bindings=small)
    assert f'{str(tmp_path / "file" / "run")!r} must be writable' in _error(done)
    assert len(done.stderr.strip().splitlines()) == 1


# Evaluation and export.


def test_a_checkpoint_of_other_networks_is_named(run_command, trained_run):
    done = run_command('export', f'--workdir={trained_run}', bindings=['Run.num_parts=5'])
    sentence = _error(done)
    assert 'ckpt-40' in sentence and '`Run.num_parts`' in sentence
    assert 'Value in checkpoint could not be found' not in done.stderr
    assert not (trained_run / 'export').exists()


@pytest.fixture(scope='module')
def run(trained_run, tmp_path_factory, run_command) -> pathlib.Path:
    """A copy of a trained run, with its export."""
    workdir = tmp_path_factory.mktemp('runs') / 'exported'
    shutil.copytree(trained_run, workdir)
    (workdir / 'eval').mkdir()
    (workdir / 'eval' / 'scores_40.json').write_text(json.dumps({
        'protocol': 'cub', 'unit': 'per cent', 'counts': {'photos to train': 6},
        'scores': {'this run': {'NMI': 12.34}, 'k-means': {'NMI': 56.78}}}), encoding='utf-8')
    done = run_command('export', f'--workdir={workdir}', '--target=gpu',
                       '--format=savedmodel,tflite')
    assert done.returncode == 0, done.stderr
    return workdir


def test_an_export_says_its_step_and_keeps_the_configuration(run):
    with open(run / 'export' / '1' / 'scops_tf.json', encoding='utf-8') as file:
        metadata = json.load(file)
    assert metadata['step'] == 40 and metadata['num_parts'] == 3
    assert metadata['config'] == (run / 'config.gin').read_text(encoding='utf-8')
    assert metadata['target'] == 'gpu' and metadata['precision'] == 'float32'
    assert metadata['formats'] == {'savedmodel': {'file': 'saved_model.pb'}, 'tflite': {
        'file': 'model.tflite', 'images': [1, 64, 96, 3]}}
    assert (run / 'export' / '1' / 'model.tflite').stat().st_size > 1e5
    card = (run / 'export' / '1' / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert '| tflite | `model.tflite` | float32[1,64,96,3] |' in card
    assert '| NMI | 12.3 |' in card and '56.8' not in card and '6 photos to train' in card
    assert "    Data.dataset = 'synthetic'" in card and '| arranged for | gpu |' in card
    assert 'Data.root' not in card


def test_scores_are_those_of_the_step_and_damaged_ones_are_named(tmp_path):
    assert export.scores(str(tmp_path), 40) is None
    (tmp_path / 'eval').mkdir()
    (tmp_path / 'eval' / 'scores_40.json').write_text('{}', encoding='utf-8')
    assert export.scores(str(tmp_path), 39) is None
    with pytest.raises(command.CommandError, match='scores_40.json.* evaluate again'):
        export.scores(str(tmp_path), 40)


@pytest.mark.parametrize('name, flag', [
    ('train', '--workdir'), ('export', '--workdir'), ('evaluate', '--workdir'),
    ('select', '--workdirs')])
def test_a_run_of_an_earlier_version_is_refused_and_stays_as_it_is(
        name, flag, run_command, small, trained_run, tmp_path):
    folder = shutil.copytree(trained_run, tmp_path / 'run')
    header, text = (folder / 'config.gin').read_text(encoding='utf-8').split('\n', 1)
    assert header.startswith('# scops_tf configuration, format ')
    (folder / 'config.gin').write_text(text, encoding='utf-8')
    done = run_command(name, f'{flag}={folder}', bindings=small if name == 'train' else (),
                       cwd=tmp_path)
    sentence = _error(done)
    assert 'an earlier version, whose loss weights were sums over parts' in sentence
    assert 'train again with another `--workdir`' in sentence
    assert (folder / 'config.gin').read_text(encoding='utf-8') == text
    assert sorted(os.listdir(folder)) == sorted(os.listdir(trained_run))


def test_an_export_of_an_earlier_version_predicts_with_names_given_since(
        run, run_command, tmp_path):
    # Without a number.
    export = shutil.copytree(run / 'export' / '1', tmp_path / 'export')
    described = json.loads((export / 'scops_tf.json').read_text(encoding='utf-8'))
    described['config'] = 'Crf.iterations = 3\nPartBasis.position = 0.25\n'
    (export / 'scops_tf.json').write_text(json.dumps(described), encoding='utf-8')
    photo, = _photos(tmp_path, 'photo.png')
    names = PartNames.unnamed(3).changed(names={1: 'wing', 3: 'wing'}, colors={1: (1, 2, 3)})
    parts_file.save(names, str(export))
    done = run_command('predict', f'--export_dir={export}', f'--out={tmp_path / "out"}', str(photo))
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / 'out' / 'labels' / 'photo.png') as picture:
        np.testing.assert_array_equal(np.array(picture), names.lookup[predictor_lib.Predictor(
            str(run / 'export')).predict(np.array(Image.open(photo))[np.newaxis]).labels[0]])
        assert picture.getpalette()[3:6] == [1, 2, 3]
    assert parts_file.load(str(tmp_path / 'out')) == names
    with open(tmp_path / 'out' / 'centers.csv', encoding='utf-8', newline='') as file:
        assert [(row['part'], row['name']) for row in csv.DictReader(file)] == [
            ('1', 'wing'), ('2', 'part 2')]


def test_an_export_never_replaces_other_files(run_command, run, tmp_path):
    mine = _photos(tmp_path / 'photos', 'mine.png')[0]
    done = run_command('export', f'--workdir={run}', f'--export_dir={mine.parent}')
    assert 'holds something else' in _error(done)
    assert os.listdir(mine.parent) == ['mine.png']


# Prediction.


@pytest.fixture(scope='module')
def predicted(run, tmp_path_factory, run_command):
    """What is written for a folder of photos of several formats, one of them damaged."""
    folder = tmp_path_factory.mktemp('photos')
    _photos(folder, 'a.jpg', 'a.png', 'deep/b.JPEG', '.hidden/c.png')
    (folder / 'broken.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:200])
    out = folder / 'predictions'
    done = run_command('predict', f'--export_dir={run / "export"}', f'--out={out}',
                       f'--format={",".join(formats.FORMATS)}', str(folder))
    return folder, out, done


def test_a_damaged_photo_is_listed_and_the_others_are_predicted(predicted):
    folder, out, done = predicted
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    listed = done.stderr.strip().splitlines()[-2:]
    assert listed[0] == '1 of 4 photos could not be read:'
    assert str(folder / 'broken.jpg') in listed[1]
    # Photos that differ in the suffix only keep it, and no others; hidden ones are passed over.
    assert '2 photos, such as a.jpg' in done.stderr and 'labelme, voc, yolo' in done.stderr
    for kind, suffix in (('labels', '.png'), ('overlays', '.png'), ('responses', '.npz')):
        found = sorted(str(path.relative_to(out / kind)) for path in (out / kind).rglob('*.*'))
        assert found == [f'a.jpg{suffix}', f'a.png{suffix}', f'deep/b{suffix}']


def test_predictions_are_those_of_the_export(predicted, run):
    folder, out, _ = predicted
    photo = np.array(Image.open(folder / 'a.png'))
    expected = predictor_lib.Predictor(str(run / 'export')).predict(photo[np.newaxis])
    with Image.open(out / 'labels' / 'a.png.png') as picture:
        assert picture.mode == 'P'
        np.testing.assert_array_equal(np.array(picture), expected.labels[0])
        np.testing.assert_array_equal(np.array(picture.getpalette()).reshape(-1, 3)[:4],
                                      palette(3)[:4])
    assert Image.open(out / 'overlays' / 'a.png.png').size == (70, 40)
    responses = np.load(out / 'responses' / 'a.png.npz')
    np.testing.assert_allclose(responses['part_responses'], expected.part_responses[0], atol=1e-3)
    # In the last digit they depend on the photos of the batch.
    np.testing.assert_allclose(responses['part_centers'], expected.part_centers[0], rtol=1e-5)
    with open(out / 'centers.csv', encoding='utf-8', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['photo'] == 'a.png']
    assert [row['part'] for row in rows] == ['1', '2', '3']
    for part, row in enumerate(rows):
        np.testing.assert_allclose([float(row['x']), float(row['y'])],
                                   expected.part_centers[0, part], atol=0.006)
        np.testing.assert_allclose(float(row['presence']), expected.presence[0, part], atol=1e-4)
        assert int(row['area']) == (expected.labels[0] == part + 1).sum()


def test_every_format_holds_the_labels_of_the_pngs(predicted):
    _, out, _ = predicted
    for name, module in formats.FORMATS.items():
        options = {'size_of': lambda name: (40, 70)} if name == 'yolo' else {}
        annotations = module.read(str(out / module.FOLDER), **options)
        assert len(annotations) == 3
        for found in annotations:
            photo = found.photo.replace('.JPEG', '')
            labels = np.array(Image.open(out / 'labels' / f'{photo}.png'))
            numbers = np.zeros(256, np.uint8)
            for number, title in found.names.items():
                numbers[number] = int(title.rpartition(' ')[2])
            same = numbers[found.labels] == labels
            assert same.all() if name not in ('yolo', 'labelme') else same.mean() > 0.95


def test_names_of_any_bytes_are_predicted_and_those_without_room_for_a_suffix_are_listed(
        run, run_command, tmp_path):
    photos, out = tmp_path / 'photos', tmp_path / 'out'
    odd, long = os.fsdecode(b'caf\xe9'), 'a' * 251
    # Two that differ in the suffix alone, so that they keep it.
    _photos(photos, f'{odd}.png', f'{long}.png', f'{long}.jpg')
    done = run_command('predict', f'--export_dir={run / "export"}', f'--out={out}', str(photos))
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert '2 of 3 photos could not be written:' in done.stderr
    assert done.stderr.count('shorten the name') == 2
    with open(out / 'centers.csv', 'rb') as file:
        names = [line.split(b',')[0] for line in file.read().splitlines()]
    assert names == [b'photo'] + 3 * [b'caf\xe9']
    assert (out / 'labels' / f'{odd}.png').exists()


@pytest.mark.parametrize('name, package, extra', [
    ('beam_predict', 'apache_beam', '[beam]'), ('demo', 'gradio', '[demo]')])
def test_a_command_whose_extra_is_not_installed_names_it(run_command, tmp_path, name, package,
                                                         extra):
    if importlib.util.find_spec(package):
        pytest.skip(f'{package} is installed.')
    sentence = _error(run_command(name, f'--export_dir={tmp_path}'))
    assert 'must be installed' in sentence and f"pip install 'scops_tf{extra}'" in sentence


def test_parts_are_grouped_into_objects_where_it_is_asked_for(run, run_command, tmp_path):
    photo, = _photos(tmp_path, 'photo.png')
    out = tmp_path / 'out'
    done = run_command('predict', f'--export_dir={run / "export"}', f'--out={out}', '--objects',
                       str(photo))
    assert done.returncode == 0, done.stderr
    labels = np.array(Image.open(out / 'labels' / 'photo.png'))
    found = np.array(Image.open(out / 'objects' / 'photo.png'))
    responses = predictor_lib.Predictor(str(run / 'export')).predict(
        np.array(Image.open(photo))[np.newaxis]).part_responses[0]
    certain = objects.certain_pixels(responses, labels.shape)
    np.testing.assert_array_equal(found, objects.separate(labels, certain))
    assert found.max() >= 1
    with open(out / 'centers.csv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(int(row['object']), int(row['part'])) for row in rows] == [
        (index, part) for index in range(1, found.max() + 1) for part in (1, 2, 3)]
    for row in rows:
        own = (found == int(row['object'])) & (labels == int(row['part']))
        assert int(row['area']) == own.sum()


def test_labels_are_refined_by_the_dense_crf_at_the_photo_s_size(run, run_command, tmp_path):
    pytest.importorskip('pydensecrf')
    photo, = _photos(tmp_path, 'photo.png')
    done = run_command('predict', f'--export_dir={run / "export"}', f'--out={tmp_path / "out"}',
                       '--crf', '--gin_param=Crf.iterations=3', str(photo))
    assert done.returncode == 0, done.stderr
    refined = np.array(Image.open(tmp_path / 'out' / 'labels' / 'photo.png'))
    pixels = np.array(Image.open(photo))
    found = predictor_lib.Predictor(str(run / 'export')).predict(pixels[np.newaxis])
    maps = decoding.normalized_responses(found.part_responses, pixels.shape[:2])[0].numpy()
    maps = np.concatenate([np.zeros_like(maps[..., :1]), maps], axis=-1)
    np.testing.assert_array_equal(refined, crf.refine_labels(maps, pixels, iterations=3))
    assert np.mean(refined != found.labels[0]) > 0.01


@pytest.mark.parametrize('arguments, words', [
    (['--export_dir={run}/export', '{tmp}'], ['`IMAGES` must hold at least one photo', '{tmp}']),
    (['--export_dir={tmp}', '{photo}'], ['`--export_dir` must be', "'{tmp}'"]),
    (['--export_dir={run}/export', '--gin_param=Crf.iteration=1', '{photo}'], ["'iteration'"]),
    (['--export_dir={run}/export', '--format=png,coca', '{photo}'],
     ['`--format` must be of png, coco', "got 'coca'"]),
    (['--export_dir={run}/export', '--shard=5/4', '{photo}'], ['such as 0/2', "got '5/4'"]),
    (['--export_dir={run}/export', '--out={photo}/out', '{photo}'],
     ["'{photo}/out' must be writable"]),
])
def test_what_predict_cannot_use_is_one_sentence(run, run_command, tmp_path, arguments, words):
    places = {'run': run, 'tmp': tmp_path / 'empty', 'photo': tmp_path / 'photo.png'}
    places['tmp'].mkdir()
    _photos(tmp_path, 'photo.png')
    done = run_command('predict', *(argument.format(**places) for argument in arguments),
                       cwd=tmp_path)
    sentence = _error(done)
    for word in words:
        assert word.format(**places) in sentence


# How errors become sentences.


def _run(main, capsys) -> tuple:
    """Exit code and standard error of a command of this `main`, beneath absl."""
    found = {}

    def run(guarded, flags_parser):
        found['code'] = guarded(['command'])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.app, 'run', run)
        command.run(main)
    return found['code'], capsys.readouterr().err


def test_errors_of_the_system_are_a_sentence_with_the_file(capsys):
    assert _run(lambda argv: open('/nowhere/file'), capsys) == (
        1, "Error: '/nowhere/file': No such file or directory.\n")


def test_errors_of_many_lines_become_one(capsys):

    def main(argv):
        raise OSError('first line\n  second line')

    assert _run(main, capsys) == (1, 'Error: first line second line.\n')


def test_errors_of_this_package_are_for_users_and_those_of_libraries_keep_their_traceback(capsys):
    code, errors = _run(lambda argv: command.require_no_arguments(['command', 'more']), capsys)
    assert code == 1 and errors == "Error: Every argument must be a flag; got 'more'.\n"
    with pytest.raises(ValueError, match='cannot reshape'):
        _run(lambda argv: np.zeros(3).reshape(2, 2), capsys)


def test_an_interrupt_from_the_keyboard_ends_with_the_code_of_shells(capsys):

    def main(argv):
        raise KeyboardInterrupt

    assert _run(main, capsys) == (130, 'Stopped.\n')


def test_a_command_may_end_with_a_code_of_its_own(capsys):
    assert _run(lambda argv: 1, capsys) == (1, '')
    assert _run(lambda argv: None, capsys) == (None, '')


def test_importing_a_command_s_flags_does_not_start_tensorflow(run_command):
    done = run_command('train', '--help', anew=True)
    assert done.returncode == 1 and '--gin_file' in done.stdout, sys.platform
