"""The sections of a report: what is said and drawn of a model's scores."""

from collections.abc import Sequence

import numpy as np

from .charts import histogram, reliability_chart, share_bar
from .figures import CALIBRATION_BINS, PROBABILITY_FLOOR, Figures, Measured, Mistake, wilson
from .images import thumbnail
from .markup import Markup, el, join
from .matrix import confusion_matrix

BAR_CLASSES = 60  # up to so many get a bar each
EXTREMES = 15  # of more, so many of the worst and of the best
_ACCURACY_BINS = 20

NBSP = '\u00a0'
_NO_LABELS = 'The labels are missing, so the figures below are of the predictions alone, not of what is right.'
_COLUMN = 540  # pixels of a card's inside, where two stand side by side


def percent(share: float, decimals: int = 1) -> str:
    """A share as text."""
    return f'{share * 100:.{decimals}f}{NBSP}%'


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f'{number:,} {one if number == 1 else many}'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[object]], numeric: Sequence[bool]) -> Markup:
    """A table in a box of its own that scrolls sideways; each cell a text, a number or markup."""
    style = ['num' if right else None for right in numeric]
    header = [el('th', text, scope='col', class_=c) for text, c in zip(head, style, strict=True)]
    body = [el('tr', *(el('td', cell, class_=c) for cell, c in zip(row, style, strict=True))) for row in rows]
    whole = el(
        'table',
        el('caption', caption),
        el('thead', el('tr', *header)),
        el('tbody', *body),
        class_='many' if len(head) > 4 else None,
    )
    return el('div', whole, class_='scroll', tabindex=0, role='region', aria_label=caption)


def card(title: str, *content: object, note: str | None = None) -> Markup:
    """A box with a heading, and a note under its content."""
    text = el('p', note, class_='note') if note else None
    return el('section', el('h3', title), *content, text, class_='card')


def tile(label: str, value: str, note: str) -> Markup:
    """A key figure."""
    parts = (el('dt', label), el('dd', value, class_='value'), el('dd', note, class_='small'))
    return el('div', *parts, class_='tile')


def model_section(figures: Figures, name: str, anchor: str, images: str | None) -> Markup:
    """All about one model.

    Args:
        figures: Its figures.
        name: The heading.
        anchor: The section's id.
        images: The folder that the file names are relative to, for thumbnails.
    """
    measured = figures.measured
    facts = f'{counted(figures.count, "image", "images")}, {counted(len(figures.class_names), "class", "classes")}.'
    if measured is None:
        content = [
            el('p', f'{facts} {_NO_LABELS}', class_='lead'),
            el('div', _confidence_card(figures), _predicted_card(figures), class_='pack'),
        ]
    else:
        left_out = figures.count - measured.count
        if left_out:
            facts += f' Left out: {counted(left_out, "image", "images")} without a label.'
        content = [
            el('p', facts, class_='lead'),
            _key_figures(measured),
            *_cards(measured, figures.class_names),
            _mistakes_card(measured, figures.class_names, images),
        ]
    return el('section', el('h2', name), *content, id=anchor)


def _key_figures(measured: Measured) -> Markup:
    n = f'n{NBSP}={NBSP}{measured.count:,}'
    low, high = wilson(measured.correct, measured.count)
    tiles = [
        tile(
            'Top-1 accuracy', percent(measured.top1, 2), f'95{NBSP}% interval {low * 100:.1f} to {percent(high)}, {n}'
        ),
        tile('Top-5 accuracy', '–', 'five classes or fewer')
        if measured.top5 is None
        else tile('Top-5 accuracy', percent(measured.top5, 2), n),
        tile('Cross-entropy', f'{measured.cross_entropy:.3f}', f'nats, {n}'),
        tile('Calibration error', percent(measured.calibration.error, 2), f'{CALIBRATION_BINS} bins, {n}'),
    ]
    note = (
        'The interval of the top-1 accuracy is Wilson’s. Cross-entropy is the mean of −log p(true class). The expected '
        f'calibration error sorts the images into {CALIBRATION_BINS} bins of equal width by the confidence of their '
        'prediction, and is the mean over the images of the gap between accuracy and mean confidence in their bin.'
    )
    if measured.floored:
        note += (
            f' The true class had a probability below {PROBABILITY_FLOOR:g}, which counts as {PROBABILITY_FLOOR:g}, '
            f'in {counted(measured.floored, "image", "images")}.'
        )
    return join([el('dl', *tiles, class_='tiles'), el('p', note, class_='note')])


def _cards(measured: Measured, names: list[str]) -> list[Markup | None]:
    cards = [_calibration_card(measured), *_class_cards(measured, names), _pairs_card(measured, names)]
    above = None
    if measured.confusion is not None:
        matrix, width = confusion_matrix(measured.confusion, names)
        note = 'Blue is right, shaded by its share of the row; orange is wrong, darkest for the commonest confusion.'
        confusion = card('Confusion', matrix, note=note)
        if width > _COLUMN:
            above = confusion
        else:
            cards.insert(0, confusion)
    return [above, el('div', *cards, class_='pack')]


def _calibration_card(measured: Measured) -> Markup:
    c = measured.calibration
    ends = [wilson(int(c.correct[i]), int(c.counts[i])) for i in np.flatnonzero(c.counts)]
    confidence = float(np.nansum(c.confidence * c.counts) / measured.count)
    gap = confidence - measured.top1
    verdict = 'on the diagonal' if abs(gap) < 0.005 else 'more sure than right' if gap > 0 else 'less sure than right'
    note = (
        f'Mean confidence {percent(confidence)}, accuracy {percent(measured.top1)}: on the whole {verdict}. Bars that '
        'end on the dashed line are calibrated; whiskers are 95\u00a0% intervals.'
    )
    return card('Calibration', reliability_chart(c.counts, c.correct, ends), note=note)


