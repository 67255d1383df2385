"""Write a small data set as an image folder, without a download.

scikit-learn's 1,797 handwritten digits become DIR/train and DIR/validation. --set fashion is Fashion-MNIST from
Debian's package dataset-fashion-mnist, --set characters 240 characters in the fonts of this machine, with other fonts
in each split; both have DIR/test, too.
"""

import argparse
import os

from .common import add_parser

_EXAMPLES = [
    'timm-vipriors demo-data digits',
    'timm-vipriors demo-data digits10 --per-class 10 --seed 1',
    'timm-vipriors demo-data clothes --set fashion',
    'timm-vipriors demo-data characters --set characters --per-class 3',
]


def add(commands: argparse._SubParsersAction) -> None:
    demo = add_parser(commands, 'demo-data', run, __doc__, _EXAMPLES)
    demo.add_argument('dir', metavar='DIR', help='the folder to make')
    demo.add_argument('--set', choices=('digits', 'fashion', 'characters'), default='digits', help='the data set')
    text = 'images of each class in train (digits 50, fashion 10, characters 3)'
    demo.add_argument('--per-class', type=int, metavar='N', help=text)
    demo.add_argument('--size', type=int, default=32, metavar='PIXELS', help='width and height of the images')
    demo.add_argument('--seed', type=int, default=0, metavar='S', help='seed of the choice')


def run(args: argparse.Namespace) -> int:
    from ..data.demo import make_demo_data

    counts = make_demo_data(args.dir, args.per_class, args.size, args.seed, args.set)
    splits = ', '.join(f'{count} in {split}' for count, split in zip(counts[1:], ('validation', 'test'), strict=False))
    classes = len(os.listdir(os.path.join(args.dir, 'train')))
    print(f'{args.dir}: {counts[0]} images in train, {splits}, {classes} classes')
    return 0
