"""The benchmarks run, in miniature, and their figures are what they measured."""

import csv
import json
import statistics
import subprocess
import sys

import pytest

from .conftest import ROOT

FOLDER = ROOT / 'tests' / 'benchmarks'
MINIATURES = {
    'import_time': '--rounds 1',
    'dsk_step': '--rounds 1 --batch 4 --size 32',
    'dsk_inference': '--rounds 1 --model test_dsk_resnext --batches 1 2 --size 32 --skip-compiled',
    'memory': '--batch 4 --size 32',
    'losses': '--rounds 1 --classes 10 --skip-step',
    'lsb_swap': '--rounds 2 --images 2',
    'cache': '--rounds 1 --images 4',
    'predict': '--rounds 1 --model test_efficientnet --size 32',
    'ensembles': '--rounds 1 --files 2 --images 20 --classes 5',
    'epoch_overhead': '--rounds 1 --epochs 3',
    'gpu': '--csv figures.csv',
    'subset': '--classes 2 --images 4 --per-class 2',
}


@pytest.mark.slow
@pytest.mark.parametrize('name', MINIATURES)
def test_every_benchmark_runs(name, tmp_path):
    line = [sys.executable, FOLDER / f'{name}.py', *MINIATURES[name].split(), '--json', tmp_path / 'figures.json']
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / 'figures.json').read_text())
    assert content['figures']
    for figure in content['figures']:
        assert figure['ours'] > 0
        assert figure['low'] <= figure['ratio'] <= figure['high']
    assert done.stdout.count('\n| ') == len(content['figures']) + 1
    if name == 'gpu':
        rows = list(csv.DictReader((tmp_path / 'figures.csv').read_text().splitlines()))
        assert [float(row['ratio']) for row in rows] == [figure['ratio'] for figure in content['figures']]
        for part in ('step, bfloat16', 'peak', 'inference, batch 1', 'the units', 'a batch of', 'tree supervision'):
            assert any(row['what'].startswith(part) for row in rows), part


def test_all_benchmarks_are_there():
    scripts = {path.stem for path in FOLDER.glob('*.py')} - {'all', 'side_by_side', 'table1_gpu'}
    assert scripts == set(MINIATURES)
    sys.path.insert(0, str(FOLDER))
    try:
        import all as runner
        import side_by_side
    finally:
        sys.path.remove(str(FOLDER))
    assert set(runner.BENCHMARKS) == scripts - {'gpu'}

    order = []
    sides = {name: lambda name=name: order.append(name) or float(len(order)) for name in 'ab'}
    values = side_by_side.alternate(sides, rounds=3)
    assert [''.join(order[i : i + 2]) for i in range(0, 8, 2)] == ['ba', 'ab', 'ba', 'ab']
    assert values == {'a': [3.0, 6.0, 7.0], 'b': [4.0, 5.0, 8.0]}
    report = side_by_side.Report('t', 's', None)
    report.add('x', [1.0, 2.0, 4.0], [2.0, 2.0, 2.0])
    report.add('y', [0.1], [0.3], names=('p', 'q'), times_faster=True, asked='≥ 2')
    first, second = report.figures
    assert (first['ratio'], first['low'], first['high']) == (1.0, 0.5, 2.0)
    assert first['ours'] == statistics.median([1.0, 2.0, 4.0])
    assert second['ratio'] == pytest.approx(3)
    assert side_by_side.table(report.figures)[-1] == '| y: q / p | 100 ms | 300 ms | 3 × | one round | ≥ 2 |'
