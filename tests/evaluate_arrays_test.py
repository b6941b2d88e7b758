from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import sys

import damaged_files
from experiments import layouts
import numpy as np
import pytest

from scops_tf import command, evaluate_arrays, files
from scops_tf.evaluation import landmark_regression, text_report
from scops_tf.evaluation.landmark_split import Split

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _saved(folder, pred, truth):
    paths = folder / 'pred.npz', folder / 'truth.npz'
    for path, arrays in zip(paths, (pred, truth)):
        np.savez(path, **arrays)
    return [str(path) for path in paths]


def _run(*arguments):
    return subprocess.run([sys.executable, '-m', 'scops_tf.evaluate_arrays', *arguments], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)


def test_the_command_prints_and_writes_scores_baselines_counts_and_the_image_list(tmp_path):
    pred, truth = layouts.arrays_to_score()
    pred_path, truth_path = _saved(tmp_path, pred, truth)
    done = _run('--protocol=cub', f'--pred={pred_path}', f'--truth={truth_path}',
                f'--out={tmp_path}/scores.json', '--seed=5')
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / 'scores.json').read_text())
    digest = hashlib.sha256(
        ''.join(f'test/{index:03}.jpg\n' for index in range(25)).encode()).hexdigest()
    assert scores['image_list_sha256']['test'] == digest and digest in done.stdout
    assert scores['counts']['train images'] == 40 and scores['counts']['test images'] == 25
    assert scores['counts']['test landmarks scored'] == truth['visible_test'].sum()
    assert list(scores['scores'])[:2] == ['predictions', 'constant mean landmark']
    lines = {line.split('  ')[0]: line for line in done.stdout.splitlines()}
    for name, entry in scores['scores'].items():
        assert f'{entry["test"]:#.6g}' in lines[name]
        assert f'{entry["classes"]["2"]["test"]:#.6g}' in lines[name]
    assert {path.name for path in tmp_path.iterdir()} == {'pred.npz', 'truth.npz', 'scores.json'}


def test_scores_are_those_of_the_regression(tmp_path):
    pred, truth = layouts.arrays_to_score()
    result = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth), protocol='cub')
    splits = [Split(pred[which], *(truth[prefix + which]
                                   for prefix in ('', 'visible_', 'box_', 'class_')))
              for which in ('train', 'test')]
    scores = landmark_regression.regress(*splits, protocol='cub')
    entry = result['scores']['predictions']
    assert entry['test'] == scores.test_error() and entry['train'] == scores.fit_error()
    assert entry['interval'] == scores.interval(seed=0)
    assert entry['classes']['3'] == {'images': 8, 'test': scores.test_error(3),
                                     'interval': scores.interval(3, seed=0)}


def test_predictions_are_put_in_the_order_of_the_truth_by_name(tmp_path):
    pred, truth = layouts.arrays_to_score()
    expected = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth))
    order = np.random.default_rng(1).permutation(25)
    pred['test'], pred['names_test'] = pred['test'][order], pred['names_test'][order]
    assert evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth)) == expected
    del pred['names_test']
    unchecked = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth))
    assert unchecked['scores']['predictions']['test'] > 2 * (
        expected['scores']['predictions']['test'])
    assert 'taken on trust' in ' '.join(unchecked['notes'])


def test_names_as_bytes_and_visibility_as_numbers_are_understood(tmp_path):
    pred, truth = layouts.arrays_to_score()
    expected = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth))
    pred['names_test'] = np.char.encode(pred['names_test'], 'utf-8')
    truth['visible_test'] = truth['visible_test'].astype(np.uint8)
    assert evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth)) == expected


def test_a_face_set_without_names_sizes_and_classes_is_scored(tmp_path):
    pred, truth = ({which: arrays[which] for which in ('train', 'test')}
                   for arrays in layouts.arrays_to_score())
    result = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth), protocol='scops')
    assert result['image_list_sha256'] == {'train': None, 'test': None}
    assert 'classes' not in result['scores']['predictions']
    assert 'no names given' in text_report.of_arrays(result)


def test_train_and_test_images_in_common_are_said(tmp_path):
    pred, truth = layouts.arrays_to_score()
    for arrays in (pred, truth):
        arrays['names_test'] = arrays['names_test'].astype('U20')
        arrays['names_test'][4] = 'train/000.jpg'
    notes = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth))['notes']
    assert "1 images are both train and test images, such as 'train/000.jpg'." in notes


def test_scores_that_are_undefined_are_null_in_the_file(tmp_path):
    pred, truth = layouts.arrays_to_score()
    truth['visible_train'][:, 3] = False
    result = evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth))
    files.write_json(str(tmp_path / 'scores.json'), result)
    written = json.loads((tmp_path / 'scores.json').read_text())
    assert written['scores']['predictions']['landmarks'][3] is None
    assert written['scores']['predictions']['landmarks'][1] > 0


