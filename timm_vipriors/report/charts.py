"""Charts as inline SVG. Colours are CSS variables of the page, so that they follow its light or dark scheme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from .markup import Markup, el, number

WIDTH = 360  # of most charts, in units that are about a pixel on a phone
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 16, 38


@dataclass(frozen=True)
class Series:
    """A curve: `y` may have nan, where it is interrupted; `mark` is the position of its best point."""

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: int = 0
    dashed: bool = False
    mark: int | None = None


class Axes:
    """The frame of a chart: where numbers lie in it."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], height: float, left: float = _LEFT):
        self.x_range, self.y_range, self.left = x, y, left
        self.right, self.top, self.bottom = WIDTH - _RIGHT, _TOP, height - _BOTTOM

    def x(self, value: float) -> float:
        low, high = self.x_range
        return float(self.left + (value - low) / (high - low) * (self.right - self.left))

    def y(self, value: float) -> float:
        low, high = self.y_range
        return float(self.bottom - (value - low) / (high - low) * (self.bottom - self.top))

    def draw(
        self, x_ticks: dict[float, str], y_ticks: dict[float, str], x_label: str, y_label: str = ''
    ) -> list[Markup]:
        """Grid, ticks and labels."""
        parts = []
        for value, text in y_ticks.items():
            y = self.y(value)
            parts.append(el('line', class_='rule', x1=self.left, x2=self.right, y1=y, y2=y))
            parts.append(el('text', text, class_='tick y', x=self.left - 6, y=y + 4, text_anchor='end'))
        for value, text in x_ticks.items():
            x = self.x(value)
            parts.append(el('line', class_='axis', x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4))
            parts.append(el('text', text, class_='tick x', x=x, y=self.bottom + 17, text_anchor='middle'))
        parts.append(el('line', class_='axis', x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom))
        middle = (self.left + self.right) / 2
        parts.append(el('text', x_label, class_='label', x=middle, y=self.bottom + 33, text_anchor='middle'))
        if y_label:
            turn = f'rotate(-90 12 {number((self.top + self.bottom) / 2)})'
            place = dict(x=12, y=(self.top + self.bottom) / 2, text_anchor='middle', transform=turn)
            parts.append(el('text', y_label, class_='label', **place))
        return parts


def svg(width: float, height: float, label: str, *content: Markup, class_: str = 'chart') -> Markup:
    """A picture that scales with its box, with words for those who cannot see it."""
    box = f'0 0 {number(float(width))} {number(float(height))}'
    return el('svg', *content, viewBox=box, class_=class_, role='img', aria_label=label)


def nice_ticks(low: float, high: float, count: int = 5, whole: bool = False) -> dict[float, str]:
    """About `count` round numbers that enclose a range, and their texts."""
    if not high > low:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999) * power
    if whole:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return {i * step: _tick_text(i * step, decimals) for i in range(first, last + 1)}


def _tick_text(value: float, decimals: int) -> str:
    return f'{value:,.{decimals}f}' if decimals <= 4 else f'{value:.0e}' if value else '0'


def line_chart(series: Sequence[Series], label: str, limits: tuple[float, float] | None = None) -> Markup:
    """Curves over epochs, each a polyline with `data-series`; a point without neighbours is a dot.

    Args:
        series: The curves; where all is nan there is nothing to draw.
        label: What the chart shows, in words.
        limits: What the axis never goes beyond, such as 0 and 100 %.
    """
    xs, ys = np.concatenate([s.x for s in series]), np.concatenate([s.y for s in series])
    ys = ys[np.isfinite(ys)]
    y_ticks = nice_ticks(float(ys.min()), float(ys.max())) if len(ys) else nice_ticks(0, 1)
    if limits:
        y_ticks = {value: text for value, text in y_ticks.items() if limits[0] <= value <= limits[1]}
    x_low, x_high = float(xs.min()), float(xs.max())
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    x_ticks = {v: t for v, t in nice_ticks(x_low, x_high, whole=True).items() if x_low <= v <= x_high}
    low, high = (min(y_ticks), max(y_ticks)) if len(y_ticks) > 1 else limits or (0.0, 1.0)
    axes = Axes((x_low, x_high), (low, high), 240)
    parts = axes.draw(x_ticks, y_ticks, 'epoch')
    for one in series:
        parts += _curve(axes, one)
    # labels of marks come last, so that no curve runs over them
    for one in series:
        if one.mark is not None and np.isfinite(one.y[one.mark]):
            parts += _mark(axes, one, with_text=sum(s.mark is not None for s in series) == 1)
    return svg(WIDTH, 240, label, *parts)


