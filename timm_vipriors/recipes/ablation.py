"""An ablation: recipes over several seeds, planned, run, and compared in a table."""

import io
import json
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from itertools import combinations, takewhile
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write, first_names
from ..report.runs import read_run
from .catalogue import find_recipe
from .comparison import Results, Row, compare, format_time, markdown, to_csv
from .training import Training, default_jobs, resolve, run_trainings

_RUN_FLAGS = ('--seed', '--experiment', '--output', '--resume')
# settings that change nothing in what is learned
_INDIFFERENT = ('seed', 'experiment', 'output', 'workers', 'log_interval', 'checkpoint_hist', 'validation_batch_size')


def run_ablation(
    data: str,
    rows: Sequence[str],
    seeds: Sequence[int],
    output: str | os.PathLike,
    flags: Sequence[str] = (),
    jobs: int | None = None,
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
        report: Called with a line about the plan, one after each run, and the table.

    Raises:
        UserError: If the rows cannot be compared, or a run failed. The table of the others is written anyway.
    """
    output = Path(output)
    trainings = plan_trainings(data, rows, seeds, output, flags)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / 'plan.json') as partial:
        partial.write_text(_plan_text(data, flags), encoding='utf-8')
    total, missing = len(trainings), sum(not training.finished.exists() for training in trainings)
    jobs = min(jobs or default_jobs(), total)
    begin = time.monotonic()
    report(
        f'{len(rows)} rows × {len(seeds)} seeds: {total} runs, {missing} to do, {jobs} at a time; '
        f'their logs are {output}/*.log'
    )

    def report_one(training: Training, finished: int) -> None:
        left = (time.monotonic() - begin) / (finished - total + missing) * (total - finished)
        time_left = f', about {format_time(left)} left' if left else ''
        accuracy = [*training.curve().values()][-1]
        report(f'[{finished}/{total}] {training.row}, seed {training.seed}: {accuracy:.2f} %{time_left}')

    failed = run_trainings(trainings, jobs, report_one)
    results = []
    for row in rows:
        if done := [training for training in trainings if training.row == row and training.finished.exists()]:
            seconds = [json.loads(training.finished.read_text())['seconds'] for training in done]
            curves = {training.seed: training.curve() for training in done}
            seconds = [s for s in seconds if s is not None]
            results.append(Results(row, curves, seconds, done[0].against, done[0].paper))
    table = compare(results)
    if table:
        text = markdown(table, _averages(trainings))
        title = f'{os.path.basename(os.path.abspath(data))}, {max(row.seeds for row in table)} seeds'
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
    differ, or not as they should, raise a UserError.
    """
    if taken := [name for flag in flags if (name := flag.partition('=')[0]) in _RUN_FLAGS]:
        raise UserError(f'{taken[0]} is set for every run of an ablation: use --seeds and -o, and leave it out')
    trainings: dict[Path, Training] = {}
    settings, own_settings = {}, {}
    for row in rows:
        try:
            words = shlex.split(row)
        except ValueError as e:
            raise UserError(f'--rows {row!r}: {e}') from None
        variables = dict(word.split('=', 1) for word in takewhile(re.compile(r'[A-Z_]+=').match, words))
        name, *own = words[len(variables) :] or ['']
        recipe = find_recipe(name)
        against, paper = recipe.fields.get('Compare', ''), recipe.score(variables.get('ROW', ''))
        if own:  # not the paper's row any more
            against, paper = '', math.nan
        stem = re.sub(r'[^\w.+=-]+', '_', row).strip('_')
        for seed in seeds:
            folder = output / f'{stem}-seed-{seed}'
            if folder in trainings:
                raise UserError(f'the rows {trainings[folder].row!r} and {row!r} are alike: name each row once')
            last = ('--seed', str(seed), '--output', str(output), '--experiment', folder.name)
            command = recipe.command(data, *flags, *own, *last)
            trainings[folder] = Training(row, seed, folder, tuple(command), variables, against, paper)
        settings[row] = _settings(trainings[folder])
        own_command = tuple(recipe.command(data, *own, *last))
        own_settings[row] = _settings(replace(trainings[folder], command=own_command))
    _check_differences(settings, own_settings)
    plan = output / 'plan.json'
    if plan.is_file():
        if plan.read_text(encoding='utf-8') != _plan_text(data, flags):
            raise UserError(f'{output} holds an ablation with other data or flags ({plan}): name another folder')
    elif output.is_file() or (output.exists() and any(output.iterdir())):
        raise UserError(f'{output} is there already and is no folder of an ablation: name another one with -o')
    return sorted(trainings.values(), key=lambda training: training.seed)


def _plan_text(data: str, flags: Sequence[str]) -> str:
    """What has to stay the same where an ablation is resumed."""
    return json.dumps({'data': os.path.abspath(data), 'flags': list(flags)}, indent=2) + '\n'


def _settings(training: Training) -> dict[str, Any]:
    """What the flags of a run come to: the last value of each flag that changes what is learned."""
    from ..scripts.train import parser

    words = resolve(training)
    with redirect_stderr(io.StringIO()) as said:
        try:
            args, others = parser.parse_known_args(words[words.index('train') + 1 :])
        except SystemExit:
            raise UserError(f'{training.row!r}: {said.getvalue().strip().rpartition("error: ")[2]}') from None
    settings = vars(args)
    name = ''
    for word in others:  # flags that the bundled script does not have
        if re.match(r'--?[a-z]', word):
            name, _, value = word.lstrip('-').replace('-', '_').partition('=')
            settings[name] = value
        else:
            settings[name] = f'{settings.get(name, "")} {word}'.strip()
    return {name: value for name, value in settings.items() if name not in _INDIFFERENT}


def _check_differences(settings: dict[str, dict[str, Any]], own: dict[str, dict[str, Any]]) -> None:
    """Raise if flags for all rows override what distinguishes them, or if two rows are equal.

    Args:
        settings: Those of each row.
        own: The same without the flags for all rows.
    """
    for row in settings:
        for name, value in own[row].items():
            dropped = value.keys() - settings[row][name].keys() if isinstance(value, dict) else ()
            if dropped and settings[row][name]:  # an empty one is meant to drop them
                lost = ' '.join(f'{key}={value[key]}' for key in sorted(dropped))
                raise UserError(f'--{name.replace("_", "-")} for all rows drops {lost} of {row}: repeat it there')
    for a, b in combinations(settings, 2):
        for name in {**own[a], **own[b]}:
            values = own[a].get(name), own[b].get(name)
            if values[0] != values[1] and settings[a].get(name) == settings[b].get(name):
                raise UserError(
                    f'--{name.replace("_", "-")} for all rows overrides what distinguishes them ({a}: {values[0]}, '
                    f'{b}: {values[1]}): leave it out, or put it into the rows'
                )
        if settings[a] == settings[b]:
            raise UserError(f'the rows {a!r} and {b!r} are the same run: leave one out')


def _averages(trainings: Sequence[Training]) -> str:
    """A note on the rows whose accuracy is that of averaged weights."""
    settings = {t.row: read_run(str(t.folder)).settings for t in trainings if t.finished.exists()}
    averaged = {row: s for row, s in settings.items() if s.get('model_ema')}
    if not averaged:
        return ''
    cold = [row for row, s in averaged.items() if not s.get('model_ema_warmup')]
    note = f'The accuracy of {first_names(averaged)} is that of the averaged weights (--model-ema).'
    if cold:
        note += (
            f' Without --model-ema-warmup ({first_names(cold)}) the averaged weights of a short run are close to '
            'the initial ones, and their accuracy to chance.'
        )
    return note


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
