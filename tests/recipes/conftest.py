"""A recipe that trains nothing, for ablations in tests, and an interpreter that starts in no time."""

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

from timm_vipriors.scripts.runner import add_our_options, load_script

from ..conftest import ROOT

# of a real one that takes seconds
FLAGS = (
    '--model test_efficientnet --model-kwargs --img-size 32 --epochs 2 --warmup-epochs 0 -b 40 --workers 1 --no-amp '
    '--lr 0.01'
).split()

# a training in a tenth of a second: what an ablation sees of one
FAKE = """#!/usr/bin/env bash
# DRY_RUN prints a command, as a recipe does; otherwise a run is written without one.
args=("$@")
for i in "${!args[@]}"; do
    case ${args[i]} in
        --seed) seed=${args[i + 1]} ;;
        --experiment) name=${args[i + 1]} ;;
        --output) output=${args[i + 1]} ;;
        --fail) fail=${args[i + 1]} ;;
        --slow) slow=1 ;;
        --bonus) bonus=${args[i + 1]} ;;
    esac
done
if [ -n "$DRY_RUN" ]; then
    echo "python -m timm_vipriors train $1 --recipe $0 ${*:2}"
    exit
fi
echo "args: $*"
echo "device: $CUDA_VISIBLE_DEVICES threads: $OMP_NUM_THREADS gpus: $GPUS"
[ "$fail" != "$seed" ] && [ "$fail" != all ] || { echo "out of luck"; exit 3; }
mkdir -p "$output/$name"
printf 'epoch,train_loss,eval_top1\\n0,1.0,10.0\\n' > "$output/$name/summary.csv"
touch "$output/$name/last.pth.tar"
[ -z "$slow" ] || sleep 60
printf '1,0.5,%s.5\\n' "$((40 + seed + bonus))" >> "$output/$name/summary.csv"
"""


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / 'fake.sh'
    path.write_text(FAKE)
    return str(path)


@pytest.fixture
def data(tmp_path):
    (tmp_path / 'data').mkdir()
    return str(tmp_path / 'data')


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


@pytest.fixture(scope='session')
def quick_python():
    """A PYTHON for recipes of many commands; see fork_server.py."""
    script = Path(__file__).with_name('fork_server.py')
    with tempfile.TemporaryDirectory() as folder:  # a short path, as a socket needs it
        socket, client = Path(folder, 'socket'), Path(folder, 'python')
        client.write_text(f'#!/bin/sh\nFORK_SERVER={socket} exec {sys.executable} -I -S {script} "$@"\n')
        client.chmod(0o755)
        server = subprocess.Popen(
            [sys.executable, script, socket], cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}
        )
        try:
            while not socket.exists():
                assert server.poll() is None
                time.sleep(0.05)
            yield str(client)
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope='session')
def parsers():
    """The parser of a script: the bundled one and, where there is a checkout, that of timm's."""

    @cache
    def parser(path):
        made = load_script(path).parser
        add_our_options(made)
        return made

    return parser
