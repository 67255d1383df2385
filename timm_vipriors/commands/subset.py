"""Choose images of each class for training and validation.

Make class-balanced, disjoint splits DST/SPLIT/CLASS/FILE of an image folder SRC/CLASS/FILE, and DST/manifest.csv, which
lists them. After an interruption the same command resumes. The choice in a class depends on no other class, and a
smaller first split is a part of a larger one. Several folders with the same classes are merged: images with the same
content are taken once, and of those with the same name each gets its folder's name in front. The images may also be
those of a CSV file with labels, or of one of timm's data sets.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UserError
from .common import add_parser, two_columns

if TYPE_CHECKING:
    from ..data.sources import ImageSource

_EXAMPLES = [
    'timm-vipriors subset photos data',
    'timm-vipriors subset imagenet/train imagenet50 --per-class 50',
    'timm-vipriors subset imagenet/train imagenet50 \\\n    --splits train=50,validation=50,test=100 --seed 1 --copy',
    'timm-vipriors subset --csv labels.csv --images photos data',
    'timm-vipriors subset torch/fashion_mnist data --images root --per-class 50',
    'timm-vipriors subset data/train data/validation final --reserve 10%',
    'timm-vipriors subset imagenet/train imagenet50 --list manifest.csv',
    'timm-vipriors subset imagenet/train imagenet50 \\\n    --list train=train.txt --list validation=validation.txt',
]
_DEFAULT = 'train=80%,validation=20%'


def add(commands: argparse._SubParsersAction) -> None:
    subset = add_parser(commands, 'subset', run, __doc__, _EXAMPLES)
    text = """a folder with a folder of images for each class, or timm's name of a data set: torch/fashion_mnist,
    hfds/…, tfds/…, which are written as PNG files; left out with --csv"""
    subset.add_argument('source', nargs='+', metavar='SRC', help=text)
    # not required: with --csv there is one path, and it is taken for the first positional
    subset.add_argument('dst', metavar='DST', help='the folder to make').required = False
    subset.add_argument('--csv', metavar='FILE', help='take the images and labels of a CSV file with a header')
    text = "where the files of --csv begin (default: its own folder), or where timm's data set lies"
    subset.add_argument('--images', metavar='DIR', help=text)
    text = 'the columns of --csv (default: the one with files, and the other one, or one called label, class, …)'
    subset.add_argument('--columns', type=two_columns, metavar='FILE,LABEL', help=text)
    text = "split of timm's data set to choose from (default: train)"
    subset.add_argument('--dataset-split', metavar='NAME', help=text)
    text = "download timm's data set to --images if it is not there"
    subset.add_argument('--download', action='store_true', help=text)
    subset.add_argument('--per-class', type=int, metavar='N', help='images of each class in every split')
    text = f"""the splits with their images of each class, or fractions of it (default: {_DEFAULT}, or with --per-class
    train,val)"""
    subset.add_argument('--splits', metavar='NAME=N,NAME=N', help=text.replace('%', '%%'))
    text = """merge several folders for a final training: this part of each class of the last one becomes the split
    validation, all others become train"""
    subset.add_argument('--reserve', metavar='N%', help=text)
    subset.add_argument('--seed', type=int, metavar='S', help='seed of the choice (default: 0)')
    text = """take the images of a manifest (split,class,file), or of lists of one split each (class,file or
    class/file): SPLIT=FILE, again for each split"""
    subset.add_argument('--list', action='append', metavar='FILE', help=text)
    how = subset.add_mutually_exclusive_group()
    how.add_argument('--copy', action='store_true', help='copy the images')
    how.add_argument('--link', action='store_false', dest='copy', help='make symbolic links (default)')
    subset.set_defaults(copy=False)


def run(args: argparse.Namespace) -> int:
    from ..data.subset import MANIFEST, make_subset

    if args.list and (args.per_class, args.splits, args.seed) != (None, None, None):
        raise UserError('--list says which images: leave --per-class, --splits and --seed out')
    if args.reserve is not None and not re.fullmatch(r'[0-9]{1,2}(\.[0-9]+)?%', args.reserve):
        raise UserError(f'--reserve expects a part of the last folder as in 10%, got {args.reserve!r}')
    reserve = None if args.reserve is None else float(args.reserve[:-1]) / 100
    lists = parse_lists(args.list) if args.list else None
    says_itself = (lists is not None or reserve is not None) and (args.splits, args.per_class) == (None, None)
    splits = None if says_itself else parse_splits(args.splits, args.per_class)
    dst = args.source[0] if args.csv is not None and args.dst is None else args.dst
    if dst is None:
        raise UserError('name the folder to make after that of the images: SRC DST')
    try:
        source = find_source(args)
        manifest = os.path.join(dst, MANIFEST)
        there = 'is there already, ' if os.path.exists(manifest) else ''
        counts = make_subset(source, dst, splits, seed=args.seed or 0, lists=lists, reserve=reserve, copy=args.copy)
    except OSError as e:
        raise UserError(f'{e} (the same command resumes from there)') from e
    classes = {name for split in counts for name in os.listdir(os.path.join(dst, split))}
    images = ', '.join(f'{number} in {split}' for split, number in counts.items()).replace(' in', ' images in', 1)
    for note in () if args.list else source.notes:
        print(note, file=sys.stderr)
    print(f'{dst}: {there}{len(classes)} classes, {images}; {manifest} makes it again (--list)')
    return 0


def find_source(args: argparse.Namespace) -> 'ImageSource':
    """The images that the arguments name: those of a CSV file, of one of timm's data sets, or of folders."""
    from ..data.labels import csv_source
    from ..data.sources import folder_source
    from ..data.timm_sets import READERS, timm_source

    if args.csv is not None:
        if args.dst is not None or len(args.source) > 1:
            raise UserError('--csv says which images: name DST alone, and the folder of the images with --images')
        return csv_source(args.csv, args.images, args.columns)
    if args.columns is not None:
        raise UserError('--columns are those of a file with labels: give it with --csv FILE')
    name = args.source[0]
    if not name.lower().startswith(READERS) or os.path.isdir(name):
        if (args.images, args.dataset_split, args.download) != (None, None, False):
            raise UserError("--images is for --csv and timm's data sets, --dataset-split and --download for these sets")
        return folder_source(*args.source, repeated=bool(args.list))
    if len(args.source) > 1:
        raise UserError(f"{name} is one of timm's data sets: name it alone")
    return timm_source(name, args.images, args.dataset_split or 'train', args.download)


