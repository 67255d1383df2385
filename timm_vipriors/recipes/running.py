"""The running of an ablation's trainings: several at a time, from the last checkpoint after a stop, ended as one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock
from typing import IO

from ..errors import UserError
from .plan import Training


def default_jobs() -> int:
    """As many trainings at a time as `$GPUS` says, or as there are CUDA devices; one without."""
    wanted = os.environ.get('GPUS')
    if wanted:
        if not wanted.isascii() or not wanted.isdigit() or wanted == '0':
            raise UserError(f'GPUS={wanted}: expected a number from 1')
        return int(wanted)
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
        training.finish(None if resume else time.monotonic() - begin)


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
