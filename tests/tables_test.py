"""Laws of the paper's tables: their runs, what is taken from them, and what a stop leaves."""
from __future__ import annotations

import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

from PIL import Image
import pytest

from scops_tf import config as config_lib
from scops_tf.tables import execution, paper, report, runs as runs_lib

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / 'scripts' / 'reproduce.py'


def settings(folder, recipe='default', seeds=(0, 1), params=()) -> runs_lib.Settings:
    roots = {name: f'data/{name}' for name in ('celeba', 'aflw', 'cub', 'pascal')}
    return runs_lib.Settings(recipe, roots, seeds, params, str(folder), False)


# The plan.


@pytest.mark.parametrize('recipe', runs_lib.RECIPES)
@pytest.mark.parametrize('number', sorted(paper.TABLES))
def test_every_run_of_every_table_has_a_configuration(number, recipe, tmp_path):
    table = paper.TABLES[number]
    runs = runs_lib.plan(table, settings(tmp_path, recipe))
    assert len({run.workdir for run in runs}) == len(runs) == 2 * len(table.jobs())
    for run in runs:
        config = run.config()
        assert (config.run.method, config.run.seed) == (run.job.method, run.seed)
        assert config.run.num_parts == run.job.num_parts
        assert config.data.category == run.job.category
        assert config.features.cache_folder == str(tmp_path / 'cache')
        assert config.features.cache_place == (
            'disk' if config.features.cache == 'auto' else config.features.cache)
        weights = config.losses
        if run.job.ablation == 'without_equivariance':
            assert weights.equivariance == weights.center_equivariance == 0
        assert (config.data.saliency is None) == (
            run.job.ablation == 'without_saliency' or run.job.method == paper.ULD)
        if recipe == 'paper' and run.job.method == paper.SCOPS:
            assert config.optimizer.name == 'sgd' and config.run.image_size == (256, 256)


def test_fine_tuning_starts_from_the_run_of_table_1_with_its_seed(tmp_path):
    runs = runs_lib.plan(paper.TABLES[2], settings(tmp_path))
    shared = {run.workdir for run in runs_lib.plan(paper.TABLES[1], settings(tmp_path))}
    places = [run.workdir for run in runs]
    for position, run in enumerate(runs):
        if run.job.start:
            start = run.config().run.init_from
            assert start in shared and start in places[:position]
            assert start.endswith(f'_seed{run.seed}')


def test_a_binding_for_the_warm_up_of_scops_leaves_uld_without_one(tmp_path):
    params = ['Run.steps=40', 'Run.warmup_steps=20', 'Run.saliency_agreement=1']
    for run in runs_lib.plan(paper.TABLES[3], settings(tmp_path, 'quick', params=params)):
        expected = 0 if run.job.method == paper.ULD else 20
        assert (run.config().run.steps, run.config().run.warmup_steps) == (40, expected)


def test_folders_of_photos_and_masks_stand_in_for_a_category(tmp_path):
    root = tmp_path / 'objects'
    (root / 'cow' / 'images').mkdir(parents=True)
    chosen = settings(tmp_path)._replace(roots={'pascal': str(root)})
    found = {run.job.category: run.config() for run in runs_lib.plan(paper.TABLES[4], chosen)}
    assert found['cow'].data.dataset == 'folder' and found['horse'].data.dataset == 'pascal'
    assert found['cow'].data.mask_folder == str(root / 'cow' / 'masks')


# The state of a run.


def finish(run: runs_lib.Run, scores, step=None, counts=None) -> None:
    """Leaves what the commands of a run leave."""
    config = run.config()
    config_lib.save(config, run.workdir)
    folder = pathlib.Path(run.workdir) / 'eval'
    folder.mkdir(exist_ok=True)
    (folder / 'scores.json').write_text(json.dumps({
        'step': config.run.steps if step is None else step, 'scores': scores,
        'settings': config.scoring,
        'counts': counts or {'photos to train': 90, 'photos to fit': 90, 'photos to test': 88}}))
    (folder / 'report.json').touch()


