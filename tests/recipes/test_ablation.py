"""`timm-vipriors ablation`: what is run, what is resumed after a stop, and what is refused."""

import csv
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from timm_vipriors.cli import main
from timm_vipriors.recipes.ablation import plan_trainings, run_ablation
from timm_vipriors.recipes.training import default_jobs, run_trainings

from ..scripts.test_training import load, summary

FLAGS = (
    '--model test_efficientnet --model-kwargs --img-size 32 --epochs 2 --warmup-epochs 0 -b 40 --workers 1 --no-amp '
    '--lr 0.01'
).split()

# a training in a tenth of a second: what an ablation sees of one
FAKE = """#!/usr/bin/env bash
# DRY_RUN prints a command, as a recipe does; otherwise a run is written without one.
args=("$@")
for i in "${!args[@]}"; do
    case ${args[i]} in
        --seed) seed=${args[i + 1]} ;;
        --experiment) name=${args[i + 1]} ;;
        --output) output=${args[i + 1]} ;;
        --fail) fail=${args[i + 1]} ;;
        --slow) slow=1 ;;
        --bonus) bonus=${args[i + 1]} ;;
    esac
done
if [ -n "$DRY_RUN" ]; then
    echo "python -m timm_vipriors train $1 --recipe $0 ${*:2}"
    exit
fi
echo "args: $*"
echo "device: $CUDA_VISIBLE_DEVICES threads: $OMP_NUM_THREADS gpus: $GPUS"
[ "$fail" != "$seed" ] && [ "$fail" != all ] || { echo "out of luck"; exit 3; }
mkdir -p "$output/$name"
printf 'epoch,train_loss,eval_top1\\n0,1.0,10.0\\n' > "$output/$name/summary.csv"
touch "$output/$name/last.pth.tar"
[ -z "$slow" ] || sleep 60
printf '1,0.5,%s.5\\n' "$((40 + seed + bonus))" >> "$output/$name/summary.csv"
"""


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / 'fake.sh'
    path.write_text(FAKE)
    return str(path)


