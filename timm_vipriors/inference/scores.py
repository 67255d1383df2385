"""Score files: what a model thinks of every image, as an .npz file without pickles.

    scores       (N, C) float32      probabilities
    filenames    (N,)   text         relative to the data folder, with forward slashes, none twice
    targets      (N,)   int64        the true classes, -1 where unknown; absent where all are unknown
    class_names  (C,)   text         may be absent
    model        ()     text         may be empty

One line of numpy reads it, `np.load('scores.npz')['scores']`. Rows of several files belong together by the file names,
never by their position. Results of timm's inference.py can be read in a score file's place.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .npz import open_npz, write_npz

_SUM_TOLERANCE = 0.01  # what is left of 1,000 probabilities in float16 sums to one by more than this


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one model in memory.

    Attributes:
        scores: Probabilities (N, C).
        filenames: The images (N,), relative to the data folder, with forward slashes.
        targets: The true classes (N,), -1 where unknown, or None.
        class_names: Names of the classes (C,), or None.
        model: What made the scores, for people to read.
    """

    scores: np.ndarray
    filenames: np.ndarray
    targets: np.ndarray | None = None
    class_names: np.ndarray | None = None
    model: str = ''

    def save(self, path: str | os.PathLike) -> None:
        """Write a score file, over one that is there.

        Raises:
            ValueError: If it would not be one: the scores are no probabilities, shapes do not match, names are twice.
            OSError: If it cannot be written. Then the file is as it was before.
        """
        path = os.fspath(path)
        scores = np.asarray(self.scores)
        _check_scores_form(path, scores.shape, scores.dtype)
        labels = _checked_labels(path, scores.shape, self.filenames, self.targets, self.class_names)
        write_scores(path, scores.shape, [_checked_scores(path, scores, labels[0])], *labels, self.model)


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """A score file on disk, whose scores are read by rows.

    Attributes:
        path: The file.
        num_classes: C.
        filenames: As in `Scores`, and so are `targets`, `class_names` and `model`.
        reader: Gives rows (n, C) of scores of any floating-point type, not yet checked.
    """

    path: str
    num_classes: int
    filenames: np.ndarray
    targets: np.ndarray | None
    class_names: np.ndarray | None
    model: str
    reader: Callable[[slice | np.ndarray | None], np.ndarray]

    @classmethod
    def open(cls, path: str | os.PathLike) -> 'ScoreFile':
        """Open a score file, or results of timm's inference.py (.csv, .parquet), and check all but the scores.

        Scores that lie uncompressed in an .npz file stay there and take no memory; others are loaded.

        Raises:
            ValueError: If the file is none of these, was cut off, or has content that does not fit together.
            OSError: If it cannot be read.
            ImportError: If a .parquet file needs the extra `parquet`.
        """
        path = os.fspath(path)
        if os.path.splitext(path)[1].lower() in ('.csv', '.parquet', '.json'):
            from .timm_results import read_timm_results

            filenames, scores = read_timm_results(path)
            targets, class_names, model = None, None, os.path.splitext(os.path.basename(path))[0]
            shape, dtype, reader = scores.shape, scores.dtype, _reader_of(scores)
        else:
            arrays = open_npz(path)
            for name in ('scores', 'filenames'):
                if name not in arrays:
                    found = ', '.join(arrays) or 'none'
                    raise ValueError(f'{path} is no score file: expected an array {name!r}, got the arrays: {found}')
            shape, dtype = arrays['scores'].shape, arrays['scores'].dtype
            _check_scores_form(path, shape, dtype)
            scores = arrays['scores']
            reader = _reader_of(scores.load()) if scores.start is None else scores.rows
            rest = ('filenames', 'targets', 'class_names', 'model')
            filenames, targets, class_names, model = (arrays[k].load() if k in arrays else None for k in rest)
            model = _checked_model(path, model)
        _check_scores_form(path, shape, dtype)
        labels = _checked_labels(path, shape, filenames, targets, class_names)
        return cls(path, shape[1], *labels, model, reader)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.filenames)

    def read(self, rows: slice | np.ndarray | None = None) -> np.ndarray:
        """Some rows of the scores (n, C) in float32, all of them for None.

        Raises:
            ValueError: If they are no probabilities, or the file became shorter.
            OSError: If the file cannot be read.
        """
        names = self.filenames[slice(None) if rows is None else rows]
        return _checked_scores(self.path, self.reader(rows), names)

    def load(self) -> Scores:
        """All of it in memory."""
        return Scores(self.read(), self.filenames, self.targets, self.class_names, self.model)


