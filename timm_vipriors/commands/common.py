"""What several subcommands need."""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..help_formatter import HelpFormatter, make_epilog


def add_parser(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int] | None,
    text: str,
    examples: Sequence[str],
    notes: str = '',
    **kwargs: Any,
) -> argparse.ArgumentParser:
    """Add a command that a text describes; its first paragraph is the line in the list of commands.

    The help ends with examples (a long one has an indented second line) and notes.
    """
    line = ' '.join(text.split('\n\n')[0].split()).rstrip('.').replace('%', '%%')
    texts = dict(help=line[0].lower() + line[1:], description=text, epilog=make_epilog(examples, notes))
    parser = commands.add_parser(name, **texts, formatter_class=HelpFormatter, **kwargs)
    parser.set_defaults(run=run)
    return parser


def add_actions(
    commands: argparse._SubParsersAction, name: str, text: str, examples: dict[str, Sequence[str]], notes: str = ''
) -> Callable[..., argparse.ArgumentParser]:
    """Add a command of several actions, with the examples of each; the function that is returned adds an action."""
    parser = add_parser(commands, name, None, text, [example for some in examples.values() for example in some], notes)
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    return lambda action, run, text: add_parser(actions, action, run, text, examples[action], notes)


def check_output(path: str, force: bool, inputs: Iterable[str | None]) -> None:
    """Raise a UserError if a file cannot or must not be written, before the work starts; None is no input."""
    if os.path.exists(path or '.') and not os.path.isfile(path):
        raise UserError(f'{path!r} is a folder, or not a regular file: name a file to write')
    if os.path.realpath(path) in {os.path.realpath(read) for read in inputs if read}:
        raise UserError(f'{path} is one of the input files: name another output file')
    if os.path.lexists(path) and not force:  # a broken link, too
        raise UserError(f'{path} exists: name another file, or overwrite it with --force')
    if not os.path.isdir(folder := os.path.dirname(path) or '.'):
        raise UserError(f'{path} cannot be written: there is no folder {folder}')


def check_outputs(csvs: Sequence[str | None], scores: str | None, force: bool, inputs: Iterable[str | None]) -> None:
    """Check the CSV files and the score file that a command is to write; None is none of them."""
    from ..inference.scores import check_score_path

    outputs = [path for path in (*csvs, scores) if path is not None]
    for path in outputs:
        check_output(path, force, inputs)
        if path != scores and path.lower().endswith(('.npz', '.parquet')):
            raise UserError(f'{path} is to be a CSV file: its name must end in .csv')
    if scores is not None:
        check_score_path(scores)
    if len(set(map(os.path.realpath, outputs))) < len(outputs):
        raise UserError('the output files must have different names')


def add_submission_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup, columns: str, labels: str) -> None:
    """The flags of a submission, with the defaults of its columns and labels."""
    submission = 'CSV to write with the name of each image, without its folder, and its class'
    parser.add_argument('--submission', metavar='FILE', help=submission)
    parser.add_argument('--columns', type=two_columns, default=columns, metavar='ID,LABEL', help='names of its columns')
    parser.add_argument('--labels', choices=['names', 'indices'], default=labels, help='how it says the class')


def two_columns(text: str) -> list[str]:
    """The two names in `id,label`."""
    columns = text.split(',')
    if len(columns) != 2 or not all(columns) or columns[0] == columns[1]:
        raise argparse.ArgumentTypeError(f'expected two different names with a comma between them, got {text!r}')
    return columns


def write_submission(args: argparse.Namespace, filenames: Any, predictions: Any, class_names: Any) -> None:
    """Write the submission of --submission."""
    from ..inference.submission import save_submission

    if args.labels == 'indices':
        class_names = None
    elif class_names is None:
        raise UserError('the names of the classes are not known: give --classes FILE, or --labels indices')
    save_submission(args.submission, filenames, predictions, class_names, args.columns)


def read_class_names(path: str | None) -> list[str] | None:
    """The lines of a file, or the classes of a data folder in timm's order; None without a path."""
    if path is None:
        return None
    if os.path.isdir(path):
        from ..scripts.folders import find_images

        classes = find_images(path, 'train').class_to_idx
        if '' in classes:  # images lie right in its `train`, which is a class then: the folder itself holds the classes
            classes = find_images(path, '').class_to_idx
        return list(classes)
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as e:
        raise UserError(f'the class names cannot be read from {path}: {e}') from e
    return [line.strip() for line in lines if line.strip()]
