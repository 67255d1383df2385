"""Make a page on runs and on how good models are.

One self-contained HTML file: the curves of training runs; and of score files the accuracy, calibration, confused
classes, accuracy by class and most confident mistakes. Of a run whose training images are there it also shows the
balance of the classes and a batch as the network sees it.
"""

import argparse
import os
import shlex

from ..errors import UserError
from .common import add_parser, check_output

_EXAMPLES = [
    'timm-vipriors report output/train/RUN',
    'timm-vipriors report scores.npz -o report.html --images DATA/validation',
    "timm-vipriors report output/train/RUN scores.npz -o report.html \\\n    --title 'Digits, 50 of each'",
    'timm-vipriors report one.npz other.npz ensemble.npz -o comparison.html --force',
]


def add(commands: argparse._SubParsersAction) -> None:
    report = add_parser(commands, 'report', run, __doc__, _EXAMPLES)
    text = 'folders of training runs, and score files, any number'
    report.add_argument('source', nargs='+', metavar='RUN_DIR|SCORES', help=text)
    text = 'the page to write; report.html in the first run if not given'
    report.add_argument('-o', '--output', metavar='FILE', help=text)
    text = 'show mistakes as pictures, from the folder that the file names are relative to'
    report.add_argument('--images', metavar='DIR', help=text)
    text = "show by Grad-CAM what speaks for a mistake, by the scores' checkpoint; that of the run if not given"
    report.add_argument('--checkpoint', metavar='FILE', help=text)
    text = 'tree of the classes, to show what is right at its nodes and how far mistakes are'
    report.add_argument('--hierarchy', metavar='FILE', help=text)
    report.add_argument('--title', metavar='T', help='the title of the page (default: what is in it)')
    report.add_argument('--force', action='store_true', help='replace the page if it exists')


def run(args: argparse.Namespace) -> int:
    from ..files import plural
    from ..report import read_run, write_report

    runs = list(filter(os.path.isdir, args.source))
    output = args.output
    if output is None:
        if not runs:
            raise UserError('name the page to write: -o report.html')
        output = os.path.join(runs[0], 'report.html')
    else:
        check_output(output, args.force, [*args.source, args.checkpoint, args.hierarchy])
    flags = {name: getattr(args, name) for name in ('images', 'title', 'checkpoint', 'hierarchy')}
    write_report(output, args.source, **flags)
    models = len(args.source) - len(runs)
    size = os.path.getsize(output) / 1000
    print(f'{output}: {plural(len(runs), "run")}, {plural(models, "model")}, {size:,.0f} kB')
    if not models:
        settings = read_run(runs[0]).settings
        data = str(settings.get('data_dir') or settings.get('data') or 'DATA')
        predict = ['timm-vipriors', 'predict', data, '--checkpoint', runs[0], '-o', 'scores.npz']
        report = ['timm-vipriors', 'report', runs[0], 'scores.npz', '--images', os.path.join(data, 'validation')]
        print(f'Mistakes, confusion and calibration: {shlex.join(predict)}, and\n{shlex.join(report)}')
    return 0
