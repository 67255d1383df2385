"""`timm-vipriors hierarchy`"""

import argparse

from ..errors import UserError
from .common import add_parser, check_output, read_class_names

_INDUCE = [
    'timm-vipriors hierarchy induce model_best.pth.tar -o tree.json',
    'timm-vipriors hierarchy induce model_best.pth.tar -o tree.json \\\n    --classes digits --use-ema',
]
_SHOW = ['timm-vipriors hierarchy show tree.json --png tree.png']


def add(commands: argparse._SubParsersAction) -> None:
    hierarchy = add_parser(
        commands,
        'hierarchy',
        help='make and show a tree over the classes',
        description="Make a tree over the classes from a classifier's weights (NBDT), and show it.",
        examples=[*_INDUCE, *_SHOW],
    )
    actions = hierarchy.add_subparsers(dest='action', metavar='ACTION', required=True)
    induce = add_parser(
        actions,
        'induce',
        help='make a tree from a checkpoint',
        description="Cluster the rows of a checkpoint's classifier (Ward, on the normalised rows) and write the tree.",
        examples=_INDUCE,
    )
    induce.add_argument(
        'checkpoint', metavar='CHECKPOINT', help="of timm's train script, a run's folder, a state dict, or .safetensors"
    )
    induce.add_argument('-o', '--output', required=True, metavar='FILE', help='JSON to write')
    induce.add_argument(
        '--classes',
        metavar='FILE',
        help='the class names: a text file with one a line, or a data folder with a folder for each '
        '(default: those in the checkpoint, else the classes are numbered)',
    )
    induce.add_argument('--use-ema', action='store_true', help='take the averaged weights')
    induce.add_argument('--force', action='store_true', help='write over an existing FILE')
    induce.set_defaults(run=run_induce)
    show = add_parser(
        actions,
        'show',
        help='print a tree, and draw it',
        description='Print a tree as text, and draw it as a picture.',
        examples=_SHOW,
    )
    show.add_argument('tree', metavar='TREE', help='JSON file of a tree')
    show.add_argument('--png', metavar='FILE', help='picture to write too; needs matplotlib')
    show.add_argument('--force', action='store_true', help='write over an existing FILE')
    show.set_defaults(run=run_show)


def run_induce(args: argparse.Namespace) -> int:
    from ..hierarchy import ClassHierarchy

    check_output(args.output, args.force)
    try:
        names = read_class_names(args.classes) if args.classes else None
        tree = ClassHierarchy.from_checkpoint(args.checkpoint, names, use_ema=args.use_ema)
        tree.save(args.output)
    except (ValueError, OSError) as e:
        raise UserError(str(e)) from e
    print(f'{args.output}: {tree.num_classes} classes, {tree.num_nodes} nodes, depth {tree.depth}')
    return 0


def run_show(args: argparse.Namespace) -> int:
    from ..hierarchy import ClassHierarchy

    if args.png is not None:
        check_output(args.png, args.force)
    try:
        tree = ClassHierarchy.load(args.tree)
        if args.png is not None:
            tree.draw(args.png)
    except (ValueError, OSError, ImportError) as e:
        raise UserError(str(e)) from e
    print(tree.text())
    return 0
