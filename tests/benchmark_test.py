"""The benchmark measures apart, compares with the reference and reports what failed."""
from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys

import benchmark
import benchmarks
from benchmarks import items as items_lib, table
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / 'scripts' / 'benchmark.py'


@pytest.fixture(scope='module')
def items():
    return benchmarks.all_items('resnet50')


def _run(*arguments):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, env=environment
    )


def test_an_item_is_measured_in_a_process_of_its_own(tmp_path):
    output = tmp_path / 'benchmark.json'
    result = _run('orthonormal/128', '--seconds', '0.01', '--rounds', '1', '--output', output)
    assert result.returncode == 0, result.stderr
    (item,) = json.loads(output.read_text())['items']
    assert item['name'] == 'orthonormal/128' and item['calls'] >= 3
    assert 0 < item['lower_quartile_ms'] <= item['median_ms'] <= item['upper_quartile_ms']
    assert item['process_peak_mib'] > item['peak_mib'] >= 0
    assert '| orthonormal/128 | ' in result.stdout


def test_a_pattern_that_matches_nothing_is_refused():
    result = _run('no/such/item')
    assert result.returncode == 2 and '`patterns`' in result.stderr


def test_every_reference_is_an_item_measured_before_it(items):
    names = list(items)
    referring = [items[name] for name in names if items[name].reference]
    assert referring
    for item in referring:
        assert names.index(item.reference) < names.index(item.name)


def test_ratios_are_those_of_medians_and_peaks_to_the_reference(items):
    plain, fast = 'semantic_consistency/plain/128', 'semantic_consistency/fast/128'
    rounds = {
        plain: [{'first': 1.0, 'processor': 0.5, 'times': [0.3, 0.3, 0.9],
                 'peak': 800.0, 'process_peak': 900.0}],
        fast: [{'first': 1.0, 'processor': 0.2, 'times': [0.1, 0.1, 0.2],
                'peak': 20.0, 'process_peak': 120.0}],
    }
    summaries = {name: table.summary(items[name], measured)
                 for name, measured in rounds.items()}
    table.compare(items, summaries)
    assert summaries[fast]['processor_ms'] == pytest.approx(200)
    assert summaries[fast]['times_faster'] == pytest.approx(3)
    assert summaries[fast]['times_smaller'] == pytest.approx(40)
    assert 'times_faster' not in summaries[plain]


def test_a_failing_item_is_reported_and_fails_the_run(monkeypatch, capsys):
    failure = {'error': 'exit code -9'}
    monkeypatch.setattr(benchmark, '_measure_apart', lambda name, backbone, seconds: failure)
    assert benchmark.main(['orthonormal/128', '--rounds', '1']) == 1
    assert 'failed: exit code -9' in capsys.readouterr().out


def test_items_of_other_sizes_are_left_out(capsys):
    assert benchmark.main(['--list', '--sizes', '512']) == 0
    names = capsys.readouterr().out.split()
    assert 'train_step/floor/float32/512' in names and 'inference/keras/float32/512/8' in names
    assert 'inference_features/export/float32/512/1' in names
    assert not [name for name in names if '128' in name or '256' in name]


def test_every_part_of_a_step_is_measured_at_every_size_and_precision(items):
    names = set(items)
    for setting in items_lib.SETTINGS:
        for precision in items_lib.PRECISIONS:
            for kind in ('keras', 'floor', 'cached_features', 'recompute', 'last_stages'):
                assert f'train_step/{kind}/{precision}/{setting.size}' in names


@pytest.fixture(scope='module')
def on_tiny(tmp_path_factory, run_command):
    folder = tmp_path_factory.mktemp('benchmark')
    # Tracing takes most of the time, so these steps alone.
    steps = [f'train_step/{kind}/float32/128' for kind in (
        'floor', 'cached_features', 'head_only_cached_views')]

    def run(command, **options):
        """An item's own process, which need not import TensorFlow."""
        assert command[:2] == [sys.executable, str(SCRIPT)]
        return run_command(*command[1:])

    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(benchmark.subprocess, 'run', run)
        code = benchmark.main([
            *steps, 'inference/keras/float32/128/1', 'inference/export/float32/128/1',
            'pipeline/20_epochs/128', 'decoding/plain/128',
            'decoding/guided_filter/128', '--backbone', 'tiny',
            '--seconds', '0.01', '--rounds', '1', '--output', str(folder / 'found.json'),
            '--markdown', str(folder / 'found.md')])
    found = json.loads((folder / 'found.json').read_text())
    return found, (folder / 'found.md').read_text(), output.getvalue(), code


def test_steps_are_compared_with_their_floor_and_inference_with_the_bare_network(on_tiny):
    items = {item['name']: item for item in on_tiny[0]['items']}
    step = items['train_step/cached_features/float32/128']
    assert step['reference'] == 'train_step/floor/float32/128' and step['times_faster'] > 0
    assert step['times_smaller'] > 0
    assert step['per_example_ms'] == pytest.approx(step['median_ms'] / 4)
    assert items['inference/export/float32/128/1']['reference'] == 'inference/keras/float32/128/1'


def test_labels_along_borders_are_compared_with_plain_ones(on_tiny):
    items = {item['name']: item for item in on_tiny[0]['items']}
    assert items['decoding/guided_filter/128']['reference'] == 'decoding/plain/128'


def test_memory_does_not_grow_with_the_epochs(on_tiny):
    (item,) = [item for item in on_tiny[0]['items'] if item['name'].startswith('pipeline')]
    assert item['growth_mib'] < 32


def test_the_table_is_written_and_names_the_device(on_tiny):
    results, table, output, _ = on_tiny
    (device,) = results['machine']['devices']
    assert device and device in table
    assert '| train_step/floor/float32/128 | ' in table and table.strip() in output


def test_what_cannot_be_built_fails_alone(on_tiny):
    """Head-only training needs a backbone with weights."""
    results, _, _, code = on_tiny
    failed = [item for item in results['items'] if 'error' in item]
    assert [item['name'] for item in failed] == ['train_step/head_only_cached_views/float32/128']
    assert code == 1
    assert "must be 'all' for the backbone 'tiny'" in failed[0]['error']
