"""The table of an ablation: means over seeds with their intervals, and differences between rows, as text."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and both ends of its 95 % interval; nan where there are too few seeds."""

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Estimate':
        """The mean of a sample and its interval by Student's t, for values that are about normal."""
        if len(values) < 2:
            return cls(*values)
        mean = float(np.mean(values))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
        return cls(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Results:
    """What was measured for a row.

    Args:
        name: The recipe and its flags.
        curves: By seed, the epochs that were evaluated, and the accuracy in percent after each.
        seconds: The times of the trainings that were not interrupted.
    """

    name: str
    curves: dict[int, dict[int, float]]
    seconds: Sequence[float] = ()

    def last(self) -> dict[int, float]:
        """Accuracy after the last epoch, by seed."""
        return {seed: curve[max(curve)] for seed, curve in self.curves.items()}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: The recipe and its flags.
        seeds: Number of seeds.
        top1: Accuracy after the last epoch in percent.
        difference: From the row above, in points, paired by seed; nan for the first row.
        seconds: Mean time of a training that was not interrupted, nan if there is none.
        epochs: Epochs that were evaluated for all seeds, counted from 1 (E,).
        curves: Accuracy after them in percent (seeds, E).
    """

    name: str
    seeds: int
    top1: Estimate
    difference: Estimate
    seconds: float
    epochs: np.ndarray
    curves: np.ndarray


def compare(results: Sequence[Results]) -> list[Row]:
    """Make the table, row by row."""
    rows = []
    for i, row in enumerate(results):
        last, base = row.last(), results[i - 1].last() if i else {}
        epochs = sorted(set.intersection(*map(set, row.curves.values())))
        rows.append(
            Row(
                name=row.name,
                seeds=len(last),
                top1=Estimate.of([*last.values()]),
                difference=Estimate.of([last[seed] - base[seed] for seed in last if seed in base]),
                seconds=float(np.mean(row.seconds)) if row.seconds else math.nan,
                epochs=np.array(epochs),
                curves=np.array([[curve[epoch] for epoch in epochs] for curve in row.curves.values()]),
            )
        )
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The table, and what its numbers are."""
    lines = ['| row | top-1 (%) | difference from the row above | time |', '|---|---|---|---|']
    lines += [f'| `{row.name}` | {" | ".join(cells(row))} |' for row in rows]
    fewest, most = min(row.seeds for row in rows), max(row.seeds for row in rows)
    seeds = f'{most} seed{"s" * (most > 1)}' if fewest == most else f'{fewest} to {most} seeds'
    note = (
        f"Mean over {seeds} of the top-1 accuracy after the last epoch, and its 95 % interval (Student's t). "
        'Differences are in points and paired by seed; where the interval holds zero, the difference is in the noise. '
        'Time is that of one training.'
    )
    return '\n'.join([*lines, '', note, ''])


def cells(row: Row) -> tuple[str, str, str]:
    """Accuracy, difference and time of a row as text."""
    e, d = row.top1, row.difference
    accuracy = f'{e.mean:.2f} (one seed)' if math.isnan(e.low) else f'{e.mean:.2f} ± {e.high - e.mean:.2f}'
    if math.isnan(d.mean):
        difference = ''
    elif math.isnan(d.low):
        difference = f'{_signed(d.mean)} (one seed)'
    else:
        noise = ', in the noise' if d.low <= 0 <= d.high else ''
        difference = f'{_signed(d.mean)} ({_signed(d.low)} to {_signed(d.high)}){noise}'
    return accuracy, difference, format_time(row.seconds)


def _signed(value: float) -> str:
    return f'{value:+.2f}'.replace('-', '−')


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
    writer.writerow(columns.split(','))
    for row in rows:
        numbers = (*astuple(row.top1), *astuple(row.difference), row.seconds)
        writer.writerow([row.name, row.seeds, *('' if math.isnan(x) else f'{x:.4f}' for x in numbers)])
    return file.getvalue()
