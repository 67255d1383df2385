"""The command `timm-vipriors`: thin subcommands, a function each."""

import argparse
import sys
from collections.abc import Sequence

from . import __version__
from .errors import UserError

SCRIPTS = {
    'train': "train a model: timm's train.py, or the bundled one, with --criterion",
    'validate': "measure a model: timm's validate.py, or the bundled one",
}

_EPILOG = """examples:
  timm-vipriors demo-data digits
  timm-vipriors train digits --model test_dsk_resnext --img-size 32 --batch-size 50 --criterion focal-cosine
  timm-vipriors validate digits --model test_dsk_resnext --img-size 32 --checkpoint output/train/RUN/last.pth.tar
  timm-vipriors train --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, that of the process if None, and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in SCRIPTS:  # its flags and help are the script's own
            from .scripts.runner import run

            return run(argv[0], argv[1:])
        args = _parser().parse_args(argv)
        return args.run(args)
    except UserError as e:
        print(f'timm-vipriors {argv[0]}: error: {e}', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='timm-vipriors',
        description='Train timm models from scratch on small image data sets.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, text in SCRIPTS.items():
        commands.add_parser(name, help=text)
    demo = commands.add_parser(
        'demo-data',
        help="write scikit-learn's digits as an image folder",
        description="Write scikit-learn's 1,797 handwritten digits as an image folder: DIR/train and DIR/validation.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument('dir', metavar='DIR', help='the folder to make')
    demo.add_argument('--per-class', type=int, default=50, metavar='N', help='images of each class in train')
    demo.add_argument('--size', type=int, default=32, metavar='PIXELS', help='width and height of the images')
    demo.add_argument('--seed', type=int, default=0, metavar='S', help='seed of the choice')
    demo.set_defaults(run=_demo_data)
    return parser


def _demo_data(args: argparse.Namespace) -> int:
    from .data.demo import make_demo_data

    train, validation = make_demo_data(args.dir, per_class=args.per_class, size=args.size, seed=args.seed)
    print(f'{args.dir}: {train} images in train, {validation} in validation, 10 classes')
    return 0
