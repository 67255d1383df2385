"""A long run stays what it was at its beginning: memory, open files, processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.data import LSBSwap, make_demo_data

from .training import ENVIRONMENT, training

EPOCHS = int(os.environ.get('TIMM_VIPRIORS_SOAK', '240'))
FLAGS = (
    '--model test_dsk_resnext --img-size 32 -b 10 --workers 2 --warmup-epochs 0 --model-ema --lsb-swap 2 '
    '--criterion pcl+center+tsl --criterion-kwargs tree_start_epoch=1 tree_update_every=5 --aa rand-m5 --reprob 0.2 '
    '--mixup 0.1 --val-interval 10 --checkpoint-hist 2 --experiment run --log-interval 1000'
).split()


def usage(pid):
    """Memory in MiB of a process and its children, their number, and the files that the process has open."""
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    total = 0
    for process in (pid, *children):
        for line in Path(f'/proc/{process}/smaps_rollup').read_text().splitlines():
            # pages that they share count once; those of files also count less while another program has them
            if line.startswith(('Pss_Anon:', 'Pss_Shmem:')):
                total += int(line.split()[1]) / 1024
    return total, len(children), len(os.listdir(f'/proc/{pid}/fd'))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
@pytest.mark.timeout(7200)
def test_memory_files_and_processes_stay(tmp_path):
    make_demo_data(tmp_path / 'data', per_class=2)
    for folder in (tmp_path / 'data' / 'validation').iterdir():
        for image in sorted(folder.iterdir())[2:]:
            image.unlink()
    line = training(tmp_path / 'data', *FLAGS, '--epochs', EPOCHS)
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(line, cwd=tmp_path, env=ENVIRONMENT, **quiet)
    summary, samples, seen = tmp_path / 'output/train/run/summary.csv', [], 0
    try:
        while process.poll() is None:
            rows = summary.read_bytes().count(b'\n') if summary.exists() else 0
            if rows > seen:  # always at the same place: just after an evaluation
                seen = rows
                try:
                    samples.append(usage(process.pid))
                except (FileNotFoundError, ProcessLookupError):
                    continue  # one of them ended meanwhile
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    samples = samples[:-1]  # it may be ending there
    assert len(samples) >= EPOCHS // 10 - 3
    memory, processes, files = (np.array(values, float) for values in zip(*samples, strict=True))
    warm = len(samples) // 4
    half = (len(samples) - warm) // 2
    growth = np.median(memory[-half:]) - np.median(memory[warm : warm + half])
    print(
        f'{EPOCHS} epochs: {np.median(memory[warm : warm + half]):.0f} MiB, then {growth:+.1f} MiB; '
        f'{processes[warm]:.0f} processes, {files[warm]:.0f} files'
    )
    assert growth < 0.02 * memory[warm]
    assert set(processes[warm:]) == {2}  # of the training loader; evaluation batches are kept, and its workers end
    assert max(files[warm + half :]) <= max(files[warm : warm + half]) + 3  # batches on their way have files


def test_the_ring_of_donors_is_bounded():
    swap = LSBSwap(k=2, p=1.0, pool_size=4)
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = rng.integers(1, 40, 2)
        swap(Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)))
        swap(Image.fromarray(rng.integers(0, 256, tuple(size), dtype=np.uint8)))
    assert {len(pool) for pool in swap._pools.values()} == {4}
    assert len(swap._pools) == 2
