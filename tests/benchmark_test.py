"""The benchmark measures apart, compares with the reference and reports what failed."""
from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / 'scripts' / 'benchmark.py'


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('benchmark', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules['benchmark'] = module  # Where dataclasses look their annotations up.
    spec.loader.exec_module(module)
    yield module
    del sys.modules['benchmark']


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


def test_every_reference_is_an_item_measured_before_it(benchmark):
    names = list(benchmark.ITEMS)
    referring = [item for item in benchmark.ITEMS.values() if item.reference]
    assert referring
    for item in referring:
        assert names.index(item.reference) < names.index(item.name)


def test_ratios_are_those_of_medians_and_peaks_to_the_reference(benchmark):
    plain, fast = 'semantic_consistency/plain/128', 'semantic_consistency/fast/128'
    rounds = {
        plain: [{'first': 1.0, 'times': [0.3, 0.3, 0.9], 'peak': 800.0, 'process_peak': 900.0}],
        fast: [{'first': 1.0, 'times': [0.1, 0.1, 0.2], 'peak': 20.0, 'process_peak': 120.0}],
    }
    summaries = {name: benchmark._summary(name, measured) for name, measured in rounds.items()}
    benchmark._compare(summaries)
    assert summaries[fast]['times_faster'] == pytest.approx(3)
    assert summaries[fast]['times_smaller'] == pytest.approx(40)
    assert 'times_faster' not in summaries[plain]


def test_a_failing_item_is_reported_and_fails_the_run(benchmark, monkeypatch, capsys):
    failure = {'error': 'exit code -9'}
    monkeypatch.setattr(benchmark, '_measure_apart', lambda name, seconds: failure)
    assert benchmark.main(['orthonormal/128', '--rounds', '1']) == 1
    assert 'failed: exit code -9' in capsys.readouterr().out