def test_a_run_is_done_at_its_last_step_with_its_own_configuration(tmp_path):
    first = runs_lib.plan(paper.TABLES[3], settings(tmp_path))[0]
    assert first.state() == runs_lib.NEW
    config_lib.save(first.config(), first.workdir)
    assert first.state() == runs_lib.STARTED
    finish(first, {'this run': {}}, step=1)
    assert first.state() == runs_lib.STARTED
    finish(first, {'this run': {}})
    assert first.state() == runs_lib.DONE
    # An evaluation without the page is made again.
    (pathlib.Path(first.workdir) / 'eval' / 'report.json').unlink()
    assert first.state() == runs_lib.STARTED
    finish(first, {'this run': {}})
    other = runs_lib.plan(paper.TABLES[3], settings(tmp_path, params=['Run.steps=500']))[0]
    with pytest.raises(config_lib.ConfigError, match='`Run.steps` was .* and is 500 now'):
        other.state()


def test_a_result_by_other_settings_is_scored_again_by_those_of_the_table(tmp_path):
    first = runs_lib.plan(paper.TABLES[3], settings(tmp_path))[0]
    finish(first, {'this run': {}})
    assert not [word for word in first.commands()[1] if 'Decode' in word]
    changed = runs_lib.plan(paper.TABLES[3], settings(
        tmp_path, params=['Decode.background=0.5']))[0]
    assert changed.state() == runs_lib.STARTED
    assert changed.commands()[1][-1] == '--gin_param=Decode.background=0.5'
    finish(changed, {'this run': {}})
    assert changed.state() == runs_lib.DONE and first.state() == runs_lib.STARTED


def test_a_run_of_other_photos_is_refused_and_of_moved_ones_it_is_not(tmp_path):
    def first(folder):
        chosen = settings(tmp_path / 'tables')._replace(roots={'cub': str(folder)})
        return runs_lib.plan(paper.TABLES[3], chosen)[0]

    for name in ('birds', 'others'):
        (tmp_path / name).mkdir()
    finish(first(tmp_path / 'birds'), {'this run': {}})
    with pytest.raises(config_lib.ConfigError, match='must be of its photos, .*others'):
        first(tmp_path / 'others').state()
    (tmp_path / 'birds').rename(tmp_path / 'moved')
    assert first(tmp_path / 'moved').state() == runs_lib.DONE


# The table.


def birds(*errors, further=()):
    """Results with whole-photo errors of three categories."""
    names = [f'landmark error {name}' for name in ('001', '002', '003')]
    rows = {'this run': {**dict(zip(names, (1.0, 2.0, 3.0))), 'NMI': 40.0},
            'this run, centres over the whole photo': dict(zip(names, errors))}
    rows.update(further)
    return rows


def test_a_cell_has_mean_and_deviation_over_seeds_and_the_paper_s_number(tmp_path):
    table, runs = paper.TABLES[3], runs_lib.plan(paper.TABLES[3], settings(tmp_path))
    scops = [run for run in runs if run.job.method == paper.SCOPS]
    constant = {'constant mean landmark': {'landmark error 001': 28.0}}
    finish(scops[0], birds(10.0, 12.0, 9.0, further=constant))
    finish(scops[1], birds(11.0, 13.0, 9.0, further=constant))
    dff = next(run for run in runs if run.job.method == paper.DFF)
    finish(dff, birds(13.4, 16.0, 12.9), step=0)
    lines = {line.title: line for line in report.lines(table, runs)}
    cells = [cell.text for cell in lines['SCOPS'].cells]
    assert cells[:4] == ['10.5 \u00b1 0.7 (18.50)', '12.5 \u00b1 0.7 (18.82)',
                         '9.0 \u00b1 0.0 (21.07)', '1.0 \u00b1 0.0']
    assert lines['SCOPS'].seeds == (0, 1) and lines['DFF'].seeds == (0,)
    assert lines['SCOPS'].steps == scops[0].config().run.steps and lines['DFF'].steps == 0
    assert lines['SCOPS'].photos['photos to test'] == 88
    assert lines['ULD'].cells[0].text == '\u2013 (30.12)' and lines['ULD'].seeds == ()
    assert lines['constant mean landmark'].cells[0].text == '28.0 \u00b1 0.0'
    assert 'image mid-point' not in lines


