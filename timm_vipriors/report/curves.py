"""The section of a report on trainings: curves over the epochs, a table of the runs, their settings."""

import reprlib
from collections.abc import Sequence

import numpy as np

from .charts import Series, line_chart
from .markup import Markup, el
from .runs import COLUMNS, TrainingRun
from .sections import card, table

MAX_RUNS = 8  # as many as the page has colours

_MAX_TEXT = 300  # letters of a setting

_HEADS = {
    'train_loss': 'Training loss',
    'eval_loss': 'Validation loss',
    'eval_top1': 'Top-1, %',
    'eval_top5': 'Top-5, %',
    'lr': 'Learning rate',
}
# a chart each: heading, words for it, solid column, dashed column, limits of the axis
_CHARTS = [
    ('Loss', 'Loss by epoch', ('eval_loss', 'validation'), ('train_loss', 'training'), None),
    ('Accuracy, %', 'Accuracy in percent by epoch', ('eval_top1', 'top-1'), ('eval_top5', 'top-5'), (0.0, 100.0)),
    ('Learning rate', 'Learning rate by epoch', ('lr', 'learning rate'), None, None),
]


def training_section(runs: Sequence[TrainingRun], names: Sequence[str]) -> Markup:
    """Curves, best epochs and settings of some trainings, which `names` tells apart."""
    cards = [chart for spec in _CHARTS if (chart := _chart_card(runs, names, *spec)) is not None]
    legend = _legend([(name, i, False) for i, name in enumerate(names)]) if len(runs) > 1 else None
    parts = [el('div', *cards, class_='three'), _best_table(runs, names)]
    tables = []
    for run, name in zip(runs, names, strict=True):
        tables += [el('h4', name) if len(runs) > 1 else None, _epoch_table(run)]
    parts.append(el('details', el('summary', 'Every epoch'), *tables))
    if any(run.settings for run in runs):
        parts.append(el('details', el('summary', 'Settings'), *_settings(runs, names)))
    return el('section', el('h2', 'Training'), legend, *parts, id='training')


def _chart_card(runs, names, heading, label, solid, dashed, limits) -> Markup | None:
    series, styles = [], []
    for (column, text), is_dashed in ((solid, False), (dashed, True)) if dashed else ((solid, False),):
        if not any(column in run.columns for run in runs):
            continue
        # one run's curves differ by colour too; of several each has its colour
        styles.append((text, int(is_dashed) if len(runs) == 1 else None, is_dashed))
        for i, (run, name) in enumerate(zip(runs, names, strict=True)):
            if column in run.columns:
                best = run.best()
                mark = best[1] if best and best[0] == column else None
                colour = int(is_dashed) if len(runs) == 1 else i
                series.append(Series(f'{name}: {text}', run.epochs, run.columns[column], colour, is_dashed, mark))
    if not series:
        return None
    legend = _legend(styles) if dashed else None
    return card(heading, legend, line_chart(series, label, limits))


def _legend(items: Sequence[tuple[str, int | None, bool]]) -> Markup:
    """Names of curves by colour (None: that of the text) and dashes."""
    entries = []
    for text, colour, dashed in items:
        style = f'curve {"ink" if colour is None else f"c{colour}"}{" dashed" if dashed else ""}'
        line = el('line', class_=style, x1=1, x2=25, y1=6, y2=6)
        swatch = el('svg', line, class_='swatch', width=26, height=12, aria_hidden='true')
        entries.append(el('li', swatch, el('span', text)))
    return el('ul', *entries, class_='legend')


def _best_table(runs: Sequence[TrainingRun], names: Sequence[str]) -> Markup:
    rows, chosen = [], set()
    there = [column for column in COLUMNS[:4] if any(column in run.columns for run in runs)]
    for run, name in zip(runs, names, strict=True):
        best = run.best()
        row = [name, str(len(run.epochs)), str(run.epochs[best[1]]) if best else '–']
        for column in there:
            row.append(_text(run, column, best[1]) if best else '–')
        row.append(_text(run, best[0], -1) if best else '–')
        chosen |= {best[0]} if best else set()
        rows.append(row)
    by = ' or '.join(_HEADS.get(c, c).removesuffix(', %').lower() for c in sorted(chosen))
    last = f'Last {by}' if len(chosen) == 1 else 'Last'
    head = ['Run', 'Epochs', 'Best epoch', *(_HEADS[c] for c in there), last]
    note = f'The best epoch is the one with the best {by}; the numbers beside it are its own.'
    if any(column.startswith('eval') for column in chosen):
        note += ' The validation images chose it, so its accuracy is on the bright side; the last epoch’s is not.'
    content = table('Best epochs', head, rows, [False] + [True] * (len(head) - 1))
    return el('div', content, el('p', note, class_='note') if by else None, class_='card')


def _epoch_table(run: TrainingRun) -> Markup:
    there = list(run.columns)
    rows = [[str(epoch), *(_text(run, c, i) for c in there)] for i, epoch in enumerate(run.epochs)]
    return table(f'Epochs of {run.name}', ['Epoch', *(_HEADS[c] for c in there)], rows, [True] * (len(there) + 1))


def _text(run: TrainingRun, column: str, index: int) -> str:
    value = run.columns[column][index] if column in run.columns else np.nan
    if np.isnan(value):
        return '–'
    return f'{value:.2f}' if 'top' in column else f'{value:.3g}' if column == 'lr' else f'{value:.4f}'


def _settings(runs: Sequence[TrainingRun], names: Sequence[str]) -> list[Markup]:
    """The settings of all runs side by side, those first that are not the same everywhere."""
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    rows = {key: [_setting(run.settings[key]) if key in run.settings else '–' for run in runs] for key in keys}
    differing = [key for key in keys if len(set(rows[key])) > 1]
    order = differing + [key for key in keys if key not in differing]
    cells = [[el('code', _setting(key)), *rows[key]] for key in order]
    head = ['Setting', *(names if len(runs) > 1 else ['Value'])]
    content = table('Settings of the trainings', head, cells, [False] * len(head))
    if len(runs) == 1:
        return [content]
    count = len(differing)
    note = f'The first {count} differ; the others are the same in all.' if count else 'They are the same in all.'
    return [el('p', note, class_='note'), content]


def _setting(value: object) -> str:
    if isinstance(value, str):
        return value[:_MAX_TEXT] or "''"
    short = reprlib.Repr()  # a few lines of YAML can stand for gigabytes
    short.maxstring = short.maxother = _MAX_TEXT
    short.maxlist = short.maxdict = 50
    short.maxlevel = 3
    return short.repr(value)
