"""Several processes: the same state on all, a class that one alone sees, and an end when one of them dies."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import timm
import torch

from timm_vipriors.loss import VIPriorsLoss
from timm_vipriors.task import FeatureClassificationTask

from .training import ENVIRONMENT, training

WORLD = 4


def _make_task():
    torch.manual_seed(0)
    model = timm.create_model('test_dsk_resnext', num_classes=6)
    return FeatureClassificationTask(model, VIPriorsLoss(6, model.head_hidden_size, center_weight=0.01), verbose=False)


def _batch(rank, step):
    """Of another size on each rank; class 5 is seen by the last rank alone, class 4 by none."""
    size = 3 + rank
    generator = torch.Generator().manual_seed(100 * step + rank)
    target = torch.randint(4, (size,), generator=generator)
    if rank == WORLD - 1:
        target[0] = 5
    return torch.randn(size, 3, 32, 32, generator=generator), target


def _train(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=WORLD)
    task = _make_task()
    task.prepare_distributed()
    optimizer = torch.optim.SGD(task.get_trainable_module().parameters(), lr=0.1, momentum=0.9)
    features = []
    for step in range(3):
        result = task(*_batch(rank, step))
        features.append(result['features'].detach())
        result['loss'].backward()
        optimizer.step()
        optimizer.zero_grad()
    module = task.get_trainable_module().module
    torch.save({'state': module.state_dict(), 'features': features}, f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_four_processes_with_batches_of_different_sizes(tmp_path):
    torch.multiprocessing.spawn(_train, (str(tmp_path),), nprocs=WORLD)
    ranks = [torch.load(tmp_path / f'{rank}.pt') for rank in range(WORLD)]
    parameters = [name for name, _ in _make_task().get_trainable_module().named_parameters()]
    for other in ranks[1:]:
        for name in [*parameters, 'criterion.center.centers']:
            assert torch.equal(ranks[0]['state'][name], other['state'][name]), name
    # the centers are those of Wen's rule over all features, in float64
    centers = torch.zeros(6, ranks[0]['features'][0].shape[1], dtype=torch.float64)
    for step in range(3):
        x = torch.cat([rank['features'][step] for rank in ranks]).double()
        y = torch.cat([_batch(rank, step)[1] for rank in range(WORLD)])
        for c in range(6):
            mine = x[y == c]
            centers[c] -= 0.5 * (centers[c] - mine).sum(dim=0) / (1 + len(mine))
    found = ranks[0]['state']['criterion.center.centers'].double()
    torch.testing.assert_close(found, centers, rtol=1e-4, atol=1e-5)
    assert found[5].abs().sum() > 0
    assert found[4].abs().sum() == 0


def children(pid):
    """The processes below one, at any depth."""
    lines = subprocess.run(['ps', '-eo', 'pid=,ppid='], text=True, capture_output=True, check=True).stdout.split('\n')
    parents = {int(child): int(parent) for child, parent in (line.split() for line in lines if line.strip())}
    found, level = [], [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_a_process_that_dies_ends_the_others(victim, few_digits, tmp_path):
    """Within a minute, with an error, and nothing stays behind."""
    flags = '--model test_dsk_resnext --img-size 32 -b 20 --workers 1 --epochs 500 --experiment run'.split()
    torchrun = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')
    launcher = subprocess.Popen(
        training(few_digits, *flags, launcher=torchrun),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / 'output/train/run/last.pth.tar').exists():
            assert launcher.poll() is None, launcher.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        everyone = children(launcher.pid)
        ranks = {}
        for pid in everyone:
            variables = Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
            parent = int(Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[1])
            rank = next((v for v in variables if v.startswith(b'LOCAL_RANK=')), None)
            if rank and parent == launcher.pid:
                ranks[int(rank.split(b'=')[1])] = pid
        os.kill(ranks[victim], signal.SIGKILL)
        started = time.monotonic()
        _, err = launcher.communicate(timeout=60)
        assert launcher.returncode != 0
        assert 'SIGKILL' in err or 'exitcode' in err
        print(f'the others ended {time.monotonic() - started:.1f} s after it')
        deadline = time.monotonic() + 20
        while any(os.path.exists(f'/proc/{pid}') for pid in everyone) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not [pid for pid in everyone if os.path.exists(f'/proc/{pid}')]
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
