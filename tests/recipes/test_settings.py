"""Every recipe's flags: those of the papers, and flags that both scripts have; and what is written about them."""

import math
import os
import re
import shutil
import subprocess
import sysconfig
from functools import cache
from itertools import combinations
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.scheduler import create_scheduler_v2, scheduler_kwargs
from torch.utils.flop_counter import FlopCounterMode

from timm_vipriors.recipes import all_recipes, find_recipe
from timm_vipriors.scripts.runner import add_our_options, find_script, load_script

from ..conftest import ROOT
from .running import FOLDER, RECIPES, TRAINING, dry_run, recipe
from .settings import ENSEMBLES, ROWS

OURS = {'quickstart', 'small', 'baseline_tuned', 'ablation_table1', 'kim_ensemble', 'vipf_ensemble'}
PREDICTING = {'predict_ten_crop', 'ensemble_weighted', 'ensemble_plurality'}
# where results go and what they are named, which no paper says
FREE = {'data', 'experiment', 'output', 'hierarchy'}


def test_there_are_recipes():
    assert {p.stem for p in RECIPES} == {name for name, _ in ROWS} | OURS | PREDICTING
    assert {recipe.name for recipe in all_recipes()} == {p.stem for p in RECIPES}


@pytest.mark.parametrize('path', RECIPES, ids=lambda p: p.stem)
def test_every_recipe_says_what_it_is(path):
    text = path.read_text()
    for mark in ('#   ./train_recipes/' + path.name, '# Score:', '# Settings:', '# Time:'):
        assert mark in text
    if path.stem not in ('quickstart', 'small'):
        assert '# Paper:' in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_scores_are_those_of_the_papers():
    for (name, row), expected in ROWS.items():
        recipe = find_recipe(name)
        score = recipe.score(row)
        assert score == expected.score or (math.isnan(score) and expected.score is None), (name, row)
        assert recipe.fields.get('Compare', '') == expected.compare
        assert recipe.fields['Paper'].startswith('Kim, Table 1' if name.endswith('_fcl') or 'lsb' in name else 'VIPF')
    for name, score in ENSEMBLES.items():
        assert find_recipe(name).score() == score


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


def arguments(name, row, parser, cwd):
    """What a script makes of a row's one training."""
    (line,) = (words for words in dry_run(name, 'data', cwd=cwd, **({'ROW': row} if row else {})) if 'train' in words)
    return vars(parser.parse_args(line[line.index('train') + 1 :]))


@pytest.mark.parametrize('name', sorted({name for name, _ in ROWS}))
def test_settings_are_those_of_the_papers(name, parsers, scripts, tmp_path):
    parser = parsers(find_script('train'))
    rows = {row: expected.settings for (recipe_name, row), expected in ROWS.items() if recipe_name == name}
    lines = [line for line in dry_run(name, 'data', cwd=tmp_path) if 'train' in line]
    assert len(lines) == len(rows)  # all rows without ROW
    for line in lines:  # each setting once, as a table has it
        assert len(flags := [word for word in line if word.startswith('--')]) == len(set(flags))
    for row, expected in rows.items():
        args = arguments(name, row, parser, tmp_path)
        assert {key: args[key] for key in expected} == expected
        if scripts == 'bundled':
            changed = {key for key, value in args.items() if value != parser.get_default(key)}
            assert not changed - set(expected) - FREE  # and no flag that nobody asked for


@cache
def of_model(name, **kwargs):
    """What follows from a model: its own data configuration, last BatchNorms and classifier."""
    model = timm.create_model(name, num_classes=10, **kwargs)
    last = [module for name, module in model.named_modules() if name.endswith(('bn3', 'conv3.bn'))]
    values = sorted({float(bn.weight.detach().unique()) for bn in last})
    classifier = model.get_classifier()
    return model.pretrained_cfg, dict(
        last_batchnorm=values, classifier=(type(classifier).__name__, classifier.in_features)
    )


