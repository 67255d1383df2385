"""Training and validation for real, with the bundled scripts and with timm's own."""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.inference.classifier import load_classifier

from ..states import equal

FLAGS = ['--model', 'test_dsk_resnext', '--img-size', '32', '-b', '20', '--workers', '1', '--warmup-epochs', '0']


def summary(folder):
    with open(folder / 'summary.csv') as f:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(f)]


def load(path):
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, weights_only=True)


def result(stdout):
    """The JSON that a script prints at its end."""
    return json.JSONDecoder().raw_decode(stdout.split('--result\n')[1])[0]


SAME_FLAGS = {
    'plain': '--no-aug',
    'focal-cosine': '--criterion focal-cosine --criterion-kwargs num_classes=10 scale=4',
    'kim': (
        '--criterion focal-cosine --opt rmsproptf --opt-eps 0.001 --sched step --lr 0.01 --decay-epochs 0.5 '
        '--decay-rate 0.9 --aa rand-m9-mstd0.5 --reprob 0.3 --drop 0.2 --drop-path 0.1 --model-ema '
        '--model-ema-decay 0.9 --amp --amp-dtype bfloat16 --lsb-swap 2'
    ),
    'mixed': (
        '--criterion cosine --mixup 0.2 --cutmix 1 --mixup-off-epoch 1 --clip-grad 1 --grad-accum-steps 3 '
        '--opt adamw --weight-decay 0.05 --channels-last --grad-checkpointing --sched-on-updates'
    ),
    'no prefetcher': '--criterion cosine --mixup 0.2 --no-prefetcher --hflip 0 --scale 0.5 1 --gp catavgmax',
}


@pytest.mark.parametrize('name', [n if n == 'kim' else pytest.param(n, marks=pytest.mark.slow) for n in SAME_FLAGS])
def test_bundled_script_and_timms_give_the_same_figures(name, command, few_digits, timm_scripts, tmp_path):
    rows = {}
    for which, path in (('bundled', ''), ('timm', str(timm_scripts))):
        flags = [*FLAGS, *SAME_FLAGS[name].split(), '--epochs', 2, '--experiment', which]
        command('train', few_digits, *flags, env={'TIMM_SCRIPTS': path})
        rows[which] = summary(tmp_path / 'output' / 'train' / which)
    assert len(rows['bundled']) == 2
    assert rows['bundled'] == rows['timm']
    assert rows['bundled'][0]['train_loss'] > 0


@pytest.fixture
def inside(tmp_path, monkeypatch, capsys):
    """The same as `command` within this process, which is quicker."""

    def run(*args):
        assert main([*map(str, args)]) == 0
        return SimpleNamespace(**capsys.readouterr()._asdict())

    monkeypatch.chdir(tmp_path)
    return run


