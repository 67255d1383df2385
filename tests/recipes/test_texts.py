"""What is written in and about the recipes: their heads, their help, and the table in their README."""

import os
import re
import shutil
import subprocess
import sysconfig
from functools import cache

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from timm_vipriors.recipes import all_recipes, find_recipe

from ..conftest import ROOT
from .running import FOLDER, RECIPES, recipe
from .settings import ENSEMBLES, FINAL, ROWS

OURS = {'quickstart', 'small', 'baseline_tuned', 'ablation_table1', 'kim_ensemble', 'vipf_ensemble'}
PREDICTING = {'predict_ten_crop', 'ensemble_weighted', 'ensemble_plurality'}


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