def test_the_files_of_a_table_agree(tmp_path):
    table, runs = paper.TABLES[3], runs_lib.plan(paper.TABLES[3], settings(tmp_path / 'runs'))
    finish(runs[0], birds(10.0, 12.0, 9.0))
    found = report.lines(table, runs)
    report.write(str(tmp_path / 'table'), table, 'Heading', found, {'runs': '1 of 6'}, None)
    text = (tmp_path / 'table' / 'table.md').read_text(encoding='utf-8')
    assert '| SCOPS | 10.0 (18.50) | 12.0 (18.82) | 9.0 (21.07) |' in text
    rows = list(csv.DictReader((tmp_path / 'table' / 'table.csv').open(encoding='utf-8')))
    assert rows[0]['system'] == 'SCOPS' and float(rows[0]['mean']) == 10.0
    assert rows[0]['paper'] == '18.5' and rows[0]['standard deviation'] == ''
    page = (tmp_path / 'table' / 'index.html').read_text(encoding='utf-8')
    assert '10.0 (18.50)' in page and '1 of 6' in page


def test_the_numbers_with_the_crf_are_taken_from_their_row(tmp_path):
    chosen = settings(tmp_path, seeds=(0,))._replace(with_crf=True)
    runs = runs_lib.plan(paper.TABLES[4], chosen)
    cow = next(run for run in runs if (run.job.method, run.job.category) == (paper.SCOPS, 'cow'))
    finish(cow, {'this run': {'foreground IoU': 60.0}})
    assert cow.state() == runs_lib.STARTED
    finish(cow, {'this run': {'foreground IoU': 60.0},
                 'this run, dense CRF': {'foreground IoU': 70.0}})
    lines = {line.title: line for line in report.lines(paper.TABLES[4], runs)}
    assert lines['SCOPS'].cells[1].text == '60.0 (60.79)'
    assert lines['SCOPS, dense CRF'].cells[1].text == '70.0 (62.70)'
    assert lines['SCOPS'].cells[0].text == '\u2013 (55.76)'


def test_the_picture_has_a_row_for_each_system_with_a_page(make_page_run, tmp_path):
    table, runs = paper.TABLES[3], runs_lib.plan(paper.TABLES[3], settings(tmp_path))
    assert report.pictures(table, runs) is None
    heights = []
    # Of the last run nothing is shown, since it has the second seed.
    for run in (runs[0], runs[2], runs[-1]):
        make_page_run(pathlib.Path(run.workdir))
        heights.append(report.pictures(table, runs).shape[0])
    assert heights[0] < heights[1] == heights[2]


# Stand-ins.


def test_other_faces_in_celeba_s_layout_are_called_a_stand_in(celeba_root, tmp_path):
    chosen = settings(tmp_path)._replace(roots={'celeba': str(celeba_root)})
    table = paper.TABLES[1]
    for params in ((), ('Data.min_object_area=0.2',)):
        stood_in, missing = report.stand_ins(
            table, runs_lib.plan(table, chosen._replace(params=params)))
        assert not missing and len(stood_in) == 1
        heading = report.title(table, 'default', stood_in)
        assert 'a stand-in for CelebA (' in heading and 'to train' in heading


