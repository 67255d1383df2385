"""`timm-vipriors ensemble`"""

import argparse
import os
import re
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import UserError
from .common import add_parser, check_output

if TYPE_CHECKING:
    import numpy as np

    from ..inference.ensemble import EnsembleRun
    from ..inference.join import Joined

_AVERAGE = [
    'timm-vipriors ensemble average b7.npz:3 resnest.npz:3 b3.npz -o ensemble.csv',
    'timm-vipriors ensemble average b7.npz b5.npz --scores-out ensemble.npz --force',
]
_VOTE = [
    'timm-vipriors ensemble vote --base b7.npz --threshold 0.7 b3.npz b5.npz \\\n    --submission submission.csv',
]
_SEARCH = [
    'timm-vipriors ensemble search b7.npz b5.npz b3.npz --max-members 10',
    'timm-vipriors ensemble search val/*.npz --metric top5',
]

_NOTES = """A FILE is a score file (.npz) of timm-vipriors predict, or results of timm's inference.py (.csv, .parquet)
with --topk 0 --results-separate-col --fullname. Files are joined by the names of the images."""


def add(commands: argparse._SubParsersAction) -> None:
    ensemble = add_parser(
        commands,
        'ensemble',
        help='combine the scores of several models',
        description='Combine score files of several models on the same images.',
        examples=[*_AVERAGE, *_VOTE, *_SEARCH],
        notes=_NOTES,
    )
    actions = ensemble.add_subparsers(dest='action', metavar='ACTION', required=True)
    average = add_parser(
        actions,
        'average',
        help='average the scores, with weights',
        description='The weighted average of the scores. VIPF gives 3 to the better models and 1 to the others.',
        examples=_AVERAGE,
        notes=_NOTES,
    )
    average.add_argument(
        'files', nargs='+', metavar='FILE[:WEIGHT]', help='scores of a model; its weight is 1 if not given'
    )
    average.set_defaults(run=run_average)
    vote = add_parser(
        actions,
        'vote',
        help='let all models vote where the base is not sure',
        description="Where the base's top score is below the threshold, the class most models have as their best; "
        'the base votes too. Ties go to the class with the highest sum of scores.',
        examples=_VOTE,
        notes=_NOTES,
    )
    vote.add_argument('files', nargs='+', metavar='FILE', help='scores of the models that vote')
    vote.add_argument('--base', required=True, metavar='FILE', help='scores of the model that is right most often')
    vote.add_argument(
        '--threshold', type=float, default=0.7, metavar='P', help='the top score that lets the base stand'
    )
    vote.set_defaults(run=run_vote)
    scores_help = {
        average: 'score file to write: the averages',
        vote: "score file to write: the base's scores where it stands, elsewhere each class's share of the votes "
        '(where votes tie, with half a vote more for the class that wins)',
    }
    for action, text in scores_help.items():
        action.add_argument('-o', '--output', metavar='FILE', help='CSV to write: filename,prediction,class_name,score')
        action.add_argument('--scores-out', metavar='FILE', help=text)
        action.add_argument(
            '--submission', metavar='FILE', help="CSV to write in the challenge's form: Image IDs,Predictions"
        )
        action.add_argument('--force', action='store_true', help='write over existing files')
    search = add_parser(
        actions,
        'search',
        help='find the models to average, and their weights',
        description='Greedy forward selection with replacement (Caruana et al. 2004) on labelled images: add the model '
        'that helps most until none helps. All scores are loaded into memory (4 bytes each).',
        examples=_SEARCH,
        notes=_NOTES,
    )
    search.add_argument('files', nargs='+', metavar='FILE', help='scores of a model')
    search.add_argument('--metric', choices=['top1', 'top5'], default='top1', help='what to raise')
    search.add_argument('--folds', type=int, default=5, metavar='N', help='folds of the cross-validation')
    search.add_argument('--max-members', type=int, default=10, metavar='N', help='models to add at most')
    search.add_argument('--seed', type=int, default=0, metavar='S', help='seed of the folds')
    search.set_defaults(run=run_search)


def run_average(args: argparse.Namespace) -> int:
    from ..inference.ensemble import checked_weights, weighted_average
    from ..inference.ensemble_tables import average_text

    paths, texts = zip(*map(_split_weight, args.files), strict=True)
    with _user_errors():
        weights = checked_weights([float(text) for text in texts])
        run = _combine(args, paths, lambda scores: weighted_average(scores, weights))
    print(average_text(run, texts))
    return 0


