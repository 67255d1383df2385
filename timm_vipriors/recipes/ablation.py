"""An ablation: recipes over several seeds, run several at a time, resumed after a stop, and compared in a table."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write
from ..report.runs import read_run
from .catalogue import find_recipe
from .comparison import Results, Row, compare, format_time, markdown, to_csv

_RUN_FLAGS = ('--seed', '--experiment', '--output', '--resume')


@dataclass(frozen=True)
class Training:
    """One recipe with one seed.

    Args:
        row: The recipe's name and its flags, as the table shows them.
        seed: The seed.
        folder: Where its results go; what it prints goes to a log of that name.
        command: The recipe's command line, without `--resume`.
    """

    row: str
    seed: int
    folder: Path
    command: tuple[str, ...]

    @property
    def log(self) -> Path:
        return self.folder.with_name(f'{self.folder.name}.log')

    @property
    def finished(self) -> Path:
        """A file that is written at its end, with the time it took, or null if it was interrupted."""
        return self.folder / 'finished.json'

    @property
    def last(self) -> Path:
        return self.folder / 'last.pth.tar'

    def curve(self) -> dict[int, float]:
        """The top-1 accuracy in percent after each epoch that was evaluated, counted from 1."""
        run = read_run(str(self.folder))
        if 'eval_top1' not in run.columns:
            raise UserError(f'{self.folder} has no validation accuracy: an ablation needs a validation split')
        return {int(epoch) + 1: float(top1) for epoch, top1 in zip(run.epochs, run.columns['eval_top1'], strict=True)}


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

    `output` gets a folder and a log for each training, and table.md, table.csv, table.png and curves.png. Called again
    after a stop, or with more rows or seeds, it runs what is missing.

    Args:
        data: The image folder.
        rows: Recipes, each a name or a path, with flags of its own after it, as in a shell.
        seeds: The seeds of every row.
        output: The folder of all results.
        flags: Flags that all rows get. A row's own come after them and win.
        jobs: Trainings at a time; None for `default_jobs()`.
        report: Called with a line about the plan, one after each training, and the table.

    Raises:
        UserError: If the rows cannot be compared, or a training failed. The table of the others is written anyway.
    """
    output = Path(output)
    trainings = plan_trainings(data, rows, seeds, output, flags)
    total, missing = len(trainings), sum(not training.finished.exists() for training in trainings)
    jobs = min(jobs or default_jobs(), total)
    begin = time.monotonic()
    report(
        f'{len(rows)} rows × {len(seeds)} seeds: {total} trainings, {missing} to do, {jobs} at a time; '
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
            results.append(Results(row, curves, [s for s in seconds if s is not None]))
    table = compare(results)
    if table:
        title = f'{os.path.basename(os.path.abspath(data))}, {max(row.seeds for row in table)} seeds'
        report(f'\n{markdown(table)}\n{output}: {", ".join(write_tables(table, output, title))}')
    if failed:
        training = failed[0]
        more = f' (and {len(failed) - 1} more trainings failed)' if len(failed) > 1 else ''
        last_log_line = training.log.read_text(errors='replace').strip().rpartition('\n')[2] or 'it printed nothing'
        raise UserError(
            f'{training.row}, seed {training.seed} failed: {last_log_line}{more}. All of it is in {training.log}; '
            'the same command tries again'
        )
    return table


def plan_trainings(
    data: str, rows: Sequence[str], seeds: Sequence[int], output: Path, flags: Sequence[str] = ()
) -> list[Training]:
    """The trainings of `run_ablation`, seed by seed, so that every row has its first seed early.

    The output folder is made, or checked to be that of this ablation.
    """
    if taken := [name for flag in flags if (name := flag.partition('=')[0]) in _RUN_FLAGS]:
        raise UserError(f'{taken[0]} is set for every training of an ablation: use --seeds and -o, and leave it out')
    trainings = {}
    for row in rows:
        try:
            name, *own = shlex.split(row) or ['']
        except ValueError as e:
            raise UserError(f'--rows {row!r}: {e}') from None
        stem = re.sub(r'[^\w.+=-]+', '_', row).strip('_')
        for seed in seeds:
            folder = output / f'{stem}-seed-{seed}'
            if folder in trainings:
                raise UserError(f'the rows {trainings[folder].row!r} and {row!r} are alike: name each row once')
            last = ('--seed', str(seed), '--output', str(output), '--experiment', folder.name)
            command = find_recipe(name).command(data, *flags, *own, *last)
            trainings[folder] = Training(row, seed, folder, tuple(command))
        _resolve(trainings[folder])
    _claim(output, {'data': os.path.abspath(data), 'flags': list(flags)})
    return sorted(trainings.values(), key=lambda training: training.seed)


def _resolve(training: Training) -> list[str]:
    """The one `timm-vipriors train` that a recipe runs, by its DRY_RUN."""
    env = {'PYTHON': 'python', **os.environ, 'DRY_RUN': '1'}
    done = subprocess.run(training.command, env=env, text=True, errors='replace', capture_output=True)
    trains = []
    with suppress(ValueError):  # not command lines: the recipe knows no DRY_RUN
        trains = [words for line in done.stdout.splitlines() if {'-m', 'train'} <= {*(words := shlex.split(line))}]
    if done.returncode or not trains:
        said = done.stderr.strip().splitlines()
        raise UserError(f'{training.row!r} is not a recipe that trains{": " + said[-1] if said else ""}')
    words = trains[0]
    into = words[len(words) - words[::-1].index('--experiment')] if '--experiment' in words else None
    if len(trains) > 1 or into != training.folder.name:
        raise UserError(
            f'{training.row!r} trains {len(trains)} times or into a folder of its own: an ablation takes recipes of '
            'one training'
        )
    return words


def _claim(output: Path, plan: dict) -> None:
    """Note in the folder what it is for, or raise if it is for something else."""
    path, text = output / 'plan.json', json.dumps(plan, indent=2) + '\n'
    if path.is_file():
        if path.read_text(encoding='utf-8') != text:
            raise UserError(f'{output} holds an ablation with other data or flags ({path}): name another folder')
    elif output.is_file() or (output.exists() and any(output.iterdir())):
        raise UserError(f'{output} is there already and is no folder of an ablation: name another one with -o')
    else:
        output.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_text(text, encoding='utf-8')


def default_jobs() -> int:
    """As many trainings at a time as `$GPUS` says, or as there are CUDA devices; at least one."""
    import torch

    wanted = os.environ.get('GPUS') or str(max(torch.cuda.device_count(), 1))
    if not re.fullmatch('[1-9][0-9]{0,4}', wanted):
        raise UserError(f'GPUS={wanted}: expected a number from 1')
    return int(wanted)


def run_trainings(
    trainings: Sequence[Training], jobs: int, report: Callable[[Training, int], object] = lambda *_: None
) -> list[Training]:
    """Run what is not finished, several at a time, and return what failed.

    Whatever ends this function ends the running trainings too. If a training fails before any has finished, the rest
    is stopped: it would fail too.

    Args:
        trainings: The plan.
        jobs: How many at a time, each on a device of its own where there are devices.
        report: Called after each with the training, and how many are finished.
    """
    left = [training for training in trainings if not training.finished.exists()]
    finished = before = len(trainings) - len(left)
    failed: list[Training] = []
    running: dict[int, tuple[Training, subprocess.Popen, float | None]] = {}  # by slot
    try:
        while left or running:
            for slot in set(range(jobs)) - running.keys():
                if left:
                    running[slot] = _start(left.pop(0), _environment(slot, jobs))
            time.sleep(0.05)
            for slot, (training, process, begin) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[slot]
                if process.returncode == 0 and training.last.is_file():
                    seconds = None if begin is None else time.monotonic() - begin
                    with atomic_write(training.finished) as partial:
                        partial.write_text(json.dumps({'seconds': seconds}) + '\n')
                    finished += 1
                    report(training, finished)
                else:
                    failed.append(training)
                    if finished == before:
                        return failed
        return failed
    finally:
        for _, process, _ in running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _start(training: Training, env: dict[str, str]) -> tuple[Training, subprocess.Popen, float | None]:
    """Start a training in a process group of its own, or resume it; then the time of its start is None."""
    resumed = training.last.is_file()
    if not resumed and training.folder.exists():
        shutil.rmtree(training.folder)  # stopped before its first checkpoint: nothing to keep
    command = [*training.command, *(('--resume', str(training.last)) if resumed else ())]
    with open(training.log, 'a' if resumed else 'w') as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    return training, process, None if resumed else time.monotonic()


def _environment(slot: int, jobs: int) -> dict[str, str]:
    """The variables of a training: one process, on the slot's device, with its share of the processors."""
    import torch

    env = {'PYTHON': sys.executable, **os.environ}
    for name in ('GPUS', 'NNODES', 'DRY_RUN'):
        env.pop(name, None)
    if devices := torch.cuda.device_count():
        visible = os.environ.get('CUDA_VISIBLE_DEVICES', ','.join(map(str, range(devices)))).split(',')
        env['CUDA_VISIBLE_DEVICES'] = visible[slot % len(visible)]
    elif jobs > 1:
        env.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // jobs, 1)))
    return env


def write_tables(rows: Sequence[Row], output: Path, title: str) -> list[str]:
    """Write the table in all its forms, and return the files' names."""
    try:
        from .plots import curves_figure, table_figure
    except ImportError:
        figures = {}
    else:
        figures = {'table.png': table_figure(rows, title), 'curves.png': curves_figure(rows, title)}
    for name, text in (texts := {'table.md': markdown(rows), 'table.csv': to_csv(rows)}).items():
        with atomic_write(output / name) as partial:
            partial.write_text(text, encoding='utf-8')
    for name, figure in figures.items():
        with atomic_write(output / name) as partial:
            figure.savefig(partial, dpi=150, bbox_inches='tight')
    return [*texts, *(figures or ["no pictures, which need matplotlib: pip install 'timm-vipriors[plot]'"])]
