"""The table of an ablation: means over seeds with their intervals, and differences between rows, as text."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from scipy import stats

from ..files import printable

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
        seconds: The times of the runs that were not interrupted.
        against: The row that it is compared with, if that is in the table; otherwise the row above.
        paper: The paper's accuracy, nan if there is none.
    """

    name: str
    curves: dict[int, dict[int, float]]
    seconds: Sequence[float] = ()
    against: str = ''
    paper: float = math.nan

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
        against: The row that it is compared with; '' for the first one.
        difference: From that row, in points, paired by seed.
        paper: The same difference in the paper, nan where it does not say.
        seconds: Mean time of a run that was not interrupted, nan if there is none.
        epochs: Epochs that were evaluated for all seeds, counted from 1 (E,).
        curves: Accuracy after them in percent (seeds, E).
    """

    name: str
    seeds: int
    top1: Estimate
    against: str
    difference: Estimate
    paper: float
    seconds: float
    epochs: np.ndarray
    curves: np.ndarray


def compare(results: Sequence[Results]) -> list[Row]:
    """Make the table, row by row."""
    rows = []
    by_name = {row.name: row for row in results}
    for above, row in zip([None, *results], results, strict=False):
        base = by_name.get(row.against, above)
        last, base_last = row.last(), base.last() if base else {}
        epochs = sorted(set.intersection(*map(set, row.curves.values())))
        rows.append(
            Row(
                name=row.name,
                seeds=len(last),
                top1=Estimate.of([*last.values()]),
                against=base.name if base else '',
                difference=Estimate.of([last[seed] - base_last[seed] for seed in last if seed in base_last]),
                paper=row.paper - base.paper if base else math.nan,
                seconds=float(np.mean(row.seconds)) if row.seconds else math.nan,
                epochs=np.array(epochs),
                curves=np.array([[curve[epoch] for epoch in epochs] for curve in row.curves.values()]),
            )
        )
    return rows


def markdown(rows: Sequence[Row], note: str = '') -> str:
    """The table, and what its numbers are."""
    papers = not all(math.isnan(row.paper) for row in rows)
    head = ['row', 'top-1 (%)', 'difference', 'from', *(['in the paper'] if papers else []), 'time']
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for row in rows:
        accuracy, difference, time = cells(row)
        paper = ['' if math.isnan(row.paper) else _signed(row.paper)] if papers else []
        line = [_code(row.name), accuracy, difference, _code(row.against), *paper, time]
        lines.append(f'| {" | ".join(line)} |')
    fewest, most = min(row.seeds for row in rows), max(row.seeds for row in rows)
    seeds = f'{most} seed{"s" * (most > 1)}' if fewest == most else f'{fewest} to {most} seeds'
    text = (
        f"Mean over {seeds} of the top-1 accuracy after the last epoch, and its 95 % interval (Student's t). "
        'Differences are in points and paired by seed; where the interval holds zero, the difference is in the noise. '
        f'Time is that of one run. {note}'
    )
    return '\n'.join([*lines, '', text.strip(), ''])


def _code(name: str) -> str:
    """A name in a cell of a Markdown table."""
    return f'`{printable(name)}`'.replace('|', '\\|') if name else ''


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
    return accuracy, difference, format_time(row.seconds)


def _signed(value: float) -> str:
    return f'{_rounded(value, 2):+.2f}'.replace('-', '−')


def _rounded(value: float, digits: int) -> float:
    """A rounded number that is never minus zero."""
    return round(value, digits) + 0.0


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
    # a carriage return in a name ends a row for many readers, unless it is in quotes
    quoting = csv.QUOTE_ALL if any('\r' in row.name for row in rows) else csv.QUOTE_MINIMAL
    writer = csv.writer(file, lineterminator='\n', quoting=quoting)
    columns = 'row,seeds,top1,top1_low,top1_high,difference,difference_low,difference_high,seconds'
    writer.writerow([*columns.split(','), 'compared_with', 'paper_difference'])
    for row in rows:
        numbers = (*astuple(row.top1), *astuple(row.difference), row.seconds, row.paper)
        *numbers, paper = ('' if math.isnan(x) else f'{_rounded(x, 4):.4f}' for x in numbers)
        writer.writerow([row.name, row.seeds, *numbers, row.against, paper])
    return file.getvalue()
