"""Every recipe's flags against the settings and scores of the papers, with both scripts' parsers."""

import math
from functools import cache
from itertools import combinations
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from timm_vipriors.recipes import find_recipe
from timm_vipriors.scripts.runner import find_script

from .running import dry_run
from .settings import ENSEMBLES, ROWS

# where results go and what they are named, which no paper says
FREE = {'data', 'experiment', 'output', 'hierarchy'}


def test_scores_are_those_of_the_papers():
    for (name, row), expected in ROWS.items():
        recipe = find_recipe(name)
        score = recipe.score(row)
        assert score == expected.score or (math.isnan(score) and expected.score is None), (name, row)
        assert recipe.fields.get('Compare', '') == expected.compare
        assert recipe.fields['Paper'].startswith('Kim, Table 1' if name.endswith('_fcl') or 'lsb' in name else 'VIPF')
    for name, score in ENSEMBLES.items():
        assert find_recipe(name).score() == score


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
