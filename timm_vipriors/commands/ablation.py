"""Run several recipes over several seeds, and compare them in a table.

The table has the mean accuracy after the last epoch with its 95 % interval, the difference from another row, and time.
"""

import argparse
import os
import shlex
import signal
import sys
from functools import partial
from pathlib import Path

from ..errors import UserError
from .common import add_parser

_EXAMPLES = [
    'timm-vipriors ablation DATA --rows resnext50_32x4d dsk_resnext50_32x4d \\\n'
    '    --seeds 5 -o comparison --epochs 100',
    "timm-vipriors ablation DATA -o lsb_swap \\\n    --rows effnet_b3_fcl 'effnet_b3_fcl --lsb-swap 2'",
    'timm-vipriors ablation DATA --rows resnext50_32x4d ./mine.sh --seeds 3 \\\n    --jobs 2 -o mine --batch-size 32',
]

_NOTES = """A row is compared with the one that its recipe names (Compare:) if that is in the table, otherwise with the
row above. Rows that do not differ are refused. All flags that are not listed above go to every run (timm-vipriors
train --help); those in a row are its own and win. -o DIR gets table.md, table.csv, table.png and curves.png, and a
folder for each run, which `timm-vipriors report` reads too. After a stop the same command resumes; with more
--seeds or --rows it trains what is missing. DRY_RUN=1 prints the commands and trains nothing."""


def add(commands: argparse._SubParsersAction) -> None:
    # without abbreviations: --seed is not --seeds
    parser = add_parser(commands, 'ablation', run, __doc__, _EXAMPLES, _NOTES, allow_abbrev=False)
    parser.add_argument('data', metavar='DATA', help='image folder')
    text = 'the rows: names of recipes or paths of your own, in quotes with variables before and flags after it'
    parser.add_argument('--rows', nargs='+', required=True, metavar='RECIPE', help=text)
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='seeds of every row, 1 to N')
    text = 'train this one of the seeds alone, as one of several jobs with the same DIR; the table has what is there'
    parser.add_argument('--only-seed', type=int, metavar='N', help=text)
    text = 'runs at a time (default: as many as CUDA devices, or one)'
    parser.add_argument('--jobs', type=int, metavar='N', help=text)
    parser.add_argument('-o', '--output', required=True, metavar='DIR', help='folder for all results')
    parser.set_defaults(other_flags=())


def run(args: argparse.Namespace) -> int:
    from ..recipes.ablation import plan_trainings, run_ablation
    from ..recipes.training import resolve

    for flag, value, most in (
        ('--seeds', args.seeds, 10_000),
        ('--only-seed', args.only_seed, args.seeds),
        ('--jobs', args.jobs, 1_000),
    ):
        if value is not None and not 1 <= value <= most:
            raise UserError(f'{flag}: expected a number in 1 … {most:,}, got {value}')
    if not os.path.isdir(args.data):
        raise UserError(f'the data folder {args.data} does not exist')
    what = (args.data, args.rows, range(1, args.seeds + 1), Path(args.output), args.other_flags)
    # so that ending this process ends the runs too
    before = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if os.environ.get('DRY_RUN'):
            for training in plan_trainings(*what):
                if args.only_seed in (None, training.seed):
                    print(shlex.join(resolve(training)))
        else:
            run_ablation(*what, jobs=args.jobs, only_seed=args.only_seed, report=partial(print, flush=True))
    except KeyboardInterrupt:
        raise KeyboardInterrupt('interrupted; the same command resumes from the last checkpoints') from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)