def test_categories_stand_in_for_one_data_set_and_have_no_photos_to_fit(tmp_path):
    for category in ('cow', 'horse'):
        folder = tmp_path / 'objects' / category
        for name in ('images', 'masks'):
            (folder / name).mkdir(parents=True)
            Image.new('L', (40, 40), 255 if name == 'masks' else 90).save(folder / name / '1.png')
    chosen = settings(tmp_path, seeds=(0,))._replace(roots={'pascal': str(tmp_path / 'objects')})
    table = paper.TABLES[4]
    runs = [run for run in runs_lib.plan(table, chosen) if run.job.category in ('cow', 'horse')]
    stood_in, missing = report.stand_ins(table, runs)
    assert not missing and stood_in == [
        'a stand-in for PASCAL VOC (horse: 1 to train, 1 to test; cow: 1 to train, 1 to test)']


def test_a_missing_file_is_named_with_its_data_set(tmp_path):
    table = paper.TABLES[2]
    stood_in, missing = report.stand_ins(table, runs_lib.plan(table, settings(tmp_path)))
    assert not stood_in and len(missing) == 2
    assert missing[1].startswith('AFLW: ') and 'aflw.sqlite' in missing[1]


@pytest.fixture
def celeba_root(tmp_path) -> pathlib.Path:
    folder = tmp_path / 'faces'
    (folder / 'img_celeba').mkdir(parents=True)
    (folder / 'MAFL').mkdir()
    names = [f'{number:06d}.jpg' for number in range(1, 7)]
    for name in names:
        Image.new('RGB', (40, 40)).save(folder / 'img_celeba' / name)
    (folder / 'list_bbox_celeba.txt').write_text(
        f'{len(names)}\nimage_id x_1 y_1 width height\n'
        + ''.join(f'{name} 2 2 36 36\n' for name in names))
    (folder / 'list_landmarks_celeba.txt').write_text(
        f'{len(names)}\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x '
        'leftmouth_y rightmouth_x rightmouth_y\n'
        + ''.join(f'{name} 10 10 30 10 20 20 12 30 28 30\n' for name in names))
    for name, some in (('celebA_training', names[:2]), ('training', names[2:4]),
                       ('testing', names[4:])):
        (folder / 'MAFL' / f'{name}.txt').write_text('\n'.join(some) + '\n')
    return folder


# Making the runs.


@dataclasses.dataclass(frozen=True)
class Played(runs_lib.Run):
    """A run whose command is played by code, which gets the folder of the run."""

    code: str

    def commands(self):
        return [[sys.executable, '-c', self.code, self.workdir, repr(self.config().scoring)]]


PLAYED = '''
import ast, json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / 'eval').mkdir(parents=True, exist_ok=True)
with open(folder / 'starts', 'a') as file:
    file.write('x')
{}
(folder / 'eval' / 'report.json').touch()
(folder / 'eval' / 'scores.json').write_text(
    json.dumps({{'step': {}, 'scores': {{'this run': {{}}}}, 'counts': {{}}, 'settings':
                ast.literal_eval(sys.argv[2])}}))
'''


def played(tmp_path, body=''):
    """The runs of Table 3; each notes its start and leaves what is left by a finished run."""
    runs = []
    for run in runs_lib.plan(paper.TABLES[3], settings(tmp_path, seeds=(0,))):
        steps = 0 if run.job.method == paper.DFF else run.config().run.steps
        fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
        runs.append(Played(**fields, code=PLAYED.format(body, steps)))
    return runs


def starts(runs):
    return [len((pathlib.Path(run.workdir) / 'starts').read_text())
            if (pathlib.Path(run.workdir) / 'starts').exists() else 0 for run in runs]


