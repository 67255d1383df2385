"""The page of a report: one file of HTML that asks for nothing from elsewhere."""

from collections import Counter
from collections.abc import Sequence
from importlib import resources

from .. import __version__
from ..errors import UserError
from .curves import MAX_RUNS, training_section
from .figures import Figures, wilson
from .markup import Markup, el
from .runs import TrainingRun
from .sections import counted, model_section, percent, table

# a second wall behind the escaping: nothing is fetched and no script runs, whatever stands in a name
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def build_page(
    runs: Sequence[TrainingRun],
    models: Sequence[tuple[str, Figures]],
    title: str | None = None,
    images: str | None = None,
) -> str:
    """The page of trainings and of models.

    Args:
        runs: The trainings.
        models: Paths of score files, and their figures.
        title: The page's title; made from what was given if None.
        images: The folder that the file names are relative to, for thumbnails.

    Raises:
        UserError: If nothing was given, or more runs than colours can tell apart.
    """
    if not runs and not models:
        raise UserError('nothing to report on: expected folders of trainings, score files, or both')
    if len(runs) > MAX_RUNS:
        raise UserError(f'expected at most {MAX_RUNS} trainings, whose curves can be told apart, got {len(runs)}')
    names = _unique([figures.model or path for path, figures in models], [path for path, _ in models])
    title = title or _title(runs, names)
    headings = names if len(names) > 1 else ['Scores'] * len(names)
    contents = [('training', 'Training')] if runs else []
    contents += [('comparison', 'Comparison')] if len(models) > 1 else []
    contents += [(f'model-{i}', name) for i, name in enumerate(headings, 1)]
    run_names = _unique([run.name for run in runs], [run.path for run in runs])
    parts = [
        _header(title, runs, models, contents if len(contents) > 1 else []),
        training_section(runs, run_names) if runs else None,
        _comparison(models, names) if len(models) > 1 else None,
        *(
            model_section(figures, name, f'model-{i}', images)
            for i, (name, (_, figures)) in enumerate(zip(headings, models, strict=True), 1)
        ),
    ]
    head = el(
        'head',
        el('meta', charset='utf-8'),
        el('meta', http_equiv='Content-Security-Policy', content=_POLICY),
        el('meta', name='viewport', content='width=device-width, initial-scale=1'),
        el('meta', name='color-scheme', content='light dark'),
        el('title', title),
        el('style', Markup(resources.files(__package__).joinpath('page.css').read_text(encoding='utf-8'))),
    )
    footer = el('footer', f'Made by timm-vipriors {__version__}.')
    return f'<!doctype html>\n{el("html", head, el("body", el("main", *parts), footer), lang="en")}\n'


def _title(runs: Sequence[TrainingRun], names: Sequence[str]) -> str:
    if names:
        return names[0] if len(names) == 1 else f'{len(names)} models compared'
    return runs[0].name if len(runs) == 1 else f'{len(runs)} trainings compared'


def _unique(short: Sequence[str], full: Sequence[str]) -> list[str]:
    """Short names, made longer where two are the same."""
    times = Counter(short)
    return [s if times[s] == 1 else f if s == f else f'{s} ({f})' for s, f in zip(short, full, strict=True)]


def _header(
    title: str,
    runs: Sequence[TrainingRun],
    models: Sequence[tuple[str, Figures]],
    contents: Sequence[tuple[str, str]],
) -> Markup:
    given = [
        el('li', el('b', 'Training '), el('code', r.path), f' {counted(len(r.epochs), "epoch", "epochs")}')
        for r in runs
    ]
    given += [
        el(
            'li',
            el('b', 'Scores '),
            el('code', path),
            f' {f.model or "unnamed model"}, {counted(f.count, "image", "images")}, ',
            counted(len(f.class_names), 'class', 'classes'),
        )
        for path, f in models
    ]
    links = [el('a', text, href=f'#{anchor}') for anchor, text in contents]
    return el(
        'header',
        el('p', 'timm-vipriors report', class_='kicker'),
        el('h1', title),
        el('ul', *given, class_='given'),
        el('nav', *links, aria_label='On this page') if links else None,
    )


def _comparison(models: Sequence[tuple[str, Figures]], names: Sequence[str]) -> Markup:
    measured = [figures.measured for _, figures in models]
    same = None not in measured and len({m.images for m in measured}) == 1
    columns = [  # heading, value, text; a smaller value is better in the last two
        ('Top-1', lambda m: -m.top1, lambda m: percent(m.top1, 2)),
        ('95 % interval', None, _interval_text),
        ('Top-5', lambda m: -1 if m.top5 is None else -m.top5, lambda m: '–' if m.top5 is None else percent(m.top5, 2)),
        ('Cross-entropy', lambda m: m.cross_entropy, lambda m: f'{m.cross_entropy:.3f}'),
        ('Calibration error', lambda m: m.calibration.error, lambda m: percent(m.calibration.error, 2)),
    ]
    rows = []
    for i, ((path, figures), name) in enumerate(zip(models, names, strict=True), 1):
        m = figures.measured
        row: list[object] = [el('a', name, href=f'#model-{i}'), el('code', path), f'{len(figures.class_names):,}']
        row.append(f'{m.count:,}' if m else '–')
        for _, value, text in columns:
            best = m and same and value and text(m) == text(min(measured, key=value)) != '–'
            row.append(el('strong', text(m)) if best else text(m) if m else '–')
        rows.append(row)
    if same:
        note = 'All were measured on the same images; the best figure of each column is bold.'
    else:
        note = 'Not all were measured on the same labelled images, so their figures cannot be compared directly.'
    head = ['Model', 'File', 'Classes', 'n', *(text for text, _, _ in columns)]
    content = table('The models', head, rows, [False, False] + [True] * 7)
    return el(
        'section',
        el('h2', 'Comparison'),
        el('div', content, el('p', note, class_='note'), class_='card'),
        id='comparison',
    )


def _interval_text(measured) -> str:
    low, high = wilson(measured.correct, measured.count)
    return f'{low * 100:.1f} to {percent(high)}'