def run_vote(args: argparse.Namespace) -> int:
    from ..inference.ensemble import vote_scores
    from ..inference.ensemble_tables import vote_text

    if not 0 <= args.threshold <= 1:
        raise UserError(f'--threshold must be in 0 … 1, got {args.threshold}')
    base = os.path.realpath(args.base)
    paths = [args.base, *(path for path in args.files if os.path.realpath(path) != base)]
    with _user_errors():
        run = _combine(args, paths, lambda scores: vote_scores(scores[0], scores[1:], args.threshold))
    print(vote_text(run, args.threshold))
    return 0


def run_search(args: argparse.Namespace) -> int:
    import numpy as np

    from ..inference.ensemble_tables import search_text
    from ..inference.selection import greedy_search

    with _user_errors():
        joined = _join(args.files)
        if joined.targets is None:
            raise ValueError('a search needs labelled images, and no file has targets')
        rows = np.flatnonzero(joined.targets >= 0)
        scores = [member.read(rows) for member in joined.members]
        found = greedy_search(scores, joined.targets[rows], args.metric, args.max_members, args.folds, args.seed)
    models = [member.file.model for member in joined.members]
    print(search_text(found, args.files, models, args.metric, args.folds))
    chosen = [f'{path}:{weight}' for path, weight in zip(args.files, found.weights, strict=True) if weight]
    print(f'timm-vipriors ensemble average {shlex.join(chosen)}')
    return 0


def _combine(
    args: argparse.Namespace, paths: Sequence[str], combine: 'Callable[[list[np.ndarray]], np.ndarray]'
) -> 'EnsembleRun':
    """Check everything, make the ensemble and write its files."""
    from ..inference.ensemble import EnsembleRun
    from ..inference.ensemble_output import submission_ids, write_predictions, write_submission
    from ..inference.scores import write_scores

    _check_outputs(args, paths)
    joined = _join(paths)
    if args.submission:
        submission_ids(joined.filenames)
    run = EnsembleRun(joined, combine)
    if args.scores_out:
        shape = len(joined.filenames), joined.num_classes
        model = f'{args.action} of {", ".join(member.file.model or member.file.path for member in joined.members)}'
        labels = joined.filenames, joined.targets, joined.class_names, model
        write_scores(args.scores_out, shape, run.blocks(), *labels)
    else:
        deque(run.blocks(), maxlen=0)
    if args.output:
        write_predictions(args.output, run)
    if args.submission:
        write_submission(args.submission, run)
    return run


def _join(paths: Sequence[str]) -> 'Joined':
    """The files joined; what was taken for granted goes to standard error."""
    from ..inference.join import join
    from ..inference.scores import open_score_files

    seen = set()
    for path in paths:
        if not os.path.exists(path):
            hint = ': only an average has weights' if os.path.exists(re.sub(r':[^:]*$', '', path)) else ''
            raise UserError(f'there is no file {path}{hint}')
        if os.path.realpath(path) in seen:
            raise UserError(f'{path} is named twice: name each file once, an average takes FILE:WEIGHT')
        seen.add(os.path.realpath(path))
    joined = join(open_score_files(paths))
    for note in joined.notes:
        print(f'note: {note}', file=sys.stderr)
    return joined


def _check_outputs(args: argparse.Namespace, paths: Sequence[str]) -> None:
    """Raise before the work if a file cannot be written, or must not be."""
    outputs = [path for path in (args.output, args.scores_out, args.submission) if path is not None]
    inputs = set(map(os.path.realpath, paths))
    for path in outputs:
        if os.path.realpath(path) in inputs:
            raise UserError(f'{path} is one of the files to read: name another file to write')
        check_output(path, args.force)
        folder = os.path.dirname(path) or '.'
        if not os.path.isdir(folder):
            raise UserError(f'{path} cannot be written: there is no folder {folder}')
    if len(set(map(os.path.realpath, outputs))) < len(outputs):
        raise UserError('the files to write must have different names')
    if args.scores_out and not args.scores_out.endswith('.npz'):
        raise UserError(f'--scores-out must end in .npz, got {args.scores_out}')


def _split_weight(text: str) -> tuple[str, str]:
    """Path and weight of `path:weight`. A file of the whole name goes before."""
    match = re.fullmatch(r'(.+):([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)', text)
    if not match or os.path.exists(text):
        return text, '1'
    try:
        float(match[2])
    except ValueError:
        raise UserError(f'{text}: expected a number as the weight, got {match[2]!r}') from None
    return match[1], match[2]


@contextmanager
def _user_errors() -> Iterator[None]:
    """Have what a file or a value causes end in one sentence."""
    try:
        yield
    except (ValueError, OSError, ImportError) as e:
        raise UserError(str(e)) from e