@pytest.fixture
def data(tmp_path):
    (tmp_path / 'data').mkdir()
    return str(tmp_path / 'data')


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def table(out):
    with open(out / 'table.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_real_trainings(few_digits, out, capsys, monkeypatch):
    """Two rows, two seeds, through the bundled script: the table is that of the trainings' own records."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
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


@pytest.mark.slow
def test_killed_in_the_middle(few_digits, out, tmp_path):
    """SIGTERM ends the trainings too; the same command resumes from the last checkpoint."""
    env = {k: v for k, v in os.environ.items() if k != 'TIMM_SCRIPTS'}
    line = [sys.executable, '-m', 'timm_vipriors', 'ablation', str(few_digits), '--rows', 'resnext50_32x4d']
    line += ['--seeds', '1', '-o', str(out), *FLAGS, '--epochs', '200', '--checkpoint-hist', '1']
    process = subprocess.Popen(line, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = out / 'resnext50_32x4d-seed-1'
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (folder / 'last.pth.tar').exists():
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    time.sleep(1)
    epochs = len(summary(folder))
    time.sleep(2)
    assert len(summary(folder)) == epochs  # nothing trains any more
    assert epochs < 200
    assert not (folder / 'finished.json').exists()
    line[line.index('200')] = '3' if epochs < 3 else str(epochs + 1)
    done = subprocess.run(line, cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.returncode == 2
    assert 'holds an ablation with other data or flags' in done.stderr
    plan = json.loads((out / 'plan.json').read_text())
    plan['flags'][plan['flags'].index('200')] = str(epochs + 1)  # so that the test has an end
    (out / 'plan.json').write_text(json.dumps(plan, indent=2) + '\n')
    line[line.index('--checkpoint-hist') - 1] = str(epochs + 1)
    done = subprocess.run(line, cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [row['epoch'] for row in summary(folder)] == list(range(epochs + 1))
    assert '| – |' in done.stdout  # no time of a training that was interrupted


def test_plan(fake, data, out):
    rows = [fake, f"{fake} --note 'two words'"]
    trainings = plan_trainings(data, rows, [1, 2], out, ['--epochs', '5'])
    assert [(t.row, t.seed) for t in trainings] == [(rows[0], 1), (rows[1], 1), (rows[0], 2), (rows[1], 2)]
    command = trainings[3].command
    own = ('--note', 'two words', '--seed', '2', '--output', str(out), '--experiment', trainings[3].folder.name)
    assert command[2:] == (data, '--epochs', '5', *own)  # a row's own flags win
    assert len({t.folder for t in trainings}) == 4
    assert not out.exists()
    assert len(plan_trainings(data, rows, [1, 2, 3], out, ['--epochs', '5'])) == 6


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


def test_devices_and_threads(fake, data, out, monkeypatch):
    def logs(jobs):
        trainings = plan_trainings(data, [fake], range(1, 5), out)
        out.mkdir()
        assert run_trainings(trainings, jobs) == []
        return {t.log.read_text().splitlines()[1] for t in trainings}

    for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setenv('GPUS', '4')
    assert default_jobs() == 4
    assert logs(2) == {'device:  threads: 4 gpus: '}
    shutil.rmtree(out)
    assert logs(1) == {'device:  threads:  gpus: '}
    shutil.rmtree(out)
    monkeypatch.delenv('GPUS')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,7')
    assert default_jobs() == 3
    seen = logs(4)
    assert seen <= {f'device: {n} threads:  gpus: ' for n in (4, 5, 7)}


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


def test_other_trainings_are_ended_with_it(fake, data, out):
    trainings = plan_trainings(data, [f'{fake} --fail 1', f'{fake} --slow'], [1], out)
    out.mkdir()
    begin = time.monotonic()
    failed = run_trainings(trainings, 2)
    assert [t.row for t in failed] == [f'{fake} --fail 1']
    assert time.monotonic() - begin < 30
    assert not trainings[1].finished.exists()


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (dict(rows=['nothing']), "there is no recipe 'nothing'"),
        (dict(rows=['']), "there is no recipe ''"),
        (dict(rows=["resnext50_32x4d --opt 'sgd"]), 'No closing quotation'),
        (dict(rows=['predict_ten_crop']), 'is not a recipe that trains: usage:'),
        (dict(rows=['ensemble_plurality']), 'is not a recipe that trains'),
        (dict(rows=['effnet_tsl']), 'trains 2 times or into a folder of its own'),
        (dict(rows=['vipf_table4']), 'trains 5 times'),
        (dict(rows=['ablation_table1']), 'is not a recipe that trains'),
        (dict(rows=['resnext50_32x4d', 'resnext50_32x4d']), 'name each row once'),
        (dict(flags=['--seed', '3']), '--seed is set for every run of an ablation'),
        (dict(flags=['--resume', 'x']), '--resume is set'),
        (dict(flags=['--experiment', 'x']), '--experiment is set'),
        (dict(seeds='0'), '--seeds is how many there are, from 1 to 10,000, got 0'),
        (dict(jobs='0'), '--jobs: expected a number from 1, got 0'),
        (dict(data='nowhere'), 'the data folder nowhere does not exist'),
    ],
)
def test_mistakes_cost_no_time(change, sentence, data, out, capsys):
    case = dict(rows=['resnext50_32x4d'], flags=[], seeds='2', jobs='1', data=data)
    case.update(change)
    line = ['ablation', case['data'], '--rows', *case['rows'], '--seeds', case['seeds'], '--jobs', case['jobs']]
    assert main([*line, '-o', str(out), *case['flags']]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ('rows', 'flags', 'sentence'),
    [
        (
            ['resnext50_32x4d', 'dsk_resnext50_32x4d'],
            ['--model', 'resnet18'],
            '--model for all rows overrides what distinguishes them (resnext50_32x4d: resnext50_32x4d, '
            'dsk_resnext50_32x4d: dsk_resnext50_32x4d): leave it out, or put it into the rows',
        ),
        (['resnext50_32x4d', 'dsk_resnext50_32x4d'], ['-m', 'resnet18'], '--model for all rows overrides'),
        (['resnext50_32x4d', 'resnext50_32x4d --epoch=9'], ['--epochs', '9'], '--epochs for all rows overrides'),
        (['dsk_resnext50_32x4d', 'dsk_resnext50_32x4d_pcl'], ['--criterion', 'ce'], '--criterion for all rows overr'),
        (
            ['resnext50_32x4d', 'd_resnext50_32x4d'],
            ['--model-kwargs', 'layers=(1,1,1,1)'],
            '--model-kwargs for all rows drops zero_init_last=True of resnext50_32x4d: repeat it there',
        ),
        (['resnext50_32x4d'], ['--model-kwargs', 'layers=(1,1,1,1)', 'zero_init_last=False'], None),
        (['resnext50_32x4d'], ['--model-kwargs'], None),
        (['resnext50_32x4d'], ['--batch-size', 'many'], "'resnext50_32x4d': argument -b/--batch-size: invalid int"),
        (['effnet_b3_fcl', 'effnet_b3_fcl --lsb-swap 2'], ['--lsb-swap', '3'], None),  # the row's own flag wins
        (['resnext50_32x4d', 'resnext50_32x4d --epochs 360'], [], 'are the same run'),
        (['resnext50_32x4d', 'resnext50_32x4d -j 3'], [], 'are the same run'),
        (['resnext50_32x4d', 'resnext50_32x4d --epoch=360'], [], 'are the same run'),
        (['resnext50_32x4d', 'ROW=0.3 vipf_table4'], ['-b', '8'], None),
    ],
)  # fmt: skip
def test_rows_that_do_not_differ(rows, flags, sentence, data, out, capsys, monkeypatch):
    """Two equal rows would be a difference of zero, reported as one in the noise."""
    monkeypatch.setenv('DRY_RUN', '1')
    assert main(['ablation', data, '--rows', *rows, '-o', str(out), *flags]) == (2 if sentence else 0)
    assert sentence is None or sentence in capsys.readouterr().err


def test_dry_run(data, out, capsys, monkeypatch):
    """The commands that would be run, and nothing is run or written."""
    monkeypatch.setenv('DRY_RUN', '1')
    rows = ['resnext50_32x4d', 'ROW=0.7 vipf_table4 --lr 1']
    assert main(['ablation', data, '--rows', *rows, '--seeds', '2', '-o', str(out), '--workers', '3']) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4
    for line, seed in zip(lines, ('1', '1', '2', '2'), strict=True):
        assert line[1:5] == ['-m', 'timm_vipriors', 'train', data]
        assert line[line.index('--seed') + 1] == seed
        assert line[line.index('--output') + 1] == str(out)
    assert lines[1][lines[1].index('--mixup-prob', lines[1].index('--epochs')) + 1] == '0.7'
    assert not out.exists()


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
    assert [row.against for row in table_] == ['', a, a, c, c]
    assert [row.paper for row in table_[2:]] == pytest.approx([2.05, math.nan, 2], nan_ok=True)
    assert math.isnan(table_[1].paper)  # with a flag of its own it is not the paper's row
    text = (out / 'table.md').read_text()
    assert f'| `{c}` | 42.00 ± 6.35 | the same in every seed | `{a}` | +2.05 |' in text
    assert [row['compared_with'] for row in table(out)] == ['', a, a, c, c]
    assert table(out)[2]['paper_difference'] == '2.0500'


def test_interrupted(fake, data, out, tmp_path):
    """It ends with 130, nothing trains any more, and the last line is what to type; that resumes."""
    rows = [f'{fake} --slow', fake]
    words = ['ablation', data, '--rows', *rows, '--seeds', '1', '--jobs', '1', '-o', str(out), '--note', 'a b']
    line = [sys.executable, '-m', 'timm_vipriors', *words]
    process = subprocess.Popen(line, cwd=tmp_path, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list(out.glob('*/last.pth.tar')):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert shlex.split(err.splitlines()[-1]) == ['timm-vipriors', *words]
    assert not list(out.glob('*/finished.json'))
    (tmp_path / 'fake.sh').write_text(FAKE.replace('sleep 60', 'true'))
    assert main(shlex.split(err.splitlines()[-1])[1:]) == 0
    assert 'args: ' in (log := next(out.glob('*slow*.log')).read_text())
    assert log.count('--resume') == 1
    assert ' | – |' in (out / 'table.md').read_text()  # no time of a training that was interrupted


@pytest.mark.parametrize(('warmup', 'sentence'), [(False, 'their accuracy to chance'), (True, 'averaged weights')])
def test_accuracy_of_averaged_weights_is_named(warmup, sentence, fake, data, out):
    rows = [fake, f'{fake} --plain']
    settings = f'model_ema: true\nmodel_ema_warmup: {str(warmup).lower()}\n'
    for training in plan_trainings(data, rows, [1], out):
        training.folder.mkdir(parents=True)
        (training.folder / 'args.yaml').write_text(settings if training.row == fake else 'model_ema: false\n')
        (training.folder / 'summary.csv').write_text('epoch,eval_top1\n0,10.0\n')
        training.finished.write_text('{"seconds": 1}')
    (out / 'plan.json').write_text(json.dumps({'data': data, 'flags': []}, indent=2) + '\n')
    run_ablation(data, rows, [1], out, report=lambda line: None)
    note = (out / 'table.md').read_text().splitlines()[-1]
    assert sentence in note
    assert f'The accuracy of {fake} is that' in note
    assert ('chance' in note) != warmup


def test_folders_of_something_else(fake, data, out, capsys):
    out.mkdir()
    (out / 'thesis.txt').write_text('x')
    line = ['ablation', data, '--rows', fake, '-o', str(out)]
    assert main(line) == 2
    assert 'is there already and is no folder of an ablation' in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ['thesis.txt']
    (out / 'thesis.txt').unlink()
    assert main(line) == 0
    assert main([*line, '--epochs', '9']) == 2
    assert 'holds an ablation with other data or flags' in capsys.readouterr().err
    (out / 'plan.json').write_text('{')
    assert main(line) == 2
    assert 'holds an ablation with other data or flags' in capsys.readouterr().err


def test_without_matplotlib(fake, data, out, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm_vipriors.recipes.plots', None)
    assert main(['ablation', data, '--rows', fake, '--seeds', '2', '-o', str(out)]) == 0
    assert "no pictures, which need matplotlib: pip install 'timm-vipriors[plot]'" in capsys.readouterr().out
    assert {p.name for p in out.iterdir() if p.is_file()} >= {'table.md', 'table.csv', 'plan.json'}
    assert not list(out.glob('*.png'))


def test_flags_of_other_commands_are_still_checked(capsys):
    with pytest.raises(SystemExit):
        main(['demo-data', 'x', '--nonsense'])
    assert 'unrecognized arguments: --nonsense' in capsys.readouterr().err


@pytest.mark.parametrize('value', ['0', '-1', 'two', '²'])
def test_numbers_of_devices_that_are_none(value, fake, data, out, capsys, monkeypatch):
    monkeypatch.setenv('GPUS', value)
    assert main(['ablation', data, '--rows', fake, '-o', str(out)]) == 2
    assert f'GPUS={value}: expected a number from 1' in capsys.readouterr().err


def test_a_recipe_that_knows_no_dry_run(data, out, tmp_path, capsys):
    mine = tmp_path / 'mine.sh'
    mine.write_text('echo "don\'t know"\n')
    assert main(['ablation', data, '--rows', str(mine), '-o', str(out)]) == 2
    assert 'is not a recipe that trains' in capsys.readouterr().err
