"""`timm-vipriors recipe`: what there is, shown, copied and run; from a checkout and from a wheel."""

import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from timm_vipriors.cli import main
from timm_vipriors.recipes import Recipe, all_recipes, catalogue, find_recipe, recipes_folder

from ..conftest import ROOT
from .running import FOLDER, RECIPES, start


def test_recipes_are_those_of_the_folder():
    assert recipes_folder() == FOLDER
    assert [recipe.path for recipe in all_recipes()] == RECIPES


def test_reading_a_head(tmp_path):
    path = tmp_path / 'mine.sh'
    path.write_text(
        '#!/usr/bin/env bash\n# A title.\n#\n#   ./train_recipes/mine.sh DATA [flags]\n#\n# Paper:    one line\n'
        '#           and another\n# Note: of a word with a space\n# Time:     long\n# not of it\n\n# Later:   no\n'
    )
    recipe = Recipe.read(path)
    assert (recipe.name, recipe.title, recipe.usage) == ('mine', 'A title.', 'DATA [flags]')
    assert recipe.fields == {'Paper': 'one line and another', 'Note': 'of a word with a space', 'Time': 'long'}
    path.write_text('#!/bin/sh\necho\n')
    assert Recipe.read(path).fields == {}


def test_finding_one(tmp_path, monkeypatch):
    assert find_recipe('quickstart') == find_recipe('quickstart.sh')
    assert find_recipe(str(FOLDER / 'quickstart.sh')).path == FOLDER / 'quickstart.sh'
    for name, sentence in (
        ('quikstart', 'did you mean quickstart'),
        ('zzz', '`timm-vipriors recipe list` shows'),
        ('', 'recipe list'),
        ('common', 'there is no recipe'),
        (str(tmp_path / 'no.sh'), 'there is no recipe'),
    ):
        with pytest.raises(catalogue.UserError, match=sentence):
            find_recipe(name)
    monkeypatch.setattr(catalogue, '__file__', str(tmp_path / 'package' / 'recipes' / 'catalogue.py'))
    with pytest.raises(catalogue.UserError, match='missing from this installation'):
        recipes_folder()
    (tmp_path / 'package' / 'train_recipes').mkdir(parents=True)
    (tmp_path / 'package' / 'train_recipes' / 'common.sh').write_text('')
    assert recipes_folder() == tmp_path / 'package' / 'train_recipes'  # as in a wheel


def test_what_they_source():
    assert {path.name for path in find_recipe('effnet_tsl').sourced()} == {'vipf_tree.sh', 'vipf.sh', 'common.sh'}
    assert [path.name for path in find_recipe('quickstart').sourced()] == ['common.sh']
    shared = {path for recipe in all_recipes() for path in recipe.sourced()}
    assert shared | set(RECIPES) == set(FOLDER.glob('*.sh'))


def test_list_and_show(capsys):
    assert main(['recipe', 'list']) == 0
    out = capsys.readouterr().out
    for path in RECIPES:
        assert f'\n{path.stem} ' in f'\n{out}'
    assert 'VIPF, Table 1, DSK-ResNeXt50_32x4d + PCL' in ' '.join(out.split())
    assert f'{len(RECIPES)} recipes' in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(['recipe', 'show', 'effnet_b7_fcl']) == 0
    assert capsys.readouterr().out == (FOLDER / 'effnet_b7_fcl.sh').read_text()
    assert main(['recipe', 'show', 'nothing']) == 2
    assert 'timm-vipriors recipe: error: there is no recipe' in capsys.readouterr().err


