"""Several score files as one table: rows belong together by file names, columns by class names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .scores import ScoreFile, some_names


@dataclass(frozen=True, eq=False)
class Member:
    """One of the joined files. `rows` and `columns` lead from the common order to its own, None where that is it."""

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
        targets: The true classes (N,) as far as any file knows them, -1 elsewhere, or None where all are unknown.
        class_names: Names of the classes (C,) in the order of the first file that has them, or None.
        notes: What was taken for granted, as lines of text.
    """

    members: tuple[Member, ...]
    filenames: np.ndarray
    targets: np.ndarray | None
    class_names: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return self.members[0].file.num_classes


def join(files: Iterable[ScoreFile]) -> Joined:
    """Join score files by file name.

    Args:
        files: The files; one that is opened as it is asked for takes less memory.

    Raises:
        ValueError: If there is no file, or files differ in their images, their classes or a target.
    """
    files = list(_sharing_names(files))
    if not files:
        raise ValueError('expected at least one score file')
    first = files[0]
    named = next((file for file in files if file.class_names is not None), first)
    row_of = {name: row for row, name in enumerate(first.filenames.tolist())}
    members, targets, notes = [], np.full(len(first), -1), []
    for file in files:
        member = Member(file, _rows(first, file, row_of), _columns(named, file))
        members.append(member)
        _learn_targets(first, targets, member)
        if named.class_names is not None and file.class_names is None:
            notes.append(f'{file.path} has no class names: its classes are taken to be in the order of {named.path}')
    known = targets if (targets >= 0).any() else None
    return Joined(tuple(members), first.filenames, known, named.class_names, tuple(notes))


def _sharing_names(files: Iterable[ScoreFile]) -> Iterator[ScoreFile]:
    """The files, with one array of names for all that have the same: names are most of what files keep in memory."""
    names = None
    for file in files:
        names = file.filenames if names is None else names
        yield replace(file, filenames=names) if np.array_equal(file.filenames, names) else file


def _rows(first: ScoreFile, file: ScoreFile, row_of: dict[str, int]) -> np.ndarray | None:
    """The row of the file for each row of the first."""
    if file.filenames is first.filenames:
        return None
    names = file.filenames.tolist()
    missing, extra = row_of.keys() - set(names), [name for name in names if name not in row_of]
    if missing or extra:
        parts = []
        if missing:
            parts.append(f'it lacks {len(missing)} of these ({some_names(sorted(missing))})')
        if extra:
            parts.append(f'it has {len(extra)} others ({some_names(extra)})')
        bare = {name.rpartition('/')[2] for name in (missing or row_of)} & {name.rpartition('/')[2] for name in extra}
        hint = ': some differ by their folder only, which inference.py writes with --fullname' if bare else ''
        raise ValueError(
            f'{file.path} has not the same {len(first)} images as {first.path}: {" and ".join(parts)}{hint}'
        )
    rows = np.empty(len(first), np.int64)
    rows[[row_of[name] for name in names]] = np.arange(len(first))
    return rows


def _columns(named: ScoreFile, file: ScoreFile) -> np.ndarray | None:
    """The column of the file for each class of the named one."""
    if file.num_classes != named.num_classes:
        raise ValueError(f'{file.path} has {file.num_classes} classes and {named.path} has {named.num_classes}')
    if file.class_names is None or np.array_equal(file.class_names, named.class_names):
        return None
    ours, theirs = named.class_names.tolist(), file.class_names.tolist()
    if set(ours) != set(theirs):
        raise ValueError(
            f'{file.path} has other classes than {named.path}: {some_names(sorted(set(theirs) - set(ours)))} in place '
            f'of {some_names(sorted(set(ours) - set(theirs)))}'
        )
    column_of = {name: column for column, name in enumerate(theirs)}
    return np.array([column_of[name] for name in ours])


def _learn_targets(first: ScoreFile, targets: np.ndarray, member: Member) -> None:
    """Put the targets of a member into those known so far."""
    theirs = member.file.targets
    if theirs is None:
        return
    if member.columns is not None:
        theirs = np.where(theirs >= 0, np.argsort(member.columns)[theirs], -1)
    if member.rows is not None:
        theirs = theirs[member.rows]
    differ = (targets >= 0) & (theirs >= 0) & (targets != theirs)
    if differ.any():
        raise ValueError(
            f'{member.file.path} has other targets than the files before it for {differ.sum()} images: '
            f'{some_names(first.filenames[differ].tolist())}'
        )
    np.copyto(targets, theirs, where=theirs >= 0)
