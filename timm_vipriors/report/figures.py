"""The figures of a report on a model's scores: pure functions of arrays, drawn by `page`."""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..inference.scores import Scores

CALIBRATION_BINS = 15
CONFIDENCE_BINS = 20
MATRIX_CLASSES = 30  # up to so many a confusion matrix can be read
MAX_PAIRS = 30
MAX_MISTAKES = 24
PROBABILITY_FLOOR = 1e-12  # a vote may give the true class 0, whose logarithm would hide all other images

_CHUNK = 4096  # rows at a time, so that 50,000 × 1,000 scores need no second copy


@dataclass(frozen=True)
class Calibration:
    """How often predictions of a confidence are right; bins without images have nan.

    Args:
        counts: Images in each bin, (bins,).
        correct: Those of them predicted right, (bins,).
        confidence: Mean confidence in each bin, (bins,).
        error: Expected calibration error: the mean over the images of |accuracy − confidence| of their bin.
    """

    counts: np.ndarray
    correct: np.ndarray
    confidence: np.ndarray
    error: float


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another; `share` is of the true class's images."""

    true: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class Mistake:
    """An image predicted wrong."""

    filename: str
    true: int
    predicted: int
    confidence: float


@dataclass(frozen=True)
class Measured:
    """What is known of the rows with a target.

    Args:
        count: The rows with a target.
        correct: Those of them predicted right.
        top5: Share of rows with the target among the five highest scores; None with five classes or fewer.
        cross_entropy: Mean of −log p(target), in nats.
        floored: Rows whose p(target) was raised to `PROBABILITY_FLOOR` for it.
        calibration: Of the predictions.
        class_counts: Rows of each class, (C,).
        class_correct: Those of them predicted right, (C,).
        confusion: Counts by true and predicted class, (C, C); None with more than `MATRIX_CLASSES`.
        pairs: The most confused ones.
        num_pairs: How many pairs of classes were confused at all.
        mistakes: The most confident ones.
        images: File name and target of every such row, to tell whether two models saw the same.
    """

    count: int
    correct: int
    top5: float | None
    cross_entropy: float
    floored: int
    calibration: Calibration
    class_counts: np.ndarray
    class_correct: np.ndarray
    confusion: np.ndarray | None
    pairs: list[Pair]
    num_pairs: int
    mistakes: list[Mistake]
    images: frozenset[tuple[str, int]]

    @property
    def top1(self) -> float:
        return self.correct / self.count


@dataclass(frozen=True)
class Figures:
    """All that a report shows of a score file; `measured` is None where no row has a target."""

    model: str
    class_names: list[str]
    count: int
    confidence_counts: np.ndarray  # (CONFIDENCE_BINS,)
    predicted_counts: np.ndarray  # (C,)
    measured: Measured | None


def gather(scores: Scores) -> Figures:
    """The figures of a model's scores. A target below 0 means that it is not known.

    Raises:
        UserError: If there are no rows, or a target is not one of the classes.
    """
    count, classes = scores.scores.shape
    if count == 0:
        raise UserError('the score file has no rows: predict at least one image')
    predicted, confidence = predictions(scores.scores)
    names = [str(i) for i in range(classes)] if scores.class_names is None else [str(n) for n in scores.class_names]
    return Figures(
        model=scores.model,
        class_names=names,
        count=count,
        confidence_counts=np.bincount(_bin(confidence, CONFIDENCE_BINS), minlength=CONFIDENCE_BINS),
        predicted_counts=np.bincount(predicted, minlength=classes),
        measured=_measure(scores, predicted, confidence),
    )


