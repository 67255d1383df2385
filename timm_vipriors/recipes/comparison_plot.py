"""An ablation to look at: its table with a dot and an interval for each row, and accuracy against epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .comparison import Estimate, Row, format_accuracy, format_difference, format_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# as distinct for the colour-blind as ten can be; dashes repeat them
_COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#444444', '#8c564b', '#7e57c2', '#6b7a1e')


def _figure(width: float, height: float) -> 'Figure':
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'timm-vipriors[plot]'") from None
    return Figure(figsize=(width, height), layout='constrained')


def table_figure(rows: Sequence[Row], title: str) -> 'Figure':
    """The table: names, a dot with its interval for each row's accuracy, and the numbers.

    Raises:
        ImportError: If matplotlib is missing.
    """
    name_inches = max(len(row.name) for row in rows) * 0.075 + 0.3
    figure = _figure(name_inches + 8.2, 0.36 * len(rows) + 1.3)
    axes, text = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.45))
    at = np.arange(len(rows))
    for i, row in enumerate(rows):
        color = _COLORS[i % len(_COLORS)]
        axes.plot([row.top1.low, row.top1.high], [i, i], color=color, linewidth=2, solid_capstyle='butt')
        axes.plot(row.curves[:, -1] if row.curves.size else [], [i] * len(row.curves), '|', color=color, alpha=0.5)
        axes.plot(row.top1.mean, i, 'o', color=color)
        cells = (format_accuracy(row.top1), format_difference(row.difference), format_time(row.seconds))
        for x, cell in zip((0.0, 0.25, 0.9), cells, strict=True):
            text.text(x, i, cell, va='center', fontsize=9)
    for x, head in zip((0.0, 0.25, 0.9), ('top-1 (%)', 'difference from the row above', 'time'), strict=True):
        text.text(x, -0.95, head, va='center', fontsize=9, fontweight='bold')
    text.axis('off')
    axes.set_yticks(at, [row.name for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -1.4)
    axes.set_xlabel('top-1 accuracy (%): mean, 95 % interval, each seed')
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -1), min(high, 101))  # an interval of two seeds can be wider than the scale
    axes.grid(axis='x', color='#dddddd')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(axis='y', length=0)
    figure.suptitle(title, fontsize=10, x=0.01, ha='left')
    return figure


def curves_figure(rows: Sequence[Row], title: str) -> 'Figure':
    """Accuracy against epochs: for each row the mean over seeds, and its 95 % interval as a band.

    Raises:
        ImportError: If matplotlib is missing.
    """
    figure = _figure(8, 5)
    axes = figure.subplots()
    for i, row in enumerate(rows):
        if not row.curves.size:
            continue
        estimates = [Estimate.of(values) for values in row.curves.T]
        color, style = _COLORS[i % len(_COLORS)], ('-', '--', ':')[i // len(_COLORS) % 3]
        axes.plot(row.epochs, [e.mean for e in estimates], style, color=color, label=row.name, marker='.', markersize=4)
        if len(row.curves) > 1:
            low, high = [e.low for e in estimates], [e.high for e in estimates]
            axes.fill_between(row.epochs, low, high, color=color, alpha=0.12, linewidth=0)
    axes.set_xlabel('epochs')
    axes.set_ylabel('top-1 accuracy (%): mean and 95 % interval')
    axes.xaxis.get_major_locator().set_params(integer=True)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1), min(high, 101))
    axes.grid(color='#dddddd')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(title, fontsize=10, loc='left')
    return figure
