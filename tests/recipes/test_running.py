"""The recipes really run: training, on one device and several, prediction, ensembles, odd names."""

import csv
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.inference import plurality_vote

from ..scripts.test_training import load, result, summary
from .running import FOLDER, dry_run, environment, recipe
from .settings import ROWS

TINY = '--img-size 32 --epochs 1 --warmup-epochs 0 -b 40 --workers 1 --no-amp'.split()
THROUGH_TIMMS = ('dsk_resnext50_32x4d_pcl_center', 'vipf_table5', 'effnet_b7_fcl')


def tiny(name, row=''):
    model = 'test_efficientnet' if 'efficientnet' in ROWS[name, row].settings['model'] else 'test_dsk_resnext'
    return ['--model', model, *TINY]


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'row'), [key for key in ROWS if key[1] != 'baseline'])
def test_every_row_trains(name, row, few_digits, tmp_path, monkeypatch, request):
    """Two steps with a tiny network; the row's own settings stay."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    if name in THROUGH_TIMMS and (name, row) != ('vipf_table5', 'dual-pool'):
        request.getfixturevalue('timm_scripts')
    monkeypatch.chdir(tmp_path)
    rows = {'ROW': 'baseline tsl' if row == 'tsl' else row} if row else {}
    for line in dry_run(name, few_digits, *tiny(name, row), cwd=tmp_path, NAME='n', **rows):
        assert main(line[3:]) == 0
    names = ['n-baseline', 'n-tsl'] if row == 'tsl' else [f'n-{row}' if row else 'n']
    folders = sorted((tmp_path / 'output' / 'train').glob('n*/'))
    assert [folder.name for folder in folders] == names
    for folder in folders:
        (epoch,) = summary(folder)
        assert np.isfinite(epoch['train_loss'])
        assert load(folder / 'last.pth.tar')['epoch'] == 0


RECORD = """
import json, os, sys
if 'RANK' in os.environ:  # a worker that torchrun started
    import torch
    from timm import utils
    reduced, wrapped = [], []
    reduce, init, destroy = utils.reduce_tensor, torch.nn.parallel.DistributedDataParallel.__init__, None

    def record_reduced(tensor, n):
        value = reduce(tensor, n)
        reduced.append(value.item() if value.numel() == 1 else None)
        return value

    def record_wrapped(self, *args, **kwargs):
        init(self, *args, **kwargs)
        wrapped.append(self)

    def record_end(*args, **kwargs):
        state = {k: v.double().sum().item() for k, v in wrapped[0].module.state_dict().items()}
        with open(f"{os.environ['RECORD']}/rank-{os.environ['RANK']}.json", 'w') as f:
            json.dump({'reduced': reduced, 'state': state}, f)
        return destroy(*args, **kwargs)

    utils.reduce_tensor = utils.distributed.reduce_tensor = record_reduced
    torch.nn.parallel.DistributedDataParallel.__init__ = record_wrapped
    destroy, torch.distributed.destroy_process_group = torch.distributed.destroy_process_group, record_end
