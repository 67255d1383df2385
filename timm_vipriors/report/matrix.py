"""The confusion matrix as a heat map."""

import numpy as np

from .charts import svg
from .markup import Markup, el, shorten, width_of

_LABEL = 18  # letters of a class's name; the whole name is in its tooltip
_LETTER = 6.6  # their width
_CELLS = [(4, 66), (7, 46), (12, 34), (20, 30)]  # up to so many classes cells have that size


def confusion_matrix(counts: np.ndarray, names: list[str]) -> tuple[Markup, float]:
    """Counts by true class (rows) and predicted class (columns).

    A right cell's shade is its share of the row, a wrong cell's the root of its share by the largest such share, so
    that the few mistakes of a good model can be seen.

    Args:
        counts: (C, C), integers.
        names: Of the classes, (C,).

    Returns:
        The matrix in a box that scrolls, and its width in pixels where it need not.
    """
    classes = len(counts)
    labels = [shorten(name, _LABEL) for name in names]
    widest = max(map(width_of, labels)) * _LETTER
    digits = len(f'{counts.max():,}')
    roomy = next((size for most, size in _CELLS if classes <= most), 27)
    cell = max(roomy, digits * 7 + 8)
    slanted = widest > cell - 4
    left = widest + 34
    top = 30 + (widest * 0.72 + 12 if slanted else 14)
    right = max(4.0, width_of(labels[-1]) * _LETTER * 0.72 - cell / 2 + 14) if slanted else 4.0
    side = classes * cell

    parts = [
        el('text', 'predicted', class_='label', x=left + side / 2, y=13, text_anchor='middle'),
        el(
            'text',
            'true',
            class_='label',
            x=0,
            y=0,
            text_anchor='middle',
            transform=f'translate(12 {top + side / 2:.2f}) rotate(-90)',
        ),
    ]
    for i, label in enumerate(labels):
        middle = i * cell + cell / 2
        title = el('title', names[i])
        parts.append(el('text', title, label, class_='name', x=left - 8, y=top + middle + 4, text_anchor='end'))
        turn, anchor = (' rotate(-45)', 'start') if slanted else ('', 'middle')
        place = f'translate({left + middle + (3 if slanted else 0):.2f} {top - 7:.2f}){turn}'
        parts.append(el('text', title, label, class_='name', text_anchor=anchor, transform=place))

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    most = max((shares - np.diag(shares.diagonal())).max(), 1e-9)
    for true, predicted in np.ndindex(classes, classes):
        x, y, count = left + predicted * cell, top + true * cell, counts[true, predicted]
        right_one, share = true == predicted, shares[true, predicted]
        shade = share if right_one else (share / most) ** 0.5
        parts.append(el('rect', class_='cell', x=x + 1, y=y + 1, width=cell - 2, height=cell - 2, rx=3))
        if not count:
            continue
        text = f'{names[true]} → {names[predicted]}: {count:,}, {share:.1%} of {names[true]}'
        style = 'hit' if right_one else 'miss'
        place = dict(x=x + 1, y=y + 1, width=cell - 2, height=cell - 2, rx=3)
        parts.append(el('rect', el('title', text), class_=style, fill_opacity=shade, **place))
        parts.append(el('text', f'{count:,}', class_='count', x=x + cell / 2, y=y + cell / 2 + 4, text_anchor='middle'))
    width, height = left + side + right, top + side + 4
    label = f'Confusion matrix of {classes} classes, true by predicted'
    # it may shrink a little; beyond that its box scrolls
    box = el(
        'div',
        svg(width, height, label, *parts, class_='matrix'),
        class_='fit',
        style=f'width:{width:.0f}px;max-width:100%;min-width:{width * 0.75:.0f}px',
    )
    return el('div', box, class_='scroll', tabindex=0, role='region', aria_label=label), width
