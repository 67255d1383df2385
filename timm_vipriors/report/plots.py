"""The figures of a report, drawn by matplotlib as SVG whose colours are the CSS variables of the page.

No name from outside (a class, a file, a run) goes into a figure: those stand in the page, which escapes them.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..inference.metrics import wilson
from .runs import TrainingRun

# each CSS variable is drawn in a colour of its own, which the finished SVG has replaced by the variable
_VARIABLES = ('ink', 'soft', 'line', 'card', 'bar', 'wrong', *(f'c{i}' for i in range(8)))
_COLOURS = {name: f'#0102{i:02x}' for i, name in enumerate(_VARIABLES, 1)}
_STYLE = {
    'svg.fonttype': 'none',  # text stays text, in the font of the page
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 11,
    'text.color': _COLOURS['ink'],
    'axes.edgecolor': _COLOURS['soft'],
    'axes.labelcolor': _COLOURS['soft'],
    'xtick.color': _COLOURS['soft'],
    'ytick.color': _COLOURS['soft'],
    'grid.color': _COLOURS['line'],
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'axes.axisbelow': True,
    'axes.spines.left': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'ytick.major.size': 0,
    'legend.frameon': False,
    'lines.linewidth': 1.8,
}


def draw(plot: Callable[..., None], *args: Any, salt: str, size: tuple[float, float] = (5, 3.4)) -> str:
    """An inline SVG, the same for the same input.

    Args:
        plot: One of the functions below, called with an empty figure and `args`.
        *args: Its other arguments.
        salt: Makes the SVG's ids differ from those of other figures on the page.
        size: Width and height in inches of 72 units; the page scales them to its width.
    """
    with matplotlib.rc_context({**_STYLE, 'svg.hashsalt': salt}):
        figure, file = Figure(figsize=size, layout='constrained'), io.StringIO()
        plot(figure, *args)
        metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))  # none
        figure.savefig(file, format='svg', transparent=True, metadata=metadata)
    svg = re.sub(r'^.*?(?=<svg)|<defs>\s*<style.*?</defs>', '', file.getvalue(), flags=re.DOTALL)
    # ids of groups are the same in every figure; HTML needs neither namespaces nor a size in points
    svg = re.sub(r'(?<=<g) id="[^"]*"| xmlns(:xlink)?="[^"]*"| (width|height)="[\d.]+pt"', '', svg)
    svg = svg.replace('xlink:href', 'href')
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f'var(--{name})')
    return svg


def curves(figure: Figure, runs: Sequence[TrainingRun], columns: dict[str, str], top: float | None = None) -> None:
    """Curves over the epochs, with a ring at each run's best epoch.

    Args:
        figure: Where to draw.
        runs: The runs; each has its colour, but a single run's curves differ by colour.
        columns: One or two columns of a run, and their names in the legend; the second's curves are dashed.
        top: The largest possible value, such as 100 %, if there is one.
    """
    axes, legend, single = figure.subplots(), [], len(runs) == 1
    for second, (column, label) in enumerate(columns.items()):
        style = '--' if second else '-'
        legend.append(Line2D([], [], linestyle=style, label=label, color=_COLOURS[f'c{second}' if single else 'ink']))
        for i, run in enumerate(runs):
            values, colour = run.values(column), _COLOURS[f'c{second if single else i}']
            values = np.where(np.abs(values) < 1e100, values, np.nan)  # matplotlib's axes overflow beyond
            there = np.isfinite(values)
            alone = np.flatnonzero(there & (np.convolve(there, [1, 1, 1])[1:-1] == 1))  # no line shows these
            axes.plot(run.epochs, values, style, color=colour, marker='o', markersize=4, markevery=alone.tolist())
            best = run.best()
            if best and best[0] == column:
                ring = dict(color=colour, marker='o', markerfacecolor=_COLOURS['card'], linestyle='none')
                label = f'best: epoch {run.epochs[best[1]]}'
                legend += axes.plot(run.epochs[best[1]], values[best[1]], label=label, **ring) if single else []
    if len(legend) > 1:
        figure.legend(handles=legend, loc='outside upper left', ncols=3, handlelength=1.7, columnspacing=1.2)
    if top is not None:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, top))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel('epoch')


def reliability(figure: Figure, counts: np.ndarray, correct: np.ndarray) -> None:
    """Accuracy by confidence with 95 % intervals against the diagonal, and below how many images are in each bin."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles, there = (np.arange(len(counts)) + 0.5) / len(counts), np.flatnonzero(counts)
    ends = np.array([wilson(int(correct[i]), int(counts[i])) for i in there])
    _bars(upper, correct / np.maximum(counts, 1))
    upper.plot([0, 1], [0, 1], '--', color=_COLOURS['wrong'])
    upper.vlines(middles[there], *ends.T, color=_COLOURS['ink'], linewidth=1.4)
    upper.set(ylim=(0, 1), ylabel='accuracy')
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    _bars(lower, counts, colour='soft')
    lower.set(xlabel='confidence', ylabel='images')
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))


def histogram(figure: Figure, values: Sequence[float], x_label: str, y_label: str) -> None:
    """How many values are in each of 20 bins of equal width; one on an edge is in the lower bin."""
    axes = figure.subplots()
    _bars(axes, np.bincount(np.searchsorted(np.arange(1, 20) / 20, values, side='left'), minlength=20))
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _bars(axes: Axes, heights: np.ndarray, colour: str = 'bar') -> None:
    bins = len(heights)
    axes.bar((np.arange(bins) + 0.5) / bins, heights, width=0.9 / bins, color=_COLOURS[colour])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
