"""Recipes with a data folder whose name a shell would take for something else."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from timm_vipriors.cli import main
from timm_vipriors.data import make_demo_data

from ..recipes.running import FOLDER, RECIPES, environment, recipe

HOSTILE = 'da ta\'s "q" $(touch CANARY) `touch CANARY` ;touch CANARY & * ? [a] \\ $HOME ~ ü\nnew line'
_CHECKPOINT = 'last $(touch CANARY).pth.tar'


def _arguments(path: Path, data: Path) -> list[str]:
    if path.stem == 'predict_ten_crop':
        return [str(data), str(data / _CHECKPOINT)]
    if path.stem == 'ensemble_plurality':
        return [str(data / 'out'), str(data / 'a b.npz'), str(data / '$(touch CANARY).npz')]
    if path.stem.startswith('ensemble_'):
        return [str(data / 'a b.npz'), str(data / '$(touch CANARY).npz')]
    return [str(data)]


@pytest.mark.parametrize('variables', [{}, {'GPUS': '2'}], ids=['one', 'torchrun'])
@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_dry_runs_quote_everything(tmp_path, path, variables):
    """The printed line gives bash back the very words, and nothing in them was run."""
    data = tmp_path / HOSTILE
    for split in ('train', 'validation'):
        (data / split / 'a').mkdir(parents=True)
    arguments = _arguments(path, data)
    done = recipe(path, *arguments, cwd=tmp_path, DRY_RUN='1', **variables)
    words = []
    for line in done.stdout.splitlines():
        if ' -m ' in line:
            script = f'for word in {line}; do printf "%s\\0" "$word"; done'
            printed = subprocess.run(['bash', '-c', script], cwd=tmp_path, capture_output=True, text=True, check=True)
            words += printed.stdout.split('\0')
    assert any(arguments[0] in word for word in words)
    assert all(any(argument in word for word in words) for argument in arguments)
    assert not list(tmp_path.rglob('CANARY'))


def test_flags_and_variables_are_quoted_too(tmp_path):
    hostile = '$(touch CANARY) `touch CANARY` "x" -n'
    for name in ('quickstart', 'vipf_table3', 'resnest101_tsl', 'effnet_b7_fcl', 'baseline_tuned'):
        done = recipe(name, 'data', '--output', hostile, cwd=tmp_path, DRY_RUN='1', NAME=hostile, TTA='2')
        assert any(
            any(hostile in word for word in shlex.split(line)) for line in done.stdout.splitlines() if "$'" not in line
        )
    assert not list(tmp_path.rglob('CANARY'))


@pytest.mark.parametrize('value', ['-n', '-e', '-E x', 'a\\nb', ''])
def test_flag_value_gives_any_value_back(tmp_path, value):
    script = f'source {shlex.quote(str(FOLDER / "common.sh"))}; flag_value default --output x --output "$1" y'
    done = subprocess.run(
        ['bash', '-c', script, 'x', value], env=environment(), text=True, capture_output=True, check=True
    )
    assert done.stdout == f'{value}\n'


def test_recipes_are_copied_to_hostile_folders(tmp_path, capsys):
    folder = tmp_path / HOSTILE
    assert main(['recipe', 'copy', 'quickstart', str(folder)]) == 0
    assert str(folder / 'quickstart.sh') in capsys.readouterr().out
    assert (folder / 'quickstart.sh').read_bytes() == (FOLDER / 'quickstart.sh').read_bytes()
    done = recipe(folder / 'quickstart.sh', cwd=tmp_path, DRY_RUN='1')
    assert 'demo-data digits' in done.stdout
    assert main(['recipe', 'list']) == 0
    assert not list(tmp_path.rglob('CANARY'))


def test_recipe_run_passes_hostile_words_on(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DRY_RUN', '1')
    assert main(['recipe', 'run', 'resnext50_32x4d', HOSTILE]) == 0
    line = capfd.readouterr().out
    printed = subprocess.run(
        ['bash', '-c', f'for word in {line.strip()}; do printf "%s\\0" "$word"; done'], capture_output=True, text=True
    )
    assert HOSTILE in printed.stdout.split('\0')
    assert not list(tmp_path.rglob('CANARY'))


@pytest.mark.slow
def test_a_real_run_in_a_hostile_folder(tmp_path):
    """The quick start on a few digits: data, output and experiment have such names."""
    data = tmp_path / HOSTILE
    make_demo_data(data, per_class=4)
    for folder in (data / 'validation').iterdir():
        for image in sorted(folder.iterdir())[2:]:
            image.unlink()
    flags = ['--epochs', '2', '--warmup-epochs', '0', '--batch-size', '10', '--workers', '0', '--device', 'cpu']
    output = tmp_path / 'out $(touch CANARY)'
    done = recipe('quickstart', data, *flags, '--output', output, '--experiment', 'a `touch CANARY` b', cwd=tmp_path)
    run = output / 'a `touch CANARY` b'
    assert (run / 'last.pth.tar').is_file()
    assert len((run / 'summary.csv').read_text().splitlines()) == 3
    assert '"top1"' in done.stdout
    assert not list(tmp_path.rglob('CANARY'))
    assert os.listdir(tmp_path / HOSTILE)
