"""The bundled scripts' arguments of a command line."""

import argparse
import shlex
from pathlib import Path

import timm_vipriors.scripts
from timm_vipriors.scripts.options import ABSENT, add_our_options
from timm_vipriors.scripts.runner import load_script


def parser(name='train'):
    script = load_script(Path(timm_vipriors.scripts.__file__).with_name(f'{name}.py'))
    script.parser.set_defaults(device='cpu')
    if name == 'train':
        add_our_options(script.parser)
    return script.parser


def parse(line, name='train'):
    return argparse.Namespace(**{**ABSENT, **vars(parser(name).parse_args(shlex.split(line)))})