"""


@pytest.fixture
def recorded(tmp_path):
    """Variables with which every rank of a training leaves what it knew at its end, and a function that reads it."""
    (tmp_path / 'hook').mkdir()
    (tmp_path / 'hook' / 'sitecustomize.py').write_text(RECORD)
    (tmp_path / 'record').mkdir()

    def read():
        return [json.loads(path.read_text()) for path in sorted((tmp_path / 'record').iterdir())]

    return dict(PYTHONPATH=str(tmp_path / 'hook'), RECORD=str(tmp_path / 'record')), read


def check_two_ranks(ranks, folder):
    assert len(ranks) == 2
    first, second = ranks
    assert len(first['reduced']) >= 4  # the loss of the epoch, and loss and accuracies of the validation
    assert first['reduced'] == second['reduced']
    assert first['state'] == second['state']  # weights, BatchNorm's statistics, centers
    assert first['state']['criterion.center.centers'] != 0
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert len(list(folder.glob('last.pth.tar'))) == 1
    state = load(folder / 'last.pth.tar')
    assert state['state_dict']['fc.weight'].double().sum().item() == first['state']['model.fc.weight']


@pytest.mark.slow
def test_two_devices(scripts, few_digits, tmp_path, recorded):
    """GPUS=2 on the CPU, with gloo: both processes end with the same losses and weights, and write one run."""
    env, read = recorded
    flags = [*tiny('dsk_resnext50_32x4d'), '-b', 20, '--experiment', 'two']
    done = recipe('dsk_resnext50_32x4d_pcl_center', few_digits, *flags, cwd=tmp_path, GPUS='2', **env)
    check_two_ranks(read(), tmp_path / 'output' / 'train' / 'two')
    update = 'each update: 40 images (20 × 2 devices), learning rate 0.00390625, scaled linearly from 0.1 for 1,024'
    assert done.stderr.count(update) == 1
    assert summary(tmp_path / 'output' / 'train' / 'two')[0]['lr'] == pytest.approx(0.1 * 40 / 1024)


def start_two_machines(name, *args, cwd, **env):
    """Start a recipe as on two machines with a device each, and return what both print."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    nodes = [
        subprocess.Popen(
            [FOLDER / f'{name}.sh', *map(str, args)],
            cwd=cwd,
            env=environment(NNODES='2', NODE_RANK=str(rank), RDZV_ENDPOINT=f'127.0.0.1:{port}', **env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in (1, 0)
    ]
    outputs = [node.communicate(timeout=400) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    return outputs[::-1]


@pytest.mark.slow
def test_two_machines(few_digits, tmp_path, recorded, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    env, read = recorded
    flags = [*tiny('dsk_resnext50_32x4d'), '-b', 20, '--experiment', 'two']
    (out0, err0), (out1, err1) = start_two_machines(
        'dsk_resnext50_32x4d_pcl_center', few_digits, *flags, cwd=tmp_path, **env
    )
    check_two_ranks(read(), tmp_path / 'output' / 'train' / 'two')
    assert '40 images (20 × 2 devices)' in err0
    assert 'Best top-1' in out0
    assert out1 == ''
    assert 'images' not in err1  # the second one has nothing to say


@pytest.mark.slow
def test_tree_of_two_machines(few_digits, tmp_path, monkeypatch):
    """The second machine waits for the tree that the first one makes."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    (out0, _), (out1, _) = start_two_machines(
        'effnet_tsl', few_digits, *tiny('effnet_tsl', 'tsl'), '-b', 20, cwd=tmp_path, NAME='t'
    )
    assert out0.count('Best top-1') == 2
    assert 't-tsl-tree.json: 10 classes' in out0
    assert out1 == ''
    state = load(tmp_path / 'output' / 'train' / 't-tsl' / 'last.pth.tar')['task_state']['criterion']
    tree = ClassHierarchy.load(tmp_path / 'output' / 'train' / 't-tsl-tree.json')
    assert tuple(state['tree.parents'].tolist()) == tree.parents


@pytest.mark.slow
def test_kims_row_with_test_time_augmentation(few_digits, tmp_path, monkeypatch, quick_python):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = [*tiny('effnet_b7_fcl'), '--experiment', "the 'run'"]
    done = recipe('effnet_b7_fcl', few_digits, *flags, PYTHON=quick_python, cwd=tmp_path, TTA='2')
    folder = tmp_path / 'output' / 'train' / "the 'run'"
    plain, tta = (np.load(folder / f'{name}.npz')['scores'] for name in ('scores', 'scores-tta'))
    assert plain.shape == tta.shape == (40, 10)
    assert not np.allclose(plain, tta)
    assert done.stdout.count('top-1') == 3  # of the training and of both predictions


@pytest.mark.slow
def test_final_stage_of_kim(few_digits, tmp_path, monkeypatch, quick_python):
    """It trains on all images, measures nothing, and predicts the images of TEST from a flat folder."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    (tmp_path / 'test').mkdir()
    for i, path in enumerate(few_digits.glob('validation/*/*.png')):
        shutil.copy(path, tmp_path / 'test' / f'{i}.png')
    env = dict(PYTHON=quick_python, FINAL='1', TEST='test', NAME='f')
    done = recipe('effnet_b3_fcl', few_digits, *tiny('effnet_b3_fcl'), cwd=tmp_path, **env)
    assert '120 images  10 classes  12 in each' in done.stderr
    (epoch,) = summary(tmp_path / 'output' / 'train' / 'f')
    assert np.isfinite(epoch['train_loss']) and 'eval_top1' not in epoch
    with np.load(tmp_path / 'output' / 'train' / 'f' / 'scores.npz') as scores:
        assert scores['scores'].shape == (40, 10) and 'targets' not in scores


@pytest.mark.slow
def test_tuned_baseline(few_digits, tmp_path, monkeypatch, quick_python):
    """It searches on the training images alone, and trains on all of them with what was best."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = ['--model', 'test_efficientnet', '--model-kwargs', *TINY, '-b', 10, '--opt', 'adamw']
    env = dict(LRS='0.0001 3', WDS='0.01', TUNE_SEEDS='1', NAME='b')
    done = recipe('baseline_tuned', few_digits, *flags, PYTHON=quick_python, cwd=tmp_path, TUNE_EPOCHS='3', **env)
    train = tmp_path / 'output' / 'train'
    splits = {name: sorted((train / 'b-search' / 'data' / name).rglob('*.png')) for name in ('train', 'validation')}
    assert {name: len(files) for name, files in splits.items()} == {'train': 60, 'validation': 20}
    assert all(file.resolve().is_relative_to(few_digits / 'train') for files in splits.values() for file in files)
    with open(train / 'b-search' / 'runs' / 'table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    best = max(rows, key=lambda row: float(row['top1']))
    assert f'Best of 2: {best["row"]}' in done.stdout
    lr = float(best['row'].split()[2])
    assert summary(train / 'b')[0]['lr'] == pytest.approx(lr * (10 / 1024) ** 0.5)
    assert '80 images  10 classes' in done.stderr


@pytest.mark.slow
def test_recipes_of_predictions_and_ensembles(few_digits, tmp_path, quick_python):
    """From two checkpoints to an ensemble, with names that need quoting."""
    data = tmp_path / "the 'data'"
    shutil.copytree(few_digits, data)
    scores = []
    for i in range(2):
        torch.manual_seed(i)
        weights = tmp_path / f'model {i}.pth'
        torch.save(timm.create_model('test_efficientnet', num_classes=10).state_dict(), weights)
        flags = ['--model', 'test_efficientnet', '--img-size', '32', '--workers', '1']
        recipe('predict_ten_crop', data, weights, *flags, PYTHON=quick_python, cwd=tmp_path)
        scores.append(tmp_path / f'model {i}-ten_crop.npz')
    done = recipe('ensemble_weighted', 'w', scores[0], '--', scores[1], PYTHON=quick_python, cwd=tmp_path)
    assert 'top-1' in done.stdout
    a, b, mean = (np.load(path)['scores'] for path in (*scores, tmp_path / 'w.npz'))
    assert np.allclose(mean, (3 * a + b) / 4, atol=1e-6)
    assert len((tmp_path / 'w-submission.csv').read_text().splitlines()) == 41
    recipe('ensemble_plurality', 'v', *scores, PYTHON=quick_python, cwd=tmp_path)
    with open(tmp_path / 'v.csv', newline='') as file:
        predictions = [int(row['prediction']) for row in csv.DictReader(file)]
    assert predictions == plurality_vote(a, [b], threshold=0.7).tolist()
    lines = dry_run('ensemble_plurality', 'v', *scores, cwd=tmp_path, THRESHOLD='0.5')
    assert lines[0][lines[0].index('--threshold') + 1] == '0.5'
    for name, args in (
        ('predict_ten_crop', ['d']),
        ('ensemble_weighted', ['o']),
        ('ensemble_plurality', ['o', 'b']),
    ):
        done = recipe(name, *args, PYTHON=quick_python, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert 'usage:' in done.stderr


@pytest.mark.slow
def test_quickstart_makes_its_data_and_validates_what_it_trained(scripts, tmp_path, quick_python):
    data = "the digits' folder"
    flags = ['--epochs', 1, '--warmup-epochs', 0, '--img-size', 24, '--experiment', 'q']
    done = recipe('quickstart', data, *flags, PYTHON=quick_python, cwd=tmp_path)
    assert '500 images in train, 1297 in validation' in done.stdout
    top1 = summary(tmp_path / 'output' / 'train' / 'q')[-1]['eval_top1']
    assert result(done.stdout.split('Checkpoint:')[1])['top1'] == pytest.approx(top1, abs=1e-3)
    assert f'Acc@1 {top1:.3f}' in done.stderr


@pytest.mark.slow
def test_effnet_b7_fcl_runs(scripts, few_digits, tmp_path, quick_python):
    flags = '--model efficientnet_b0 --img-size 64 --epochs 1 --experiment b --workers 1 --no-aug'
    recipe('effnet_b7_fcl', few_digits, *flags.split(), PYTHON=quick_python, cwd=tmp_path)
    assert len(summary(tmp_path / 'output' / 'train' / 'b')) == 1


def test_effnet_b3_fcl_lsb_runs_on_a_subset(scripts, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['subset', str(digits / 'validation'), 'data', '--per-class', '10']) == 0
    flags = '--model test_efficientnet --img-size 32 --epochs 1 --experiment b --workers 0'
    (line,) = dry_run('effnet_b3_fcl_lsb', 'data', *flags.split(), cwd=tmp_path)
    assert main(line[3:]) == 0
    assert len(summary(tmp_path / 'output' / 'train' / 'b')) == 1
    err = capsys.readouterr().err
    assert 'LSB swap: 2 low bits from another image, with probability 0.5' in err
    assert '100 images  10 classes  10 in each' in err


@pytest.mark.slow
def test_a_class_called_train(few_digits, tmp_path, monkeypatch, quick_python):
    """The tree's classes are those of the data, not the folders in a class called train."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    data = tmp_path / 'data'
    shutil.copytree(few_digits, data)
    for split in ('train', 'validation'):
        (data / split / '3').rename(data / split / 'train')
    recipe('effnet_tsl', data, *tiny('effnet_tsl', 'tsl'), PYTHON=quick_python, cwd=tmp_path, NAME='t')
    tree = ClassHierarchy.load(tmp_path / 'output' / 'train' / 't-tsl-tree.json')
    assert set(tree.class_names) == {path.name for path in (data / 'train').iterdir()}


@pytest.mark.slow
def test_rows_that_are_finished_resume_at_once(few_digits, tmp_path, monkeypatch, quick_python):
    """`--resume auto` with the same NAME, as after Ctrl-C, trains what is missing and leaves the rest as it is."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = tiny('vipf_table4', '0')
    recipe('vipf_table4', few_digits, *flags, PYTHON=quick_python, cwd=tmp_path, NAME='n', ROW='0')
    folder = tmp_path / 'output' / 'train'
    before = (folder / 'n-0' / 'summary.csv').read_text()
    recipe(
        'vipf_table4', few_digits, *flags, '--resume', 'auto', PYTHON=quick_python, cwd=tmp_path, NAME='n', ROW='0 0.5'
    )
    assert (folder / 'n-0' / 'summary.csv').read_text() == before
    assert len(summary(folder / 'n-0.5')) == 1


@pytest.mark.slow
def test_effnet_tsl_trains_on_the_tree_of_its_baseline(scripts, few_digits, tmp_path, quick_python):
    flags = '--model test_efficientnet --img-size 32 --epochs 1 --warmup-epochs 0 -b 20 --workers 1'.split()
    recipe('effnet_tsl', few_digits, *flags, PYTHON=quick_python, cwd=tmp_path, NAME='two')
    folder = tmp_path / 'output' / 'train'
    tree = ClassHierarchy.load(folder / 'two-tsl-tree.json')
    assert tree == ClassHierarchy.from_checkpoint(folder / 'two-baseline' / 'last.pth.tar', tree.class_names)
    assert tree.class_names == tuple('0123456789')
    state = load(folder / 'two-tsl' / 'last.pth.tar')['task_state']['criterion']
    assert tuple(state['tree.parents'].tolist()) == tree.parents


@pytest.mark.slow
def test_quickstart_reaches_its_accuracy(tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    done = recipe('quickstart', cwd=tmp_path)
    top1 = float(re.findall(r'Acc@1 ([\d.]+)', done.stderr)[-1])
    assert top1 >= 95
    assert (Path(tmp_path) / 'digits' / 'train' / '0').is_dir()
