"""Predictions as CSV files, as competitions take them."""

import csv
import os
from collections.abc import Iterable, Sequence

import numpy as np

from ..files import atomic_write, first_names, plural, repeated

CHALLENGE = ('Image IDs', 'Predictions')  # the columns of the VIPriors challenge, whose labels are indices


def save_submission(
    path: str | os.PathLike,
    filenames: np.ndarray,
    predictions: np.ndarray,
    class_names: Sequence[str] | np.ndarray | None = None,
    columns: Sequence[str] = CHALLENGE,
) -> None:
    """Write a line for each image: its name, see `submission_ids`, and its class.

    Args:
        path: The CSV file.
        filenames: The images (N,), with forward slashes.
        predictions: The index of each image's class (N,).
        class_names: The names (C,) to write in the place of indices.
        columns: The names of the two columns.

    Raises:
        ValueError: If two images have the same name.
        OSError: If the file cannot be written. Then it is as it was before.
    """
    labels = predictions if class_names is None else np.asarray(class_names)[predictions]
    write_csv(path, columns, zip(submission_ids(filenames), labels, strict=True))


def submission_ids(filenames: np.ndarray) -> list[str]:
    """The base name of every file name, as the challenge names images.

    Raises:
        ValueError: If two images have the same.
    """
    ids = [name.rpartition('/')[2] for name in filenames.tolist()]
    if twice := repeated(ids):
        raise ValueError(
            'a submission names images without their folders, and '
            f'{plural(len(twice), "name is", "names are")} there more than once: {first_names(twice)}'
        )
    return ids


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file, over one that is there."""
    # surrogateescape: file names need not be UTF-8
    how = dict(encoding='utf-8', errors='surrogateescape', newline='')
    with atomic_write(path) as partial, open(partial, 'w', **how) as file:
        plain, quoted = (csv.writer(file, lineterminator='\n', quoting=q) for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        plain.writerow(header)
        for row in rows:  # only from Python 3.13 on a carriage return is quoted by itself
            (quoted if any('\r' in str(cell) for cell in row) else plain).writerow(row)
