"""The runs of an ablation: on which device, ended with it, and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from timm_vipriors.cli import main
from timm_vipriors.recipes.ablation import plan_trainings
from timm_vipriors.recipes.training import default_jobs, run_trainings

from ..scripts.test_training import summary
from .conftest import FAKE, FLAGS
from .running import start


@pytest.mark.slow
def test_killed_in_the_middle(few_digits, out, tmp_path):
    """SIGTERM ends the trainings too; the same command resumes from the last checkpoint."""
    env = {k: v for k, v in os.environ.items() if k != 'TIMM_SCRIPTS'}
    line = [sys.executable, '-m', 'timm_vipriors', 'ablation', str(few_digits), '--rows', 'resnext50_32x4d']
    line += ['--seeds', '1', '-o', str(out), *FLAGS, '--epochs', '200', '--checkpoint-hist', '1']
    process = subprocess.Popen(line, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = out / 'resnext50_32x4d-seed-1'
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (folder / 'last.pth.tar').exists():
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    time.sleep(1)
    epochs = len(summary(folder))
    time.sleep(2)
    assert len(summary(folder)) == epochs  # nothing trains any more
    assert epochs < 200
    assert not (folder / 'finished.json').exists()
    line[line.index('200')] = '3' if epochs < 3 else str(epochs + 1)
    done = subprocess.run(line, cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.returncode == 2
    assert 'holds an ablation with other data or flags' in done.stderr
    plan = json.loads((out / 'plan.json').read_text())
    plan['flags'][plan['flags'].index('200')] = str(epochs + 1)  # so that the test has an end
    (out / 'plan.json').write_text(json.dumps(plan, indent=2) + '\n')
    line[line.index('--checkpoint-hist') - 1] = str(epochs + 1)
    done = subprocess.run(line, cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [row['epoch'] for row in summary(folder)] == list(range(epochs + 1))
    assert '| – |' in done.stdout  # no time of a training that was interrupted


def test_devices_and_threads(fake, data, out, monkeypatch):
    def logs(jobs):
        trainings = plan_trainings(data, [fake], range(1, 5), out)
        out.mkdir()
        assert run_trainings(trainings, jobs) == []
        return {t.log.read_text().splitlines()[1] for t in trainings}

    for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setenv('GPUS', '4')
    assert default_jobs() == 4
    assert logs(2) == {'device:  threads: 4 gpus: '}
    shutil.rmtree(out)
    assert logs(1) == {'device:  threads:  gpus: '}
    shutil.rmtree(out)
    monkeypatch.delenv('GPUS')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,7')
    assert default_jobs() == 3
    seen = logs(4)
    assert seen <= {f'device: {n} threads:  gpus: ' for n in (4, 5, 7)}


def test_other_trainings_are_ended_with_it(fake, data, out):
    trainings = plan_trainings(data, [f'{fake} --fail 1', f'{fake} --slow'], [1], out)
    out.mkdir()
    begin = time.monotonic()
    failed = run_trainings(trainings, 2)
    assert [t.row for t in failed] == [f'{fake} --fail 1']
    assert time.monotonic() - begin < 30
    assert not trainings[1].finished.exists()


@pytest.mark.slow
def test_interrupted(fake, data, out, tmp_path):
    """It ends with 130, nothing trains any more, and the same command resumes."""
    words = ['ablation', data, '--rows', f'{fake} --slow', fake, '--seeds', '1', '--jobs', '1', '-o', str(out)]
    process = start(*words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not list(out.glob('*/last.pth.tar')):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == 'timm-vipriors ablation: interrupted; the same command resumes from the last checkpoints\n'
    assert not list(out.glob('*/finished.json'))
    (tmp_path / 'fake.sh').write_text(FAKE.replace('sleep 60', 'true'))
    assert main(words) == 0
    assert next(out.glob('*slow*.log')).read_text().count('--resume') == 1
    assert '| – |' in (out / 'table.md').read_text()  # no time of a training that was interrupted


def test_one_seed_of_several(fake, data, out, capsys):
    """As jobs of an array: each trains its seed, and the last one has the table of all."""
    line = ['ablation', data, '--rows', fake, f'{fake} --bonus 1', '--seeds', '3', '-o', str(out), '--only-seed']
    for seed in (2, 1, 3):
        assert main([*line, str(seed)]) == 0
        assert f'2 rows × seed {seed} of 3: 2 runs, 2 to do' in capsys.readouterr().out
    assert '| 42.50 ± 2.48 |' in (table := (out / 'table.md').read_text())
    assert main(line[:-1]) == 0
    assert '2 rows × 3 seeds: 6 runs, 0 to do' in capsys.readouterr().out
    assert (out / 'table.md').read_text() == table
    assert main([*line, '4']) == 2
    assert '--only-seed: expected a number in 1 … 3, got 4' in capsys.readouterr().err