def parse_splits(text: str | None, per_class: int | None) -> dict[str, int | float]:
    """The numbers in `train=50,validation=50` or `train=80%,validation=20%`.

    A split without one has `per_class`; so have train and val without a text.
    """
    if per_class is not None and per_class < 1:
        raise UserError(f'--per-class must be at least 1, got {per_class}')
    splits: dict[str, int | float] = {}
    if text is None:
        text = _DEFAULT if per_class is None else 'train,val'
    for part in text.split(','):
        match = re.fullmatch(r'\s*([^=]*?)\s*(?:=\s*([0-9]{1,18})(%?)\s*)?', part)
        if not match or match[1] in splits:  # a name twice
            raise UserError(f'--splits expects whole numbers as in train=50,validation=50 or {_DEFAULT}, got {text!r}')
        name, number, percent = match.groups()
        if number is None and per_class is None:
            raise UserError(f'--splits has no number for {name!r}: write {name}=N, or give --per-class N for all')
        splits[name] = per_class if number is None else int(number) / 100 if percent else int(number)
    return splits


def parse_lists(values: Sequence[str]) -> str | dict[str, str]:
    """The `lists` of `make_subset` from the values of --list: one FILE, or SPLIT=FILE once for each split."""
    if len(values) == 1 and ('=' not in values[0] or os.path.exists(values[0])):
        return values[0]
    lists = dict(value.split('=', 1) for value in values if '=' in value)
    if len(lists) < len(values):
        raise UserError(f'--list takes one FILE, or SPLIT=FILE once for each split, got {" ".join(values)}')
    return lists
