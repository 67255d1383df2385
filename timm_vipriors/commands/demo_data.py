"""`timm-vipriors demo-data`"""

import argparse

from ..errors import UserError
from .common import add_parser


def add(commands: argparse._SubParsersAction) -> None:
    demo = add_parser(
        commands,
        'demo-data',
        help="write scikit-learn's digits as an image folder",
        description="Write scikit-learn's 1,797 handwritten digits as an image folder: DIR/train and DIR/validation.",
        examples=[
            'timm-vipriors demo-data digits',
            'timm-vipriors demo-data digits10 --per-class 10 --seed 1',
        ],
    )
    demo.add_argument('dir', metavar='DIR', help='the folder to make')
    demo.add_argument('--per-class', type=int, default=50, metavar='N', help='images of each class in train')
    demo.add_argument('--size', type=int, default=32, metavar='PIXELS', help='width and height of the images')
    demo.add_argument('--seed', type=int, default=0, metavar='S', help='seed of the choice')
    demo.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..data.demo import make_demo_data

    try:
        train, validation = make_demo_data(args.dir, per_class=args.per_class, size=args.size, seed=args.seed)
    except OSError as e:
        raise UserError(f'the data cannot be written: {e}') from e
    print(f'{args.dir}: {train} images in train, {validation} in validation, 10 classes')
    return 0
