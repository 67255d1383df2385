"""An ablation before it starts: what would be run, and what is refused."""

import shlex

import pytest

from timm_vipriors.cli import main
from timm_vipriors.recipes.ablation import plan_trainings


def test_plan(fake, data, out):
    rows = [fake, f"{fake} --note 'two words'"]
    trainings = plan_trainings(data, rows, [1, 2], out, ['--epochs', '5'])
    assert [(t.row, t.seed) for t in trainings] == [(rows[0], 1), (rows[1], 1), (rows[0], 2), (rows[1], 2)]
    command = trainings[3].command
    own = ('--note', 'two words', '--seed', '2', '--output', str(out), '--experiment', trainings[3].folder.name)
    assert command[2:] == [data, '--epochs', '5', *own]  # a row's own flags win
    assert len({t.folder for t in trainings}) == 4
    assert not out.exists()
    assert len(plan_trainings(data, rows, [1, 2, 3], out, ['--epochs', '5'])) == 6


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
        (dict(rows=['FINAL=1 TEST=/ effnet_b4_fcl']), 'measures no accuracy, as it has no validation split'),
        (dict(flags=['--seed', '3']), '--seed is set for every run of an ablation'),
        (dict(flags=['--resume', 'x']), '--resume is set'),
        (dict(flags=['--experiment', 'x']), '--experiment is set'),
        (dict(seeds='0'), '--seeds: expected a number in 1 … 10,000'),
        (dict(jobs='0'), '--jobs: expected a number in 1 … 1,000, got 0'),
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
            ['-m', 'resnet18'],
            "the rows 'resnext50_32x4d' and 'dsk_resnext50_32x4d' are the same run with -m resnet18 for all rows: "
            'leave out what makes them so',
        ),
        (['resnext50_32x4d', 'resnext50_32x4d --epoch=9'], ['--epochs', '9'], 'are the same run with --epochs 9'),
        (['dsk_resnext50_32x4d', 'dsk_resnext50_32x4d_pcl'], ['--criterion', 'ce'], 'same run with --criterion ce'),
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


def test_flags_of_other_commands_are_still_checked(capsys):
    with pytest.raises(SystemExit):
        main(['demo-data', 'x', '--nonsense'])
    assert 'unrecognized arguments: --nonsense' in capsys.readouterr().err
