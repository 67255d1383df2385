"""Several recipes over several seeds: a plan of trainings, and the running of it, which goes on after a stop."""

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
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import IO

from ..errors import UserError
from ..inference.files import replacing
from ..inference.report.runs import read_run
from .catalogue import bash_command, find_recipe

PLAN, FINISHED = 'plan.json', 'finished.json'
_RUN_FLAGS = ('--seed', '--experiment', '--output', '--resume')


@dataclass(frozen=True)
class Training:
    """One recipe with one seed.

    Args:
        row: The recipe's name and its flags, as the table shows them.
        seed: The seed.
        folder: Where its results go.
        command: The recipe's command line, without what `--resume` takes.
    """

    row: str
    seed: int
    folder: Path
    command: tuple[str, ...]

    @property
    def log(self) -> Path:
        """The file with all that the training prints."""
        return self.folder.with_name(f'{self.folder.name}.log')

    def finished(self) -> bool:
        """Whether it has been trained to its end."""
        return (self.folder / FINISHED).is_file()

    def seconds(self) -> float | None:
        """How long it took, or None where it was interrupted and went on."""
        return json.loads((self.folder / FINISHED).read_text())['seconds']


def plan_trainings(
    data: str, rows: Sequence[str], seeds: Sequence[int], output: str | os.PathLike, flags: Sequence[str] = ()
) -> list[Training]:
    """The trainings of an ablation, seed by seed, so that every row has its first seed early.

    Args:
        data: The image folder.
        rows: Recipes, each a name or a path, and flags of its own after it, as in a shell.
        seeds: The seeds of every row.
        output: The folder of all results.
        flags: Flags that all rows get. A row's own come after them, and win.

    Raises:
        UserError: If a recipe is not known, is not one training, or the folder holds another ablation.
    """
    output = Path(output)
    for flag in flags:
        name = flag.partition('=')[0]
        if name in _RUN_FLAGS:
            raise UserError(f'{name} is set for every training of an ablation: use --seeds and -o, and leave it out')
    trainings = []
    folders: dict[str, str] = {}
    for row in rows:
        name, *own = shlex.split(row) or ['']
        recipe = find_recipe(name)
        folder = re.sub(r'[^\w.+=-]+', '_', row).strip('_')
        if folder in folders:
            raise UserError(f'the rows {folders[folder]!r} and {row!r} are alike: name each row once')
        folders[folder] = row
        for seed in seeds:
            experiment = f'{folder}-seed-{seed}'
            last = ('--seed', str(seed), '--output', str(output), '--experiment', experiment)
            command = bash_command(recipe, data, *flags, *own, *last)
            trainings.append(Training(row, seed, output / experiment, tuple(command)))
        _check_one_training(trainings[-1])
    trainings.sort(key=lambda training: training.seed)
    _claim(output, {'data': os.path.abspath(data), 'flags': list(flags)})
    return trainings


def _check_one_training(training: Training) -> None:
    """Raise unless the recipe trains once, and into the folder that it is told."""
    env = {'PYTHON': 'python', **os.environ, 'DRY_RUN': '1'}
    done = subprocess.run(training.command, env=env, text=True, capture_output=True)
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    trains = [words for words in commands if '-m' in words and 'train' in words]
    if done.returncode or not trains:
        said = done.stderr.strip().splitlines()
        raise UserError(f'{training.row!r} is not a recipe that trains{": " + said[-1] if said else ""}')
    last = trains[0]
    into = last[len(last) - last[::-1].index('--experiment')] if '--experiment' in last else None
    if len(trains) > 1 or into != training.folder.name:
        raise UserError(
            f'{training.row!r} trains {len(trains)} times or into a folder of its own: an ablation takes recipes of '
            f'one training'
        )


def _claim(output: Path, plan: dict) -> None:
    """Note in the folder what it is for, or raise if it is for something else."""
    path = output / PLAN
    if path.is_file():
        there = json.loads(path.read_text())
        if there != plan:
            before = shlex.join([there['data'], *there['flags']])
            raise UserError(
                f'{output} holds an ablation with other data or flags ({before}): name another folder with -o'
            )
        return
    if output.exists() and any(output.iterdir()):
        raise UserError(f'{output} is there already and is no ablation: name another folder with -o')
    output.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Path(partial).write_text(json.dumps(plan, indent=2) + '\n')