def open_score_files(paths: Iterable[str | os.PathLike]) -> Iterator[ScoreFile]:
    """Files in their order, the next few opened by threads meanwhile: to compare its checksums reads a file whole."""
    threads = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[ScoreFile]] = deque()
        for path in paths:
            ahead.append(pool.submit(ScoreFile.open, path))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def write_scores(
    path: str | os.PathLike,
    shape: tuple[int, int],
    blocks: Iterable[np.ndarray],
    filenames: np.ndarray,
    targets: np.ndarray | None,
    class_names: np.ndarray | None,
    model: str,
) -> None:
    """Write a score file of shape (N, C) whose scores come in blocks of rows, and are taken as they are."""
    arrays = {'filenames': filenames, 'targets': targets, 'class_names': class_names, 'model': np.array(model)}
    write_npz(path, {k: v for k, v in arrays.items() if v is not None}, {'scores': (shape, blocks)})


def some_names(names: Iterable[str], limit: int = 3) -> str:
    """The first of the names, for a message."""
    names = list(names)
    return ', '.join(map(repr, names[:limit])) + (', …' if len(names) > limit else '')


def _reader_of(scores: np.ndarray) -> Callable[[slice | np.ndarray | None], np.ndarray]:
    return lambda rows: scores[slice(None) if rows is None else rows]


def _check_scores_form(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or shape[1] < 1 or dtype.kind != 'f':
        raise ValueError(
            f'{where}: expected scores of the shape (images, classes) in floating point, got {shape} in {dtype}'
        )


def _checked_scores(where: str, scores: np.ndarray, filenames: np.ndarray) -> np.ndarray:
    """Scores (n, C) in float32, which must be probabilities."""
    with np.errstate(all='ignore'):  # what cannot be summed or cast is no probability
        scores = scores.astype(np.float32, copy=False)
        sums = scores.sum(axis=1)
        right = np.abs(sums - 1) <= _SUM_TOLERANCE  # False for NaN
        if right.all() and scores.min(initial=0) >= 0:
            return scores
        row = int(np.argmin(right & (scores.min(axis=1) >= 0)))
    if not np.isfinite(scores[row]).all():
        problem = 'that are not finite'
    elif scores[row].min() < 0:
        problem = f'down to {scores[row].min():.4g}, which looks like logits'
    else:
        problem = f'that sum to {sums[row]:.4g}'
    raise ValueError(
        f'{where}: expected probabilities, which are not negative and sum to one, but {str(filenames[row])!r} has '
        f'scores {problem}: save the softmax of the logits'
    )


def _checked_labels(
    where: str,
    shape: tuple[int, int],
    filenames: np.ndarray,
    targets: np.ndarray | None,
    class_names: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """File names, targets and class names in their types, fitting to scores of a shape (N, C)."""
    filenames = _checked_names(where, 'file names', filenames, shape[0])
    if class_names is not None:
        class_names = _checked_names(where, 'class names', class_names, shape[1])
    if targets is not None:
        targets = np.asarray(targets)
        if targets.shape != shape[:1] or (targets.dtype.kind not in 'iu' and targets.size):
            raise ValueError(
                f'{where}: expected {shape[0]} whole numbers as targets, got {targets.shape} in {targets.dtype}'
            )
        wrong = (targets < -1) | (targets >= shape[1])
        if wrong.any():
            raise ValueError(
                f'{where}: expected targets of 0 … {shape[1] - 1}, or -1 where unknown, got {targets[wrong][0]} for '
                f'{str(filenames[wrong][0])!r}'
            )
        targets = targets.astype(np.int64)
    return filenames, targets, class_names


def _checked_names(where: str, what: str, names: np.ndarray, count: int) -> np.ndarray:
    names = np.asarray(names)
    if names.dtype == object and all(isinstance(name, str) for name in names.flat):
        names = names.astype(str)
    if names.shape != (count,) or (names.dtype.kind != 'U' and names.size):
        raise ValueError(f'{where}: expected {count} {what} as text, got the shape {names.shape} in {names.dtype}')
    unique, counts = np.unique(names, return_counts=True)
    if len(unique) < count:
        twice = unique[counts > 1].tolist()
        raise ValueError(f'{where}: {len(twice)} {what} are there more than once: {some_names(twice)}')
    return names.astype(str, copy=False)


def _checked_model(where: str, model: np.ndarray | None) -> str:
    if model is None:
        return ''
    if model.shape != () or model.dtype.kind != 'U':
        raise ValueError(f'{where}: expected one text as model, got the shape {model.shape} in {model.dtype}')
    return str(model)
