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
    *,
    help: str,
    description: str,
    examples: Sequence[str],
    notes: str = '',
    **kwargs: Any,
) -> argparse.ArgumentParser:
    """Add the parser of a command, whose help ends with examples (a long one has an indented second line) and notes."""
    texts = dict(help=help, description=description, epilog=make_epilog(examples, notes))
    parser = commands.add_parser(name, **texts, formatter_class=HelpFormatter, **kwargs)
    parser.set_defaults(run=run)
    return parser


def add_actions(
    commands: argparse._SubParsersAction,
    name: str,
    *,
    help: str,
    description: str,
    examples: dict[str, Sequence[str]],
    notes: str = '',
) -> Callable[..., argparse.ArgumentParser]:
    """Add a command of several actions, with the examples of each; the function that is returned adds an action."""
    all_examples = [example for some in examples.values() for example in some]
    parser = add_parser(commands, name, None, help=help, description=description, examples=all_examples, notes=notes)
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)

    def add_action(action: str, run: Callable[[argparse.Namespace], int], help: str, description: str):
        texts = dict(help=help, description=description, examples=examples[action], notes=notes)
        return add_parser(actions, action, run, **texts)

    return add_action


def check_output(path: str, force: bool, inputs: Iterable[str | None]) -> None:
    """Check the name of a file to write before the work starts.

    Args:
        path: The file to write.
        force: It may be there already.
        inputs: Files to read, none of which may be written over; None is none of them.

    Raises:
        UserError: If it cannot be written, or must not be.
    """
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
    """Write the submission that the flags ask for, if they do."""
    from ..inference.submission import save_submission

    if not args.submission:
        return
    if args.labels == 'indices':
        class_names = None
    elif class_names is None:
        raise UserError('the names of the classes are not known: give --classes FILE, or --labels indices')
    save_submission(args.submission, filenames, predictions, class_names, args.columns)


def read_class_names(path: str) -> list[str]:
    """The lines of a file, or the classes of a data folder in timm's order."""
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
