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
    """Write a line for each image: its name without its folder, as the challenge has it, and its class.

    Args:
        path: The CSV file.
        filenames: The images (N,), with forward slashes.
        predictions: The index of each image's class (N,).
        class_names: The names (C,) to write instead of indices.
        columns: The names of the two columns.

    Raises:
        ValueError: If two images have the same name.
        OSError: If the file cannot be written. Then an existing one is unchanged.
    """
    ids = [name.rpartition('/')[2] for name in filenames.tolist()]
    if twice := repeated(ids):
        number = plural(len(twice), 'name occurs', 'names occur')
        raise ValueError(f'a submission omits the folders of images, and {number} more than once: {first_names(twice)}')
    labels = predictions if class_names is None else np.asarray(class_names)[predictions]
    write_csv(path, columns, zip(ids, labels, strict=True))


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file, over an existing one."""
    how = dict(encoding='utf-8', errors='surrogateescape', newline='')  # file names need not be UTF-8
    with atomic_write(path) as partial, open(partial, 'w', **how) as file:
        csv.writer(file, lineterminator='\n').writerows([header, *rows])