def _curve(axes: Axes, series: Series) -> list[Markup]:
    style = f'curve c{series.colour}' + (' dashed' if series.dashed else '')
    parts = []
    for finite, group in groupby(range(len(series.y)), key=lambda i: bool(np.isfinite(series.y[i]))):
        points = [(axes.x(series.x[i]), axes.y(series.y[i])) for i in group] if finite else []
        if len(points) == 1:
            parts.append(el('circle', class_=f'dot c{series.colour}', cx=points[0][0], cy=points[0][1], r=3))
        elif points:
            text = ' '.join(f'{x:.2f},{y:.2f}' for x, y in points)
            title = el('title', series.label)
            parts.append(el('polyline', title, class_=style, points=text, data_series=series.label))
    return parts


def _mark(axes: Axes, series: Series, with_text: bool) -> list[Markup]:
    x, y = axes.x(series.x[series.mark]), axes.y(series.y[series.mark])
    epoch = f'epoch {int(series.x[series.mark])}'
    ring = el('circle', el('title', f'{series.label}: best, {epoch}'), class_=f'best c{series.colour}', cx=x, cy=y, r=4)
    if not with_text:
        return [ring]
    share = (x - axes.left) / (axes.right - axes.left)
    anchor = 'start' if share < 0.2 else 'end' if share > 0.8 else 'middle'
    high = y - axes.top < 30  # no room above
    text = el('text', f'best: {epoch}', class_='halo', x=x, y=y + 20 if high else y - 11, text_anchor=anchor)
    return [ring, text]


def reliability_chart(counts: np.ndarray, correct: np.ndarray, intervals: Sequence[tuple[float, float]]) -> Markup:
    """Accuracy by confidence as bars with whiskers against the diagonal, and below how many images are in each bin.

    Args:
        counts: Images in each bin, (bins,).
        correct: Those predicted right, (bins,).
        intervals: The whiskers' ends, of the bins that have images, in order.
    """
    bins, height, below = len(counts), 300, 96
    axes = Axes((0, 1), (0, 1), height)
    ticks = {i / 5: f'{i * 20} %' for i in range(6)}
    parts = axes.draw(dict.fromkeys(ticks, ''), ticks, '')
    ends = iter(intervals)
    width = axes.x(1 / bins) - axes.x(0) - 2
    for i in np.flatnonzero(counts):
        accuracy, (low, high) = correct[i] / counts[i], next(ends)
        x, middle = axes.x(i / bins) + 1, axes.x((i + 0.5) / bins)
        title = el('title', f'{bin_text(i, bins)}: {correct[i]:,} of {counts[i]:,} right, {accuracy:.1%}')
        y = axes.y(accuracy)
        parts.append(el('rect', title, class_='bar', x=x, y=y, width=width, height=axes.bottom - y))
        parts.append(el('line', class_='whisker', x1=middle, x2=middle, y1=axes.y(low), y2=axes.y(high)))
    parts.append(el('line', class_='diagonal', x1=axes.x(0), y1=axes.y(0), x2=axes.x(1), y2=axes.y(1)))
    lower = Axes((0, 1), (0, int(counts.max())), height + below)
    lower.top = height - 12
    top = {0: '0', int(counts.max()): f'{counts.max():,}'}
    parts += lower.draw(ticks, top, 'confidence')
    parts += _columns(lower, counts, 'bar muted')
    parts.append(el('text', 'accuracy', class_='label', x=axes.left + 6, y=axes.top + 12))
    parts.append(el('text', 'images', class_='label', x=axes.left + 6, y=lower.top + 12))
    return svg(WIDTH, height + below, 'Reliability diagram: accuracy of the predictions by their confidence', *parts)


def histogram(counts: np.ndarray, x_label: str, y_label: str, label: str) -> Markup:
    """How many are in each of the bins of equal width from 0 to 100 %."""
    y_ticks = nice_ticks(0, int(counts.max()), count=4, whole=True)
    axes = Axes((0, 1), (0, max(y_ticks)), 240, left=_LEFT + 16)
    ticks = {i / 5: f'{i * 20} %' for i in range(6)}
    parts = axes.draw(ticks, y_ticks, x_label, y_label)
    return svg(WIDTH, 240, label, *parts, *_columns(axes, counts, 'bar'))


def _columns(axes: Axes, counts: np.ndarray, style: str) -> list[Markup]:
    bins, parts = len(counts), []
    for i in np.flatnonzero(counts):
        y = axes.y(counts[i])
        width = axes.x(1 / bins) - axes.x(0) - 2
        title = el('title', f'{bin_text(i, bins)}: {counts[i]:,}')
        place = dict(x=axes.x(i / bins) + 1, y=y, width=width, height=axes.bottom - y)
        parts.append(el('rect', title, class_=style, **place))
    return parts


def bin_text(index: int, bins: int) -> str:
    """A bin's ends, in words."""
    return f'{index / bins:.1%} to {(index + 1) / bins:.1%}'


def share_bar(share: float, style: str = 'bar') -> Markup:
    """A bar as wide as a share of its box; the number stands beside it, so it says nothing itself."""
    track = el('rect', class_='track', width='100%', height='100%')
    bar = el('rect', class_=style, width=f'{share * 100:.2f}%', height='100%')
    return el('svg', track, bar, class_='share', aria_hidden='true')
