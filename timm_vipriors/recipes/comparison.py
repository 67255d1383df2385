"""What an ablation shows: means over seeds with their intervals, and differences from row to row, as text."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and both ends of its 95 % interval, which are nan where there is one seed."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Estimate':
        """The mean of a sample and its interval by Student's t, for values that are about normal."""
        from scipy import stats

        values = np.asarray(values, np.float64)
        mean = float(values.mean()) if len(values) else math.nan
        if len(values) < 2:
            return cls(mean, math.nan, math.nan, len(values))
        half = stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        return cls(mean, mean - half, mean + half, len(values))

    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: The recipe and its flags.
        top1: Accuracy after the last epoch in percent.
        difference: From the row above, in points, paired by seed; None for the first row.
        seconds: Mean time of a training that was not interrupted, nan if there is none.
        epochs: Epochs that were evaluated, counted from 1 (E,).
        curves: Accuracy after them in percent (seeds, E).
    """

    name: str
    top1: Estimate
    difference: Estimate | None
    seconds: float
    epochs: np.ndarray
    curves: np.ndarray


def compare(
    names: Sequence[str],
    curves: Sequence[dict[int, tuple[list[int], list[float]]]],
    seconds: Sequence[Sequence[float]],
) -> list[Row]:
    """Make the table.

    Args:
        names: The rows.
        curves: Of each row, by seed: the epochs that were evaluated, and the accuracy in percent after them.
        seconds: Of each row, the times of its trainings.
    """
    rows: list[Row] = []
    for i, name in enumerate(names):
        last = {seed: accuracy[-1] for seed, (_, accuracy) in curves[i].items()}
        difference = None
        if i:
            above = {seed: accuracy[-1] for seed, (_, accuracy) in curves[i - 1].items()}
            difference = Estimate.of([last[seed] - above[seed] for seed in last if seed in above])
        common = sorted(set.intersection(*(set(epochs) for epochs, _ in curves[i].values()))) if curves[i] else []
        values = [
            [value for epoch, value in zip(epochs, accuracy, strict=True) if epoch in common]
            for epochs, accuracy in curves[i].values()
        ]
        mean = float(np.mean(seconds[i])) if len(seconds[i]) else math.nan
        rows.append(Row(name, Estimate.of(list(last.values())), difference, mean, np.array(common), np.array(values)))
    return rows


def markdown(rows: Sequence[Row], note: str = '') -> str:
    """The table, and what its numbers are."""
    lines = ['| row | top-1 (%) | difference from the row above | time |', '|---|---|---|---|']
    for row in rows:
        lines.append(
            f'| `{row.name}` | {format_accuracy(row.top1)} | {format_difference(row.difference)} | '
            f'{format_time(row.seconds)} |'
        )
    seeds = {row.top1.seeds for row in rows}
    number = f'{min(seeds)}' if len(seeds) == 1 else f'{min(seeds)} to {max(seeds)}'
    text = (
        f'Mean over {number} {"seed" if seeds == {1} else "seeds"} of the top-1 accuracy after the last epoch, and its '
        f"95 % interval (Student's t). Differences are in points and paired by seed; where the interval holds zero, "
        f'the difference is in the noise. Time is that of one training.'
    )
    return '\n'.join([*lines, '', text, *([note] if note else [])]) + '\n'


def format_accuracy(estimate: Estimate) -> str:
    """A mean and the half of its interval."""
    if math.isnan(estimate.mean):
        return '–'
    if math.isnan(estimate.low):
        return f'{estimate.mean:.2f} (one seed)'
    return f'{estimate.mean:.2f} ± {estimate.high - estimate.mean:.2f}'


def format_difference(estimate: Estimate | None) -> str:
    """A difference, its interval, and whether it is in the noise."""
    if estimate is None or math.isnan(estimate.mean):
        return ''
    if math.isnan(estimate.low):
        return f'{_signed(estimate.mean)} (one seed)'
    noise = '' if estimate.excludes_zero() else ', in the noise'
    return f'{_signed(estimate.mean)} ({_signed(estimate.low)} to {_signed(estimate.high)}){noise}'


def format_time(seconds: float) -> str:
    """A time in the unit that suits it."""
    if math.isnan(seconds):
        return '–'
    if seconds < 300:
        return f'{seconds:.0f} s'
    if seconds < 7200:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'


def _signed(value: float) -> str:
    return f'{value:+.2f}'.replace('-', '−')


def to_csv(rows: Sequence[Row]) -> str:
    """The table for programs: `row,seeds,top1,top1_low,top1_high,difference,difference_low,difference_high,seconds`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(
        ['row', 'seeds', 'top1', 'top1_low', 'top1_high', 'difference', 'difference_low', 'difference_high', 'seconds']
    )
    for row in rows:
        values = [row.top1.mean, row.top1.low, row.top1.high]
        values += [row.difference.mean, row.difference.low, row.difference.high] if row.difference else [math.nan] * 3
        numbers = ['' if math.isnan(value) else f'{value:.4f}' for value in (*values, row.seconds)]
        writer.writerow([row.name, row.top1.seeds, *numbers])
    return file.getvalue()
