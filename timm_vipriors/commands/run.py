"""Run any script of timm, such as its benchmark.py, with our models registered.

It may also be one of your own. The script stays as it is, runs as by `python SCRIPT …`, what follows its name goes to
it, and its exit code is the command's. For training and validation there are `timm-vipriors train` and `validate`,
which plug in the losses too.
"""

import argparse
import os
import sys

from ..errors import UserError
from .common import add_parser

_EXAMPLES = [
    'export TIMM_SCRIPTS=~/pytorch-image-models',
    'timm-vipriors run benchmark.py --model dsk_resnext50_32x4d --bench inference \\\n    --reparam --device cpu -b 16',
    'timm-vipriors run onnx_export dsk.onnx --model dsk_resnext50_32x4d \\\n    --checkpoint last.pth.tar',
    'timm-vipriors run avg_checkpoints --help',
    'timm-vipriors run my_script.py DATA',
]


def add(commands: argparse._SubParsersAction) -> None:
    parser = add_parser(commands, 'run', run, __doc__, _EXAMPLES)
    script_help = 'path of a script, or the name of one in $TIMM_SCRIPTS, with or without .py'
    parser.add_argument('script', metavar='SCRIPT', help=script_help)
    parser.add_argument('args', nargs=argparse.REMAINDER, metavar='ARGS …', help="the script's arguments")


def run(args: argparse.Namespace) -> int:
    import runpy
    from unittest import mock

    path = find_script(args.script)  # the import of this package has registered the models
    # At the end of the path, where Python itself would put it at the beginning: a checkout of timm has a folder timm,
    # which must not win over the installed one. Worker processes are given this path too.
    path_with_siblings = [*sys.path, os.path.dirname(os.path.abspath(path))]
    with mock.patch.object(sys, 'argv', [path, *args.args]), mock.patch.object(sys, 'path', path_with_siblings):
        runpy.run_path(path, run_name='__main__')
    return 0


def find_script(name: str) -> str:
    """The path of a script: a file, or what `$TIMM_SCRIPTS` has under that name."""
    if os.path.isfile(name):
        return name
    if os.path.dirname(name) or not os.environ.get('TIMM_SCRIPTS'):
        raise UserError(
            f'there is no file {name}: give the path of a script, or with TIMM_SCRIPTS set to a checkout of '
            f'pytorch-image-models the name of one there'
        )
    from ..scripts.runner import find_script as find_in_checkout

    return str(find_in_checkout(name.removesuffix('.py')))  # warns of a checkout of another version
