"""`timm-vipriors recipe`"""

import argparse
import os
import subprocess
import sys
import textwrap

from ..errors import UserError
from .common import add_parser

_LIST = ['timm-vipriors recipe list']
_SHOW = ['timm-vipriors recipe show effnet_b7_fcl']
_COPY = ['timm-vipriors recipe copy effnet_b7_fcl my_recipes']
_RUN = [
    'timm-vipriors recipe run quickstart',
    'timm-vipriors recipe run dsk_resnext50_32x4d DATA --epochs 100',
    'DRY_RUN=1 timm-vipriors recipe run dsk_resnext50_32x4d DATA',
    'GPUS=8 timm-vipriors recipe run effnet_b7_fcl DATA',
]


def add(commands: argparse._SubParsersAction) -> None:
    recipe = add_parser(
        commands,
        'recipe',
        help="show, copy and run the recipes: the rows of the papers' tables as shell scripts",
        description="The rows of the papers' tables, and some of our own, as shell scripts of plain flags.",
        examples=[*_LIST, *_SHOW, *_COPY, *_RUN],
    )
    actions = recipe.add_subparsers(dest='action', metavar='ACTION', required=True)
    show_all = add_parser(
        actions, 'list', help='list all recipes', description='List all recipes by their names.', examples=_LIST
    )
    show_all.set_defaults(run=run_list)
    show = add_parser(actions, 'show', help='print a recipe', description='Print a recipe as it is.', examples=_SHOW)
    show.add_argument('name', metavar='NAME', help='name of a recipe')
    show.set_defaults(run=run_show)
    copy = add_parser(
        actions,
        'copy',
        help='copy a recipe, to change it',
        description='Copy a recipe and the files that it sources into a folder, to change it there.',
        examples=_COPY,
    )
    copy.add_argument('name', metavar='NAME', help='name of a recipe')
    copy.add_argument('folder', metavar='DIR', help='folder to copy to; made if it is not there')
    copy.add_argument('--force', action='store_true', help='write over files in DIR')
    copy.set_defaults(run=run_copy)
    run = add_parser(
        actions,
        'run',
        help='run a recipe',
        description='Run a recipe. What follows its name goes to it, and so do variables such as GPUS and DRY_RUN.',
        examples=_RUN,
    )
    run.add_argument('name', metavar='NAME', help='name of a recipe, or the path of one of your own')
    run.add_argument(
        'args', nargs=argparse.REMAINDER, metavar='DATA …', help='its arguments, most often DATA and flags'
    )
    run.set_defaults(run=run_recipe)


def run_list(args: argparse.Namespace) -> int:
    from ..recipes import all_recipes

    recipes = all_recipes()
    width = max(len(recipe.name) for recipe in recipes)
    for recipe in recipes:
        print(f'{recipe.name:{width}}  {recipe.title}')
        for line in textwrap.wrap(recipe.fields.get('Paper', ''), 100):
            print(f'{"":{width}}  {line}')
    print(f'{len(recipes)} recipes; `timm-vipriors recipe show NAME` prints one')
    return 0


def run_show(args: argparse.Namespace) -> int:
    from ..recipes import find_recipe

    print(find_recipe(args.name).path.read_text(encoding='utf-8'), end='')
    return 0


def run_copy(args: argparse.Namespace) -> int:
    from ..recipes.catalogue import copy_recipe, find_recipe

    recipe = find_recipe(args.name)
    try:
        paths = copy_recipe(recipe, args.folder, args.force)
    except OSError as e:
        raise UserError(f'{recipe.name} cannot be copied: {e}') from e
    for path in paths:
        print(path)
    print(f'Run it: {os.path.join(args.folder, recipe.path.name)} {recipe.usage}')
    return 0


def run_recipe(args: argparse.Namespace) -> int:
    from ..recipes.catalogue import bash_command, find_recipe

    command = bash_command(find_recipe(args.name), *args.args)
    process = subprocess.Popen(command, env={'PYTHON': sys.executable, **os.environ})
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the recipe has had it too, and ends in its own time
            continue