def test_a_run_and_its_records(inside, few_digits, scripts, tmp_path):
    flags = [*FLAGS, '--criterion', 'focal-cosine', '--criterion-kwargs', 'gamma=1.5', '--model-ema']
    done = inside('train', few_digits, *flags, '--epochs', 2, '--experiment', 'a')
    folder = tmp_path / 'output' / 'train' / 'a'
    rows = summary(folder)
    assert [row['epoch'] for row in rows] == [0, 1]
    best = max(rows, key=lambda row: row['eval_top1'])
    last_lines = done.out.strip().splitlines()[-3:]
    assert last_lines[0] == f'Best top-1: {best["eval_top1"]:.2f} % in epoch {best["epoch"]:.0f}'
    assert last_lines[1] == f'Checkpoint: {os.path.join("./output/train", "a", "model_best.pth.tar")}'
    args = yaml.safe_load((folder / 'args.yaml').read_text())
    assert args['criterion'] == 'focal-cosine'
    assert args['criterion_kwargs'] == {'gamma': 1.5}
    assert args['num_classes'] == 10  # counted in the folder
    assert args['device'] == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert 'criterion=FocalCosineLoss' in done.err
    checkpoint = load(folder / 'last.pth.tar')
    assert checkpoint['arch'] == 'test_dsk_resnext'
    assert set(checkpoint['state_dict']) == set(checkpoint['state_dict_ema'])
    assert 'update' in done.err or 'Train: 1' in done.err

    # model, image size and classes come from the checkpoint
    flags = ['--workers', 1, '--use-ema', '--reparam', '--results-file', 'r.csv']
    done = inside('validate', few_digits, '--checkpoint', folder / 'last.pth.tar', *flags)
    assert result(done.out)['top1'] == pytest.approx(rows[-1]['eval_top1'], abs=1e-3)
    with open(tmp_path / 'r.csv') as f:
        assert float(next(csv.DictReader(f))['top1']) == result(done.out)['top1']
    assert result(done.out)['balanced'] == result(done.out)['top1']  # of each class as many images

    for i in range(1, 10):
        for image in sorted((few_digits / 'validation' / str(i)).iterdir())[: i % 4]:
            (tmp_path / 'some' / str(i)).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, tmp_path / 'some' / str(i))
    done = inside('validate', tmp_path / 'some', '--checkpoint', folder / 'last.pth.tar', '--results-file', 'r.csv')
    scores = load_classifier(folder / 'last.pth.tar', use_ema=False).predict(tmp_path / 'some', workers=0)
    right = {i: [] for i in range(10)}
    for row, target in zip(scores.scores, scores.targets, strict=True):
        right[target].append(row.argmax() == target)
    wanted = [sum(found) / len(found) for found in right.values() if found]
    assert len(wanted) == 7 and len(set(map(len, right.values()))) > 2
    assert result(done.out)['balanced'] == pytest.approx(100 * sum(wanted) / 7, abs=1e-3)
    with open(tmp_path / 'r.csv') as f:
        assert float(next(csv.DictReader(f))['balanced']) == result(done.out)['balanced']


@pytest.mark.slow
def test_resumed_runs_are_equal(command, few_digits, scripts, tmp_path):
    flags = [*FLAGS, '--criterion', 'focal-cosine', '--criterion-kwargs', 'num_classes=10', '--model-ema', '--no-aug']
    flags += '--opt momentum --sched multistep --decay-milestones 1 --seed 3'.split()
    command('train', few_digits, *flags, '--epochs', 1, '--experiment', 'whole')
    folder = tmp_path / 'output' / 'train'
    first = load(folder / 'whole' / 'last.pth.tar')
    resume = ['--resume', folder / 'whole' / 'last.pth.tar', '--epochs', 2]
    command('train', few_digits, *flags, *resume, '--experiment', 'b')
    command('train', few_digits, *flags, *resume, '--experiment', 'c')
    b, c = (load(folder / name / 'last.pth.tar') for name in 'bc')
    assert b['epoch'] == 1
    for key in ('state_dict', 'state_dict_ema'):
        assert all(torch.equal(v, c[key][k]) for k, v in b[key].items())
        assert not all(torch.equal(v, first[key][k]) for k, v in b[key].items())
    assert b['task_state']['criterion']['head.weight'].shape == (10, 10)
    assert not torch.equal(b['task_state']['criterion']['head.weight'], first['task_state']['criterion']['head.weight'])
    assert summary(folder / 'b')[0]['epoch'] == 1

    other = command('train', few_digits, *FLAGS, *resume, '--criterion', 'cosine', check=False)
    assert other.returncode == 2
    assert 'criterion state of' in other.stderr.splitlines()[-1]


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / 'tree.json'
    ClassHierarchy.induce(torch.randn(10, 6, generator=torch.Generator().manual_seed(0))).save(path)
    return path


def test_composite_with_a_given_tree(inside, few_digits, scripts, tree, tmp_path):
    flags = [*FLAGS, '--criterion', 'pcl+center+tsl', '--hierarchy', tree, '--criterion-kwargs', 'tree_mode=soft']
    inside('train', few_digits, *flags, '--epochs', 1, '--experiment', 'a')
    state = load(tmp_path / 'output' / 'train' / 'a' / 'last.pth.tar')['task_state']['criterion']
    assert state['center.centers'].shape == (10, 384)
    assert state['center.centers'].abs().sum() > 0
    assert tuple(state['tree.parents'].tolist()) == ClassHierarchy.load(tree).parents
    args = yaml.safe_load((tmp_path / 'output' / 'train' / 'a' / 'args.yaml').read_text())
    assert args['hierarchy'] == str(tree)


