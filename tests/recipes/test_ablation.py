"""`timm-vipriors ablation`: what is run, and what its tables say."""

import csv
import math
import shutil
import sys

import pytest

from timm_vipriors.cli import main
from timm_vipriors.recipes.ablation import run_ablation

from ..scripts.test_training import load, summary
from .conftest import FAKE, FLAGS


def table(out):
    with open(out / 'table.csv', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_real_trainings(few_digits, out, capsys, monkeypatch, quick_python):
    """Two rows, two seeds, through the bundled script: the table is that of the trainings' own records."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.setenv('PYTHON', quick_python)
    rows = ['resnext50_32x4d', 'resnext50_32x4d --criterion cosine --smoothing 0']
    line = ['ablation', str(few_digits), '--rows', *rows, '--seeds', '2', '--jobs', '2', '-o', str(out), *FLAGS]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert '2 rows × 2 seeds: 4 runs, 4 to do, 2 at a time' in printed
    assert '[4/4]' in printed
    assert (out / 'table.md').read_text() in printed
    names = ['resnext50_32x4d', 'resnext50_32x4d_--criterion_cosine_--smoothing_0']
    for row, name in zip(table(out), names, strict=True):
        last = [summary(out / f'{name}-seed-{seed}')[-1]['eval_top1'] for seed in (1, 2)]
        assert float(row['top1']) == pytest.approx(sum(last) / 2, abs=1e-3)
        assert float(row['seconds']) > 0
    assert summary(out / f'{names[0]}-seed-1') != summary(out / f'{names[0]}-seed-2')
    args = load(out / f'{names[1]}-seed-2' / 'last.pth.tar')['args']
    assert (args.seed, args.criterion, args.epochs, args.mixup_prob, args.amp) == (2, 'cosine', 2, 0.5, False)
    for name in ('table.png', 'curves.png'):
        assert (out / name).read_bytes().startswith(b'\x89PNG')

    before = (out / f'{names[0]}-seed-1' / 'summary.csv').stat().st_mtime_ns
    shutil.rmtree(out / f'{names[1]}-seed-2')
    assert main(line) == 0  # trains what is missing
    assert '4 runs, 1 to do' in capsys.readouterr().out
    assert (out / f'{names[0]}-seed-1' / 'summary.csv').stat().st_mtime_ns == before
    assert main(['report', str(out / f'{names[0]}-seed-1'), '-o', str(out / 'report.html')]) == 0


def test_seeds_and_rows_are_added(fake, data, out, capsys):
    line = ['ablation', data, '--rows', fake, '--seeds', '2', '-o', str(out)]
    assert main(line) == 0
    assert [row['top1'] for row in table(out)] == ['42.0000']
    line[line.index('2')] = '4'
    line.insert(4, f'{fake} --more')
    assert main(line) == 0
    assert '8 runs, 6 to do' in capsys.readouterr().out
    rows = table(out)
    assert [row['top1'] for row in rows] == ['43.0000'] * 2
    assert rows[1]['difference'] == '0.0000'
    assert '| the same in every seed |' in (out / 'table.md').read_text()


def test_a_training_that_fails(fake, data, out, capsys):
    line = ['ablation', data, '--rows', fake, '--seeds', '4', '-o', str(out), '--fail']
    assert main([*line, '3']) == 2
    text = capsys.readouterr()
    assert 'seed 3 failed: out of luck. All of it is in' in text.err
    assert text.out.count('%, about') + text.out.count('% \n') >= 2
    assert table(out)[0]['seeds'] == '3'  # the others count
    shutil.rmtree(out)
    assert main([*line, 'all']) == 2
    assert len(list(out.glob('*.log'))) == 1  # no second try of what fails at once
    assert 'seed 1 failed: out of luck' in capsys.readouterr().err
    assert not (out / 'table.csv').exists()


def test_rows_are_compared_as_the_paper_does(data, out, tmp_path, capsys):
    """With the row that the recipe's head names, and the paper's difference beside ours."""
    for name, head in (
        ('a', '# Score:    52.01'),
        ('b', '# Score:    54.45 (Table 1)'),
        ('c', '# Score:    54.06\n# Compare:  {folder}/a.sh'),
        ('d', '# Score:    0: 40.00, 0.3: 56.06\n# Compare:  {folder}/c.sh'),
    ):
        head = head.format(folder=tmp_path)
        (tmp_path / f'{name}.sh').write_text(FAKE.replace('# DRY_RUN', f'# Title\n{head}\n# DRY_RUN'))
    a, b, c, d = (str(tmp_path / f'{name}.sh') for name in 'abcd')
    rows = [a, b, c, f'ROW=0.3 {d} --x 1', f'ROW=0.3 {d}']
    # the fake recipe's accuracy is that of its seed, and of --bonus
    rows[1] += ' --bonus 1'
    table_ = run_ablation(data, rows, [1, 2], out, report=lambda line: None)
    assert [row.base.name if row.base else '' for row in table_] == ['', a, a, c, c]
    assert [row.paper_difference for row in table_[2:]] == pytest.approx([2.05, math.nan, 2], nan_ok=True)
    assert math.isnan(table_[1].paper_difference)  # with a flag of its own it is not the paper's row
    text = (out / 'table.md').read_text()
    assert f'| `{c}` | 42.00 ± 6.35 | the same in every seed | `{a}` | +2.05 |' in text
    assert [row['compared_with'] for row in table(out)] == ['', a, a, c, c]
    assert table(out)[2]['paper_difference'] == '2.0500'


def test_accuracy_of_averaged_weights_is_named(fake, data, out):
    run_ablation(data, [f'{fake} --model-ema', fake], [1], out, report=lambda line: None)
    note = (out / 'table.md').read_text().splitlines()[-1]
    assert f'The accuracy of {fake} --model-ema is that of the averaged weights' in note


def test_without_matplotlib(fake, data, out, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm_vipriors.recipes.plots', None)
    assert main(['ablation', data, '--rows', fake, '--seeds', '2', '-o', str(out)]) == 0
    assert "no pictures, which need matplotlib: pip install 'timm-vipriors[plot]'" in capsys.readouterr().out
    assert {p.name for p in out.iterdir() if p.is_file()} >= {'table.md', 'table.csv', 'plan.json'}
    assert not list(out.glob('*.png'))