def configuration(args):
    """All that a training comes to: its arguments, and what follows from them and the model that nobody passed."""
    config, more = of_model(args['model'], drop_rate=args['drop'], global_pool=args['gp'], **args['model_kwargs'])
    settings = {key: value for key, value in args.items() if key not in FREE}
    settings |= resolve_data_config(args, pretrained_cfg=config) | more
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    _, settings['epochs'] = create_scheduler_v2(optimizer, **scheduler_kwargs(SimpleNamespace(**args)))
    return settings


def test_rows_of_table_1_differ_in_what_they_are_named_for(parsers, scripts, tmp_path):
    """The whole configuration, compared pairwise: also crop_pct, interpolation, initial values and epochs."""
    parser = parsers(find_script('train'))
    names = [name for name, _ in ROWS][:7]
    rows = {name: configuration(arguments(name, '', parser, tmp_path)) for name in names}
    for a, b in combinations(names, 2):
        keys = {key for key in {**rows[a], **rows[b]} if rows[a].get(key) != rows[b].get(key)}
        assert keys <= {'model', 'criterion', 'criterion_kwargs'}, (a, b)
        if a.startswith('dsk'):
            assert 'model' not in keys
        elif not b.startswith('dsk'):
            assert keys == {'model'}
        assert keys
    assert {(row['crop_pct'], row['epochs'], *row['last_batchnorm']) for row in rows.values()} == {(0.875, 360, 0.0)}


def test_tables_4_and_5_begin_with_one_setting(parsers, tmp_path, monkeypatch):
    """The baselines of Tables 4 and 5 are one setting at two lengths, and Table 5's rows are one step away from it."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    parser = parsers(find_script('train'))

    def row(name, row):
        return {k: v for k, v in arguments(name, row, parser, tmp_path).items() if k not in FREE}

    baseline = row('vipf_table5', 'baseline')
    assert {k for k, v in row('vipf_table4', '0').items() if v != baseline[k]} == {'epochs'}
    for name, changed in (('dual-pool', {'gp'}), ('dropout-0.4', {'drop'}), ('all', {'gp', 'drop', 'smoothing'})):
        assert {k for k, v in row('vipf_table5', name).items() if v != baseline[k]} == changed


def test_what_no_flag_says(parsers, scripts, tmp_path):
    """Epochs that are really run, and how images are evaluated, by timm's configuration of the network too."""
    parser, optimizer = parsers(find_script('train')), torch.optim.SGD([torch.zeros(1)], lr=0.1)
    for (name, row), (expected, *_) in ROWS.items():
        args = arguments(name, row, parser, tmp_path)
        assert create_scheduler_v2(optimizer, **scheduler_kwargs(SimpleNamespace(**args)))[1] == expected['epochs']
        assert resolve_data_config(args, timm.get_pretrained_cfg(args['model']).to_dict()) == dict(
            input_size=(3, expected['img_size'], expected['img_size']),
            interpolation='bilinear' if args['model'] == 'resnest101e' else 'bicubic',
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            crop_pct=expected['crop_pct'],
            crop_mode='center',
        )
        # of the training
        assert (args['scale'], args['ratio'], args['hflip'], args['vflip']) == ([0.08, 1.0], [3 / 4, 4 / 3], 0.5, 0.0)
        assert args['train_interpolation'] == 'random' and not args['initial_checkpoint']
        assert not args.get('pretrained')


def test_loss_of_table_3(tmp_path):
    """Both readings: the paper does not say."""
    for loss in ('ce', 'pcl+center'):
        (line,) = dry_run('vipf_table3', 'd', cwd=tmp_path, ROW='50-224', LOSS=loss)
        assert line[line.index('--criterion') + 1] == loss