def default_jobs() -> int:
    """As many trainings at a time as `$GPUS` says, or as there are CUDA devices; one without."""
    if os.environ.get('GPUS'):
        return int(os.environ['GPUS'])
    import torch

    return max(torch.cuda.device_count(), 1)


def run_trainings(
    trainings: Sequence[Training], jobs: int, report: Callable[[Training, int, int], None] = lambda *_: None
) -> list[Training]:
    """Run what is not finished, several at a time, each on a device of its own where there are devices.

    Args:
        trainings: The plan.
        jobs: How many at a time.
        report: Called after each with the training, how many are finished, and how many there are.

    Returns:
        Those that failed. Where the first to end fails, the others are ended and not started: they would fail, too.
    """
    left = [training for training in trainings if not training.finished()]
    finished = len(trainings) - len(left)
    failed: list[Training] = []
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    processes = _Processes()

    def work(training: Training) -> Training:
        slot = slots.get()
        try:
            if not processes.ended:
                _run(training, _environment(slot, jobs), processes)
            if not training.finished() and not processes.ended:
                failed.append(training)
                if not any(other.finished() for other in left):
                    processes.end()
        finally:
            slots.put(slot)
        return training

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, training) for training in left]
        try:
            for future in as_completed(futures):
                training = future.result()
                if training.finished():
                    finished += 1
                    report(training, finished, len(trainings))
        finally:
            processes.end()
    return failed


class _Processes:
    """The running trainings, each a process group of its own, so that all of it can be ended."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.running: set[subprocess.Popen] = set()
        self.ended = False

    def run(self, command: Sequence[str], env: dict[str, str], log: IO) -> int:
        """Run a command to its end and return its exit code."""
        with self.lock:
            if self.ended:
                return -signal.SIGTERM
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
            self.running.add(process)
        try:
            return process.wait()
        finally:
            with self.lock:
                self.running.discard(process)

    def end(self) -> None:
        """End what runs, and start no more."""
        with self.lock:
            self.ended = True
            for process in self.running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def _run(training: Training, env: dict[str, str], processes: _Processes) -> None:
    """Train, from the last checkpoint if there is one, and leave a note if it came to its end."""
    last = training.folder / 'last.pth.tar'
    resume = ('--resume', str(last)) if last.is_file() else ()
    if not resume and training.folder.exists():
        shutil.rmtree(training.folder)  # stopped before its first checkpoint: nothing to keep
    begin = time.monotonic()
    with open(training.log, 'a' if resume else 'w', encoding='utf-8') as log:
        code = processes.run([*training.command, *resume], env, log)
    if code == 0 and last.is_file():
        seconds = None if resume else time.monotonic() - begin
        with replacing(training.folder / FINISHED) as partial:
            Path(partial).write_text(json.dumps({'seconds': seconds}) + '\n')


def _environment(slot: int, jobs: int) -> dict[str, str]:
    """The variables of a training: one process, on the slot's device, with its share of the processors."""
    env = {'PYTHON': sys.executable, **os.environ}
    for name in ('GPUS', 'NNODES', 'DRY_RUN'):
        env.pop(name, None)
    import torch

    devices = torch.cuda.device_count()
    if devices:
        visible = os.environ.get('CUDA_VISIBLE_DEVICES', ','.join(map(str, range(devices)))).split(',')
        env['CUDA_VISIBLE_DEVICES'] = visible[slot % len(visible)]
    elif jobs > 1:
        env.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // jobs, 1)))
    return env


def last_words(training: Training) -> str:
    """The last line of a training's log that says something."""
    try:
        lines = training.log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else 'it printed nothing'


def curve(training: Training) -> tuple[list[int], list[float]]:
    """Epochs, counted from 1, and top-1 accuracy in percent after each of them that was evaluated."""
    run = read_run(str(training.folder))
    if 'eval_top1' not in run.columns:
        raise UserError(f'{training.folder} has no validation accuracy: an ablation needs a validation split')
    return [int(epoch) + 1 for epoch in run.epochs], [float(value) for value in run.columns['eval_top1']]
