"""Make and show a tree over the classes.

It is made from a classifier's weights (NBDT), groups, edges or WordNet.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten

from ..errors import UserError
from ..files import plural, printable, text_table
from .common import add_actions, check_output, read_class_names

_EXAMPLES = {
    'induce': [
        'timm-vipriors hierarchy induce model_best.pth.tar -o tree.json',
        'timm-vipriors hierarchy induce model_best.pth.tar -o tree.json \\\n    --classes digits --use-ema',
    ],
    'groups': ['timm-vipriors hierarchy groups groups.json -o tree.json'],
    'edges': ['timm-vipriors hierarchy edges is_a.txt -o tree.json --classes DATA'],
    'wordnet': [
        'timm-vipriors hierarchy wordnet DATA -o tree.json',
        'timm-vipriors hierarchy wordnet DATA -o tree.json --sense tiger=n02129604',
    ],
    'show': ['timm-vipriors hierarchy show tree.json --png tree.png'],
}
_CLASSES = 'the class names: a text file with one a line, or a data folder with a folder for each'
_OF_WORDNET = """Make a semantic tree from WordNet.

The classes are called by ids (n02084071) or words of WordNet's nouns. It needs the Debian package wordnet-base, or
nltk's corpus. A contest that forbids outside knowledge, such as VIPriors, forbids this tree."""


def add(commands: argparse._SubParsersAction) -> None:
    add_action = add_actions(commands, 'hierarchy', __doc__, _EXAMPLES)

    def action(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        parser = add_action(name, run, text)
        parser.add_argument('--force', action='store_true', help='overwrite an existing file')
        if name != 'show':
            parser.add_argument('-o', '--output', required=True, metavar='FILE', help='JSON to write')
        return parser

    text = 'Make a tree from a checkpoint.\n\nCluster the rows of its classifier (Ward, on the normalised rows).'
    induce = action('induce', run_induce, text)
    of = "of timm's train script, a run's folder, a state dict, or .safetensors"
    induce.add_argument('checkpoint', metavar='CHECKPOINT', help=of)
    default = ' (default: those in the checkpoint, else the classes are numbered)'
    induce.add_argument('--classes', metavar='FILE', help=_CLASSES + default)
    averaged = 'averaged weights, or the plain ones (default: averaged where there are any)'
    induce.add_argument('--use-ema', action=argparse.BooleanOptionalAction, help=averaged)

    text = 'Make a tree of named groups, which a JSON file lists for each class, outermost first.'
    groups = action('groups', run_groups, text)
    groups.add_argument('groups', metavar='FILE', help='JSON such as {"cat": ["animal", "mammal"], "car": []}')

    text = 'Make a tree from a text file with a parent and a child on each line.\n\nWhat leads to no class is left out.'
    edges = action('edges', run_edges, text)
    edges.add_argument('edges', metavar='FILE', help='text file, two ids a line')
    edges.add_argument('--classes', required=True, metavar='FILE', help=_CLASSES)
    edges.add_argument('--join-roots', action='store_true', help='put several trees under a new root')

    wordnet = action('wordnet', run_wordnet, _OF_WORDNET)
    wordnet.add_argument('data', metavar='DATA', help=_CLASSES)
    words = 'ids of words that are not meant in their first sense'
    wordnet.add_argument('--sense', nargs='+', default=[], metavar='NAME=ID', help=words)
    place = "folder of WordNet 3.0, or nltk's zip file (default: Debian's, or nltk's)"
    wordnet.add_argument('--wordnet', metavar='FOLDER', help=place)

    show = action('show', run_show, 'Print a tree as text, and draw it as a picture.')
    show.add_argument('tree', metavar='TREE', help='JSON file of a tree')
    show.add_argument('--png', metavar='FILE', help='picture to write too; needs matplotlib')


def run_induce(args: argparse.Namespace) -> int:
    def make(tree):
        return tree.from_checkpoint(args.checkpoint, read_class_names(args.classes), use_ema=args.use_ema)

    return _write(args, make, args.checkpoint, args.classes)


def run_groups(args: argparse.Namespace) -> int:
    def make(tree):
        try:
            groups = dict(json.loads(Path(args.groups).read_text(encoding='utf-8-sig')))
        except (ValueError, TypeError, RecursionError) as e:
            raise UserError(f'{args.groups}: expected JSON, an object from class names to lists of groups: {e}') from e
        return tree.from_groups(groups)

    return _write(args, make, args.groups)


def run_edges(args: argparse.Namespace) -> int:
    def make(tree):
        return tree.from_parent_child(args.edges, read_class_names(args.classes), args.join_roots)

    return _write(args, make, args.edges, args.classes)


def run_wordnet(args: argparse.Namespace) -> int:
    def make(tree):
        if odd := [pair for pair in args.sense if '=' not in pair]:
            raise UserError(f'--sense: expected NAME=ID, such as tiger=n02129604, got {odd[0]!r}')
        senses = dict(pair.rsplit('=', 1) for pair in args.sense)
        found, dropped, taken = tree.from_wordnet(read_class_names(args.data), args.wordnet, senses)
        if taken:
            print('Words with several senses are taken in the first one (to choose another: --sense NAME=ID):')
            rows = [['  ' + printable(name), id, shorten(sense, 70)] for name, (id, sense) in taken.items()]
            print(text_table(rows, left=range(3)))
        print(f'Dropped: {plural(dropped, "hypernym")} that came after the first one of a noun')
        return found

    return _write(args, make, args.data, args.wordnet)


def _write(args: argparse.Namespace, make: Callable, *inputs: str | None) -> int:
    """Make a tree from files with one of the class's methods, write it, and say what it is."""
    from ..hierarchy import ClassHierarchy

    check_output(args.output, args.force, inputs)
    tree = make(ClassHierarchy)
    tree.save(args.output)
    print(f'{args.output}: {tree.num_classes} classes, {tree.num_nodes} nodes, depth {tree.depth}')
    return 0


def run_show(args: argparse.Namespace) -> int:
    from ..hierarchy import ClassHierarchy

    if args.png is not None:
        check_output(args.png, args.force, [args.tree])
    tree = ClassHierarchy.load(args.tree)
    if args.png is not None:
        tree.draw(args.png)
    print(tree.text())
    return 0