@pytest.mark.slow
def test_killed_and_resumed_run_ends_as_one_that_stopped(few_digits, scripts, command, tmp_path):
    """SIGKILL in mid-epoch; centers, the grown tree, EMA and weights end as after a clean stop at the same epoch."""
    flags = (
        '--model test_dsk_resnext --img-size 32 -b 10 --workers 1 --warmup-epochs 0 --sched multistep --model-ema '
        '--criterion pcl+center+tsl --criterion-kwargs tree_start_epoch=1 tree_update_every=1 center_weight=0.01'
    ).split()
    folder = tmp_path / 'output' / 'train'
    command('train', few_digits, *flags, '--epochs', 1, '--experiment', 'clean')

    line = [sys.executable, '-m', 'timm_vipriors', 'train', str(few_digits), *flags, '--epochs', '3']
    last = folder / 'killed' / 'last.pth.tar'
    process = subprocess.Popen(
        [*line, '--experiment', 'killed'], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert load(last)['epoch'] == 0

    ends = []
    for name in ('clean', 'killed'):
        resume = ['--resume', folder / name / 'last.pth.tar', '--epochs', 3, '--experiment', f'{name}-resumed']
        command('train', few_digits, *flags, *resume)
        ends.append(load(folder / f'{name}-resumed' / 'last.pth.tar'))
    assert ends[0]['epoch'] == 2
    for key in ('state_dict', 'state_dict_ema', 'task_state', 'task_state_ema', 'optimizer'):
        assert equal(ends[0][key], ends[1][key]), key
    state = ends[0]['task_state']['criterion']
    assert state['tree.step'] == 3 * 8
    assert -2 not in state['tree.parents']
    start = load(last)['task_state']['criterion']
    assert -2 in start['tree.parents']  # no tree in the first epoch
    assert not torch.equal(start['center.centers'], state['center.centers'])


@pytest.mark.parametrize(
    'criterion',
    [
        'pcl+center+tsl --criterion-kwargs tree_start_epoch=0',
        pytest.param('focal-cosine --criterion-kwargs num_classes=10', marks=pytest.mark.slow),
    ],
)
def test_two_processes(command, few_digits, scripts, tmp_path, criterion):
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    flags = [*FLAGS, '--criterion', *criterion.split(), '--epochs', 1, '--no-aug']
    done = command('train', few_digits, *flags, '--experiment', 'two', launcher=launcher)
    assert done.stdout.count('Best top-1') == 1
    rows = summary(tmp_path / 'output' / 'train' / 'two')
    assert len(rows) == 1
    assert rows[0]['lr'] == pytest.approx(0.1 * 40 / 256)
    state = load(tmp_path / 'output' / 'train' / 'two' / 'last.pth.tar')['task_state']['criterion']
    assert ('head.weight' in state) != ('center.centers' in state)


def test_config_file_and_no_validation(inside, few_digits, scripts, tmp_path):
    (tmp_path / 'c.yaml').write_text('criterion: cosine\nlr: 0.03\n')
    flags = [*FLAGS, '-c', 'c.yaml', '--val-split', '', '--epochs', 1, '--experiment', 'x', '--eval-metric', 'loss']
    done = inside('train', few_digits, *flags)
    assert 'criterion=CosineLoss' in done.err
    assert summary(tmp_path / 'output' / 'train' / 'x')[0]['lr'] == 0.03
    assert 'Best loss' in done.out


@pytest.mark.slow
def test_learns_the_digits(command, digits, monkeypatch, tmp_path):
    """A few epochs of each criterion reach what they must on the held-out digits."""
    flags = (
        '--model test_dsk_resnext --img-size 32 --crop-pct 1 --workers 1 -b 50 -vb 433 --epochs 10 --opt adamw '
        '--lr 3e-3 --weight-decay 0.05 --warmup-epochs 2 --scale 0.7 1 --ratio 0.9 1.1 --hflip 0 --color-jitter 0'
    ).split()
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    tree = ['--criterion-kwargs', 'tree_start_epoch=2']
    for criterion in ('ce', 'cosine', 'focal-cosine', 'pcl', 'pcl+center+tsl'):
        extra = tree if 'tsl' in criterion else []
        command(
            'train', digits, *flags, '--criterion', criterion, *extra, '--smoothing', '0', '--experiment', criterion
        )
        assert summary(tmp_path / 'output' / 'train' / criterion)[-1]['eval_top1'] > 85, criterion
