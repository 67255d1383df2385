"""The page of a report: one HTML file that requests nothing from elsewhere."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..errors import UserError, user_errors
from ..files import atomic_write, plural
from ..hierarchy import ClassHierarchy
from ..inference.scores import ScoreFile
from .images import thumbnail
from .measures import CALIBRATION_BINS, PROBABILITY_FLOOR, Predictions, TreeFigures, tree_figures
from .runs import COLUMNS, TrainingRun, read_run
from .training_images import TrainingImages, training_images

MAX_RUNS = 8  # as many as the page has colours
SHOWN = 24  # mistakes

_Path = str | os.PathLike


def write_report(output: _Path, sources: Sequence[_Path], **kwargs: Any) -> None:
    """Write the page of `build_report` to a file, over one that is there; the other arguments are those of the page.

    Raises:
        UserError: As in `build_report`, or if the file cannot be written.
    """
    page = build_report(sources, **kwargs)
    try:
        with atomic_write(output) as partial:
            partial.write_text(page, encoding='utf-8')
    except OSError as e:
        raise UserError(f'the page cannot be written: {e}') from e


def build_report(
    sources: Sequence[_Path],
    images: _Path | None = None,
    title: str | None = None,
    checkpoint: _Path | None = None,
    hierarchy: _Path | None = None,
) -> str:
    """The HTML page on training runs and on models. The same input gives the same page.

    Args:
        sources: Folders of runs, score files, and results of timm's inference.py.
        images: The folder that the file names are relative to; with it the mistakes are shown as pictures.
        title: The page's title; made from what is in it if None.
        checkpoint: The checkpoint that made the scores, to show by Grad-CAM what speaks for a mistake; if None that of
            the run in `sources` whose model they are of.
        hierarchy: A tree of the classes: adds the accuracy at its nodes, mistakes by their distance, and decisions.

    Raises:
        UserError: If a source cannot be read, there are more runs than colours, or matplotlib or jinja2 is missing.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from timm_vipriors.inference import Scores
        >>> scores = Scores(np.eye(2, dtype=np.float32), np.array(['a.png', 'b.png']), np.array([0, 0]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scores.save(f'{folder}/scores.npz')
        ...     page = build_report([f'{folder}/scores.npz'], title='Two images')
        >>> '<h1>Two images</h1>' in page
        True
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        from . import plots
        from .heat_maps import heat_maps
    except ImportError as e:
        raise UserError(f"a report needs matplotlib and jinja2: pip install 'timm-vipriors[report]' ({e})") from e
    if images is not None and not os.path.isdir(images):
        raise UserError(f'{images} is not a folder: expected the one that the file names are relative to (--images)')
    sources = [os.fspath(source) for source in sources]
    if checkpoint is not None and images is None:
        raise UserError('--checkpoint is for Grad-CAM over the mistakes: name their folder with --images')
    runs = [read_run(source) for source in sources if os.path.isdir(source)]
    paths = [source for source in sources if not os.path.isdir(source)]
    if len(runs) > MAX_RUNS:
        raise UserError(f'expected at most {MAX_RUNS} runs, whose curves can be told apart, got {len(runs)}')
    if not sources or (images is not None and not paths):
        raise UserError('expected folders of runs, score files, or both; with --images at least one score file')
    if hierarchy is not None and not paths:
        raise UserError('--hierarchy is for the mistakes of a score file: name one')
    with user_errors():
        tree = None if hierarchy is None else ClassHierarchy.load(hierarchy)
        models, labelled, trees = zip(*(_read_model(path, tree) for path in paths), strict=True) if paths else ((),) * 3
    run_names = _unique([run.name for run in runs], [run.path for run in runs])
    names = _unique([model.model or path for model, path in zip(models, paths, strict=True)], paths)
    same_images = all(map(len, labelled)) and len({model.images() for model in labelled}) == 1

    options = dict(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment = Environment(loader=PackageLoader(__package__, ''), **options)
    environment.filters.update(number=_number, percent=_percent, measured=_measured, heading=COLUMNS.get)
    environment.filters['enumerate'] = enumerate
    page = environment.get_template('page.html').render(
        title=title or _title(names, 'models') or _title(run_names, 'runs'),
        runs=list(zip(run_names, runs, strict=True)),
        columns=[column for column in COLUMNS if any(column in run.columns for run in runs)],
        settings=_settings(runs),
        trained_on=_trained_on(run_names, runs),
        models=list(zip(names if len(names) > 1 else ['Scores'], paths, models, labelled, trees, strict=False)),
        same_images=same_images,
        compared=_compare(labelled, same_images),
        thumbnail=None if images is None else lambda name: thumbnail(os.fspath(images), name),
        heat_maps=lambda model, files: heat_maps(model, files, images, runs, checkpoint),
        has_tree=hierarchy is not None,
        shown=SHOWN,
        plots=plots,
        plural=plural,
        bins=CALIBRATION_BINS,
        floor=PROBABILITY_FLOOR,
        version=__version__,
    )
    # names of files can hold characters that HTML cannot
    return re.sub('[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]', '\ufffd', page.lstrip())


def _read_model(path: str, tree: ClassHierarchy | None) -> tuple[Predictions, Predictions, TreeFigures | None]:
    """What a score file says of all images and of those with a label, and the figures in a tree."""
    if not os.path.exists(path):
        raise UserError(f'{path} does not exist: expected the folder of a run, or a score file')
    scores = ScoreFile.open(path).load()
    predictions = Predictions.of(scores)
    labelled = predictions.labelled()
    shown = [row[0] for row in labelled.mistakes()[:SHOWN]]
    return predictions, labelled, None if tree is None else tree_figures(scores, tree, shown)


def _title(names: Sequence[str], what: str) -> str:
    return names[0] if len(names) == 1 else f'{len(names)} {what} compared' if names else ''


def _unique(short: Sequence[str], full: Sequence[str]) -> list[str]:
    """Short names, made longer where two are the same."""
    times = Counter(short)
    return [s if times[s] == 1 else f if s == f else f'{s} ({f})' for s, f in zip(short, full, strict=True)]


def _settings(runs: Sequence[TrainingRun]) -> list[list[str]]:
    """A row for each setting with its value in every run; those that differ come first."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = [[str(key), *(str(run.settings.get(key, '–'))[:300] or "''" for run in runs)] for key in keys]
    return sorted(rows, key=lambda row: len(set(row[1:])) == 1)


def _trained_on(names: Sequence[str], runs: Sequence[TrainingRun]) -> list[tuple[str, TrainingImages]]:
    """The names of the runs that have training images in common, and these."""
    groups: dict[TrainingImages, list[str]] = {}
    for name, run in zip(names, runs, strict=True):
        groups.setdefault(training_images(run.settings), []).append(name)
    return [(', '.join(names), images) for images, names in groups.items()]


def _compare(models: Sequence[Predictions], same_images: bool) -> dict[str, list[tuple[str, bool]]]:
    """Each measure of each model as text, and whether it is the best, which needs the same images."""
    columns = {}
    for heading, (measure, show, best) in _COMPARED.items():
        values = [getattr(model, measure) if model else None for model in models]
        winner = show(best((value for value in values if value is not None), default=None)) if same_images else None
        columns[heading] = [(show(value), value is not None and show(value) == winner) for value in values]
    return columns


def _number(value: float | None, spec: str = '.3f') -> str:
    text = '–' if value is None or value != value else format(value, spec)
    return text if text.strip('-0.') else text.removeprefix('-')  # no negative zero


def _percent(share: float | None, decimals: int = 2) -> str:
    return '–' if share is None else f'{_number(share * 100, f".{decimals}f")}\u00a0%'


def _measured(value: float, column: str) -> str:
    return _number(value, '.2f' if 'top' in column else '.3g' if column == 'lr' else '.4f')


_COMPARED = {  # heading: measure, its format, which value is the best
    'Top-1': ('top1', _percent, max),
    'Balanced': ('balanced_accuracy', _percent, max),
    'Top-5': ('top5', _percent, max),
    'Cross-entropy': ('cross_entropy', _number, min),
    'Calibration error': ('calibration_error', _percent, min),
}