def test_ten_crops_of_every_row_are_ten(parsers, tmp_path, monkeypatch):
    """timm's configuration for some networks has crop_pct 1, where crops coincide."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    for name, row in ROWS:
        assert arguments(name, row, parsers(find_script('train')), tmp_path)['crop_pct'] < 1


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


FINAL = sorted({name for name, row in ROWS if row in ('tsl', '50-224') or name.startswith('effnet')})


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


@pytest.mark.slow
def test_shellcheck():
    """No remark at all, on recipes and on what they source."""
    shellcheck = shutil.which('shellcheck', path=os.pathsep.join([sysconfig.get_path('scripts'), os.environ['PATH']]))
    files = sorted(FOLDER.glob('*.sh'))
    done = subprocess.run([shellcheck, *files], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ''


def cost(name, size):
    """Millions of parameters, and billions of multiply-adds of an image in training."""
    model = timm.create_model(name, num_classes=1000, device='meta').train()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(4, 3, size, size, device='meta'))
    return sum(p.numel() for p in model.parameters()) / 1e6, counter.get_total_flops() / 2 / 4 / 1e9


def readme_table():
    """Variable, its value, recipe, score, parameters, multiply-adds, pixels, epochs, images and compute of each row."""
    return re.findall(
        r'^\| `(?:(\w+)=(\S+) )?(\w+)` \| .+ \| ([\d.–]+) \| – \| ([\d.]+) M \| ([\d.]+) G \| (\d+) \| (\d+) '
        r'\| ([\d,]+) \| ([\d,]+) \|$',
        (FOLDER / 'README.md').read_text(),
        re.MULTILINE,
    )


def test_readme_of_the_recipes():
    """It has every recipe and row, with the scores and settings of the papers."""
    text, table = (FOLDER / 'README.md').read_text(), readme_table()
    assert {(name, value if variable == 'ROW' else '') for variable, value, name, *_ in table} == set(ROWS)
    kim = {name for name, _ in ROWS if name.startswith('effnet') and 'tsl' not in name}
    assert {name for variable, _, name, *_ in table if variable == 'TTA'} == kim  # all ten rows of Kim's Table 1
    assert len(table) == len(ROWS) + len(kim)
    for variable, value, name, score, *_, size, epochs, images, _ in table:
        row = ROWS[name, value if variable == 'ROW' else '']
        assert score == ('–' if row.score is None or variable == 'TTA' else f'{row.score:.2f}')
        assert (int(size), int(epochs)) == (row.settings['img_size'], row.settings['epochs'])
        assert images == ('100,000' if name in kim else '95,000' if name in FINAL else '50,000')
    for name in OURS | PREDICTING:
        assert f'| `{name}` |' in text
    for score in ENSEMBLES.values():
        assert f'{score:.2f}' in text


@pytest.mark.slow
def test_costs_in_the_readme_of_the_recipes():
    costs = cache(cost)
    for variable, value, name, _, millions, billions, size, epochs, images, compute in readme_table():
        settings = ROWS[name, value if variable == 'ROW' else ''].settings
        expected = costs(settings['model'], int(size))
        assert (millions, billions) == (f'{expected[0]:.1f}', f'{expected[1]:.2f}'), name
        assert compute == f'{6 * expected[1] * int(images.replace(",", "")) * int(epochs) / 1e6:,.0f}', name


@pytest.mark.parametrize('path', RECIPES, ids=lambda p: p.stem)
def test_help_lists_the_variables(path, tmp_path):
    done = recipe(path, '--help', cwd=tmp_path)
    listed = set(re.findall(r'^  ([A-Z_]+)=', done.stdout, re.MULTILINE))
    text = '\n'.join(file.read_text() for file in (path, *find_recipe(str(path)).sourced()) if file.name != 'common.sh')
    used = set(re.findall(r'\$\{([A-Z][A-Z_]+):[-+]', text)) - {'NODE_RANK', 'NNODES', 'CUDA_VISIBLE_DEVICES'}
    for call, variable in (('choose_rows ', 'ROW'), ('$(run_name', 'NAME'), ('\nrun ', 'GPUS')):
        used |= {variable} if call in text else set()
    assert used - listed == set()
    assert listed >= {'DRY_RUN', 'PYTHON'}
    assert done.stdout.startswith(path.read_text().splitlines()[1][2:])
    assert all(len(line) <= 120 for line in done.stdout.splitlines())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'sentence', ['could not be read', 'one GPU in the paper', 'Fig. 2', 'before the training;', 'LSB swap helps']
)
def test_sentences_that_the_papers_do_not_say(sentence):
    """They stood here once, or are what nobody may claim."""
    for path in FOLDER.iterdir():
        assert sentence not in path.read_text(), path
