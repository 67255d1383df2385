"""The command lines that recipes make of their arguments and variables."""

import re

import pytest

from timm_vipriors.scripts.runner import find_script

from .running import TRAINING, dry_run, recipe
from .settings import FINAL, ROWS


@pytest.mark.parametrize(
    ('tree', 'made'),
    [
        ('', ['induce', 'output/train/n-baseline/last.pth.tar', '--classes', 'd']),
        ('induced', ['induce', 'output/train/n-baseline/last.pth.tar', '--classes', 'd']),
        ('wordnet', ['wordnet', 'd']),
        ('mine.json', None),
    ],
)
def test_trees_of_table_2(tmp_path, tree, made):
    lines = dry_run('effnet_b5_tsl', 'd', cwd=tmp_path, NAME='n', **({'TREE': tree} if tree else {}))
    file = 'output/train/n-tsl-tree.json' if made else tree
    assert [line[line.index('hierarchy') + 1 :] for line in lines if 'hierarchy' in line] == (
        [[*made, '-o', file, '--force']] if made else []
    )
    assert lines[-1][lines[-1].index('--hierarchy') + 1] == file


@pytest.mark.parametrize('path', [p for p in TRAINING if p.stem != 'baseline_tuned'], ids=lambda p: p.stem)
def test_every_training_recipe_keeps_the_rules(path, tmp_path):
    data = "my $(touch hacked) 'data'"
    (tmp_path / data).mkdir()
    ours = ['--epochs', '7', '--opt', 'lion']
    for line in dry_run(path, data, *ours, cwd=tmp_path):
        if 'train' not in line and 'ablation' not in line:
            continue
        assert line[1:3] == ['-m', 'timm_vipriors']
        assert line[4] == data
        end = len(line)
        if path.stem.endswith('_tsl') or path.stem.startswith('vipf_table'):
            end = line.index('--experiment')  # several trainings need their names
        assert line[end - 4 : end] == ours  # last, so they win
    assert [p.name for p in tmp_path.iterdir()] == [data]


