"""The runs of an ablation: several at a time, resumed from their last checkpoints, and ended as one."""

import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write
from ..report.runs import read_run

# settings that change nothing in what is learned
_INDIFFERENT = ('seed', 'experiment', 'output', 'workers', 'log_interval', 'checkpoint_hist', 'validation_batch_size')


@dataclass(frozen=True)
class Training:
    """One recipe with one seed.

    Example:
        >>> Training('mine', 1, Path('out/mine-seed-1'), ['bash', 'mine.sh', 'DATA']).log.name
        'mine-seed-1.log'
    """

    row: str  # the recipe's name and its flags, as the table shows them
    seed: int
    folder: Path  # of its results; what it prints goes to a log of that name
    command: list[str]  # the recipe's command line, without `--resume`
    variables: dict[str, str] = field(default_factory=dict)  # those that stand before the recipe's name
    paper: tuple[str, float] = ('', math.nan)  # the row that the paper compares it with, and its accuracy in percent

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

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What its flags come to: the last value of each flag that changes what is learned."""
        from ..scripts.train import parser

        words = resolve(self)
        with redirect_stderr(io.StringIO()) as said:
            try:
                args, others = parser.parse_known_args(words[words.index('train') + 1 :])
            except SystemExit:
                raise UserError(f'{self.row!r}: {said.getvalue().strip().rpartition("error: ")[2]}') from None
        settings, name = vars(args), ''
        for word in others:  # flags that the bundled script does not have
            if re.match(r'--?[a-z]', word):
                name, _, value = word.lstrip('-').replace('-', '_').partition('=')
                settings[name] = value
            else:
                settings[name] = f'{settings.get(name, "")} {word}'.strip()
        return {name: value for name, value in settings.items() if name not in _INDIFFERENT}

    def curve(self) -> dict[int, float]:
        """The top-1 accuracy in percent after each epoch that was evaluated, counted from 1."""
        run = read_run(str(self.folder))
        if 'eval_top1' not in run.columns:
            raise UserError(f'{self.folder} has no validation accuracy: an ablation needs a validation split')
        return {int(epoch) + 1: float(top1) for epoch, top1 in zip(run.epochs, run.columns['eval_top1'], strict=True)}


def resolve(training: Training) -> list[str]:
    """The one `timm-vipriors train` that a recipe runs, by its DRY_RUN."""
    env = {'PYTHON': 'python', **os.environ, **training.variables, 'DRY_RUN': '1'}
    done = subprocess.run(training.command, env=env, text=True, errors='replace', capture_output=True)
    trains = []
    with suppress(ValueError):  # not command lines: the recipe knows no DRY_RUN
        trains = [words for line in done.stdout.splitlines() if {'-m', 'train'} <= {*(words := shlex.split(line))}]
    if done.returncode or not trains:
        said = done.stderr.strip().splitlines()
        raise UserError(f'{training.row!r} is not a recipe that trains{": " + said[0] if said else ""}')
    words = trains[0]
    into = words[len(words) - words[::-1].index('--experiment')] if '--experiment' in words else None
    if len(trains) > 1 or into != training.folder.name:
        raise UserError(
            f'{training.row!r} trains {len(trains)} times or into a folder of its own: an ablation takes recipes of '
            'one run, such as a row of one with several: ROW=… and its name'
        )
    return words


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

    Each has a device of its own where there are devices. Whatever ends this function ends them too. If one fails
    before any has finished, the rest is stopped: it would fail too. `report` is called after each with the training,
    and how many are finished.
    """
    left = [training for training in trainings if not training.finished.exists()]
    finished = before = len(trainings) - len(left)
    failed: list[Training] = []
    running: dict[int, tuple[Training, subprocess.Popen, float | None]] = {}  # by slot
    try:
        while left or running:
            for slot in set(range(jobs)) - running.keys():
                if left:
                    running[slot] = _start(left.pop(0), slot, jobs)
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


def _start(training: Training, slot: int, jobs: int) -> tuple[Training, subprocess.Popen, float | None]:
    """Start a run in a process group of its own, or resume it; then the time of its start is None."""
    resumed = training.last.is_file()
    if not resumed and training.folder.exists():
        shutil.rmtree(training.folder)  # stopped before its first checkpoint: nothing to keep
    command = [*training.command, *(('--resume', str(training.last)) if resumed else ())]
    with open(training.log, 'a' if resumed else 'w') as log:
        env = _environment(slot, jobs) | training.variables
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    return training, process, None if resumed else time.monotonic()


def _environment(slot: int, jobs: int) -> dict[str, str]:
    """The variables of a run: one process, on the slot's device, with its share of the processors."""
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
