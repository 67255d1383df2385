"""A run that is killed again and again ends as one that was not: weights, averages, centers, tree, optimizer."""

import csv
import os
import random
import signal
import subprocess
import time

import pytest

from timm_vipriors.files import read_checkpoint

from ..states import equal
from .training import ENVIRONMENT, training

KILLS = int(os.environ.get('TIMM_VIPRIORS_KILLS', '10'))
FLAGS = (
    '--model test_dsk_resnext --img-size 32 -b 25 --workers 2 --warmup-epochs 2 --model-ema --model-ema-decay 0.9 '
    '--criterion pcl+center+tsl --criterion-kwargs tree_start_epoch=1 tree_update_every=7 center_weight=0.01 '
    '--aa rand-m5 --reprob 0.2 --drop-path 0.1 --checkpoint-hist 3 --resume auto --experiment run'
).split()


def command(data, folder, epochs):
    return training(data, *FLAGS, '--epochs', epochs, '--output', folder)


def start(line):
    """In a session of its own, so that its loader processes can be killed with it, as a machine that fails does."""
    return subprocess.Popen(
        line, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_again_and_again(few_digits, tmp_path):
    """A third of the kills falls while a checkpoint is written, the others anywhere in an epoch or before the first."""
    rng = random.Random(0)
    epochs = KILLS  # each start gets through about one of them
    reference = tmp_path / 'whole'
    done = start(command(few_digits, reference, epochs))
    _, err = done.communicate(timeout=600)
    assert done.returncode == 0, err

    killed, folder = 0, tmp_path / 'killed'
    run = folder / 'run'
    moments = {'writing': 0, 'elsewhere': 0}
    while killed < KILLS:
        process = start(command(few_digits, folder, epochs))
        writing = killed % 3 == 0
        rows = lines(run / 'summary.csv')
        deadline = time.monotonic() + 120
        # wait until it is in its first epoch, which the records of a new checkpoint or its temporary file show
        while process.poll() is None and time.monotonic() < deadline:
            if (run / 'tmp.pth.tar').exists() and writing:
                break
            if not writing and lines(run / 'summary.csv') > rows:
                time.sleep(rng.uniform(0, 1))
                break
            if not writing and rng.random() < 0.0005:
                break
            time.sleep(0.002)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read()
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        killed += 1
        moments['writing' if (run / 'tmp.pth.tar').exists() else 'elsewhere'] += 1
    assert killed >= KILLS * 0.9, f'the run ended after {killed} kills'
    assert moments['writing'] >= killed // 10, moments

    process.stderr.close()
    last = start(command(few_digits, folder, epochs))
    _, err = last.communicate(timeout=600)
    assert last.returncode == 0, err
    names = sorted(path.name for path in (reference / 'run').iterdir())
    assert sorted(path.name for path in run.iterdir()) == names  # no temporary file, the same checkpoints kept
    for name in names:
        if name.endswith('.pth.tar'):
            a, b = (read_checkpoint(str(path / 'run' / name)) for path in (reference, folder))
            for key in ('epoch', 'metric', 'state_dict', 'state_dict_ema', 'task_state', 'task_state_ema', 'optimizer'):
                assert equal(a[key], b[key]), (name, key)
    records = [
        list(csv.DictReader((path / 'run' / 'summary.csv').read_text().splitlines())) for path in (reference, folder)
    ]
    assert [row['epoch'] for row in records[1]] == [str(epoch) for epoch in range(epochs)]
    assert records[0] == records[1]
    print(f'{killed} kills survived: {moments}')


def lines(path):
    return path.read_bytes().count(b'\n') if path.exists() else 0
