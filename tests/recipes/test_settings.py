"""Every recipe's flags: those of the papers, and flags that both scripts have; and what is written about them."""

import os
import re
import shutil
import subprocess
import sysconfig

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from timm_vipriors.recipes import all_recipes
from timm_vipriors.scripts.runner import add_our_options, find_script, load_script

from ..conftest import ROOT
from .running import FOLDER, RECIPES, TRAINING, dry_run, recipe
from .settings import ROWS

OURS = {'quickstart', 'baseline_tuned', 'ablation_table1'}
PREDICTING = {'predict_ten_crop', 'ensemble_weighted', 'ensemble_plurality'}
# where results go and what they are named, which no paper says
FREE = {'data', 'experiment', 'output', 'hierarchy'}


def test_there_are_recipes():
    names = {p.stem for p in RECIPES}
    assert names == {name for name, _ in ROWS} | OURS | PREDICTING
    assert len(names) == 26
    assert len(ROWS) == 31
    assert sum(len(trainings) for trainings in ROWS.values()) == 36


@pytest.mark.parametrize('path', RECIPES, ids=lambda p: p.stem)
def test_every_recipe_says_what_it_is(path):
    text = path.read_text()
    for mark in ('#   ./train_recipes/' + path.name, '# Score:', '# Settings:', '# Time:', 'DRY_RUN=1'):
        assert mark in text
    if path.stem != 'quickstart':
        assert '# Paper:' in text
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.fixture(scope='module')
def parsers():
    """The bundled training script's parser and, where there is a checkout, that of timm's."""
    made = {}

    def parser(path):
        if path not in made:
            made[path] = load_script(path).parser
            add_our_options(made[path])
        return made[path]

    return parser


@pytest.mark.parametrize('name', sorted({name for name, _ in ROWS}))
def test_settings_are_those_of_the_papers(name, parsers, scripts, tmp_path):
    parser = parsers(find_script('train'))
    rows = {row: trainings for (recipe_name, row), trainings in ROWS.items() if recipe_name == name}
    lines = [line for line in dry_run(name, 'data', cwd=tmp_path) if 'train' in line]
    assert len(lines) == sum(len(trainings) for trainings in rows.values())  # all rows without ROW
    for row, trainings in rows.items():
        lines = dry_run(name, 'data', cwd=tmp_path, **({'ROW': row} if row else {}))
        lines = [line[line.index('train') + 1 :] for line in lines if 'train' in line]
        for line, expected in zip(lines, trainings, strict=True):
            args = vars(parser.parse_args(line))
            assert {key: args[key] for key in expected} == expected
            if scripts == 'bundled':
                changed = {key for key, value in args.items() if value != parser.get_default(key)}
                assert not changed - set(expected) - FREE  # and no flag that nobody asked for
            assert timm.is_model(args['model'])


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
    lines = dry_run('resnest101_tsl', 'd', '--output', 'o', cwd=tmp_path, NAME='n')
    assert lines[1][3:] == 'hierarchy induce o/n-baseline/last.pth.tar --classes d/train -o o/n-tsl-tree.json'.split()
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
    assert last[-10:] == '--epochs 9 --lr-base 0.1 --weight-decay 1e-4 --experiment n --output output/train'.split()
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


def test_shellcheck():
    """No remark at all, on recipes and on what they source."""
    shellcheck = shutil.which('shellcheck', path=os.pathsep.join([sysconfig.get_path('scripts'), os.environ['PATH']]))
    files = sorted(FOLDER.glob('*.sh'))
    assert len(files) == 26 + 4
    done = subprocess.run([shellcheck, *files], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ''


def cost(name, size):
    """Millions of parameters, and billions of multiply-adds of an image in training."""
    model = timm.create_model(name, num_classes=1000, device='meta').train()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(4, 3, size, size, device='meta'))
    return sum(p.numel() for p in model.parameters()) / 1e6, counter.get_total_flops() / 2 / 4 / 1e9


def test_readme_of_the_recipes():
    """It has every recipe and row, and its figures are right."""
    text = (FOLDER / 'README.md').read_text()
    table = re.findall(
        r'^\| `(?:(\w+)=(\S+) )?(\w+)` \| .+ \| – \| – \| ([\d.]+) M \| ([\d.]+) G \| (\d+) \| (\d+)(, twice)? \| '
        r'([\d,]+) \|$',
        text,
        re.MULTILINE,
    )
    rows = {(name, value if variable == 'ROW' else '') for variable, value, name, *_ in table}
    assert rows == set(ROWS)
    with_tta = {name for variable, _, name, *_ in table if variable == 'TTA'}
    assert with_tta == {'effnet_b3_fcl', 'effnet_b3_fcl_lsb', 'effnet_b7_fcl'}
    assert len(table) == len(rows) + len(with_tta)
    costs = {}
    for variable, value, name, millions, billions, size, epochs, twice, compute in table:
        settings = ROWS[name, value if variable == 'ROW' else '']
        first = settings[0]
        assert bool(twice) == (len(settings) == 2)
        assert int(size) == first['img_size']
        assert int(epochs) == first['epochs'] + first.get('cooldown_epochs', 0)
        key = first['model'], first['img_size']
        costs[key] = costs.get(key) or cost(*key)
        assert (millions, billions) == (f'{costs[key][0]:.1f}', f'{costs[key][1]:.2f}'), key
        total = 6 * costs[key][1] * 50_000 * int(epochs) * len(settings) / 1e6
        assert compute == f'{total:,.0f}'
    for name in OURS | PREDICTING:
        assert f'| `{name}` |' in text
    assert {recipe.name for recipe in all_recipes()} == {p.stem for p in RECIPES}
