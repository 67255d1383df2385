"""Several recipes over several seeds: which trainings that is, where they go, and how far each has come."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write
from ..report.runs import read_run
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

    def finish(self, seconds: float | None) -> None:
        """Note that it has come to its end, and how long it took, None where it was interrupted and went on."""
        with atomic_write(self.folder / FINISHED) as partial:
            Path(partial).write_text(json.dumps({'seconds': seconds}) + '\n')

    def seconds(self) -> float | None:
        """How long it took, or None where it was interrupted and went on."""
        return json.loads((self.folder / FINISHED).read_text())['seconds']

    def curve(self) -> tuple[list[int], list[float]]:
        """Epochs, counted from 1, and top-1 accuracy in percent after each of them that was evaluated."""
        run = read_run(str(self.folder))
        if 'eval_top1' not in run.columns:
            raise UserError(f'{self.folder} has no validation accuracy: an ablation needs a validation split')
        return [int(epoch) + 1 for epoch in run.epochs], [float(value) for value in run.columns['eval_top1']]

    def last_words(self) -> str:
        """The last line of the log that says something."""
        try:
            lines = self.log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else 'it printed nothing'


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
        try:
            name, *own = shlex.split(row) or ['']
        except ValueError as e:
            raise UserError(f'--rows {row!r}: {e}') from None
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
    done = subprocess.run(training.command, env=env, text=True, errors='replace', capture_output=True)
    try:
        commands = [shlex.split(line) for line in done.stdout.splitlines()]
    except ValueError:  # no command lines, such as those of a recipe that knows no DRY_RUN
        commands = []
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
        try:
            there = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as e:
            raise UserError(f'{path} is not what an ablation wrote: {e}') from None
        if there != plan:
            before = ' '.join(map(str, there.values())) if isinstance(there, dict) else there
            raise UserError(
                f'{output} holds an ablation with other data or flags ({before}): name another folder with -o'
            )
        return
    if output.exists() and not output.is_dir():
        raise UserError(f'{output} is no folder: name another one with -o')
    if output.exists() and any(output.iterdir()):
        raise UserError(f'{output} is there already and is no ablation: name another folder with -o')
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        Path(partial).write_text(json.dumps(plan, indent=2) + '\n')
