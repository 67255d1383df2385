"""`timm-vipriors report`"""

import argparse
import os

from ..errors import UserError
from .common import add_parser, check_output

_EXAMPLES = [
    'timm-vipriors report output/train/RUN -o report.html',
    'timm-vipriors report scores.npz -o report.html --images DATA/validation',
    "timm-vipriors report output/train/RUN scores.npz -o report.html \\\n    --title 'Digits, 50 of each'",
    'timm-vipriors report one.npz other.npz ensemble.npz -o comparison.html --force',
]


def add(commands: argparse._SubParsersAction) -> None:
    report = add_parser(
        commands,
        'report',
        help='make a page of trainings and of how good models are',
        description='Write one HTML file, which needs nothing else: the curves of trainings; and of score files '
        'accuracy, calibration, confused classes, accuracy by class and the most confident mistakes.',
        examples=_EXAMPLES,
    )
    report.add_argument(
        'source', nargs='+', metavar='RUN_DIR|SCORES', help='folders that trainings wrote, and score files, any number'
    )
    report.add_argument('-o', '--output', required=True, metavar='FILE', help='the page to write, such as report.html')
    report.add_argument(
        '--images', metavar='DIR', help='show mistakes as pictures, from the folder that the file names are relative to'
    )
    report.add_argument('--title', metavar='T', help='the title of the page (default: what is in it)')
    report.add_argument('--force', action='store_true', help='write over the page')
    report.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..files import atomic_write
    from ..report.images import check_images
    from ..report.page import build_page

    _check_output(args)
    if args.images is not None:
        check_images(args.images)
    runs, models = _read(args.source)
    if args.images is not None and not models:
        raise UserError('--images shows mistakes of models: give a score file too, or leave it out')
    page = build_page(runs, models, title=args.title, images=args.images).encode()
    try:
        with atomic_write(args.output) as partial, open(partial, 'wb') as file:
            file.write(page)
    except OSError as e:
        raise UserError(f'the page cannot be written: {e}') from e
    print(f'{args.output}: {_count(len(runs), "training")}, {_count(len(models), "model")}, {len(page) / 1000:,.0f} kB')
    return 0


def _check_output(args: argparse.Namespace) -> None:
    if os.path.isdir(args.output):
        raise UserError(f'-o {args.output} is a folder: name a file in it, such as report.html')
    if any(os.path.exists(args.output) and os.path.exists(s) and os.path.samefile(args.output, s) for s in args.source):
        raise UserError(f'-o {args.output} is one of the files to report on: name another file')
    check_output(args.output, args.force)


def _read(sources: list[str]) -> tuple[list, list]:
    """The trainings, and the models with their paths; of each file only its figures stay in memory."""
    from ..inference.scores import ScoreFile
    from ..report.figures import gather
    from ..report.runs import read_run

    runs, models = [], []
    for source in sources:
        if os.path.isdir(source):
            runs.append(read_run(source))
            continue
        if not os.path.exists(source):
            raise UserError(f'{source} does not exist: expected a folder that a training wrote, or a score file')
        try:
            models.append((source, gather(ScoreFile.open(source).load())))
        except (ValueError, OSError, ImportError) as e:
            raise UserError(str(e)) from e
    return runs, models


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}{"" if number == 1 else "s"}'
