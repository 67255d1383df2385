"""`timm-vipriors run`"""

import argparse
import os
import sys
from pathlib import Path

from ..errors import UserError
from .common import add_parser

_DESCRIPTION = """Run a script of timm, or one of your own, as `python SCRIPT …` would, with our models registered. The
script stays as it is, what follows its name goes to it, and its exit code is the command's. For training and
validation there are `timm-vipriors train` and `validate`, which plug in the losses too."""

_EXAMPLES = [
    'export TIMM_SCRIPTS=~/pytorch-image-models',
    'timm-vipriors run benchmark.py --model dsk_resnext50_32x4d --bench inference \\\n    --reparam --device cpu -b 16',
    'timm-vipriors run onnx_export dsk.onnx --model dsk_resnext50_32x4d \\\n    --checkpoint last.pth.tar',
    'timm-vipriors run avg_checkpoints --help',
    'timm-vipriors run my_script.py DATA',
]


def add(commands: argparse._SubParsersAction) -> None:
    text = 'run any script of timm, such as its benchmark.py, with our models registered'
    parser = add_parser(commands, 'run', help=text, description=_DESCRIPTION, examples=_EXAMPLES)
    script_help = 'path of a script, or the name of one in $TIMM_SCRIPTS, with or without .py'
    parser.add_argument('script', metavar='SCRIPT', help=script_help)
    parser.add_argument('args', nargs=argparse.REMAINDER, metavar='ARGS …', help="the script's arguments")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import runpy
    from unittest import mock

    path = find_script(args.script)  # the import of this package has registered the models
    # At the end of the path, where Python itself would put it at the beginning: a checkout of timm has a folder timm,
    # which must not win over the installed one. Worker processes are given this path too.
    path_with_siblings = [*sys.path, os.path.dirname(os.path.abspath(path))]
    with mock.patch.object(sys, 'argv', [path, *args.args]), mock.patch.object(sys, 'path', path_with_siblings):
        try:
            runpy.run_path(path, run_name='__main__')
        except AssertionError as e:  # of benchmark.py --bench profile
            if 'fvcore needs to be installed' not in str(e):
                raise
            raise UserError(
                f'{args.script} counts operations with fvcore, which is not installed: pip install fvcore'
            ) from e
    return 0


def find_script(name: str) -> str:
    """The path of a script: a file, or what `$TIMM_SCRIPTS` has under that name."""
    if os.path.isfile(name):
        return name
    if os.path.dirname(name):
        raise UserError(f'there is no file {name}')
    checkout = os.environ.get('TIMM_SCRIPTS')
    if not checkout:
        raise UserError(
            f'there is no file {name} here, and TIMM_SCRIPTS is not set: give the path of a script, or point the '
            'variable at a checkout of pytorch-image-models'
        )
    stem = name.removesuffix('.py')
    if not os.path.isfile(os.path.join(checkout, f'{stem}.py')):
        scripts = ', '.join(sorted(path.stem for path in Path(checkout).glob('*.py')))
        raise UserError(f'TIMM_SCRIPTS is {checkout!r}, which has no {stem}.py; its scripts: {scripts or "none"}')
    from ..scripts.runner import find_script as find_in_checkout

    return str(find_in_checkout(stem))  # warns of a checkout of another version