def test_final_stage(parsers, tmp_path, monkeypatch):
    """Training and validation images together, merged first; all else as it was."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    parser = parsers(find_script('train'))
    assert len(FINAL) == 11
    for name in FINAL:
        kim = name.endswith(('_fcl', '_lsb'))
        folder = f'output/train/data-final-{"kim" if kim else "vipf"}'
        merge, *lines = dry_run(name, 'data', cwd=tmp_path, FINAL='1', NAME='n', TEST='images')
        kept = ['--splits', 'train=100%'] if kim else ['--reserve', '10%']
        assert merge[3:] == ['subset', 'data/train', 'data/validation', folder, *kept]
        plain = [line for line in dry_run(name, 'data', cwd=tmp_path, NAME='n') if 'train' in line]
        trains = [line for line in lines if 'train' in line]
        assert len(trains) == len(plain)
        for line, other in zip(trains, plain, strict=True):
            args, before = (vars(parser.parse_args(words[words.index('train') + 1 :])) for words in (line, other))
            changed = {'data': folder} | ({'val_split': ''} if kim else {})
            assert args == before | {key: changed[key] for key in changed if key in args}
        assert [line[4] for line in lines if 'predict' in line] == (['images'] if kim else [])
        assert all(folder in line for line in lines if 'induce' in line)
    (merge, *_) = dry_run('vipf_table3', '.', '--output', 'my out', cwd=tmp_path, FINAL='1')
    assert merge[6] == f'my out/{tmp_path.name}-final-vipf'
    nodes = dict(NNODES='2', NODE_RANK='1', RDZV_ENDPOINT='first:29500')
    assert all(
        'subset' not in line for line in dry_run(FINAL[0], 'd', cwd=tmp_path, FINAL='1', NAME='n', TEST='t', **nodes)
    )


@pytest.mark.parametrize(
    ('name', 'variables', 'message'),
    [
        ('effnet_b4_fcl', {'FINAL': '1'}, 'FINAL=1 trains on the validation images too: .* TEST=FOLDER'),
        ('kim_ensemble', {'FINAL': '1'}, 'FINAL=1 trains on the validation images too: .* TEST=FOLDER'),
        ('vipf_table4', {'FINAL': '1'}, 'FINAL=1 is not for this recipe'),
        ('effnet_b4_fcl', {'FINAL': '1', 'TEST': 'no'}, 'TEST=no is not there'),
    ],
)
def test_a_final_stage_that_cannot_be(name, variables, message, tmp_path):
    done = recipe(name, 'd', cwd=tmp_path, check=False, **variables)
    assert done.returncode == 2
    assert re.fullmatch(message + '.*\n', done.stderr)
    assert not list(tmp_path.iterdir())


def test_launchers(tmp_path):
    two = dry_run('resnext50_32x4d', 'data', cwd=tmp_path, GPUS='2')[0]
    assert two[1:7] == ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', '-m', 'timm_vipriors']
    nodes = dict(GPUS='8', NNODES='2', NODE_RANK='1', RDZV_ENDPOINT='first:29500')
    many = dry_run('resnext50_32x4d', 'data', cwd=tmp_path, **nodes)[0]
    assert many[3:8] == [
        '--nnodes=2',
        '--node_rank=1',
        '--rdzv_backend=static',
        '--rdzv_endpoint=first:29500',
        '--nproc_per_node=8',
    ]
    one_each = dry_run('resnext50_32x4d', 'data', cwd=tmp_path, **dict(nodes, GPUS='1'))[0]
    assert '--nproc_per_node=1' in one_each
    for missing in ('NODE_RANK', 'RDZV_ENDPOINT'):
        env = {k: v for k, v in nodes.items() if k != missing}
        done = recipe('resnext50_32x4d', 'data', cwd=tmp_path, check=False, **env)
        assert done.returncode == 2
        assert 'NNODES=2 needs NODE_RANK' in done.stderr
    for name in ('effnet_tsl', 'vipf_table4'):
        done = recipe(name, 'data', cwd=tmp_path, check=False, **nodes)
        assert done.returncode == 2
        assert 'the same NAME' in done.stderr
    assert dry_run('effnet_tsl', 'data', cwd=tmp_path, NAME='n', **nodes)[0][-4:-2] == ['--experiment', 'n-baseline']
    # the tree is made once
    lines = dry_run('effnet_tsl', 'data', cwd=tmp_path, NAME='n', **nodes)
    assert [('hierarchy' in line) for line in lines] == [False, False]
    lines = dry_run('effnet_tsl', 'data', cwd=tmp_path, NAME='n', **dict(nodes, NODE_RANK='0'))
    assert [('hierarchy' in line) for line in lines] == [False, True, False]
    done = recipe('baseline_tuned', 'data', cwd=tmp_path, check=False, **nodes)
    assert done.returncode == 2
    assert 'tune on one machine' in done.stderr


def test_rows_that_there_are_not(tmp_path):
    done = recipe('vipf_table4', 'data', cwd=tmp_path, check=False, ROW='0.3 0.4')
    assert done.returncode == 2
    assert 'ROW=0.4 is not a row of this recipe: choose from 0 0.3 0.5 0.7 1.0' in done.stderr
    assert done.stdout == ''


def test_names_and_outputs_of_several_trainings(tmp_path):
    lines = dry_run('vipf_table3', 'd', '--output', 'o', cwd=tmp_path, NAME='n', ROW='50-320 101-224')
    assert [line[-1] for line in lines] == ['n-50-320', 'n-101-224']
    (line,) = dry_run('vipf_table3', 'd', '--experiment', 'mine', cwd=tmp_path, ROW='50-320')
    assert line[-1] == 'mine'  # of one row it is the run's name
    lines = dry_run('resnest101_tsl', 'd', '--output', 'o', cwd=tmp_path, NAME='n')
    assert lines[1][3:] == 'hierarchy induce o/n-baseline/last.pth.tar --classes d -o o/n-tsl-tree.json --force'.split()
    assert lines[2][-4:] == ['--experiment', 'n-tsl', '--output', 'o']
    assert lines[2][lines[2].index('--hierarchy') + 1] == 'o/n-tsl-tree.json'


def test_test_time_augmentation_of_kim(tmp_path):
    flags = ['--output', 'my out', '--experiment=x']
    lines = dry_run('effnet_b7_fcl', 'd', *flags, cwd=tmp_path, TTA='3')
    assert [line[3] for line in lines] == ['train', 'predict', 'predict']
    assert lines[0][-2:] == ['--experiment', 'x']
    for line in lines[1:]:
        assert line[4:8] == ['d', '--checkpoint', 'my out/x/last.pth.tar', '--ema']
    assert '--tta' not in lines[1]
    assert lines[2][-4:] == ['--tta', 'randaug:3', '-o', 'my out/x/scores-tta.npz']
    named = dry_run('effnet_b3_fcl', 'd', cwd=tmp_path, TTA='3', NAME='n')
    assert named[1][6] == 'output/train/n/last.pth.tar'
    assert len(dry_run('effnet_b7_fcl', 'd', cwd=tmp_path)) == 1


def test_search_of_the_tuned_baseline(tmp_path):
    lines = dry_run('baseline_tuned', 'd', '--epochs', 9, cwd=tmp_path, NAME='n', TUNE_EPOCHS='3', TUNE_SEEDS='2')
    assert [line[3] for line in lines] == ['subset', 'ablation', 'train']
    subset, search, last = lines
    assert subset[4:] == ['d/train', 'output/train/n-search/data', '--splits', 'train=80%,validation=20%']
    rows = search[search.index('--rows') + 1 : search.index('--seeds')]
    assert len(set(rows)) == 12
    assert rows[5] == 'resnext50_32x4d --lr-base 0.3 --weight-decay 5e-4'
    assert search[4] == 'output/train/n-search/data'  # not the validation images
    assert search[search.index('--seeds') + 1] == '2'
    assert search[-4:] == ['--epochs', '9', '--epochs', '3']
    expected = '--epochs 9 --lr-base 0.1 --weight-decay 1e-4 --experiment n --output output/train --resume auto'
    assert last[-12:] == expected.split()
    few = dry_run('baseline_tuned', 'd', cwd=tmp_path, LRS='1 2', WDS='0.1')[1]
    assert few[few.index('--rows') + 1 : few.index('--seeds')] == [
        f'resnext50_32x4d --lr-base {lr} --weight-decay 0.1' for lr in (1, 2)
    ]
    done = recipe('baseline_tuned', 'd', '--lr', '0.1', cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "set LRS='…'" in done.stderr


def test_rows_of_the_ablation(tmp_path):
    line = dry_run('ablation_table1', 'd', '--seeds', 5, '-o', 'mine', cwd=tmp_path)[0]
    rows = line[line.index('--rows') + 1 : line.index('-o')]
    assert rows == [name for name, _ in ROWS][:7]
    assert line[-4:] == ['--seeds', '5', '-o', 'mine']


@pytest.mark.parametrize('path', [p for p in TRAINING if p.stem != 'quickstart'], ids=lambda p: p.stem)
def test_a_recipe_without_data_says_how_it_is_used(path, tmp_path):
    for args in ((), ('--epochs', '1')):
        done = recipe(path, *args, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert 'usage:' in done.stderr
        assert done.stdout == ''