def _pairs_card(measured: Measured, names: list[str]) -> Markup:
    title = 'Most confused pairs'
    if not measured.pairs:
        return card(title, el('p', 'No image was taken for another class.'))
    rows = [[_arrow(names[p.true], names[p.predicted]), f'{p.count:,}', percent(p.share)] for p in measured.pairs]
    shown, total = len(measured.pairs), measured.num_pairs
    note = f'The first {shown} of {total:,} pairs that were confused.' if shown < total else None
    head = ['True → predicted', 'Images', 'Of true class']
    return card(title, table('Most confused pairs of classes', head, rows, [False, True, True]), note=note)


def _class_cards(measured: Measured, names: list[str]) -> list[Markup]:
    there = np.flatnonzero(measured.class_counts)
    accuracy = measured.class_correct[there] / measured.class_counts[there]
    order = there[np.argsort(accuracy, kind='stable')]
    missing = len(names) - len(there)
    note = f'{counted(missing, "class has", "classes have")} no image.' if missing else None
    if len(there) <= 2 * EXTREMES or len(names) <= BAR_CLASSES:
        return [card('Accuracy by class', _class_table('Accuracy by class', order, measured, names), note=note)]
    bins = np.clip(np.ceil(accuracy * _ACCURACY_BINS - 1e-9).astype(int) - 1, 0, _ACCURACY_BINS - 1)
    counts = np.bincount(bins, minlength=_ACCURACY_BINS)
    spread = histogram(counts, 'accuracy', 'classes', 'How many classes have which accuracy')
    median = f'Half of the classes have {percent(float(np.median(accuracy)))} or more.'
    worst, best = f'The {EXTREMES} worst classes', f'The {EXTREMES} best classes'
    return [
        card('Accuracy by class', spread, note=f'{median} {note or ""}'),
        card(worst, _class_table(worst, order[:EXTREMES], measured, names)),
        card(best, _class_table(best, order[::-1][:EXTREMES], measured, names)),
    ]


def _class_table(caption: str, classes: np.ndarray, measured: Measured, names: list[str]) -> Markup:
    rows = []
    for i in classes:
        accuracy = float(measured.class_correct[i] / measured.class_counts[i])
        rows.append([names[i], share_bar(accuracy), percent(accuracy), f'{measured.class_counts[i]:,}'])
    return table(caption, ['Class', '', 'Accuracy', 'n'], rows, [False, False, True, True])


def _confidence_card(figures: Figures) -> Markup:
    chart = histogram(figures.confidence_counts, 'confidence', 'images', 'How many predictions have which confidence')
    return card('Confidence of the predictions', chart)


def _predicted_card(figures: Figures) -> Markup:
    counts, names = figures.predicted_counts, figures.class_names
    order = np.argsort(-counts, kind='stable')
    order = order[counts[order] > 0]
    never = len(names) - len(order)
    shown = order if len(names) <= BAR_CLASSES else order[: 2 * EXTREMES]
    rows = [
        [names[i], share_bar(float(counts[i] / counts.max())), f'{counts[i]:,}', percent(counts[i] / figures.count)]
        for i in shown
    ]
    notes = [f'The first {len(shown)} of {len(order):,} predicted classes.'] if len(shown) < len(order) else []
    notes += [f'{counted(never, "class was", "classes were")} never predicted.'] if never else []
    head = ['Class', '', 'Images', 'Share']
    content = table('Predicted classes', head, rows, [False, False, True, True])
    return card('Predicted classes', content, note=' '.join(notes) or None)


def _mistakes_card(measured: Measured, names: list[str], images: str | None) -> Markup:
    title = 'Most confident mistakes'
    if not measured.mistakes:
        return card(title, el('p', f'There are none: {counted(measured.count, "image is", "images are")} right.'))
    wrong = measured.count - measured.correct
    if len(measured.mistakes) < wrong:
        note = f'The {len(measured.mistakes)} of {wrong:,} mistakes with the highest confidence.'
    else:
        note = f'All {wrong} mistakes.' if wrong > 1 else 'The only mistake.'
    if images is not None:
        tiles = [_thumbnail_tile(m, names, images) for m in measured.mistakes]
        longest = max(len(text) for m in measured.mistakes for text in (names[m.true], names[m.predicted], m.filename))
        return card(title, el('div', *tiles, class_='sheet roomy' if longest > 24 else 'sheet'), note=note)
    rows = [[m.filename, _arrow(names[m.true], names[m.predicted]), percent(m.confidence)] for m in measured.mistakes]
    content = table(title, ['File', 'True → predicted', 'Confidence'], rows, [False, False, True])
    return card(title, content, note=f'{note} With --images DIR the report shows them as pictures.')


def _thumbnail_tile(mistake: Mistake, names: list[str], images: str) -> Markup:
    true, predicted = names[mistake.true], names[mistake.predicted]
    found = thumbnail(images, mistake.filename)
    if isinstance(found, str):
        picture = el('div', found, class_='missing')
    else:
        source, size = found
        # what is smaller than its tile is enlarged without blur
        picture = el('img', src=source, alt=f'{mistake.filename}: {true}', class_='tiny' if size < 100 else None)
    caption = [
        el('span', _arrow(true, predicted), class_='pair'),
        el('span', f'{percent(mistake.confidence)} confident', class_='sure'),
        el('span', mistake.filename, class_='file'),
    ]
    return el('figure', el('div', picture, class_='frame'), el('figcaption', *caption))


def _arrow(true: str, predicted: str) -> Markup:
    # isolated, so that a name written from right to left turns nothing around it
    return join([el('bdi', true), ' → ', el('bdi', predicted, class_='wrong')])
