"""An ablation: recipes over several seeds, planned, run, and compared in a table."""

import json
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from itertools import combinations, takewhile
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write, first_names
from .catalogue import find_recipe
from .comparison import Row, compare, format_time, markdown, to_csv
from .training import Training, default_jobs, run_trainings

_RUN_FLAGS = ('--seed', '--experiment', '--output', '--resume')
_AVERAGES = (
    'The accuracy of {} is that of the averaged weights (--model-ema), which stay close to the initial ones in a short '
    'run without --model-ema-warmup.'
)


def run_ablation(
    data: str,
    rows: Sequence[str],
    seeds: Sequence[int],
    output: str | os.PathLike,
    flags: Sequence[str] = (),
    jobs: int | None = None,
    only_seed: int | None = None,
    report: Callable[[str], object] = print,
) -> list[Row]:
    """Run recipes over several seeds, and compare them.

    `output` gets a folder and a log for each run, and table.md, table.csv, table.png and curves.png. Called again
    after a stop, or with more rows or seeds, it runs what is missing.

    Args:
        data: The image folder.
        rows: Recipes, each a name or a path, with variables before it and flags after it, as in a shell.
        seeds: The seeds of every row.
        output: The folder of all results.
        flags: Flags that all rows get. A row's own come after them and win.
        jobs: Trainings at a time; None for `default_jobs()`.
        only_seed: The one of `seeds` to train, so that several calls share the work; None for all. The table has
            whatever is finished.
        report: Called with a line about the plan, one after each run, and the table.

    Raises:
        UserError: If the rows cannot be compared, or a run failed. The table of the others is written anyway.
    """
    output = Path(output)
    trainings = plan_trainings(data, rows, seeds, output, flags)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / 'plan.json') as partial:
        partial.write_text(_plan_text(data, flags), encoding='utf-8')
    todo = [training for training in trainings if only_seed in (None, training.seed)]
    total, missing = len(todo), sum(not training.finished.exists() for training in todo)
    jobs, begin = min(jobs or default_jobs(), total), time.monotonic()
    which = f'{len(seeds)} seeds' if only_seed is None else f'seed {only_seed} of {len(seeds)}'
    report(
        f'{len(rows)} rows × {which}: {total} runs, {missing} to do, {jobs} at a time; their logs are {output}/*.log'
    )

    def report_one(training: Training, finished: int) -> None:
        left = (time.monotonic() - begin) / (finished - total + missing) * (total - finished)
        time_left = f', about {format_time(left)} left' if left else ''
        accuracy = [*training.curve().values()][-1]
        report(f'[{finished}/{total}] {training.row}, seed {training.seed}: {accuracy:.2f} %{time_left}')

    failed = run_trainings(todo, jobs, report_one)
    if table := compare(_measured(rows, trainings)):
        averaged = [training.row for training in trainings[: len(rows)] if training.settings['model_ema']]
        text = markdown(table, _AVERAGES.format(first_names(averaged)) if averaged else '')
        title = f'{os.path.basename(os.path.abspath(data))}, {max(len(row.curves) for row in table)} seeds'
        report(f'\n{text}\n{output}: {", ".join(write_tables(table, text, output, title))}')
    if failed:
        training = failed[0]
        more = f' (and {len(failed) - 1} more runs failed)' if len(failed) > 1 else ''
        last_log_line = training.log.read_text(errors='replace').strip().rpartition('\n')[2] or 'it printed nothing'
        raise UserError(
            f'{training.row}, seed {training.seed} failed: {last_log_line}{more}. All of it is in {training.log}; '
            'the same command tries again'
        )
    return table