def test_a_failure_ends_the_table_and_the_same_call_goes_on(tmp_path):
    runs, reports = played(tmp_path), []
    runs[1] = dataclasses.replace(runs[1], code='raise SystemExit(3)')
    with pytest.raises(execution.RunError, match='exit code 3'):
        execution.make(runs, str(tmp_path), lambda: reports.append(0))
    assert starts(runs) == [1, 0, 0] and len(reports) == 1
    runs = played(tmp_path)
    execution.make(runs, str(tmp_path), lambda: reports.append(0))
    assert starts(runs) == [1, 1, 1] and len(reports) == 3
    execution.make(runs, str(tmp_path), lambda: reports.append(0))
    assert starts(runs) == [1, 1, 1] and len(reports) == 3


def test_a_command_that_leaves_its_run_unfinished_is_an_error(tmp_path):
    runs = played(tmp_path)
    runs[0] = dataclasses.replace(runs[0], code='pass')
    with pytest.raises(execution.RunError, match='must be a finished run after its commands'):
        execution.make(runs, str(tmp_path), lambda: None)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_command_end_and_starts_nothing_further(tmp_path, number):
    body = f'''
done = []
signal.signal({int(number)}, lambda *_: done.append(0))
os.kill(os.getppid(), {int(number)})
if {int(number)} == {int(signal.SIGINT)}:
    os.kill(os.getpid(), {int(number)})
end = time.monotonic() + 20
while not done and time.monotonic() < end:
    time.sleep(0.01)
(folder / 'saved').write_text(str(len(done)))
'''
    runs = played(tmp_path, body)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        execution.make(runs, str(tmp_path), lambda: None)
    assert (pathlib.Path(runs[0].workdir) / 'saved').read_text() == '1'
    assert starts(runs) == [1, 0, 0] and signal.getsignal(number) is before


def test_the_rest_takes_as_long_as_like_runs_took(tmp_path):
    runs = runs_lib.plan(paper.TABLES[1], settings(tmp_path, seeds=(0, 1)))
    assert execution.remaining_seconds(runs, {}) is None
    by_job = {}
    for run in runs:
        by_job.setdefault(run.job, []).append(run)
    full, four = by_job[runs[0].job], next(
        found for job, found in by_job.items() if job.num_parts == 4)
    finish(full[0], {'this run': {}})
    assert execution.remaining_seconds([*full, *four], {full[0].name: 10.0}) == 30.0
    finish(four[0], {'this run': {}})
    times = {full[0].name: 10.0, four[0].name: 4.0}
    assert execution.remaining_seconds([*full, *four], times) == 14.0
    dff = [run for run in runs if run.job.method == paper.DFF]
    assert execution.remaining_seconds([*full[:1], *dff], times) == 20.0


def test_times_that_cannot_be_read_are_no_times(tmp_path):
    assert execution.read_times(str(tmp_path)) == {}
    for text in ('{', '[1]', '{"a": "b"}'):
        (tmp_path / 'seconds.json').write_text(text)
        assert execution.read_times(str(tmp_path)) == {}


# The command.


def reproduce(*arguments, cwd):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], cwd=cwd, text=True,
                          capture_output=True, timeout=60,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})


def test_a_dry_run_lists_runs_commands_and_missing_files_and_makes_nothing(tmp_path):
    done = reproduce('--table=2', '--data=CelebA,AFLW', '--seeds=0', '--dry_run', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('to do') == 5 and '0 of 5 runs are done.' in done.stdout
    assert '-m scops_tf.baselines.dff' in done.stdout
    assert 'Missing: AFLW: ' in done.stdout and 'aflw.sqlite' in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('arguments, said', [
    (('--table=2', '--data=CelebA'), '`--data` must name 2 folder(s) for Table 2'),
    (('--table=3', '--data=CUB', '--seeds=0,x'), '`--seeds` must be whole numbers'),
    (('--table=5', '--data=CUB'), 'table'),
    (('--table=3', '--data=CUB'), 'CUB-200-2011: '),
    (('--table=3', '--data=CUB', '--gin_param=Run.stepz=3'), 'stepz')])
def test_bad_flags_are_one_sentence(arguments, said, tmp_path):
    done = reproduce(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith('Error: ')
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
