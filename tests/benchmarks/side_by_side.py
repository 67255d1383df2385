"""Two things timed in turn in one run, and what came of it; what all benchmarks here share.

A benchmark times ours and the other alternately, so that what the machine does in the meantime hits both, and reports
the median of the ratios of each round with its lowest and highest.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch


def make_parser(doc: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the flags that all benchmarks have."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=rounds, help='rounds that count (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the figures to a file too')
    return parser


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """How long a call takes, on the GPU too where there is one; of several the mean."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Measure all sides in turn, round by round.

    Args:
        sides: By their names, functions that do their work once and return what is measured, such as seconds.
        rounds: Rounds that count.
        warmup: Rounds before them.

    Returns:
        The measurements, (rounds,) for each side.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for round in range(warmup + rounds):
        names = list(sides) if round % 2 else list(reversed(sides))  # neither is always the first
        for name in names:
            value = sides[name]()
            if round >= warmup:
                values[name].append(value)
    return values


class Report:
    """Figures of a benchmark: printed as a table, and written as JSON.

    Args:
        title: What was measured.
        settings: The circumstances, for a line above the table.
        path: Where the JSON goes, or None.
    """

    def __init__(self, title: str, settings: str, path: str | None) -> None:
        self.title, self.settings, self.path = title, settings, path
        self.figures: list[dict] = []

    def add(
        self,
        what: str,
        ours: Sequence[float],
        other: Sequence[float],
        unit: str = 's',
        names: tuple[str, str] = ('ours', 'the other'),
        asked: str = '',
        times_faster: bool = False,
        spread: tuple[float, float] = (0, 1),
    ) -> None:
        """Add a comparison.

        Args:
            what: What was compared.
            ours: Measurements of ours, (rounds,).
            other: Those of the other, of the same rounds.
            unit: Unit of both.
            names: What ours and the other are.
            asked: What the ratio should be, as text.
            times_faster: Whether the ratio is the other by ours; ours by the other if not.
            spread: Quantiles of the ratios to give as their spread.
        """
        a, b = np.asarray(ours, float), np.asarray(other, float)
        ratios = b / a if times_faster else a / b
        low, high = np.quantile(ratios, spread)
        self.figures.append(
            dict(
                what=what,
                ours=statistics.median(ours),
                other=statistics.median(other),
                unit=unit,
                names=names,
                ratio=float(np.median(ratios)),
                low=float(low),
                high=float(high),
                rounds=len(ratios),
                direction='other / ours' if times_faster else 'ours / other',
                asked=asked,
            )
        )

    def finish(self) -> None:
        """Print the table and write the file."""
        print(f'{self.title}\n{self.settings}\n')
        print('\n'.join(table(self.figures)))
        if self.path:
            content = dict(title=self.title, settings=self.settings, figures=self.figures)
            Path(self.path).write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def table(figures: Sequence[Mapping]) -> list[str]:
    """The lines of a Markdown table."""
    lines = ['| what | ours | the other | ratio | spread | asked |', '|---|---|---|---|---|---|']
    for f in figures:
        mine, theirs = f['names']
        direction = f'{theirs} / {mine}' if f['direction'] == 'other / ours' else f'{mine} / {theirs}'
        spread = f'{f["low"]:.3g} to {f["high"]:.3g}' if f['rounds'] > 1 else 'one round'
        lines.append(
            f'| {f["what"]}: {direction} | {amount(f["ours"], f["unit"])} | {amount(f["other"], f["unit"])} | '
            f'{f["ratio"]:.3g} × | {spread} | {f["asked"]} |'
        )
    return lines


def amount(value: float, unit: str) -> str:
    """A number with its unit, seconds in the one that suits them."""
    if unit == 's' and value < 1:
        return f'{value * 1e3:.3g} ms'
    return f'{value:.3g} {unit}' if value < 1000 else f'{value:,.0f} {unit}'


def circumstances(*more: str) -> str:
    """Versions and threads, and what else matters to a benchmark."""
    versions = [f'{name} {version(name)}' for name in ('timm-vipriors', 'timm', 'torch')]
    return ', '.join([*versions, f'{torch.get_num_threads()} threads', *more])


def machine() -> str:
    """The processor, its cores, the memory and the GPU of this machine."""
    cpu = platform.processor() or platform.machine()
    if Path('/proc/cpuinfo').is_file():
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        cpu = next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), cpu)
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return f'{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpu}'


def measure_process(*argv: str) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a process."""
    # RUSAGE_CHILDREN has the largest of all children, so each is the only child of a process of its own
    code = (
        'import resource, subprocess, sys, time\n'
        'start = time.perf_counter()\n'
        'subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n'
        'print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n'
    )
    done = subprocess.run([sys.executable, '-c', code, *argv], check=True, text=True, stdout=subprocess.PIPE)
    spent, peak = map(float, done.stdout.split())
    return spent, peak / (1024 if sys.platform != 'darwin' else 1024**2)
