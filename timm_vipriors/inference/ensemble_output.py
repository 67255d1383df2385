"""The files of an ensemble: predictions as CSV, and the form of the challenge."""

import csv
import os
from collections.abc import Iterable, Sequence

import numpy as np

from ..files import atomic_write
from .ensemble import EnsembleRun
from .scores import some_names


def write_predictions(path: str | os.PathLike, run: EnsembleRun) -> None:
    """Write `filename,prediction,class_name,score`, and `target,correct` where any target is known."""
    joined = run.joined
    header = ['filename', 'prediction', 'class_name', 'score']
    names = joined.class_names[run.predictions] if joined.class_names is not None else [''] * len(run.predictions)
    columns = [joined.filenames, run.predictions, names, map(str, run.scores)]
    if joined.targets is not None:
        header += ['target', 'correct']
        known = joined.targets >= 0
        columns.append(np.where(known, joined.targets.astype(str), ''))
        columns.append(np.where(known, (run.predictions == joined.targets).astype(int).astype(str), ''))
    _write_csv(path, header, zip(*columns, strict=True))


def submission_ids(filenames: np.ndarray) -> list[str]:
    """The base name of every file name, as the challenge names images.

    Raises:
        ValueError: If two images have the same.
    """
    ids = [name.rpartition('/')[2] for name in filenames.tolist()]
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        twice = unique[counts > 1].tolist()
        raise ValueError(
            f'a submission names images without their folders, and {len(twice)} names are there more than once: '
            f'{some_names(twice)}'
        )
    return ids


def write_submission(path: str | os.PathLike, run: EnsembleRun) -> None:
    """Write the challenge's form, `Image IDs,Predictions`."""
    rows = zip(submission_ids(run.joined.filenames), run.predictions, strict=True)
    _write_csv(path, ['Image IDs', 'Predictions'], rows)


def _write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    # surrogateescape: file names need not be UTF-8
    with (
        atomic_write(path) as partial,
        open(partial, 'w', encoding='utf-8', errors='surrogateescape', newline='') as file,
    ):
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(header)
        writer.writerows(rows)
