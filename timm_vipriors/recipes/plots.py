"""An ablation in pictures. Needs matplotlib (`pip install 'timm-vipriors[plot]'`)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .comparison import Estimate, Row, cells

# ten that colour-blind readers can tell apart; dashes repeat them
_COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#444444', '#8c564b', '#7e57c2', '#6b7a1e')


def table_figure(rows: Sequence[Row], title: str) -> Figure:
    """The accuracy of each row: its seeds, their mean and its 95 % interval; and the table's text beside it."""
    figure = Figure(figsize=(0.075 * max(len(row.name) for row in rows) + 8.5, 0.36 * len(rows) + 1.3))
    axes = figure.subplots()
    for i, row in enumerate(rows):
        color = _COLORS[i % len(_COLORS)]
        axes.plot([*row.last.values()], [i] * len(row.last), '|', color=color, alpha=0.5)
        axes.plot([row.top1.low, row.top1.high], [i, i], color=color, linewidth=2)
        axes.plot(row.top1.mean, i, 'o', color=color)
        axes.text(1.02, i, '    '.join(cells(row)), va='center', fontsize=9, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel='top-1 accuracy (%): each seed, mean and 95 % interval', xlim=np.clip(axes.get_xlim(), -1, 101))
    axes.grid(axis='x', color='#dddddd')
    axes.set_title(title, fontsize=10, loc='left')
    return figure


def curves_figure(rows: Sequence[Row], title: str) -> Figure:
    """Accuracy against epochs: for each row the mean over seeds, and its 95 % interval as a band."""
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    for i, row in enumerate(rows):
        curves = row.curves.values()
        epochs = sorted(set.intersection(*map(set, curves)))
        estimates = [Estimate.of(curve[epoch] for curve in curves) for epoch in epochs]
        color, style = _COLORS[i % len(_COLORS)], ('-', '--', ':')[i // len(_COLORS) % 3]
        axes.plot(epochs, [e.mean for e in estimates], style, color=color, label=row.name, marker='.')
        low, high = [e.low for e in estimates], [e.high for e in estimates]
        axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
    ylim = np.clip(axes.get_ylim(), -1, 101)  # the interval of two seeds can be wider than the scale
    axes.set(xlabel='epochs', ylabel='top-1 accuracy (%): mean and 95 % interval', ylim=ylim)
    axes.grid(color='#dddddd')
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(title, fontsize=10, loc='left')
    return figure
