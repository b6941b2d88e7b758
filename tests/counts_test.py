"""Laws of the numbers of photos, and of the command that compares them with the paper's."""
from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from aflw_test import NUM_PHOTOS, root as aflw_root  # noqa: F401  a fixture
from cub_test import root as cub_root  # noqa: F401  a fixture
from datasets_test import write_celeba
from pascal_test import root as pascal_root  # noqa: F401  a fixture
import pytest

from scops_tf.datasets import aflw, celeba, counts, cub
from scops_tf.datasets.records import PartDataset, Record

_ROOT = pathlib.Path(__file__).resolve().parent.parent
GIN = _ROOT / 'gin'
HEAD = ['photos', 'found', 'expected']


def _dataset(**options) -> PartDataset:
    records = [Record(name=f'{i}.jpg', path=f'/{i}.jpg', class_id=(7, 7, 9)[i % 3])
               for i in range(6)]
    return PartDataset(name='made', train=tuple(records[:4]), fit=tuple(records[:2]),
                       test=tuple(records[3:]), **options)


def _rows(text: str):
    """The table of a report as lists of words; a name may have several words."""
    return [line.rsplit(maxsplit=2) for line in text.splitlines()]


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / 'faces'
    folder.mkdir()
    write_celeba(folder)
    return folder


def test_splits_categories_and_all_photos_are_counted():
    assert counts.of(_dataset()) == {
        'train': 4, 'fit': 2, 'test': 3, 'all': 6, 'train, category 7': 3, 'train, category 9': 1,
        'test, category 7': 2, 'test, category 9': 1}


def test_numbers_as_expected_differ_in_nothing():
    assert counts.difference(_dataset()) is None
    assert counts.difference(_dataset(expected_counts={'train': 4, 'test, category 9': 1})) is None


def test_a_difference_names_each_number_that_differs():
    dataset = _dataset(expected_counts={'train': 5, 'fit': 2, 'test, category 8': 1})
    assert 'train: 4 instead of 5; test, category 8: 0 instead of 1' in counts.difference(dataset)
    assert _rows(counts.report(dataset)) == [
        HEAD, ['train', '4', '5'], ['fit', '2', '2'], ['test', '3', '-'], ['all', '6', '-'],
        ['train, category 7', '3', '-'], ['train, category 9', '1', '-'],
        ['test, category 7', '2', '-'], ['test, category 9', '1', '-'],
        ['test, category 8', '0', '1']]


def test_readers_expect_the_papers_numbers_of_the_papers_choice_alone(
        faces, aflw_root, cub_root):  # noqa: F811
    assert celeba.read(str(faces)).expected_counts == {'train': 45609, 'fit': 5379, 'test': 283}
    assert not celeba.read(str(faces), min_object_area=0.2).expected_counts
    assert aflw.read(str(aflw_root)).expected_counts == {'all': 4198}
    assert not aflw.read(str(aflw_root), min_object_area=0.2).expected_counts
    assert not cub.read(str(cub_root), classes=(1, 2)).expected_counts
    assert not cub.read(str(cub_root), classes=None).expected_counts


def test_the_papers_birds_are_as_many_as_the_archive_has(shared):
    dataset = cub.read(str(shared / 'data' / 'cub'), classes=(3, 1, 2))
    assert dataset.expected_counts['train'] == 90 and dataset.expected_counts['test'] == 88
    assert counts.difference(dataset) is None


# The command.


def test_the_papers_choice_in_other_numbers_is_one_sentence(run_command, faces):
    done = run_command('datasets', f'--gin_file={GIN / "paper" / "celeba_k8.gin"}',
                       bindings=[f'Data.root={str(faces)!r}'])
    assert done.returncode == 1
    assert _rows(done.stdout) == [
        HEAD, ['train', '1', '45609'], ['fit', '1', '5379'], ['test', '2', '283'],
        ['all', '4', '-']]
    assert 'not the whole of CelebA' in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("Error: The photos of 'celeba' must be as many")
    assert 'train: 1 instead of 45609; fit: 1 instead of 5379; test: 2 instead of 283' in last


def test_another_choice_is_counted_and_not_compared(run_command, faces):
    done = run_command('datasets', f'--gin_file={GIN / "celeba.gin"}', bindings=[
        f'Data.root={str(faces)!r}', 'Data.min_object_area=0.15'])
    assert done.returncode == 0, done.stderr
    assert ['all', '5', '-'] in _rows(done.stdout)
    assert 'none are compared' in done.stdout


def test_aflw_is_counted_as_a_whole(run_command, aflw_root):  # noqa: F811
    done = run_command('datasets', f'--gin_file={GIN / "paper" / "aflw_k8.gin"}',
                       bindings=[f'Data.root={str(aflw_root)!r}'])
    assert done.returncode == 1
    assert ['all', str(NUM_PHOTOS - 1), '4198'] in _rows(done.stdout)
    assert f'all: {NUM_PHOTOS - 1} instead of 4198' in done.stderr


def test_pascal_has_no_numbers_of_the_paper(run_command, pascal_root, tmp_path):  # noqa: F811
    done = run_command('datasets', f'--gin_file={GIN / "paper" / "pascal_k4.gin"}',
                       f'--workdir={tmp_path / "runs" / "horse"}',
                       bindings=["Data.category='horse'", f'Data.root={str(pascal_root)!r}'])
    assert done.returncode == 0, done.stderr
    assert ['test', '2', '-'] in _rows(done.stdout)
    assert 'The paper gives no number' in done.stderr and 'none are compared' in done.stdout
    # Where a training with the same folder finds them.
    assert (tmp_path / 'runs' / 'pascal_cache').is_dir()


def test_a_missing_file_gives_the_sentence_of_the_reader(run_command, faces):
    (faces / 'MAFL' / 'testing.txt').unlink()
    done = run_command('datasets', f'--gin_file={GIN / "paper" / "celeba_k4.gin"}',
                       bindings=[f'Data.root={str(faces)!r}'])
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.strip().startswith('Error: no testing.txt in ')
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_papers_birds_pass_and_tensorflow_is_not_needed(shared):
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', '-m', 'scops_tf.datasets',
         f'--gin_file={GIN / "paper" / "cub_k4.gin"}',
         f'--gin_param=Data.root={str(shared / "data" / "cub")!r}'],
        capture_output=True, text=True, check=False, cwd=_ROOT,
        env={**os.environ, 'PYTHONPATH': str(_ROOT)})
    assert done.returncode == 0, done.stderr
    assert ['train, category 3', '30', '30'] in _rows(done.stdout)
    assert 'The numbers are those expected.' in done.stdout
    assert 'scops_tf.datasets.counts' in done.stderr and 'tensorflow' not in done.stderr