def _measure(scores: Scores, predicted: np.ndarray, confidence: np.ndarray) -> Measured | None:
    if scores.targets is None or not (scores.targets >= 0).any():
        return None
    rows = np.flatnonzero(scores.targets >= 0)
    targets, classes = scores.targets[rows], scores.scores.shape[1]
    if targets.max() >= classes:
        raise UserError(f'expected targets in 0 … {classes - 1} for {classes} classes, got {targets.max()}')
    of_target, rank = target_scores(scores.scores, scores.targets, rows)
    predicted, confidence, names = predicted[rows], confidence[rows], scores.filenames[rows]
    correct = predicted == targets
    pairs = confused_pairs(targets, predicted, classes)
    wrong = np.flatnonzero(~correct)
    wrong = wrong[np.argsort(-confidence[wrong], kind='stable')][:MAX_MISTAKES]
    confusion = None
    if classes <= MATRIX_CLASSES:
        confusion = np.bincount(targets * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return Measured(
        count=len(rows),
        correct=int(correct.sum()),
        top5=float((rank < 5).mean()) if classes > 5 else None,
        cross_entropy=float(-np.log(np.clip(of_target, PROBABILITY_FLOOR, 1)).mean()),
        floored=int((of_target < PROBABILITY_FLOOR).sum()),
        calibration=calibrate(confidence, correct),
        class_counts=np.bincount(targets, minlength=classes),
        class_correct=np.bincount(targets[correct], minlength=classes),
        confusion=confusion,
        pairs=pairs[:MAX_PAIRS],
        num_pairs=len(pairs),
        mistakes=[
            Mistake(str(names[i]), int(targets[i]), int(predicted[i]), float(min(confidence[i], 1))) for i in wrong
        ],
        images=frozenset(zip(names.tolist(), targets.tolist(), strict=True)),
    )


def predictions(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class with the highest score, the first among equals, and that score: int64 and float64, (N,)."""
    predicted = scores.argmax(axis=1)
    return predicted, scores[np.arange(len(scores)), predicted].astype(np.float64)


def target_scores(scores: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The target's score and its rank, 0 for the highest, in some rows: float64 and int64, (len(rows),).

    Among equal scores the lower class comes first, as in `predictions`.
    """
    value, rank = np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        block, target = scores[part], targets[part, None]
        own = np.take_along_axis(block, target, axis=1)
        before = (block > own) | ((block == own) & (np.arange(block.shape[1]) < target))
        value[start : start + _CHUNK], rank[start : start + _CHUNK] = own[:, 0], before.sum(axis=1)
    return value, rank


def _bin(values: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each value in (0, 1], where bin i holds (i / bins, (i + 1) / bins]."""
    return np.searchsorted(np.arange(1, bins) / bins, values, side='left')


def calibrate(confidence: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS) -> Calibration:
    """Accuracy by confidence.

    Args:
        confidence: Of each prediction, in (0, 1], (N,).
        correct: Whether it is right, (N,).
        bins: How many of equal width; a value on an edge is in the lower one.
    """
    index = _bin(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    right = np.bincount(index, weights=correct, minlength=bins)
    total = np.bincount(index, weights=confidence, minlength=bins)
    mean = np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0)
    error = float(np.abs(right - total).sum() / len(confidence))  # the bins' counts cancel
    return Calibration(counts, right.astype(np.int64), mean, error)


def confused_pairs(targets: np.ndarray, predicted: np.ndarray, classes: int) -> list[Pair]:
    """All pairs of a true and another predicted class that occur, the commonest first, then by share and by index."""
    sizes = np.bincount(targets, minlength=classes)
    wrong = targets != predicted
    keys, counts = np.unique(targets[wrong] * classes + predicted[wrong], return_counts=True)
    true, other = np.divmod(keys, classes)
    shares = counts / sizes[true]
    order = np.lexsort((keys, -shares, -counts))
    return [Pair(int(true[i]), int(other[i]), int(counts[i]), float(shares[i])) for i in order]


def wilson(correct: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share, of 95 % by default."""
    share, weight = correct / count, z * z / count
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    # with none or all correct an end is 0 or 1 exactly, which rounding may miss
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == count else centre + half)
