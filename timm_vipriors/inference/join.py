"""Several score files as one table: rows are matched by file name, columns by class name."""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from ..files import first_names, name_differences, plural
from .scores import ScoreFile

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Member:
    """One of the joined files. `rows` and `columns` are the places of the common order in it, None where both agree."""

    file: ScoreFile
    rows: np.ndarray | None
    columns: np.ndarray | None

    def read(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Scores (n, C) of rows in the common order, with the columns in the common order."""
        scores = self.file.read(rows if self.rows is None else self.rows[rows])
        return scores if self.columns is None else scores[:, self.columns]


@dataclass(frozen=True, eq=False)
class Joined:
    """Files of the same images and classes.

    Attributes:
        members: The files, in the order given.
        filenames: The images (N,), in the order of the first file.
        targets: The true classes (N,) that any file knows, -1 elsewhere; None if all are unknown.
        class_names: Names of the classes (C,) in the order of the first file; None if no file has them.

    Examples:
        >>> files = [ScoreFile(f'{names}.npz', np.eye(2), np.array(list(names))) for names in ('ab', 'ba')]
        >>> join(files, ['cat', 'dog']).members[1].read()  # in the order of the first file
        array([[0., 1.],
               [1., 0.]], dtype=float32)
    """

    members: tuple[Member, ...]
    filenames: np.ndarray
    targets: np.ndarray | None
    class_names: np.ndarray | None

    @property
    def num_classes(self) -> int:
        return self.members[0].file.num_classes


Files = Joined | Sequence[str | os.PathLike]


def join_files(files: Files, class_names: Sequence[str] | None = None) -> Joined:
    """Open score files, each named once, and join them; see `join`. What is joined already stays as it is."""
    if isinstance(files, Joined):
        return files
    paths = list(files)
    real = [os.path.realpath(path) for path in paths]
    if twice := [path for i, path in enumerate(paths) if real[i] in real[:i]]:
        raise ValueError(f'{twice[0]} is named twice: name each file once, an average has weights')
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:  # comparing its checksum reads a file whole
        return join(pool.map(ScoreFile.open, paths), class_names)


def join(files: Iterable[ScoreFile], class_names: Sequence[str] | None = None) -> Joined:
    """Join score files by file name and class name.

    Args:
        files: The files.
        class_names: The classes of the files that do not name them, in the order of their columns. Without it such
            files can only be joined with each other.

    Raises:
        ValueError: If there is no file, or files differ in their images, their classes or a target, or only some of
            them name their classes.
    """
    files = list(files)
    if not files:
        raise ValueError('expected at least one score file')
    if class_names is not None:
        names = np.array(class_names)
        files = [replace(file, class_names=names) if file.class_names is None else file for file in files]
    nameless = [file.path for file in files if file.class_names is None]
    if nameless and len(nameless) < len(files):
        raise ValueError(
            f'{first_names(nameless)} has no class names, so its columns cannot be matched with the named classes of '
            'the other files: give the names with --classes, in the order of its columns'
        )
    if len(nameless) > 1:
        _logger.warning('no file has class names: their classes are taken to be in the same order')
    first, members = files[0], []
    targets = np.full(len(first), -1)
    for file in files:
        rows, columns = _order(first, file, 'filenames', 'image'), _order(first, file, 'class_names', 'class')
        # names are most of what files keep in memory
        members.append(Member(file if rows is not None else replace(file, filenames=first.filenames), rows, columns))
        if file.targets is not None:
            theirs = file.targets if rows is None else file.targets[rows]
            if columns is not None:
                theirs = np.where(theirs >= 0, np.argsort(columns)[theirs], -1)
            differ = (targets >= 0) & (theirs >= 0) & (targets != theirs)
            if differ.any():
                images = f'{plural(differ.sum(), "image")}: {first_names(first.filenames[differ])}'
                raise ValueError(f'{file.path} has other targets than the files before it for {images}')
            np.copyto(targets, theirs, where=theirs >= 0)
    return Joined(tuple(members), first.filenames, targets if (targets >= 0).any() else None, first.class_names)


def _order(first: ScoreFile, file: ScoreFile, field: str, what: str) -> np.ndarray | None:
    """The place in a file of each name of the first, None if both have the same order."""
    if what == 'class' and file.num_classes != first.num_classes:
        raise ValueError(f'{file.path} has {file.num_classes} classes and {first.path} has {first.num_classes}')
    ours, theirs = getattr(first, field), getattr(file, field)
    if ours is theirs or np.array_equal(ours, theirs):
        return None
    place = {name: i for i, name in enumerate(theirs.tolist())}
    here, there = set(ours.tolist()), place.keys()
    if not (differing := name_differences(there, here)):
        return np.array([place[name] for name in ours.tolist()])
    if set(map(os.path.basename, here - there)) & set(map(os.path.basename, there - here)):
        differing += '; some differ by their folder only, which inference.py writes with --fullname'
    number = plural(len(ours), what, 'classes' if what == 'class' else None)
    raise ValueError(f'{file.path} does not have the {number} of {first.path}: {differing}')