def _changed(pred=None, truth=None):
    def change(pred_arrays, truth_arrays):
        for arrays, changes in ((pred_arrays, pred), (truth_arrays, truth)):
            for name, value in (changes or {}).items():
                if value is None:
                    del arrays[name]
                else:
                    arrays[name] = value
    return change


@pytest.mark.parametrize('change, words', [
    (_changed(pred={'test': None}), 'must hold an array `test`'),
    (_changed(truth={'box_train': None}), 'must hold an array `box_train`'),
    (_changed(pred={'test': np.zeros((24, 3, 2))}), 'as many images in both files'),
    (_changed(pred={'test': np.array(3.0)}), 'as many images in both files'),
    (_changed(pred={'names_test': np.array(['a'] * 25)}), "'a' 25 times"),
    (_changed(pred={'names_test': np.array([f'x{index}' for index in range(25)])}), 'missing'),
    (_changed(pred={'names_test': np.arange(25)}), '`names_test` .* strings'),
    (_changed(truth={'size_test': np.ones((25, 3))}), '`size_test`'),
    (_changed(truth={'visible_test': np.full((25, 4), 2)}), '`visible` of the test'),
    (_changed(pred={'test': np.full((25, 3, 2), np.inf)}), '`centers` of the test'),
    (_changed(pred={'test': np.full((25, 3, 2), 1e300)}), '`centers` of the test .* 1000000'),
    (_changed(truth={'test': np.full((25, 4, 2), -2e6)}), '`landmarks` of the test .* 1000000'),
    (_changed(truth={'box_test': np.full((25, 4), 1e-300)}), '`boxes` of the test .* sides from'),
    (_changed(truth={'size_test': np.full((25, 2), 1e300)}), '`size_test` .* at most 1000000'),
    (_changed(truth={'names_test': np.array([b'\xff'] * 25)}), '`names_test` .* UTF-8'),
    (_changed(pred={'test': np.array(3.0)}, truth={'test': np.array(3.0)}), 'as many images'),
])
def test_files_that_do_not_fit_are_refused_in_words(tmp_path, change, words):
    pred, truth = layouts.arrays_to_score()
    change(pred, truth)
    with pytest.raises(ValueError, match=words):
        evaluate_arrays.evaluate(*_saved(tmp_path, pred, truth), protocol='cub')


def test_damaged_files_are_scored_in_finite_numbers_or_refused_in_one_sentence(tmp_path, recwarn):
    pred, truth = layouts.arrays_to_score(num_train=12, num_test=9)
    paths = _saved(tmp_path, pred, truth)
    for arrays, path in ((pred, paths[0]), (truth, paths[1])):
        whole = pathlib.Path(path).read_bytes()
        for index, (kind, content) in enumerate(damaged_files.npz(arrays, count=30, seed=1)):
            pathlib.Path(path).write_bytes(content)
            protocol = list(landmark_regression.PROTOCOLS)[index % 4]
            try:
                result = evaluate_arrays.evaluate(*paths, protocol=protocol)
                assert 'Infinity' not in json.dumps(result), kind
            except ValueError as error:
                assert command.is_user_error(error) and str(error).count('\n') == 0, kind
        pathlib.Path(path).write_bytes(whole)
    assert not recwarn.list


@pytest.mark.parametrize('arguments, words', [
    (['--protocol=fast', '--pred={pred}', '--truth={truth}'], '`protocol` must be one of scops'),
    (['--pred=nowhere.npz', '--truth={truth}'], 'nowhere.npz'),
    (['--truth={truth}'], '`--pred` must be given'),
    (['--pred={pred}', '--truth={truth}', '--eyes=1'], '`--eyes` must be two'),
    (['--pred={pred}', '--truth={truth}', '--out={pred}/scores.json'], 'pred.npz/scores.json'),
])
def test_user_errors_are_one_line_on_stderr_and_exit_code_1(tmp_path, arguments, words):
    pred, truth = _saved(tmp_path, *layouts.arrays_to_score())
    done = _run(*(argument.format(pred=pred, truth=truth) for argument in arguments))
    assert done.returncode == 1
    assert done.stdout == ''
    assert len(done.stderr.strip().splitlines()) == 1 and words in done.stderr


def test_the_released_face_predictions_are_scored_from_files(shared, tmp_path):
    arrays = np.load(shared / 'golden' / 'face_landmarks.npz')
    pred, truth = ({which: arrays[f'{which}_{kind}'] for which in ('train', 'test')}
                   for kind in ('pred', 'gt'))
    pred_path, truth_path = _saved(tmp_path, pred, truth)
    done = _run(f'--pred={pred_path}', f'--truth={truth_path}')
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith('predictions'))
    assert '3.26094' in line and '3.19622' in line
