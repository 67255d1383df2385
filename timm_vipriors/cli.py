"""The command `timm-vipriors`: thin subcommands, a function each."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

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
  timm-vipriors hierarchy induce output/train/RUN/model_best.pth.tar -o tree.json --classes digits
  timm-vipriors train --help
"""

_HIERARCHY_EPILOG = """examples:
  timm-vipriors hierarchy induce model_best.pth.tar -o tree.json
  timm-vipriors hierarchy induce model_best.pth.tar -o tree.json --classes digits --use-ema
  timm-vipriors hierarchy show tree.json --png tree.png
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
    _add_hierarchy(commands)
    return parser


def _add_hierarchy(commands: argparse._SubParsersAction) -> None:
    hierarchy = commands.add_parser(
        'hierarchy',
        help='make and show a tree over the classes',
        description="Make a tree over the classes from a classifier's weights (NBDT), and show it.",
        epilog=_HIERARCHY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = hierarchy.add_subparsers(dest='action', metavar='ACTION', required=True)
    induce = actions.add_parser(
        'induce',
        help='make a tree from a checkpoint',
        description="Cluster the rows of a checkpoint's classifier (Ward, on the normalised rows) and write the tree.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    induce.add_argument(
        'checkpoint', metavar='CHECKPOINT', help="of timm's train script, a state dict, or .safetensors"
    )
    # SUPPRESS: there is no default worth printing
    induce.add_argument(
        '-o', '--output', required=True, default=argparse.SUPPRESS, metavar='FILE', help='JSON to write'
    )
    induce.add_argument(
        '--classes',
        metavar='FILE',
        help='the class names: a text file with one a line, or a data folder with a folder for each; '
        'None numbers the classes',
    )
    induce.add_argument('--use-ema', action='store_true', help='take the averaged weights')
    induce.add_argument('--force', action='store_true', help='write over an existing FILE')
    induce.set_defaults(run=_hierarchy_induce)
    show = actions.add_parser(
        'show',
        help='print a tree, and draw it',
        description='Print a tree as text, and draw it as a picture.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    show.add_argument('tree', metavar='TREE', help='JSON file of a tree')
    show.add_argument('--png', metavar='FILE', help='picture to write too; needs matplotlib')
    show.add_argument('--force', action='store_true', help='write over an existing FILE')
    show.set_defaults(run=_hierarchy_show)


def _demo_data(args: argparse.Namespace) -> int:
    from .data.demo import make_demo_data

    train, validation = make_demo_data(args.dir, per_class=args.per_class, size=args.size, seed=args.seed)
    print(f'{args.dir}: {train} images in train, {validation} in validation, 10 classes')
    return 0


def _hierarchy_induce(args: argparse.Namespace) -> int:
    from .hierarchy import ClassHierarchy

    _check_free(args.output, args.force)
    try:
        names = _read_class_names(args.classes) if args.classes else None
        tree = ClassHierarchy.from_checkpoint(args.checkpoint, names, use_ema=args.use_ema)
        tree.save(args.output)
    except (ValueError, OSError) as e:
        raise UserError(str(e)) from e
    print(f'{args.output}: {tree.num_classes} classes, {tree.num_nodes} nodes, depth {tree.depth}')
    return 0


def _hierarchy_show(args: argparse.Namespace) -> int:
    from .hierarchy import ClassHierarchy

    if args.png:
        _check_free(args.png, args.force)
    try:
        tree = ClassHierarchy.load(args.tree)
        if args.png:
            tree.draw(args.png)
    except (ValueError, OSError, ImportError) as e:
        raise UserError(str(e)) from e
    print(tree.text())
    return 0


def _read_class_names(path: str) -> list[str]:
    """The lines of a file, or the classes of a data folder in timm's order."""
    if os.path.isdir(path):
        from .scripts.preflight import find_images

        return list(find_images(path, 'train', '').class_to_idx)
    lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    return [line.strip() for line in lines if line.strip()]


def _check_free(path: str, force: bool) -> None:
    if os.path.exists(path) and not force:
        raise UserError(f'{path} exists: name another file, or write over it with --force')
