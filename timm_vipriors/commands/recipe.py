"""Show, copy and run the recipes: the rows of the papers' tables as shell scripts.

They are scripts of plain flags; some are our own.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from itertools import zip_longest

from .common import add_actions

_EXAMPLES = {
    'list': ['timm-vipriors recipe list'],
    'show': ['timm-vipriors recipe show effnet_b7_fcl'],
    'copy': ['timm-vipriors recipe copy effnet_b7_fcl my_recipes'],
    'run': [
        'timm-vipriors recipe run quickstart',
        'timm-vipriors recipe run dsk_resnext50_32x4d DATA --epochs 100',
        'DRY_RUN=1 timm-vipriors recipe run dsk_resnext50_32x4d DATA',
        'GPUS=8 timm-vipriors recipe run effnet_b7_fcl DATA',
    ],
}


def add(commands: argparse._SubParsersAction) -> None:
    add_action = add_actions(commands, 'recipe', __doc__, _EXAMPLES)
    add_action('list', run_list, 'List all recipes by their names.')
    show = add_action('show', run_show, 'Print a recipe as it is.')
    show.add_argument('name', metavar='NAME', help='name of a recipe')
    copy = add_action(
        'copy', run_copy, 'Copy a recipe and the files that it sources into a folder, to change it there.'
    )
    copy.add_argument('name', metavar='NAME', help='name of a recipe')
    copy.add_argument('folder', metavar='DIR', help='folder to copy to; made if it does not exist')
    copy.add_argument('--force', action='store_true', help='overwrite files in DIR')
    text = 'Run a recipe.\n\nWhat follows its name goes to it, and so do variables such as GPUS and DRY_RUN.'
    run = add_action('run', run_recipe, text)
    run.add_argument('name', metavar='NAME', help='name of a recipe, or the path of one of your own')
    run.add_argument('args', nargs=argparse.REMAINDER, metavar='DATA …', help='its arguments, mostly DATA and flags')


def run_list(args: argparse.Namespace) -> int:
    from ..recipes import all_recipes

    recipes = all_recipes()
    width = max(len(recipe.name) for recipe in recipes)
    for recipe in recipes:
        lines = [recipe.title, *filter(None, [recipe.fields.get('Paper')])]
        texts = [line for text in lines for line in textwrap.wrap(text, 78 - width)]
        for name, line in zip_longest([recipe.name], texts, fillvalue=''):
            print(f'{name:{width}}  {line}')
    print(f'{len(recipes)} recipes; `timm-vipriors recipe show NAME` prints one')
    return 0


def run_show(args: argparse.Namespace) -> int:
    from ..recipes import find_recipe

    print(find_recipe(args.name).path.read_text(encoding='utf-8'), end='')
    return 0


def run_copy(args: argparse.Namespace) -> int:
    from ..recipes.catalogue import copy_recipe, find_recipe

    recipe = find_recipe(args.name)
    for path in copy_recipe(recipe, args.folder, args.force):
        print(path)
    print(f'Run it: {os.path.join(args.folder, recipe.path.name)} {recipe.usage}')
    return 0


def run_recipe(args: argparse.Namespace) -> int:
    from ..recipes import find_recipe

    recipe = find_recipe(args.name)
    env = {'PYTHON': sys.executable, **os.environ}
    again = 'the same command resumes it'
    if 'Resume' not in recipe.fields:  # resumed by a name, which must be known
        name = env.setdefault('NAME', f'{recipe.name}-{time.strftime("%Y%m%d-%H%M%S")}-{os.getpid()}')
        again = f'the same command with NAME={shlex.quote(name)} before it and --resume auto at its end resumes it'
    process = subprocess.Popen(recipe.command(*args.args), env=env)
    interrupts: list[int] = []
    # the recipe receives it too, and ends by itself
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt(f'interrupted; {again}')
    return code
