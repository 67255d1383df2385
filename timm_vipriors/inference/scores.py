"""Score files: the class probabilities that a model gives every image, as an .npz file without pickles.

    scores       (N, C) float32      probabilities
    filenames    (N,)   text         relative to the data folder, with forward slashes, none twice
    targets      (N,)   int64        the true classes, -1 where unknown; absent where all are unknown
    class_names  (C,)   text         may be absent
    model        ()     text         may be empty

One line of numpy reads it, `np.load('scores.npz')['scores']`. Rows of several files are matched by file name and
columns by class name, never by position. Results of timm's inference.py can be read instead of a score file.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import atomic_write, first_names, plural, repeated
from .npz import MappedArray, read_npz

_LABELS = ('filenames', 'targets', 'class_names', 'model')
_SUM_TOLERANCE = 0.01  # what is left of 1,000 probabilities in float16 sums to one by more than this


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one model in memory.

    Attributes:
        scores: Probabilities (N, C).
        filenames: The images (N,), relative to the data folder, with forward slashes.
        targets: The true classes (N,), -1 where unknown, or None.
        class_names: Names of the classes (C,), or None.
        model: What made the scores, for people.

    Examples:
        >>> Scores(np.array([[0.9, 0.1]]), np.array(['a.png'])).scores.argmax(axis=1)
        array([0])
    """

    scores: np.ndarray
    filenames: np.ndarray
    targets: np.ndarray | None = None
    class_names: np.ndarray | None = None
    model: str = ''

    def save(self, path: str | os.PathLike) -> None:
        """Write a score file, over an existing one.

        Raises:
            ValueError: If its name does not end in .npz, or `ScoreFile` would refuse the content.
            OSError: If it cannot be written. Then an existing file is unchanged.
        """
        check_score_path(path)
        file = ScoreFile(os.fspath(path), np.asarray(self.scores), *(getattr(self, name) for name in _LABELS))
        arrays = {name: getattr(file, name) for name in _LABELS if getattr(file, name) is not None}
        arrays['scores'] = file.read()
        with atomic_write(path) as partial, open(partial, 'wb') as out:
            np.savez(out, **arrays)


@dataclass(eq=False)
class ScoreFile:
    """A score file on disk, whose scores are read by rows; the attributes are those of `Scores`, and the path.

    Raises:
        ValueError: If the arrays do not fit together. That the scores are probabilities is seen when they are read.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Scores(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array(['a.png', 'b.png'])).save(f'{folder}/scores.npz')
        ...     ScoreFile.open(f'{folder}/scores.npz').read(slice(1, 2))
        array([[0.2, 0.8]], dtype=float32)
    """

    path: str
    scores: np.ndarray | MappedArray
    filenames: np.ndarray
    targets: np.ndarray | None = None
    class_names: np.ndarray | None = None
    model: str = ''

    @classmethod
    def open(cls, path: str | os.PathLike) -> 'ScoreFile':
        """Open a score file, or results of timm's inference.py (.csv, .parquet), and check all but the scores.

        Scores in an uncompressed .npz file stay there and take no memory; others are loaded.

        Raises:
            ValueError: If the file is none of these, is damaged, or its arrays do not fit together.
            OSError: If it cannot be read.
            ImportError: If results of inference.py need the extra `results`.
        """
        path = os.fspath(path)
        if Path(path).suffix.lower() in ('.csv', '.parquet', '.json'):
            from .timm_results import read_timm_results

            filenames, scores = read_timm_results(path)
            return cls(path, scores, filenames, model=Path(path).stem)
        arrays = read_npz(path, mapped='scores')
        if missing := {'scores', 'filenames'} - arrays.keys():
            raise ValueError(f'{path} is no score file: it lacks {missing}, got the arrays {first_names(arrays)}')
        return cls(path, **{name: array for name, array in arrays.items() if name in ('scores', *_LABELS)})

    def __post_init__(self) -> None:
        shape, dtype = self.scores.shape, self.scores.dtype
        if len(shape) != 2 or shape[1] < 1 or dtype.kind != 'f':
            raise ValueError(
                f'{self.path}: expected scores (images, classes) in floating point, got {shape} in {dtype}'
            )
        self.model = str(self.model)
        self.filenames = _checked_names(self.path, 'file name', self.filenames, shape[0])
        if self.class_names is not None:
            self.class_names = _checked_names(self.path, 'class name', self.class_names, shape[1])
        if self.targets is not None:
            targets = np.asarray(self.targets)
            if targets.shape != shape[:1] or (targets.dtype.kind not in 'iu' and targets.size):
                found = f'{targets.shape} in {targets.dtype}'
                raise ValueError(f'{self.path}: expected {shape[0]} integer targets, got {found}')
            if (wrong := (targets < -1) | (targets >= shape[1])).any():
                found = f'{targets[wrong][0]} for {str(self.filenames[wrong][0])!r}'
                raise ValueError(
                    f'{self.path}: expected targets of 0 … {shape[1] - 1}, or -1 where unknown, got {found}'
                )
            self.targets = targets.astype(np.int64)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.filenames)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return self.scores.shape[1]

    def read(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Some rows of the scores (n, C) in float32, by default all.

        Raises:
            ValueError: If they are no probabilities.
            OSError: If the file cannot be read.
        """
        with np.errstate(all='ignore'):  # what cannot be summed or cast is no probability
            scores = self.scores[rows].astype(np.float32, copy=False)
            sums = scores.sum(axis=1)
            right = np.abs(sums - 1) <= _SUM_TOLERANCE  # False for NaN
            if right.all() and scores.min(initial=0) >= 0:
                return scores
            row = int(np.argmin(right & (scores.min(axis=1) >= 0)))
        found = f'scores from {scores[row].min():.4g} to {scores[row].max():.4g} that sum to {sums[row]:.4g}'
        raise ValueError(
            f'{self.path}: expected probabilities, which are not negative and sum to one, but '
            f'{str(self.filenames[rows][row])!r} has {found}: save the softmax of the logits'
        )

    def load(self) -> Scores:
        """All of it in memory."""
        return Scores(self.read(), self.filenames, self.targets, self.class_names, self.model)


def check_score_path(path: str | os.PathLike) -> None:
    """Raise a ValueError unless a file of this name is read as a score file."""
    if Path(path).suffix.lower() not in ('.npz', ''):
        raise ValueError(f'{path}: the name of a score file must end in .npz (`ensemble average` writes CSV files)')


def _checked_names(where: str, what: str, names: np.ndarray, count: int) -> np.ndarray:
    """Names (count,) as text, all different, or a ValueError."""
    names = np.asarray(names)
    if names.shape != (count,) or (names.dtype.kind != 'U' and names.size):
        expected = plural(count, what)
        raise ValueError(f'{where}: expected {expected} as text, got the shape {names.shape} in {names.dtype}')
    if twice := repeated(names.tolist()):
        raise ValueError(f'{where}: {plural(len(twice), what)} more than once: {first_names(twice)}')
    return names.astype(str, copy=False)
