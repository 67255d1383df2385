"""Combine the scores of several models on the same images."""

import argparse
import os
import re
from collections.abc import Sequence

from ..errors import UserError
from .common import add_actions, add_submission_flags, check_outputs, read_class_names, write_submission

_EXAMPLES = {
    'average': [
        'timm-vipriors ensemble average b7.npz:3 resnest.npz:3 b3.npz -o ensemble.csv',
        'timm-vipriors ensemble average test/*.npz --weights-from validation \\\n    --submission submission.csv',
        'timm-vipriors ensemble average b7.npz b5.npz --scores-out ensemble.npz --force',
    ],
    'vote': [
        'timm-vipriors ensemble vote --base b7.npz --threshold 0.7 b3.npz b5.npz \\\n    --submission submission.csv',
    ],
    'search': [
        'timm-vipriors ensemble search b7.npz b5.npz b3.npz --max-members 10',
        'timm-vipriors ensemble search val/*.npz --metric top5',
    ],
}
_NOTES = """A FILE is a score file (.npz) of timm-vipriors predict, or results of timm's inference.py (.csv, .parquet)
with --topk 0 --results-separate-col --fullname. Files are joined by the names of images and classes."""

_AVERAGE = """Average the scores, with weights.

VIPF gives 3 to the better models and 1 to the others."""
_VOTE = """Let all models vote where the base is not sure.

Where the base's top score is below the threshold, the class most models have as their best; the base votes too. Ties go
to the class with the highest sum of scores."""
_SEARCH = """Find the models to average, and their weights.

Greedy forward selection with replacement (Caruana et al. 2004) on labelled images: add the model that helps most until
none helps. All scores are loaded into memory (4 bytes each)."""


def add(commands: argparse._SubParsersAction) -> None:
    add_action = add_actions(commands, 'ensemble', __doc__, _EXAMPLES, _NOTES)

    def action(name: str, text: str, files: str, metavar: str = 'FILE') -> argparse.ArgumentParser:
        parser = add_action(name, run, text)
        parser.add_argument('files', nargs='+', metavar=metavar, help=files)
        classes = 'classes of files that name none, in the order of the columns: a text file, or a data folder'
        parser.add_argument('--classes', metavar='FILE', help=classes)
        return parser

    average = action('average', _AVERAGE, 'scores of a model, and its weight if not 1', 'FILE[:WEIGHT]')
    text = """a folder with score files of the same names for labelled images that were held out: the models whose top-1
    accuracy there is not below the median of all get weight 3, the rest 1"""
    average.add_argument('--weights-from', metavar='DIR', help=text)
    vote = action('vote', _VOTE, 'scores of a model that votes')
    vote.add_argument('--base', required=True, metavar='FILE', help='scores of the model that is right most often')
    text = 'the top score that lets the base stand'
    vote.add_argument('--threshold', type=float, default=0.7, metavar='P', help=text)
    scores = {average: 'score file to write: the averages'}
    scores[vote] = """score file to write: the base's scores where it stands, elsewhere each class's share of the votes
    (where votes tie, with half a vote more for the class that wins)"""
    for parser, text in scores.items():
        parser.add_argument('-o', '--output', metavar='FILE', help='CSV to write: filename,prediction,class_name,score')
        parser.add_argument('--scores-out', metavar='FILE', help=text)
        add_submission_flags(parser, 'Image IDs,Predictions', 'indices')
        parser.add_argument('--force', action='store_true', help='overwrite existing files')
    search = action('search', _SEARCH, 'scores of a model')
    search.add_argument('--metric', choices=['top1', 'top5'], default='top1', help='what to raise')
    search.add_argument('--folds', type=int, default=5, metavar='N', help='folds of the cross-validation')
    search.add_argument('--max-members', type=int, default=10, metavar='N', help='models to add at most')
    search.add_argument('--seed', type=int, default=0, metavar='S', help='seed of the folds')


def run(args: argparse.Namespace) -> int:
    from ..inference import average, held_out_weights, join_files, search, vote

    paths, weights, held_out = args.files, None, []
    if args.action == 'average':
        paths, weights = zip(*map(_split_weight, args.files), strict=True)
        held_out = _held_out(args.weights_from, paths, weights) if args.weights_from else []
    elif args.action == 'vote':
        base = os.path.realpath(args.base)
        paths = [args.base, *(path for path in args.files if os.path.realpath(path) != base)]
    if args.action != 'search':
        check_outputs([args.output, args.submission], args.scores_out, args.force, [*paths, *held_out, args.classes])
    names = read_class_names(args.classes)
    if held_out:
        weights = held_out_weights(join_files(held_out, names))
    _check_files(paths)
    joined = join_files(paths, names)
    if args.action == 'search':
        print(search(joined, args.metric, args.max_members, args.folds, args.seed))
        return 0
    combine, how = (average, weights) if args.action == 'average' else (vote, args.threshold)
    result = combine(joined, how, keep_scores=args.scores_out is not None)
    if args.submission:
        write_submission(args, joined.filenames, result.predictions[-1], joined.class_names)
    if args.scores_out:
        result.save_scores(args.scores_out)
    if args.output:
        result.save_csv(args.output)
    print(result)
    return 0


def _check_files(paths: Sequence[str]) -> None:
    for path in paths:
        if not os.path.exists(path):
            hint = ': only an average has weights' if os.path.exists(re.sub(r':[^:]*$', '', path)) else ''
            raise UserError(f'there is no file {path}{hint}: `timm-vipriors predict` writes one')


def _held_out(folder: str, paths: Sequence[str], weights: Sequence[float]) -> list[str]:
    """The files in a folder that are called as those to average, by whose accuracy these are weighted."""
    found = [os.path.join(folder, os.path.basename(path)) for path in paths]
    if any(weight != 1 for weight in weights):
        raise UserError('--weights-from sets the weights: leave out those after the file names')
    if set(map(os.path.realpath, found)) & set(map(os.path.realpath, paths)):
        raise UserError(f'--weights-from {folder} contains the very files to average: their images are not held out')
    _check_files(found)
    return found


def _split_weight(text: str) -> tuple[str, float]:
    """Path and weight of `path:weight`. A file of the whole name goes first."""
    path, _, weight = text.rpartition(':')
    if not path or os.path.exists(text):
        return text, 1.0
    try:
        return path, float(weight)
    except ValueError:
        return text, 1.0