def test_copy_runs_as_it_is(tmp_path, capsys):
    """A copy works without the package's folder; what somebody changed in it is not lost."""
    folder = tmp_path / 'my recipes'
    assert main(['recipe', 'copy', 'effnet_tsl', str(folder)]) == 0
    out = capsys.readouterr().out
    assert f'Run it: {folder}/effnet_tsl.sh DATA [flags of timm-vipriors train …]' in out
    names = {'effnet_tsl.sh', 'vipf_tree.sh', 'vipf.sh', 'common.sh'}
    assert {path.name for path in folder.iterdir()} == names
    env = {**os.environ, 'DRY_RUN': '1', 'PYTHON': 'python'}
    done = subprocess.run([folder / 'effnet_tsl.sh', 'd'], cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.stdout.count('python -m timm_vipriors train d') == 2

    assert main(['recipe', 'copy', 'vipf_table3', str(folder)]) == 0  # shares what is there
    assert capsys.readouterr().out.splitlines()[:-1] == [str(folder / 'vipf_table3.sh')]
    (folder / 'vipf.sh').write_text('# mine\n')
    assert main(['recipe', 'copy', 'vipf_table4', str(folder)]) == 2
    assert 'vipf.sh exists with other content' in capsys.readouterr().err
    assert not (folder / 'vipf_table4.sh').exists()
    assert (folder / 'vipf.sh').read_text() == '# mine\n'
    assert main(['recipe', 'copy', 'vipf_table4', str(folder), '--force']) == 0
    assert (folder / 'vipf.sh').read_bytes() == (FOLDER / 'vipf.sh').read_bytes()
    assert main(['recipe', 'copy', 'vipf_table4', str(folder / 'vipf.sh')]) == 2
    assert 'File exists' in capsys.readouterr().err


def test_run_passes_arguments_and_exit_codes_on(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv('DRY_RUN', '1')
    monkeypatch.delenv('PYTHON', raising=False)
    assert main(['recipe', 'run', 'resnext50_32x4d', "a 'folder'", '--epochs', '3', '--help']) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"{sys.executable} -m timm_vipriors train a\\ \\'folder\\' ")
    assert out.rstrip().endswith('--epochs 3 --help')
    assert main(['recipe', 'run', 'resnext50_32x4d']) == 2
    assert 'usage:' in capfd.readouterr().err
    mine = tmp_path / 'mine.sh'
    mine.write_text('exit 7\n')
    assert main(['recipe', 'run', str(mine)]) == 7
    monkeypatch.setenv('PATH', str(tmp_path))
    assert main(['recipe', 'run', 'resnext50_32x4d', 'd']) == 2
    assert 'there is no bash' in capfd.readouterr().err


WAIT = """#!/usr/bin/env bash
# Waits.
#
#   ./train_recipes/wait.sh DATA
{field}
trap 'exit 1' INT
touch "started-$NAME"
while true; do sleep 0.1; done
"""


@pytest.mark.slow
@pytest.mark.parametrize('field', ['#', '# Resume:   the same command'])
def test_interrupting_a_recipe(field, tmp_path):
    """It ends with 130, and its last line is what resumes the run."""
    (tmp_path / 'wait.sh').write_text(WAIT.format(field=field))
    words = ['recipe', 'run', './wait.sh', 'my data', '--epochs', '3']
    process = start(*words, cwd=tmp_path, start_new_session=True)
    while not (started := list(tmp_path.glob('started-*'))):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    name = started[0].name.removeprefix('started-')
    again = 'the same command resumes it'
    if field == '#':
        again = f'the same command with NAME={name} before it and --resume auto at its end resumes it'
    assert err == f'timm-vipriors recipe: interrupted; {again}\n'


@pytest.mark.slow
def test_the_wheel_carries_them(tmp_path):
    """Build it as pip does, and run a recipe out of it, unpacked to a folder of its own."""
    line = [sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', str(tmp_path), str(ROOT)]
    subprocess.run(line, check=True, capture_output=True)
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    package = tmp_path / 'site' / 'timm_vipriors'
    assert {p.name for p in package.joinpath('train_recipes').iterdir()} == {p.name for p in FOLDER.iterdir()}
    code = (
        'import timm_vipriors.recipes as r, sys; from timm_vipriors.cli import main; print(r.recipes_folder()); '
        'sys.stdout.flush(); sys.exit(main(["recipe", "run", "effnet_b7_fcl", "d"]))'
    )
    env = {**os.environ, 'PYTHONPATH': str(tmp_path / 'site'), 'DRY_RUN': '1'}
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    folder, command = done.stdout.splitlines()
    assert folder == str(package / 'train_recipes')
    assert '--model efficientnet_b7' in command
