"""Recipes as a user starts them: a process of their own, in some folder, with some variables."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from ..conftest import ROOT

FOLDER = ROOT / 'train_recipes'
RECIPES = sorted(p for p in FOLDER.glob('*.sh') if os.access(p, os.X_OK))
TRAINING = [p for p in RECIPES if not re.match('predict|ensemble|.*_ensemble', p.stem)]

_VARIABLES = (
    'GPUS',
    'NNODES',
    'NODE_RANK',
    'RDZV_ENDPOINT',
    'DRY_RUN',
    'NAME',
    'ROW',
    'TTA',
    'LRS',
    'WDS',
    'TUNE_SEEDS',
    'FINAL',
    'LOSS',
    'TREE',
    'TEST',
    'JOBS',
    'THRESHOLD',
)


def environment(**env):
    clean = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    return {**clean, 'PYTHON': sys.executable, **env}


def recipe(path, *args, cwd, check=True, **env):
    """Run a recipe, a path or a name, to its end."""
    path = path if isinstance(path, Path) else FOLDER / f'{path}.sh'
    done = subprocess.run(
        [str(path), *map(str, args)],
        cwd=cwd,
        env=environment(**env),
        text=True,
        capture_output=True,
        timeout=570,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def dry_run(path, *args, cwd, **env):
    """The commands that a recipe would run, each as its words."""
    return [shlex.split(line) for line in recipe(path, *args, cwd=cwd, DRY_RUN='1', **env).stdout.splitlines()]


def start(*args, **kwargs):
    """Start `timm-vipriors ARGS…` so that SIGINT ends it, also where a shell in the background ignores it."""
    line = [sys.executable, '-m', 'timm_vipriors', *args]
    listen = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(line, text=True, stderr=subprocess.PIPE, preexec_fn=listen, **kwargs)