def plan_trainings(
    data: str, rows: Sequence[str], seeds: Sequence[int], output: Path, flags: Sequence[str] = ()
) -> list[Training]:
    """The runs of `run_ablation`, seed by seed, so that every row has its first seed early.

    Nothing is written. A folder that holds something else, recipes that are not one run, and rows that do not
    differ raise a UserError.
    """
    if taken := [name for flag in flags if (name := flag.partition('=')[0]) in _RUN_FLAGS]:
        raise UserError(f'{taken[0]} is set for every run of an ablation: use --seeds and -o, and leave it out')
    trainings: dict[Path, Training] = {}
    for row in rows:
        try:
            words = shlex.split(row)
        except ValueError as e:
            raise UserError(f'--rows {row!r}: {e}') from None
        variables = dict(word.split('=', 1) for word in takewhile(re.compile(r'[A-Z_]+=').match, words))
        name, *own = words[len(variables) :] or ['']
        recipe = find_recipe(name)
        # with flags of its own it is not the paper's row any more
        paper = ('', math.nan) if own else (recipe.fields.get('Compare', ''), recipe.score(variables.get('ROW', '')))
        stem = re.sub(r'[^\w.+=-]+', '_', row).strip('_')
        for seed in seeds:
            folder = output / f'{stem}-seed-{seed}'
            if folder in trainings:
                raise UserError(f'the rows {trainings[folder].row!r} and {row!r} are alike: name each row once')
            last = ('--seed', str(seed), '--output', str(output), '--experiment', folder.name)
            command = recipe.command(data, *flags, *own, *last)
            trainings[folder] = Training(row, seed, folder, command, variables, paper)
    planned = sorted(trainings.values(), key=lambda training: training.seed)
    for training in planned[: len(rows)]:
        if training.settings['val_split'] == '':
            raise UserError(
                f'{training.row!r} measures no accuracy, as it has no validation split: an ablation compares that'
            )
    for a, b in combinations(planned[: len(rows)], 2):
        if a.settings == b.settings:  # would be a difference of zero, reported as one in the noise
            override = f' with {shlex.join(flags)} for all rows' if flags else ''
            raise UserError(
                f'the rows {a.row!r} and {b.row!r} are the same run{override}: leave out what makes them so'
            )
    plan = output / 'plan.json'
    if plan.is_file():
        if plan.read_text(encoding='utf-8') != _plan_text(data, flags):
            raise UserError(f'{output} holds an ablation with other data or flags ({plan}): name another folder')
    # hidden: the plan that another call is writing
    elif output.is_file() or (output.exists() and not all(path.name.startswith('.') for path in output.iterdir())):
        raise UserError(f'{output} is there already and is no folder of an ablation: name another one with -o')
    return planned


def _plan_text(data: str, flags: Sequence[str]) -> str:
    """What has to stay the same where an ablation is resumed."""
    return json.dumps({'data': os.path.abspath(data), 'flags': list(flags)}, indent=2) + '\n'


def _measured(rows: Sequence[str], trainings: Sequence[Training]) -> list[Row]:
    """The rows of which a run is finished."""
    found = []
    for name in rows:
        if done := [training for training in trainings if training.row == name and training.finished.exists()]:
            seconds = [json.loads(training.finished.read_text())['seconds'] for training in done]
            curves = {training.seed: training.curve() for training in done}
            found.append(Row(name, curves, [s for s in seconds if s is not None], *done[0].paper))
    return found


def write_tables(rows: Sequence[Row], text: str, output: Path, title: str) -> list[str]:
    """Write the table in all its forms, and return the files' names."""
    try:
        from .plots import curves_figure, table_figure
    except ImportError:
        figures = {}
    else:
        figures = {'table.png': table_figure(rows, title), 'curves.png': curves_figure(rows, title)}
    for name, content in (texts := {'table.md': text, 'table.csv': to_csv(rows)}).items():
        with atomic_write(output / name) as partial:
            partial.write_text(content, encoding='utf-8')
    for name, figure in figures.items():
        with atomic_write(output / name) as partial:
            figure.savefig(partial, dpi=150, bbox_inches='tight')
    return [*texts, *(figures or ["no pictures, which need matplotlib: pip install 'timm-vipriors[plot]'"])]
