"""`timm-vipriors ablation`"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .common import add_parser

if TYPE_CHECKING:
    from ..recipes.comparison import Row
    from ..recipes.plan import Training

_EXAMPLES = [
    'timm-vipriors ablation DATA --rows resnext50_32x4d dsk_resnext50_32x4d \\\n'
    '    --seeds 5 -o comparison --epochs 100',
    "timm-vipriors ablation DATA -o lsb_swap \\\n    --rows effnet_b3_fcl 'effnet_b3_fcl --lsb-swap 2'",
    'timm-vipriors ablation DATA --rows resnext50_32x4d ./mine.sh --seeds 3 \\\n    --jobs 2 -o mine --batch-size 32',
]

_NOTES = """All flags that are not listed above go to every training (timm-vipriors train --help); those in a row are
its own and win. -o DIR gets table.md, table.csv, table.png and curves.png, and a folder for each training, which
`timm-vipriors report` reads too. After a stop the same command goes on; with more --seeds or --rows it trains what is
missing."""

_MOST_SEEDS = 10_000


def add(commands: argparse._SubParsersAction) -> None:
    parser = add_parser(
        commands,
        'ablation',
        help='run several recipes over several seeds, and compare them in a table',
        description='Run recipes over several seeds on your data, and compare them: mean accuracy after the last '
        'epoch with its 95 % interval, the difference from the row above, and time.',
        examples=_EXAMPLES,
        notes=_NOTES,
        allow_abbrev=False,  # --seed is not --seeds
    )
    parser.add_argument('data', metavar='DATA', help='image folder')
    parser.add_argument(
        '--rows',
        nargs='+',
        required=True,
        metavar='RECIPE',
        help='the rows: names of recipes, or paths of your own, each with flags after it if in quotes',
    )
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='seeds of every row, 1 to N')
    parser.add_argument(
        '--jobs', type=int, metavar='N', help='trainings at a time (default: as many as CUDA devices, or one)'
    )
    parser.add_argument('-o', '--output', required=True, metavar='DIR', help='folder for all results')
    parser.set_defaults(run=run, other_flags=())


def run(args: argparse.Namespace) -> int:
    from ..recipes.plan import plan_trainings
    from ..recipes.running import default_jobs, run_trainings

    if args.seeds > _MOST_SEEDS:
        raise UserError(f'--seeds is how many there are, {_MOST_SEEDS:,} at most, got {args.seeds}')
    if args.seeds < 1 or (args.jobs is not None and args.jobs < 1):
        raise UserError(f'expected --seeds and --jobs from 1, got {args.seeds} and {args.jobs}')
    if not os.path.isdir(args.data):
        raise UserError(f'the data folder {args.data} does not exist')
    seeds = range(1, args.seeds + 1)
    try:
        trainings = plan_trainings(args.data, args.rows, seeds, args.output, args.other_flags)
    except OSError as e:
        raise UserError(f'the ablation cannot be begun: {e}') from e
    jobs = min(args.jobs or default_jobs(), len(trainings))
    missing = sum(not training.finished() for training in trainings)
    print(
        f'{len(args.rows)} rows × {args.seeds} seeds: {len(trainings)} trainings, {missing} to do, {jobs} at a time; '
        f'what they print is in {args.output}/*.log',
        flush=True,
    )
    begin = time.monotonic()

    def report(training: 'Training', finished: int, total: int) -> None:
        from ..recipes.comparison import format_time

        done = finished - (total - missing)
        left = (time.monotonic() - begin) / done * (total - finished)
        accuracy = training.curve()[1][-1]
        time_left = f', about {format_time(left)} left' if left else ''
        print(f'[{finished}/{total}] {training.row}, seed {training.seed}: {accuracy:.2f} %{time_left}', flush=True)

    # so that ending this process ends the trainings too
    before = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        failed = run_trainings(trainings, jobs, report)
    except KeyboardInterrupt:
        raise UserError('interrupted: the same command goes on from the last checkpoints') from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    finished = [training for training in trainings if training.finished()]
    if finished:
        write_tables(args, finished)
    if failed:
        training = failed[0]
        more = f' (and {len(failed) - 1} more trainings failed)' if len(failed) > 1 else ''
        raise UserError(
            f'{training.row}, seed {training.seed} failed: {training.last_words()}{more}. All of it is in '
            f'{training.log}; the same command tries again'
        )
    return 0


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


def write_tables(args: argparse.Namespace, trainings: list['Training']) -> None:
    """Print the table of what is finished, and write it in all its forms."""
    from ..files import atomic_write
    from ..recipes.comparison import compare, markdown, to_csv

    by_row = {row: [t for t in trainings if t.row == row] for row in args.rows}
    by_row = {row: ts for row, ts in by_row.items() if ts}
    rows = compare(
        list(by_row),
        [{t.seed: t.curve() for t in ts} for ts in by_row.values()],
        [[s for t in ts if (s := t.seconds()) is not None] for ts in by_row.values()],
    )
    text = markdown(rows)
    print(f'\n{text}')
    for name, content in (('table.md', text), ('table.csv', to_csv(rows))):
        with atomic_write(os.path.join(args.output, name)) as partial:
            Path(partial).write_text(content, encoding='utf-8')
    draw(args, rows)


def draw(args: argparse.Namespace, rows: list['Row']) -> None:
    """Write the pictures, or say what they need."""
    from ..files import atomic_write
    from ..recipes.comparison_plot import curves_figure, table_figure

    title = f'{os.path.basename(os.path.abspath(args.data))}, {max(row.top1.seeds for row in rows)} seeds'
    try:
        for name, figure in (('table.png', table_figure), ('curves.png', curves_figure)):
            with atomic_write(os.path.join(args.output, name)) as partial:
                figure(rows, title).savefig(partial, dpi=150)
    except ImportError as e:
        print(f'no pictures: {e}', file=sys.stderr)
        return
    print(f'{args.output}: table.md, table.csv, table.png, curves.png')
