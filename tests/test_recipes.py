"""The recipes as a user runs them: their flags, their environment, their folders with odd names."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.inference import plurality_vote
from timm_vipriors.scripts.runner import add_our_options, find_script, load_script

from .conftest import ROOT
from .scripts.test_training import load, result, summary

RECIPES = sorted(p for p in (ROOT / 'train_recipes').glob('*.sh') if p.name != 'common.sh')
TRAINING = [p for p in RECIPES if 'run train' in p.read_text()]


def recipe(path, *args, cwd, check=True, **env):
    done = subprocess.run(
        [str(path), *map(str, args)],
        cwd=cwd,
        env={**os.environ, 'PYTHON': sys.executable, **env},
        text=True,
        capture_output=True,
        timeout=570,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def dry_run(path, *args, cwd, **env):
    return [shlex.split(line) for line in recipe(path, *args, cwd=cwd, DRY_RUN='1', **env).stdout.splitlines()]


def test_there_are_recipes():
    training = {'effnet_b3_fcl_lsb.sh', 'effnet_b7_fcl.sh', 'effnet_tsl.sh', 'quickstart.sh'}
    assert {p.name for p in TRAINING} == training
    others = {'predict_ten_crop.sh', 'ensemble_weighted.sh', 'ensemble_plurality.sh'}
    assert {p.name for p in RECIPES} == training | others


@pytest.mark.parametrize('path', RECIPES, ids=lambda p: p.name)
def test_every_recipe_says_what_it_is(path):
    text = path.read_text()
    assert os.access(path, os.X_OK)
    for mark in ('#   ./train_recipes/' + path.name, '# Settings:', '# Time:', 'DRY_RUN=1'):
        assert mark in text


@pytest.mark.parametrize('path', TRAINING, ids=lambda p: p.name)
def test_every_training_recipe_keeps_the_rules(path, tmp_path):
    data = "my $(touch hacked) 'data'"
    (tmp_path / data).mkdir()
    lines = dry_run(path, data, '--epochs', '7', '--opt', 'lion', cwd=tmp_path)
    train = next(line for line in lines if 'train' in line)
    assert train[:4] == [sys.executable, '-m', 'timm_vipriors', 'train']
    assert train[4] == data
    own = train.index('--experiment') if path.name == 'effnet_tsl.sh' else len(train)  # its stages need their names
    assert train[own - 4 : own] == ['--epochs', '7', '--opt', 'lion']  # last, so they win
    two = next(line for line in dry_run(path, data, cwd=tmp_path, GPUS='2') if 'train' in line)
    assert two[2:5] == ['torch.distributed.run', '--standalone', '--nproc_per_node=2']
    assert [p.name for p in tmp_path.iterdir()] == [data]


@pytest.mark.parametrize('path', TRAINING, ids=lambda p: p.name)
def test_flags_of_recipes_are_flags_of_the_bundled_script(path, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    parser = load_script(find_script('train')).parser
    add_our_options(parser)
    (tmp_path / 'data').mkdir()
    lines = [line for line in dry_run(path, 'data', cwd=tmp_path) if 'train' in line]
    criteria = [parser.parse_args(line[4:]).criterion for line in lines]
    assert criteria == (['ce', 'ce+tsl'] if path.name == 'effnet_tsl.sh' else ['focal-cosine'])


@pytest.mark.parametrize(
    ('name', 'own'),
    [
        ('effnet_b7_fcl.sh', '--model efficientnet_b7 --batch-size 10'),
        ('effnet_b3_fcl_lsb.sh', '--model efficientnet_b3 --batch-size 50 --lsb-swap 2 --lsb-prob 0.5'),
    ],
)
def test_kims_settings(name, own, tmp_path):
    """The figures of the authors' args.yaml, by today's names."""
    line = ' '.join(dry_run(ROOT / 'train_recipes' / name, 'data', cwd=tmp_path)[0])
    for flag in (
        f'{own} --epochs 450 --cooldown-epochs 10 --opt rmsproptf --opt-eps 0.001 --momentum 0.9 --weight-decay 1e-5 '
        '--sched step --lr 0.016 --decay-epochs 2.4 --decay-rate 0.97 --warmup-epochs 3 --warmup-lr 1e-6 '
        '--min-lr 1e-5 --drop 0.3 --drop-path 0.2 --model-ema-decay 0.9999 --aa rand-m9-mstd0.5 --color-jitter 0.4 '
        '--reprob 0.2 --remode pixel --smoothing 0 --criterion focal-cosine'
    ).split(' --'):
        assert f'--{flag.removeprefix("--")} ' in line + ' ', flag


def test_a_recipe_without_data_says_how_it_is_used(tmp_path):
    for name, args in (('effnet_b7_fcl.sh', ()), ('effnet_b7_fcl.sh', ('--epochs', '1')), ('effnet_tsl.sh', ())):
        done = recipe(ROOT / 'train_recipes' / name, *args, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert 'usage:' in done.stderr
        assert done.stdout == ''


@pytest.mark.slow
def test_recipes_of_predictions_and_ensembles(few_digits, tmp_path):
    """From two checkpoints to an ensemble, with names that need quoting."""
    data = tmp_path / "the 'data'"
    shutil.copytree(few_digits, data)
    scores = []
    for i in range(2):
        torch.manual_seed(i)
        weights = tmp_path / f'model {i}.pth'
        torch.save(timm.create_model('test_efficientnet', num_classes=10).state_dict(), weights)
        flags = ['--model', 'test_efficientnet', '--img-size', '32', '--workers', '1']
        recipe(ROOT / 'train_recipes' / 'predict_ten_crop.sh', data, weights, *flags, cwd=tmp_path)
        scores.append(tmp_path / f'model {i}-ten_crop.npz')
    done = recipe(ROOT / 'train_recipes' / 'ensemble_weighted.sh', 'w', scores[0], '--', scores[1], cwd=tmp_path)
    assert 'top-1' in done.stdout
    a, b, mean = (np.load(path)['scores'] for path in (*scores, tmp_path / 'w.npz'))
    assert np.allclose(mean, (3 * a + b) / 4, atol=1e-6)
    assert len((tmp_path / 'w-submission.csv').read_text().splitlines()) == 41
    recipe(ROOT / 'train_recipes' / 'ensemble_plurality.sh', 'v', *scores, cwd=tmp_path)
    with open(tmp_path / 'v.csv', newline='') as file:
        predictions = [int(row['prediction']) for row in csv.DictReader(file)]
    assert predictions == plurality_vote(a, [b], threshold=0.7).tolist()
    lines = dry_run(ROOT / 'train_recipes' / 'ensemble_plurality.sh', 'v', *scores, cwd=tmp_path, THRESHOLD='0.5')
    assert lines[0][lines[0].index('--threshold') + 1] == '0.5'
    for name, args in (
        ('predict_ten_crop.sh', ['d']),
        ('ensemble_weighted.sh', ['o']),
        ('ensemble_plurality.sh', ['o', 'b']),
    ):
        done = recipe(ROOT / 'train_recipes' / name, *args, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert 'usage:' in done.stderr


@pytest.mark.slow
def test_quickstart_makes_its_data_and_validates_what_it_trained(scripts, tmp_path):
    data = "the digits' folder"
    flags = ['--epochs', 1, '--warmup-epochs', 0, '--img-size', 24, '--experiment', 'q']
    done = recipe(ROOT / 'train_recipes' / 'quickstart.sh', data, *flags, cwd=tmp_path)
    assert '500 images in train, 1297 in validation' in done.stdout
    top1 = summary(tmp_path / 'output' / 'train' / 'q')[-1]['eval_top1']
    assert result(done.stdout.split('Checkpoint:')[1])['top1'] == pytest.approx(top1, abs=1e-3)
    assert f'Acc@1 {top1:.3f}' in done.stderr


@pytest.mark.slow
def test_effnet_b7_fcl_runs(scripts, few_digits, tmp_path):
    flags = '--model efficientnet_b0 --img-size 64 --epochs 1 --cooldown-epochs 0 --experiment b --workers 1 --no-aug'
    recipe(ROOT / 'train_recipes' / 'effnet_b7_fcl.sh', few_digits, *flags.split(), cwd=tmp_path)
    assert len(summary(tmp_path / 'output' / 'train' / 'b')) == 1


def test_effnet_b3_fcl_lsb_runs_on_a_subset(scripts, digits, tmp_path):
    assert main(['subset', str(digits / 'validation'), str(tmp_path / 'data'), '--per-class', '10']) == 0
    flags = '--model test_efficientnet --img-size 32 --epochs 1 --cooldown-epochs 0 --experiment b --workers 1'
    done = recipe(ROOT / 'train_recipes' / 'effnet_b3_fcl_lsb.sh', 'data', *flags.split(), cwd=tmp_path)
    assert len(summary(tmp_path / 'output' / 'train' / 'b')) == 1
    assert 'LSB swap: 2 low bits from another image, with probability 0.5' in done.stderr
    assert '100 images  10 classes  10 in each' in done.stderr


@pytest.mark.slow
def test_effnet_tsl_trains_on_the_tree_of_its_baseline(scripts, few_digits, tmp_path):
    flags = '--model test_efficientnet --img-size 32 --epochs 1 --warmup-epochs 0 -b 20 --workers 1'.split()
    recipe(ROOT / 'train_recipes' / 'effnet_tsl.sh', few_digits, *flags, cwd=tmp_path, NAME='two')
    folder = tmp_path / 'output' / 'train'
    tree = ClassHierarchy.load(folder / 'two-tsl-tree.json')
    assert tree == ClassHierarchy.from_checkpoint(folder / 'two-baseline' / 'last.pth.tar', tree.class_names)
    assert tree.class_names == tuple('0123456789')
    state = load(folder / 'two-tsl' / 'last.pth.tar')['task_state']['criterion']
    assert tuple(state['tree.parents'].tolist()) == tree.parents


@pytest.mark.slow
def test_quickstart_reaches_its_accuracy(tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    done = recipe(ROOT / 'train_recipes' / 'quickstart.sh', cwd=tmp_path)
    top1 = float(re.findall(r'Acc@1 ([\d.]+)', done.stderr)[-1])
    assert top1 >= 95
    assert (Path(tmp_path) / 'digits' / 'train' / '0').is_dir()
