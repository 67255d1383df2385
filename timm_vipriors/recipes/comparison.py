"""The table of an ablation: means over seeds with their intervals, and differences between rows, as text."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from scipy import stats

from ..files import plural, printable

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and both ends of its 95 % interval; nan where there are too few seeds.

    Example:
        >>> Estimate.of([50.0, 52.0, 54.0]).mean, Estimate.of([50.0]).low
        (52.0, nan)
    """

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, values: Iterable[float]) -> 'Estimate':
        """The mean of a sample and its interval by Student's t, for values that are about normal."""
        values = [*values]
        if len(values) < 2:
            return cls(*values)
        mean = float(np.mean(values))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
        return cls(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Row:
    """What was measured for a recipe, and what it is compared with.

    Example:
        >>> runs = {'baseline': [50.0, 54.0], 'ours': [53.0, 55.0]}  # two seeds of one epoch
        >>> rows = [Row(name, {seed: {1: top1} for seed, top1 in enumerate(tops)}) for name, tops in runs.items()]
        >>> compare(rows)[1].difference.mean
        2.0
    """

    name: str  # the recipe and its flags
    curves: dict[int, dict[int, float]]  # by seed, top-1 accuracy in percent after each epoch that was evaluated
    seconds: Sequence[float] = ()  # the times of the runs that were not interrupted
    against: str = ''  # the row that it is compared with, if that is in the table; otherwise the row above
    paper: float = math.nan  # the paper's accuracy in percent
    base: 'Row | None' = None  # the row that it is compared with; `compare` sets it

    @property
    def last(self) -> dict[int, float]:
        """Accuracy after the last epoch, by seed."""
        return {seed: curve[max(curve)] for seed, curve in self.curves.items()}

    @property
    def top1(self) -> Estimate:
        return Estimate.of(self.last.values())

    @property
    def difference(self) -> Estimate:
        """The difference from `base` in points, paired by seed."""
        base = self.base.last if self.base else {}
        return Estimate.of(top1 - base[seed] for seed, top1 in self.last.items() if seed in base)

    @property
    def paper_difference(self) -> float:
        return self.paper - self.base.paper if self.base else math.nan

    @property
    def time(self) -> float:
        """Mean time of a run in seconds, nan if there is none."""
        return float(np.mean(self.seconds)) if self.seconds else math.nan


def compare(rows: Sequence[Row]) -> list[Row]:
    """The rows with the row that each is compared with as its `base`."""
    by_name = {row.name: row for row in rows}
    return [replace(row, base=by_name.get(row.against, above)) for above, row in zip([None, *rows], rows, strict=False)]


def markdown(rows: Sequence[Row], note: str = '') -> str:
    """The table, and what its numbers are."""
    lines = [['row', 'top-1 (%)', 'difference', 'from', 'in the paper', 'time'], ['---'] * 6]
    for row in rows:
        accuracy, difference, time = cells(row)
        paper = '' if math.isnan(row.paper_difference) else _signed(row.paper_difference)
        lines.append([_code(row.name), accuracy, difference, _code(row.base.name) if row.base else '', paper, time])
    if all(math.isnan(row.paper_difference) for row in rows):
        lines = [line[:4] + line[5:] for line in lines]
    seeds = sorted(len(row.curves) for row in rows)
    number = (f'{seeds[0]} to ' if seeds[0] < seeds[-1] else '') + plural(seeds[-1], 'seed')
    text = (
        f'Mean over {number} of the top-1 accuracy after the last epoch, and its 95 % interval '
        "(Student's t). "
        'Differences are in points and paired by seed; where the interval holds zero, the difference is in the noise. '
        f'Time is that of one run. {note}'
    )
    return '\n'.join([*(f'| {" | ".join(line)} |' for line in lines), '', text.strip(), ''])


def _code(name: str) -> str:
    """A name in a cell of a Markdown table."""
    return f'`{printable(name)}`'.replace('|', '\\|')


def cells(row: Row) -> tuple[str, str, str]:
    """Accuracy, difference and time of a row as text."""
    e, d = row.top1, row.difference
    accuracy = f'{e.mean:.2f} (one seed)' if math.isnan(e.low) else f'{e.mean:.2f} ± {e.high - e.mean:.2f}'
    if math.isnan(d.mean):
        difference = ''
    elif d.mean == 0 and not d.low < 0:  # not in the noise: there is none
        difference = 'the same in every seed'
    elif math.isnan(d.low):
        difference = f'{_signed(d.mean)} (one seed)'
    else:
        noise = ', in the noise' if d.low <= 0 <= d.high else ''
        difference = f'{_signed(d.mean)} ({_signed(d.low)} to {_signed(d.high)}){noise}'
    return accuracy, difference, format_time(row.time)


def _signed(value: float) -> str:
    return f'{round(value, 2) + 0.0:+.2f}'.replace('-', '−')  # + 0.0: never minus zero


def format_time(seconds: float) -> str:
    """A time in the unit that suits it."""
    if math.isnan(seconds):
        return '–'
    if seconds < 300:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


def to_csv(rows: Sequence[Row]) -> str:
    """The table for programs; an unknown number is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    columns = 'row,seeds,top1,top1_low,top1_high,difference,difference_low,difference_high,seconds'
    writer.writerow([*columns.split(','), 'compared_with', 'paper_difference'])
    for row in rows:
        numbers = (*astuple(row.top1), *astuple(row.difference), row.time, row.paper_difference)
        *numbers, paper = ('' if math.isnan(x) else f'{round(x, 4) + 0.0:.4f}' for x in numbers)
        base = printable(row.base.name) if row.base else ''
        writer.writerow([printable(row.name), len(row.curves), *numbers, base, paper])
    return file.getvalue()
